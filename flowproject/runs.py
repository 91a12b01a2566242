"""What Metaflow's client says of one run: its state, and what its steps kept.

These calls block, and the client has state for the whole process: one thread makes them.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

__all__ = ["RunState", "artifacts_of", "is_tick", "logs_of", "state_of", "tasks_of"]

RunState = Literal["succeeded", "failed", "unfinished"]
_LOGGED_TASKS: Final = 20


def state_of(run: Any) -> RunState:  # Metaflow has no types
    """`unfinished` is a run that goes on or was killed: Metaflow can't tell these apart.

    To Metaflow a run that failed has not finished, either: its tasks know more.
    """
    if run.successful:
        return "succeeded"
    tasks = (task for step in run for task in step)
    failed = any("_success" in task and not task["_success"].data for task in tasks)
    return "failed" if failed else "unfinished"


def artifacts_of(run: Any, names: Collection[str]) -> dict[str, Any]:
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
        f"[{task.path_components[2]}] {line}\n"
        for task in tasks
        for line in (task.stdout + task.stderr).splitlines()
    )


def is_tick(value: object) -> bool:
    """Whether this is a tick; another flow may call something else of its own `ticks`."""
    return isinstance(value, Mapping) and value.keys() >= {"v", "sensor", "outcome", "reason"}
