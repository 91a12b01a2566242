"""Runs `flowproject deploy`: brings every flow of the project to Argo Workflows, for a branch."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Annotated, cast

import typer

from flowproject.changes.observation import Progress
from flowproject.changes.observation import Report as Look
from flowproject.cli.context import GitBranch, find_root
from flowproject.cli.output import AsJson, print_json, print_lines, print_table, working
from flowproject.config import Environment
from flowproject.config.parse import load
from flowproject.deploy.argo import connect
from flowproject.deploy.branches import target_of, warnings_about
from flowproject.deploy.deployment import Deployment
from flowproject.deploy.plan import DeploymentPlan
from flowproject.deploy.preflight import check_local_data, check_webhook
from flowproject.deploy.report import HEAD, Report, merge_title, report_of_branch
from flowproject.deploy.revision import Revision, newer_head, revision_of, warnings_about_merge
from flowproject.deploy.summary import Summary, publish
from flowproject.errors import UsageError

__all__ = ["deploy"]


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
    roll_back: Annotated[
        bool,
        typer.Option(
            "--roll-back", help="Deploy although the branch is further on than what is here."
        ),
    ] = False,
    comment: Annotated[
        bool, typer.Option(help="Keep one comment on the pull request up to date.")
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Deploy every flow file of the project to Argo Workflows.

    The production branch deploys to production, every other git branch beside it. Nothing is
    deployed unless every flow compiles; what is unchanged stays; what is gone is removed. In a
    CI's run for a pull request, --plan says what merging it would change.
    """
    with working("Looking at git and the configuration"):
        revision = _revision(git_branch)
        # A plan in a pull request's run tells reviewers what production will be, not what this
        # branch is.
        merges = plan and bool(revision.ci.pull_request and revision.ci.target_branch)
        planned_for = revision.merged() if merges else revision
        deployment = _deployment(planned_for, environment, with_ or (), tag or ())
    report = _plan_and_apply(
        deployment, only_plan=plan, everything=everything, roll_back=roll_back or merges
    )
    # After the work: warnings don't hold it up, and stand last, where they are read.
    report = replace(report, notes=(*report.notes, *_warnings(deployment)))
    if merges:
        _tell_merge(report, deployment, revision, comment=comment, as_json=as_json)
    elif as_json:
        print_json(report.to_json())
    else:
        _print(report)
        summary = report.summary("Plan" if plan else "Deployment")
        _publish([summary], revision, comment=comment, create=plan)
    return report.exit_code


def _revision(git_branch: str | None) -> Revision:
    revision = revision_of(find_root(), os.environ, git_branch)
    # Before anything of the folder is imported: a fork's flow files are a stranger's code.
    revision.refuse_fork()
    return revision


def _deployment(
    revision: Revision, environment: str, with_: Sequence[str], tags: Sequence[str]
) -> Deployment:
    root = find_root()
    project = load(root)
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


def _plan_and_apply(
    deployment: Deployment, *, only_plan: bool, everything: bool, roll_back: bool
) -> Report:
    with working("Compiling the flows") as look:
        planned = deployment.plan(everything=everything, tell=_teller(look, "compiled"))
    if planned.is_refused:
        return deployment.report(planned)
    notes: tuple[str, ...] = ()
    if not roll_back:
        with working("Asking the remote for the newest commit"):
            notes = _check_not_behind(deployment, planned, only_plan=only_plan)
    if only_plan:
        report = deployment.report(planned)
    else:
        with working("Deploying") as look:
            report = deployment.apply(
                planned, tell=_teller(look, "done with"), listening=_teller(look, "listening:")
            )
    return replace(report, notes=(*notes, *report.notes))


def _check_not_behind(
    deployment: Deployment, planned: DeploymentPlan, *, only_plan: bool
) -> tuple[str, ...]:
    """Sentences on whether the branch is further on; what a deploy refuses, a plan only tells."""
    try:
        warning = deployment.check_not_behind(planned)
    except UsageError as error:
        if not only_plan:
            raise
        warning = str(error)
    return (warning,) if warning else ()


def _warnings(deployment: Deployment) -> tuple[str, ...]:
    known = deployment.revision.default_branch
    warnings = warnings_about(deployment.target, deployment.settings, known)
    out_of_reach = check_local_data(deployment.project, deployment.root)
    silent = [f"{told}."] if (told := check_webhook()) else []
    return (*warnings, *silent, *(f"S{one.subject[1:]} {one.message}." for one in out_of_reach))


def _teller(look: Look, what: str) -> Callable[[str], None]:
    """Tells of each flow as it is ready: in a bar on a terminal, in a line for a log."""
    numbers = count(1)

    def tell(name: str) -> None:
        look(what, Progress(seen=next(numbers)))
        if not sys.stderr.isatty():
            print(f"{what} {name}", file=sys.stderr, flush=True)

    return tell


def _print(report: Report, what: str = "") -> None:
    target = report.target
    what = what or f"{target.git_branch} to"
    title = f"{report.project}: {what} {target.metaflow_name}"
    print_table(HEAD, [row.cells for row in report.rows], title=title, empty="There is no flow.")
    print_lines(report.notes)


def _tell_merge(
    report: Report,
    deployment: Deployment,
    revision: Revision,
    *,
    comment: bool,
    as_json: bool,
) -> None:
    """What merging the pull request changes, and beside it what is deployed of its branch."""
    warnings = warnings_about_merge(deployment.root, revision)
    if newer := newer_head(deployment.root, revision):
        comment = False
        told = f"{revision.git_branch} is at commit {newer[:12]} now, whose own run comments."
        warnings = (*warnings, told)
    report = replace(report, notes=(*report.notes, *warnings))
    own = report_of_branch(
        deployment.there,
        project=report.project,
        target=target_of(revision.git_branch, deployment.settings),
        revision=revision,
    )
    if as_json:
        print_json({**report.to_json(), "merges": revision.git_branch, "own": own.to_json()})
        return
    title = merge_title(revision, deployment.target)
    _print(report, title)
    _print(own, "Its own deployment")
    summaries = [
        report.summary(title, part="merge"),
        own.summary("Its own deployment", spare=True),
    ]
    _publish(summaries, revision, comment=comment, create=True)


def _publish(
    summaries: Sequence[Summary], revision: Revision, *, comment: bool, create: bool
) -> None:
    """Tell the CI, if this runs in one."""
    print_lines(publish(summaries, revision, os.environ, comments=comment, create=create))
