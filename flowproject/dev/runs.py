"""What the loop reads of a finished run, through the Metaflow client.

These calls block: the loop makes them in one thread of their own.
"""

from collections.abc import Mapping
from typing import Any

from flowproject.flowfiles import FlowFile

__all__ = ["end_task_id", "read_ticks"]


def end_task_id(flow: FlowFile, run_id: str) -> str:
    """The id of the task that ended the run."""
    return str(_run(flow, run_id)[flow.end_step].task.id)


def read_ticks(flow: FlowFile, run_id: str) -> list[Mapping[str, Any]]:
    """What the sensors of the run concluded; an empty list if the flow has no sensors.

    A run that failed has them too: the sensors that worked are worth telling. They are looked for
    in the first task of each step, for a foreach has thousands.
    """
    for step in _run(flow, run_id):
        task = next(iter(step), None)
        ticks = task["ticks"].data if task and "ticks" in task else None
        if isinstance(ticks, list) and all(_is_tick(tick) for tick in ticks):
            return ticks
    return []


def _is_tick(value: object) -> bool:
    """Whether this is a tick; another flow may call something else of its own `ticks`."""
    return isinstance(value, Mapping) and value.keys() >= {"v", "sensor", "outcome", "reason"}


def _run(flow: FlowFile, run_id: str) -> Any:  # Metaflow has no types
    import metaflow

    # The process may have been started elsewhere: runs are where the flow's own process put them.
    metaflow.metadata(flow.metadata)
    metaflow.namespace(None)
    return metaflow.Run(f"{flow.name}/{run_id}", _namespace_check=False)
