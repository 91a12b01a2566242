"""`flowproject deploy`: every flow of the project to Argo Workflows, for the git branch."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flowproject.changes.progress import Progress
from flowproject.changes.progress import Report as Look
from flowproject.cli.output import AsJson, print_json, print_lines, print_table, working
from flowproject.cli.place import find_root
from flowproject.config import Environment, load

if TYPE_CHECKING:
    from flowproject.deploy.deployment import Deployment
    from flowproject.deploy.report import Report

__all__ = ["GitBranch", "deploy"]

GitBranch = Annotated[
    str | None, typer.Option("--git-branch", help="The git branch (default: the CI's, or git's).")
]


def deploy(
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    git_branch: GitBranch = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Deploy what is unchanged, too.")
    ] = False,
    environment: Annotated[
        str, typer.Option(help="Metaflow's --environment, in place of [deploy] environment.")
    ] = "",
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="Metaflow's --with, more than [deploy] with.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag for every run.")] = None,
    comment: Annotated[
        bool, typer.Option(help="Keep one comment on the pull request up to date.")
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Deploy every flow file of the project to Argo Workflows.

    The production branch deploys to production, every other git branch beside it. Nothing is
    deployed unless every flow compiles; what is unchanged stays; what is gone is removed.
    """
    with working("Looking at git and the configuration"):
        deployment = _deployment(git_branch, environment, with_ or (), tag or ())
    report = _plan_and_apply(deployment, only_plan=plan, everything=everything)
    report = replace(report, notes=(*report.notes, *_doubts(deployment)))
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
        _publish(report, deployment, "Plan" if plan else "Deployment", comment=comment)
    return report.exit_code


def _deployment(
    git_branch: str | None, environment: str, with_: Sequence[str], tags: Sequence[str]
) -> "Deployment":
    # What speaks to git and the cluster is imported for these commands only.
    from flowproject.deploy.argo import connect
    from flowproject.deploy.branches import target_of
    from flowproject.deploy.deployment import Deployment
    from flowproject.deploy.revision import revision_of

    root = find_root()
    project = load(root)
    revision = revision_of(root, os.environ, git_branch)
    revision.refuse_fork()
    settings = replace(
        project.deploy,
        # Metaflow knows more of them than the configuration, and refuses what it does not.
        environment=cast("Environment", environment or project.deploy.environment),
        with_=(*project.deploy.with_, *with_),
    )
    return Deployment(
        root=root,
        project=project,
        settings=settings,
        target=target_of(revision.git_branch, settings),
        revision=revision,
        argo=connect(),
        tags=tuple(tags),
    )


def _plan_and_apply(deployment: "Deployment", *, only_plan: bool, everything: bool) -> "Report":
    from flowproject.deploy.report import Report

    with working("Compiling the flows") as look:
        planned = deployment.plan(everything=everything, tell=_teller(look, "compiled"))
    if isinstance(planned, Report):
        return planned
    if only_plan:
        return deployment.report(planned)
    with working("Deploying") as look:
        return deployment.apply(planned, tell=_teller(look, "done with"))


def _doubts(deployment: "Deployment") -> tuple[str, ...]:
    from flowproject.deploy.branches import doubts_about

    known = deployment.revision.default_branch
    return doubts_about(deployment.target, deployment.settings, known)


def _teller(look: Look, what: str) -> Callable[[str], None]:
    """Tells of each flow as it is ready: in a bar on a terminal, in a line for a log."""
    numbers = count(1)

    def tell(name: str) -> None:
        look(what, Progress(seen=next(numbers)))
        if not sys.stderr.isatty():
            print(f"{what} {name}", file=sys.stderr, flush=True)

    return tell


def _print(report: "Report") -> None:
    from flowproject.deploy.report import HEAD

    target = report.target
    title = f"{report.project}: {target.git_branch} to {target.metaflow_name}"
    print_table(HEAD, [row.cells for row in report.rows], title=title, empty="There is no flow.")
    print_lines(report.notes)


def _publish(report: "Report", deployment: "Deployment", title: str, *, comment: bool) -> None:
    """Tell the CI, if this runs in one."""
    from flowproject.deploy.summary import publish

    summary = report.summary(title)
    print_lines(publish(summary, deployment.revision, os.environ, comments=comment))
