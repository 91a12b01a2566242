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

    A run that failed has them too: the sensors that worked are worth telling.
    """
    for step in _run(flow, run_id):
        for task in step:
            if "ticks" in task:
                ticks = task["ticks"].data
                return [tick for tick in ticks if isinstance(tick, Mapping)]
    return []


def _run(flow: FlowFile, run_id: str) -> Any:  # Metaflow has no types
    import metaflow

    # The process may have been started elsewhere: runs are where the flow's own process put them.
    metaflow.metadata(flow.metadata)
    metaflow.namespace(None)
    return metaflow.Run(f"{flow.name}/{run_id}", _namespace_check=False)
