"""What an event says of a change: always small, whatever happened (claim check)."""

import json
from typing import Final

from flowproject.changes.canonical import Json
from flowproject.changes.entry import FORMAT, Entry

__all__ = ["METAFLOW_KEYS", "PAYLOAD_LIMIT", "payload"]

PAYLOAD_LIMIT: Final = 32 * 1024
"""Bytes that a payload stays under; Argo Events refuses bodies of more than a megabyte."""

METAFLOW_KEYS: Final = ("generated-by-metaflow", "id", "name", "timestamp", "utc_date")
"""Payload keys that every event has, because Metaflow puts them there."""

_ROOM_FOR_METAFLOW: Final = 1024
_SMALL: Final = 1024
_OPTIONAL: Final = ("sample", "previous", "value", "reason")


def payload(
    entry: Entry, *, payload_key: str, location: str, attempt: int = 1, first_seq: int = 0
) -> dict[str, Json]:
    """The payload of the event that tells of `entry`, under `PAYLOAD_LIMIT` bytes.

    `location` is where the journal keeps the entry, `attempt` is above 1 if a person replays it,
    and `first_seq` is the oldest of the changes that are told together (default: it is one). What
    does not fit is left out, the least needed first, and its size is given instead: a run reads it
    from the journal. What is small stays, because leaving it out would not help.
    """
    change: dict[str, Json] = {
        "v": FORMAT,
        "id": entry.id,
        "project": entry.project,
        "branch": entry.branch,
        "sensor": entry.sensor,
        "seq": entry.seq,
        "first_seq": first_seq or entry.seq,
        "attempt": attempt,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "value": entry.value,
        "previous": entry.previous,
        "counts": {**entry.counts},
        "total": entry.total,
        "sample": entry.sample,
        "recorded_at": entry.recorded_at,
        "run": entry.run,
        "entry": location,
    }
    for left_out in _OPTIONAL:
        message = _message(entry, change, payload_key)
        if _size(message) < PAYLOAD_LIMIT - _ROOM_FOR_METAFLOW:
            return message
        if (size := _size(change[left_out])) > _SMALL:
            change[left_out] = {"left_out_bytes": size}
    return _message(entry, change, payload_key)


def _message(entry: Entry, change: dict[str, Json], payload_key: str) -> dict[str, Json]:
    return {"id": entry.id, payload_key: change["value"], "change": change}


def _size(value: Json) -> int:
    # Metaflow sends ASCII: one character can take twelve bytes on the wire.
    return len(json.dumps(value))
