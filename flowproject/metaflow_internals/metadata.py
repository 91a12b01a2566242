"""Reads Metaflow's metadata of runs and tasks, and notes there what we keep beside a task.

Uses `metadata_provider.MetaDatum`, `system_context.metadata`, the client's `_namespace_check`, the
artifact `_success`, `path_components`, and the note `execution-triggers`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow import Run, Step, Task, current
from metaflow.metadata_provider import MetaDatum
from metaflow.system_context import system_context

__all__ = [
    "find_run",
    "find_step",
    "find_task",
    "has_failed",
    "metadata_place",
    "note",
    "note_triggers",
    "step_name",
]


def find_run(path: str) -> Any:
    """The run `Flow/id` of any user; raises `MetaflowNotFound` if there is none.

    Without the check of the namespace: that of the client is the user's own, and a change may have
    been taken by the run of somebody else.
    """
    return Run(path, _namespace_check=False)


def find_step(path: str) -> Any:
    """The step `Flow/id/step` of a run of any user, as `find_run`."""
    return Step(path, _namespace_check=False)


def find_task(path: str) -> Any:
    """The task `Flow/id/step/id` of a run of any user, as `find_run`."""
    return Task(path, _namespace_check=False)


def has_failed(task: Any) -> bool:
    """Whether the task's last attempt ended with an error; not, if it goes on or was killed."""
    # `task.successful` is false for both: only an attempt that came to its end has the artifact.
    return "_success" in task and not task["_success"].data


def step_name(task: Any) -> str:
    """The name of the step that the task is of."""
    # Not by `task.parent`, which would ask the metadata service.
    return str(task.path_components[2])


def metadata_place() -> str:
    """Where this process records runs, in the form that `metaflow.metadata()` takes."""
    return str(system_context.metadata.metadata_str())


def note(name: str, text: str) -> None:
    """Note a text beside the task that runs, for whoever asks its `metadata_dict`."""
    # Metaflow shows what the newest attempt noted, and knows an attempt by this tag.
    datum = MetaDatum(field=name, value=text, type=name, tags=[f"attempt_id:{current.retry_count}"])
    system_context.metadata.register_metadata(
        current.run_id, current.step_name, current.task_id, [datum]
    )


def note_triggers(events: Sequence[Mapping[str, object]]) -> None:
    """Note the events that started the run, so that the client's `Run.trigger` has them."""
    note("execution-triggers", json.dumps(events))
