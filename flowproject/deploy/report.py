"""Reports what a deploy does with each flow: to people in a table, to machines in JSON, to a CI."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flowproject.contract import check_schedules, foreign_events
from flowproject.deploy.apply import Outcome
from flowproject.deploy.branches import Target, objects_of_branch
from flowproject.deploy.compilation import CompilationFailure
from flowproject.deploy.objects import TEMPLATE, DeployedObject
from flowproject.deploy.plan import Action, DeploymentPlan
from flowproject.deploy.revision import Revision
from flowproject.deploy.summary import Summary
from flowproject.errors import DeployError, FlowError

__all__ = [
    "HEAD",
    "Report",
    "Row",
    "merge_title",
    "of_dry_run",
    "of_outcomes",
    "of_plan",
    "of_refusals",
    "report_of_branch",
]

HEAD: Final = ("flow", "state", "what")
_PAUSED: Final = "Schedules are paused on this branch: see schedule_branches under [deploy]."
_NOTHING: Final = "Nothing was deployed."
_PART_FAILED: Final = "What failed was not deployed; the rest is live."
_ALL_FAILED: Final = "No flow was deployed whole; the next plan names what is half-done."
_AGAIN: Final = "When what the reasons name is mended, deploy again: it completes what is missing."


@dataclass(frozen=True, kw_only=True)
class Row:
    """One flow."""

    flow: str
    state: str
    what: str = ""

    @property
    def cells(self) -> tuple[str, str, str]:
        """The row of the table."""
        return self.flow, self.state, self.what


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is planned for a branch, or what became of the plan."""

    project: str
    target: Target
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return {
            "v": 1,
            "project": self.project,
            "git_branch": self.target.git_branch,
            "branch": self.target.metaflow_name,
            "production": self.target.production,
            "schedules": self.target.schedules,
            "flows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
            "exit_code": self.exit_code,
        }

    def summary(self, title: str, *, part: str = "push", spare: bool = False) -> Summary:
        """The report for the CI's page and the comment of a pull request."""
        return Summary(
            part=part,
            spare=spare,
            project=self.project,
            title=f"{title}: {self.project}, {self.target.metaflow_name}",
            head=HEAD,
            rows=tuple(row.cells for row in self.rows),
            notes=self.notes,
            failed=bool(self.exit_code),
        )


def of_refusals(
    project: str,
    target: Target,
    plan: DeploymentPlan,
    *,
    with_: Sequence[str] = (),
) -> Report:
    """What to say when some flows don't compile, or break the contract.

    `with_` are the decorators that every step gets: a suspect when flows fail for one reason.
    """
    rows = [
        Row(flow=one.path.name, state="does not compile", what=one.reason)
        if isinstance(one, CompilationFailure)
        else Row(flow=one.flow.name, state="not tried", what="it compiles")
        for one in plan.results
    ]
    # Each of these sentences begins with the flow's name.
    rows += [Row(flow=one.partition(" ")[0], state="error", what=one) for one in plan.broken]
    failed = plan.failures
    reasons = Counter(one.reason.removeprefix(f"{one.path.name}: ") for one in failed)
    told = f"Every step of every flow gets {', '.join(map(repr, with_))}, by `with` or --with."
    suspect = (
        (told,) if with_ and max(reasons.values(), default=0) >= min(2, len(plan.results)) else ()
    )
    return Report(
        project=project,
        target=target,
        rows=tuple(rows),
        notes=(*suspect, _NOTHING),
        exit_code=FlowError.exit_code,
    )


def of_plan(project: str, target: Target, actions: Sequence[Action]) -> Report:
    """What would be done."""
    rows = tuple(Row(flow=one.flow, state=one.state, what="; ".join(one.why)) for one in actions)
    return Report(project=project, target=target, rows=rows, notes=_notes(target, actions))


