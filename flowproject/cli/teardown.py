"""Runs `flowproject teardown` and `gc`: removes what is deployed of one branch, or of dead ones."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from flowproject.cli.context import GitBranch, find_root, open_context
from flowproject.cli.output import AsJson, ask, print_json, print_lines, print_table, working
from flowproject.config.parse import load
from flowproject.deploy.apply import remove
from flowproject.deploy.argo import connect
from flowproject.deploy.branches import Target, judge_branches, objects_of_branch, target_of
from flowproject.deploy.git import remote_branches
from flowproject.deploy.objects import KINDS, DeployedObject
from flowproject.deploy.revision import revision_of
from flowproject.errors import UsageError
from flowproject.wording import amount

__all__ = ["gc", "teardown"]


def teardown(
    git_branch: GitBranch = None,
    production: Annotated[
        bool, typer.Option("--production", help="Yes, the production branch.")
    ] = False,
    unless_scheduled: Annotated[
        bool,
        typer.Option("--unless-scheduled", help="Keep a branch whose sensors run on schedule."),
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="The journals of its sensors, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove everything of a git branch from Argo Workflows and Argo Events.

    Also what an interrupted deployment left. Runs that go on are left alone; so are journals,
    without --purge.
    """
    root = find_root()
    project = load(root)
    target = _target(git_branch)
    # A CI deletes a branch's deployment when its pull request is merged; a release branch that runs
    # on schedule is to outlive that.
    if unless_scheduled and target.schedules:
        _tell([], f"{target.metaflow_name}, which runs on schedule,", 0, as_json=as_json)
        return 0
    _refuse_production(target, production=production)
    argo = connect()
    there = objects_of_branch(
        argo.find(),
        project=project.project_name,
        branch=target.metaflow_name,
        # Two git branches may meet in one Metaflow branch: only what this one deployed goes.
        git_branch="" if target.production else target.git_branch,
    )
    where = f"{target.metaflow_name} of project {project.project_name!r}"
    if not yes and (there or purge):
        ask(
            f"Remove {_counted(there)}{' and all journals' if purge else ''} of {where}?",
            "teardown asks before it removes",
        )
    with working("Removing"):
        remove(argo, there)
        purged = _purge(target) if purge else 0
    _tell(there, where, purged, as_json=as_json)
    return 0


def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Remove, and do not only show.")] = False,
    remote: Annotated[str, typer.Option(help="The git remote whose branches count.")] = "origin",
    as_json: AsJson = False,
) -> int:
    """Show the deployments whose git branches are gone, and with --apply remove them.

    Never production, other projects, or what was not deployed by flowproject from a git branch.
    """
    root = find_root()
    project = load(root)
    argo = connect()
    # The cluster first: a branch that is pushed and deployed meanwhile is alive in git's answer.
    found = argo.find()
    alive = [
        target_of(name, project.deploy).metaflow_name for name in remote_branches(root, remote)
    ]
    judged = judge_branches(
        found,
        project=project.project_name,
        alive=frozenset(alive),
        named=lambda git_branch: target_of(git_branch, project.deploy).metaflow_name,
    )
    dead = [one for one in judged if one.verdict == "dead"]
    if apply:
        with working("Removing"):
            for one in dead:
                remove(argo, one.objects)
    rows = [
        [one.branch, "removed" if apply and one in dead else one.verdict, one.why] for one in judged
    ]
    if as_json:
        print_json([dict(zip(("branch", "state", "why"), row, strict=True)) for row in rows])
    else:
        print_table(["branch", "state", "why"], rows, empty="Nothing is deployed.")
        print_lines([] if apply or not dead else ["Nothing was removed: `flowproject gc --apply`"])
    return 0


def _target(git_branch: str | None) -> Target:
    root = find_root()
    revision = revision_of(root, os.environ, git_branch)
    revision.refuse_fork()
    return target_of(revision.git_branch, load(root).deploy)


def _refuse_production(target: Target, *, production: bool) -> None:
    if target.production and not production:
        raise UsageError(
            f"The git branch {target.git_branch!r} is production, which no mistake may remove",
            where="[deploy] production_branch in flowproject.toml",
            fix="If it is to go: `flowproject teardown --production`",
        )


def _purge(target: Target) -> int:
    """How many objects of the branch's journals were removed."""
    context = open_context(target.branch, production=target.production)
    # Also those of sensors that are not configured any more.
    keys = context.store.keys(f"flowproject/{context.project.project_name}/{context.branch}")
    for key in keys:
        context.store.delete(key)
    return len(keys)


def _tell(there: Sequence[DeployedObject], where: str, purged: int, *, as_json: bool) -> None:
    rows = [[one.flow or one.name, KINDS[one.kind], one.name] for one in there]
    if as_json:
        removed = [dict(zip(("flow", "kind", "name"), row, strict=True)) for row in rows]
        print_json({"removed": removed, "journal_objects": purged})
        return
    print_table(["flow", "kind", "removed"], rows, title=where)
    print_lines([f"{_counted(there)} of {where} removed."])
    print_lines([f"{amount(purged, 'object')} of its journals removed."] if purged else [])


def _counted(there: Sequence[DeployedObject]) -> str:
    return f"{len(there)} object{'' if len(there) == 1 else 's'}" if there else "nothing"
