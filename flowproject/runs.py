"""Asks Metaflow's client about runs: their state, what steps kept, how a change fared.

These calls block, and the client has state for the whole process: one thread makes them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Final, Literal

from flowproject.changes.canonical import Json
from flowproject.metaflow_internals.metadata import find_run, has_failed, step_name
from flowproject.secrecy import safe
from flowproject.sensing import Chain
from flowproject.starting.run_start import noted_start

__all__ = [
    "RunOutcome",
    "RunState",
    "StepOutcome",
    "delivery_of",
    "ending_of",
    "in_words",
    "is_tick",
    "kept_of",
    "logs_of",
    "outcome_of",
    "outcomes_of",
    "state_of",
    "steps_of",
    "tasks_of",
]

RunState = Literal["succeeded", "failed", "unfinished"]
_KEPT: Final = ("change_events", "change_claim", "ticks")
# Of so many steps the log is read: each is a file of the datastore, and the page waits for it.
_LOGGED_TASKS: Final = 20
# Among so many it is looked which resumed a run that did not succeed: each is a request to the
# metadata service, and who resumes a run does so soon.
_NEWER_RUNS: Final = 200
_ASKED_TASKS: Final = 100
_LONGEST_ERROR: Final = 200


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What became of a run that took a change, and of the run that resumed it last."""

    run: str
    """`Flow/id`, as the receipt has it."""
    state: Literal["succeeded", "failed", "running", "killed", "unfinished"]
    """`unfinished` where nobody knows whether it goes on or was killed."""
    resumed_by: str = ""
    """The run whose state this is, if it was resumed."""
    step: str = ""
    """The step that failed, or in which it is or was killed."""
    error: str = ""
    """The first line of the step's error."""

    @property
    def newest(self) -> str:
        """The run to be resumed, if any."""
        return self.resumed_by or self.run

    @property
    def is_over_and_failed(self) -> bool:
        """Whether its work is not done, and nobody does it."""
        return self.state in ("failed", "killed")

    @property
    def in_words(self) -> str:
        """Its state in a few words; empty if it succeeded or goes on."""
        step = f" in step {self.step!r}" if self.step else ""
        words = {
            # The task of a step that was killed has no time to note an error.
            "failed": f"run failed{step}: {self.error or 'it ended without a word'}",
            "killed": f"run was killed{step}",
            "unfinished": "run has not finished",
        }
        return words.get(self.state, "")

    def to_json(self) -> dict[str, Json]:
        """The outcome as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What became of one step of a run: of all its tasks, if it has several."""

    name: str
    state: Literal["succeeded", "failed", "unfinished"]
    """`unfinished` is a step that goes on or was killed."""
    tasks: int
    error: str = ""
    """The first line of what the first of its tasks that failed raised."""


def steps_of(run: Any) -> list[StepOutcome]:
    """What became of the steps that a run has come to, in their order."""
    return [_step_outcome(step) for step in sorted(run, key=lambda step: step.created_at)]


def _step_outcome(step: Any) -> StepOutcome:
    # A foreach has thousands, and each is asked for.
    tasks = list(islice(step, _ASKED_TASKS))
    failed = next((task for task in tasks if has_failed(task)), None)
    if failed:
        error = _error(failed.exception)
        return StepOutcome(name=str(step.id), state="failed", tasks=len(tasks), error=error)
    is_over = bool(tasks) and all(task.finished for task in tasks)
    state: Literal["succeeded", "unfinished"] = "succeeded" if is_over else "unfinished"
    return StepOutcome(name=str(step.id), state=state, tasks=len(tasks))


def outcomes_of(told: Chain, known_here: Callable[[], Mapping[str, str]]) -> list[RunOutcome]:
    """What became of the runs that took a change, of each flow the newest one.

    `known_here` is what this machine knows of runs that Metaflow calls unfinished: `running`,
    `failed` or `killed`. A run that Metaflow does not know is left out.
    """
    # A replay has the same change taken again: the older run is no longer what counts.
    newest = {receipt.flow: receipt.run for receipt in told.receipts}
    found = (outcome_of(run, known_here) for run in dict.fromkeys(newest.values()))
    return [one for one in found if one]


def delivery_of(told: Chain, outcomes: Sequence[RunOutcome]) -> dict[str, Json]:
    """What became of a change as plain JSON, with the runs that took it; as `in_words` tells it."""
    return {
        **told.to_json(),
        "state": _state_in_all(told, outcomes),
        "in_words": in_words(told, outcomes),
        "runs": [one.to_json() for one in outcomes],
    }


def in_words(told: Chain, outcomes: Sequence[RunOutcome]) -> str:
    """What became of a change in a few words: where it is, and how the runs that took it fared."""
    bad = [one for one in outcomes if one.in_words]
    if not bad:
        return told.in_words
    start = told.in_words
    if told.state == "delivered":  # who only reads this would think that all is well
        start = "taken" + start.removeprefix("delivered")
    several = len(outcomes) > 1
    return ", ".join(
        [start, *(f"{one.run}: {one.in_words}" if several else one.in_words for one in bad)]
    )


