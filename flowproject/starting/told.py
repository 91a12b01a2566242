"""What a run is told: the changes in the events that started it, or that started a run before it.

A run that resumes another has no events. So each run notes what it was told, before it does
anything: the note is there even if the first step is killed before it has an artifact.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from metaflow import current

from flowproject.changes.encoding import decode

__all__ = ["Told", "events", "note", "told", "told_changes", "told_to"]

_CARRIER: Final = "METAFLOW_ARGO_EVENT_PAYLOAD_"
_NOTE: Final = "flowproject-told"
_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Told:
    """The changes that a run was started for, and the name in which it takes them.

    `run` is `Flow/id` of the first run, of which this one is the resumption; or of this one.
    """

    changes: list[dict[str, Any]]
    run: str


def told(first_step: str) -> Told:
    """What this run is told, the newest change first; no changes if it was started by hand."""
    changes = told_changes()
    if not current.origin_run_id:
        return Told(changes=changes, run=f"{current.flow_name}/{current.run_id}")
    origin = told_to(f"{current.flow_name}/{current.origin_run_id}", first_step)
    return Told(changes=changes or origin.changes, run=origin.run)


def told_changes() -> list[dict[str, Any]]:
    """The changes in the environment, as they were before they were encoded; newest first."""
    found: list[Any] = [event.get("change") for event in events("event")]
    return [decode(change) for change in found if _is_ours(change)]  # type: ignore[misc]  # an object each


def events(kind: str) -> list[dict[str, Any]]:
    """The payloads in the environment: of an `event`, or of the end of a `run`; newest first."""
    carried = (text for name, text in os.environ.items() if name.startswith(_CARRIER + kind + "_"))
    found = [payload for payload in map(_parsed, carried) if isinstance(payload, dict)]
    return sorted(found, key=_timestamp, reverse=True)


def note(this: Told) -> None:
    """Note what this run was told, beside its task, for runs that resume it."""
    from metaflow.metadata_provider import MetaDatum
    from metaflow.system_context import system_context

    datum = MetaDatum(
        field=_NOTE,
        value=json.dumps({"v": _FORMAT, "run": this.run, "changes": this.changes}),
        type=_NOTE,
        tags=[f"attempt_id:{current.retry_count}"],
    )
    system_context.metadata.register_metadata(
        current.run_id, current.step_name, current.task_id, [datum]
    )


def told_to(run: str, first_step: str) -> Told:
    """What another run of the flow was told, by its note or by the artifacts of a cloned step."""
    for task in _tasks(f"{run}/{first_step}"):
        if text := task.metadata_dict.get(_NOTE):
            noted = json.loads(text)
            return Told(changes=noted["changes"], run=noted["run"])
        if "change_events" in task:
            claim = task["change_claim"].data if "change_claim" in task else {"run": run}
            return Told(changes=task["change_events"].data, run=claim["run"])
    return Told(changes=[], run=run)


def _parsed(text: str) -> Any:
    """The payload of an event; None for events of others, which need not be JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _timestamp(payload: dict[str, Any]) -> float:
    """When an event was sent; 0 for events of others that say nothing of the kind."""
    said = payload.get("timestamp")
    return said if isinstance(said, int | float) else 0


def _is_ours(change: object) -> bool:
    return isinstance(change, dict) and change.keys() >= {"id", "sensor", "seq", "entry"}


def _tasks(step: str) -> Iterator[Any]:
    """The tasks of a step; none if its run ended before there was one."""
    from metaflow import Step
    from metaflow.exception import MetaflowNotFound

    try:
        yield from Step(step, _namespace_check=False)
    except MetaflowNotFound:
        return