def of_dry_run(
    project: str, target: Target, actions: Sequence[Action], refused: Mapping[str, str]
) -> Report:
    """What to say when the cluster would not take some flows, for the reasons in `refused`."""
    rows = tuple(
        Row(flow=one.flow, state="refused", what=refused[one.flow])
        if one.flow in refused
        else Row(flow=one.flow, state=one.state, what="; ".join(one.why))
        for one in actions
    )
    return Report(
        project=project,
        target=target,
        rows=rows,
        notes=(_NOTHING, *_notes(target, actions)),
        exit_code=DeployError.exit_code,
    )


def of_outcomes(project: str, target: Target, outcomes: Sequence[Outcome]) -> Report:
    """What was done, and what was not."""
    rows = tuple(
        Row(
            flow=one.action.flow,
            state=one.result,
            what=one.reason
            or "; ".join(
                (one.action.state, *one.action.why)
                if one.action.why and one.result == "deployed"
                else one.action.why
            ),
        )
        for one in outcomes
    )
    failed = [one for one in outcomes if not one.ok]
    live = any(one.result in {"deployed", "unchanged"} for one in outcomes)
    again = (f"{_PART_FAILED if live else _ALL_FAILED} {_AGAIN}",)
    return Report(
        project=project,
        target=target,
        rows=rows,
        notes=(again if failed else ()) + _notes(target, [one.action for one in outcomes]),
        exit_code=DeployError.exit_code if failed else 0,
    )


def _notes(target: Target, actions: Sequence[Action]) -> tuple[str, ...]:
    # What is odd about a schedule matters only where it runs.
    paused = () if target.schedules else (_PAUSED,)
    foreign = () if target.production else _foreign(target, actions)
    odd = _odd_schedules(actions) if target.schedules else ()
    return paused + odd + foreign


def _odd_schedules(actions: Sequence[Action]) -> tuple[str, ...]:
    flows = [one.compiled.flow for one in actions if one.compiled]
    return tuple(f"{one.message}." for one in check_schedules(flows, datetime.now(UTC)))


def _foreign(target: Target, actions: Sequence[Action]) -> tuple[str, ...]:
    """A sentence on what events from elsewhere do on a branch that is not production."""
    flows = [one.compiled.flow for one in actions if one.compiled]
    waits = [
        f"{flow.name} ({', '.join(events)})" for flow in flows if (events := foreign_events(flow))
    ]
    if not waits:
        return ()
    told = (
        "Events that come from elsewhere start flows on this branch, too: {}. To leave that to "
        "production: `foreign_event_branches = []` under [deploy]."
        if target.foreign_events
        else "Triggers that wait for events from elsewhere are left out on this branch: {}. See "
        "foreign_event_branches under [deploy]."
    )
    return (told.format("; ".join(waits)),)


def merge_title(revision: Revision, target: Target) -> str:
    """What the plan of a merge is called."""
    where = "production" if target.production else "its deployment"
    return f"Merging {revision.git_branch} into {target.git_branch} changes {where}"


def report_of_branch(
    found: Sequence[DeployedObject], *, project: str, target: Target, revision: Revision
) -> Report:
    """What is deployed of the pull request's own branch now, and since which commit.

    Read, not compiled: what the push changes there is told by the job that deploys it.
    """
    there = objects_of_branch(found, project=project, branch=target.metaflow_name)
    templates = sorted((one for one in there if one.kind == TEMPLATE), key=lambda one: one.flow)
    rows = tuple(
        Row(flow=one.flow, state="deployed", what=_since(one, revision)) for one in templates
    )
    nothing = f"Nothing of {target.git_branch} is deployed here, or not yet: its push does that."
    return Report(project=project, target=target, rows=rows, notes=() if rows else (nothing,))


def _since(one: DeployedObject, revision: Revision) -> str:
    commit = one.annotations.get("flowproject/git_commit", "")
    if not commit:
        return "by a commit that is not known"
    same = ", which this is about" if commit == revision.head else ""
    return f"last changed by commit {commit[:12]}{same}"
