"""What a run is told: the changes in the events that started it, or that started a run before it.

A run that resumes another has no events. So each run notes what it was told, before it does
anything: the note is there even if the first step is killed before it has an artifact.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from metaflow import current

from flowproject.changes.payload import decode
from flowproject.errors import FlowError
from flowproject.metaflow_internals import metadata
from flowproject.metaflow_internals.argo import EVENT_VARIABLE
from flowproject.metaflow_internals.exceptions import MetaflowNotFound

__all__ = ["Told", "events", "note", "noted", "told", "told_changes", "told_to"]

_NOTE: Final = "flowproject-told"
_FORMAT: Final = 1
_LONGEST_SHOWN: Final = 120


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
    """The changes in the environment, as they were before they were encoded; newest first.

    Raises:
        FlowError: if one of them is none that a sensor could have sent.
    """
    found: list[Any] = [event.get("change") for event in events("event")]
    changes: list[Any] = [decode(change) for change in found if _is_ours(change)]
    for change in changes:
        _check(change)
    return changes


def events(kind: str) -> list[dict[str, Any]]:
    """The payloads in the environment: of an `event`, or of the end of a `run`; newest first."""
    carried = (
        text for name, text in os.environ.items() if name.startswith(EVENT_VARIABLE + kind + "_")
    )
    found = [payload for payload in map(_parsed, carried) if isinstance(payload, dict)]
    return sorted(found, key=_timestamp, reverse=True)


def note(this: Told) -> None:
    """Note what this run was told, beside its task, for runs that resume it."""
    metadata.note(_NOTE, json.dumps({"v": _FORMAT, "run": this.run, "changes": this.changes}))


def told_to(run: str, first_step: str) -> Told:
    """What another run of the flow was told, by its note or by the artifacts of a cloned step."""
    for task in _tasks(f"{run}/{first_step}"):
        if known := noted(task):
            return known
        if "change_events" in task:
            claim = task["change_claim"].data if "change_claim" in task else {"run": run}
            return Told(changes=task["change_events"].data, run=claim["run"])
    return Told(changes=[], run=run)


def noted(task: Any) -> Told | None:
    """What the run of a first step's task noted that it was told; None if it noted nothing."""
    text = task.metadata_dict.get(_NOTE)
    if not text:
        return None
    known = json.loads(text)
    return Told(changes=known["changes"], run=known["run"])


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


def _check(change: dict[str, Any]) -> None:
    """Nothing, if it is as sensors send them: anybody may send an event of the same name."""
    wrong = [name for name, is_right in _FORM.items() if not is_right(change.get(name))]
    wrong += [name for name in _ANY_VALUE if name not in change]
    if wrong:
        name = wrong[0]
        told = f"{name} {change[name]!r}"[:_LONGEST_SHOWN] if name in change else f"no {name!r}"
        raise FlowError(
            f"An event tells of a change with {told}, so no sensor has sent it",
            where=f"Change {change['id']!r} of sensor {change['sensor']!r}"[:_LONGEST_SHOWN],
            allowed="What flowproject sends has " + ", ".join((*_FORM, *_ANY_VALUE)),
            fix="Look who else sends events of this name; `flowproject history` lists the changes",
        )


def _is_name(value: object) -> bool:
    """Whether it may be part of the name of an object of the journal."""
    if not isinstance(value, str) or value in ("", ".", ".."):
        return False
    return value.isprintable() and "/" not in value and "\\" not in value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number_or_none(value: object) -> bool:
    return value is None or _is_number(value)


def _is_counts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, int) for one in value.values())


_FORM: Final[dict[str, Callable[[object], bool]]] = {
    "id": _is_name,
    "project": _is_name,
    "branch": _is_name,
    "sensor": _is_name,
    "seq": _is_number,
    "first_seq": _is_number_or_none,
    "attempt": _is_number_or_none,
    "counts": _is_counts,
}
_ANY_VALUE: Final = ("reason", "value", "previous")


def _tasks(step: str) -> Iterator[Any]:
    """The tasks of a step; none if its run ended before there was one."""
    try:
        yield from metadata.find_step(step)
    except MetaflowNotFound:
        return
