"""Reads what started a run: changes and values in its events, or the note of the run it resumes.

A run that resumes another has no events. So each run notes what it was told, before it does
anything. An event's value for a `Parameter` comes as text, encoded, and is decoded before the
declared type reads it.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from metaflow import JSONTypeClass, current

from flowproject.changes.canonical import dumps
from flowproject.changes.payload import decode, decode_text
from flowproject.errors import FlowError
from flowproject.metaflow_internals import metadata
from flowproject.metaflow_internals.argo import EVENT_VARIABLE
from flowproject.metaflow_internals.exceptions import MetaflowNotFound
from flowproject.metaflow_internals.flows import convert_parameter, is_plain_parameter

__all__ = [
    "RunStart",
    "decode_parameter",
    "event_changes",
    "event_payloads",
    "note_start",
    "noted_start",
    "read_start",
    "start_of",
]

_NOTE: Final = "flowproject-told"
_FORMAT: Final = 1
_LONGEST_SHOWN: Final = 120


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """Holds the changes that a run was started for, and the name in which it takes them.

    `run` is `Flow/id` of the first run, of which this one is the resumption; or of this one.
    """

    changes: list[dict[str, Any]]
    run: str


def read_start(first_step: str) -> RunStart:
    """Read what this run is told, the newest change first; nothing if it was started by hand."""
    changes = event_changes()
    if not current.origin_run_id:
        return RunStart(changes=changes, run=f"{current.flow_name}/{current.run_id}")
    # Claims are in the name of the first run: who resumes it goes on with what that took.
    origin = start_of(f"{current.flow_name}/{current.origin_run_id}", first_step)
    return RunStart(changes=changes or origin.changes, run=origin.run)


def event_changes() -> list[dict[str, Any]]:
    """Read the changes in the environment, as they were before they were encoded; newest first.

    Raises:
        FlowError: if one of them is none that a sensor could have sent.
    """
    # Anybody may send events to the bus, and not all that start a flow are of a sensor.
    found: list[Any] = [event.get("change") for event in event_payloads("event")]
    changes: list[Any] = [decode(change) for change in found if _is_ours(change)]
    for change in changes:
        _check(change)
    return changes


def event_payloads(kind: str) -> list[dict[str, Any]]:
    """Read the payloads in the environment: of an `event`, or of a `run`'s end; newest first."""
    carried = (
        text for name, text in os.environ.items() if name.startswith(EVENT_VARIABLE + kind + "_")
    )
    found = [payload for payload in map(_parsed, carried) if isinstance(payload, dict)]
    return sorted(found, key=_timestamp, reverse=True)


def note_start(this: RunStart) -> None:
    """Note what this run was told, beside its task, for runs that resume it."""
    metadata.note(_NOTE, json.dumps({"v": _FORMAT, "run": this.run, "changes": this.changes}))


def start_of(run: str, first_step: str) -> RunStart:
    """Read what another run was told, by its note or by the artifacts of a cloned step."""
    for task in _tasks(f"{run}/{first_step}"):
        if known := noted_start(task):
            return known
        # A step that was cloned from the run before has its artifacts, and no note of its own.
        if "change_events" in task:
            claim = task["change_claim"].data if "change_claim" in task else {"run": run}
            return RunStart(changes=task["change_events"].data, run=claim["run"])
    return RunStart(changes=[], run=run)


def noted_start(task: Any) -> RunStart | None:
    """Read what the run of a first step's task noted that it was told; None if nothing."""
    text = task.metadata_dict.get(_NOTE)
    if not text:
        return None
    known = json.loads(text)
    return RunStart(changes=known["changes"], run=known["run"])


def _parsed(text: str) -> Any:
    """Parse the payload of an event; None for events of others, which need not be JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _timestamp(payload: dict[str, Any]) -> float:
    """Read when an event was sent; 0 for events of others that say nothing of the kind."""
    said = payload.get("timestamp")
    return said if isinstance(said, int | float) else 0


def _is_ours(change: object) -> bool:
    return isinstance(change, dict) and change.keys() >= {"id", "sensor", "seq", "entry"}


def _check(change: dict[str, Any]) -> None:
    """Refuse a change that no sensor has sent: anybody may send an event of the same name."""
    # What stands here becomes names of objects in the journal and commands that people copy: a
    # forged event must not choose those.
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
    """List the tasks of a step; none if its run ended before there was one."""
    try:
        yield from metadata.find_step(step)
    except MetaflowNotFound:
        return


def decode_parameter(parameter: Any) -> None:
    """Let the command line decode what it is given for a `Parameter` of Metaflow's.

    What else a flow has for parameters is left alone: files, and configurations.
    """
    if is_plain_parameter(parameter):
        convert_parameter(parameter, _convert)


def _convert(declared: Any, value: Any, parameter: Any, context: Any) -> Any:
    """Convert a value by its declared type, decoded before."""
    is_json = isinstance(declared, JSONTypeClass)
    # What a person types is not encoded, and is left to the declared type.
    given = decode_text(value) if isinstance(value, str) else value
    if given is not value:
        if given is None:
            return None  # the command line takes the default, as it does without a value
        if is_json and not isinstance(given, str):
            return given
        text = given if isinstance(given, str) else dumps(given)
        return declared.convert(text, parameter, context)
    read = declared.convert(value, parameter, context)
    return decode(read) if is_json else read