def _state_in_all(told: Chain, outcomes: Sequence[RunOutcome]) -> str:
    """The state of a change in one term: delivered is only what no run has failed for."""
    if told.state != "delivered":
        return told.state
    states = {one.state for one in outcomes}
    worst = next((state for state in _NOT_DONE if state in states), None)
    return _NOT_DONE[worst] if worst else told.state


_NOT_DONE: Final = {
    "failed": "run failed",
    "killed": "run killed",
    "unfinished": "run unfinished",
}
"""The states of runs that have not done their work, the worst first, as states of a change."""


def outcome_of(run: str, known_here: Callable[[], Mapping[str, str]]) -> RunOutcome | None:
    """What became of a run, written `Flow/id`, or of its newest resumption.

    `known_here`: as in `outcomes_of`. None if Metaflow does not know the run.
    """
    try:
        found = find_run(run)
        resumed = None if state_of(found) == "succeeded" else _resumption(found)
        if not resumed:
            return ending_of(found, known_here)
        ending = ending_of(resumed, known_here)
    except Exception:  # noqa: BLE001  # of whichever service and storage; the journal is what counts
        return None
    return replace(ending, run=run, resumed_by=ending.run)


def ending_of(run: Any, known_here: Callable[[], Mapping[str, str]]) -> RunOutcome:
    """What became of this very run of Metaflow's, whether or not another has resumed it."""
    name, state = str(run.pathspec), state_of(run)
    step, error = ("", "") if state == "succeeded" else _failure(run)
    told: str = state if state != "unfinished" else known_here().get(name, state)
    return RunOutcome(
        run=name,
        state=told,  # type: ignore[arg-type]  # what this machine knows is one of these words
        step=step,
        error=error,
    )


def _resumption(run: Any) -> Any | None:
    """The newest run that resumes this one, or that resumes a resumption of it."""
    newer = []
    for other in islice(run.parent, _NEWER_RUNS):
        if other.created_at <= run.created_at:
            break
        newer.append(other)
    line, newest = {str(run.pathspec)}, None
    for other in reversed(newer):
        with suppress(StopIteration):  # Metaflow's, of a run that has no step yet
            if other.origin_pathspec in line:
                line.add(str(other.pathspec))
                newest = other
    return newest


def _failure(run: Any) -> tuple[str, str]:
    """The step in which a run failed, with its error; of one that did not, the step it came to."""
    step = ""
    # The newest first: what failed was the last to run, and a run may have hundreds of tasks.
    for step_of_run in run:
        step = step or str(step_of_run.id)
        for task in step_of_run:
            if has_failed(task):
                return str(step_of_run.id), _error(task.exception)
    return step, ""


def _error(exception: Any) -> str:
    """The first line of what a task raised, with its type."""
    if exception is None:
        return ""
    kind = str(getattr(exception, "type", "")).removeprefix("builtins.")
    text = str(getattr(exception, "exception", exception)).strip()
    first = next(iter(text.splitlines()), "")
    return safe(": ".join(filter(None, (kind, first))))[:_LONGEST_ERROR]


def state_of(run: Any) -> RunState:  # Metaflow has no types
    """`unfinished` is a run that goes on or was killed: Metaflow can't tell these apart."""
    # To Metaflow a run that failed has not finished, either: its tasks know more.
    if run.successful:
        return "succeeded"
    failed = any(has_failed(task) for step in run for task in step)
    return "failed" if failed else "unfinished"


def kept_of(run: Any) -> dict[str, Any]:
    """What a run kept of the changes that it was told of, of its claim, and of its ticks."""
    # In its first step a run has no artifact yet, and if it was killed there, it never has: what it
    # was told it noted before.
    kept = _artifacts_of(run, _KEPT)
    first = next(tasks_of(run), None) if "change_events" not in kept else None
    if first and (this := noted_start(first)):
        kept["change_events"] = this.changes
    return kept


def _artifacts_of(run: Any, names: Collection[str]) -> dict[str, Any]:
    """What the first task that has it kept of each; every step hands it on to the next."""
    kept: dict[str, Any] = {}
    for step in run:
        for task in step:
            kept |= {name: task[name].data for name in names if name not in kept and name in task}
            if kept.keys() == set(names):
                return kept
    return kept


def tasks_of(run: Any) -> Iterator[Any]:
    """The first task of each step, in the order of the steps: a foreach has thousands."""
    for step in sorted(run, key=lambda step: step.created_at):
        if task := next(iter(step), None):
            yield task


def logs_of(run: Any) -> str:
    """What the first task of each step has printed, with the name of its step before each line."""
    tasks = [task for task, _ in zip(tasks_of(run), range(_LOGGED_TASKS), strict=False)]
    return "".join(
        f"[{step_name(task)}] {line}\n"
        for task in tasks
        for line in (task.stdout + task.stderr).splitlines()
    )


def is_tick(value: object) -> bool:
    """Whether this is a tick; another flow may call something else of its own `ticks`."""
    return isinstance(value, Mapping) and value.keys() >= {"v", "sensor", "outcome", "reason"}
