"""What an event says of a change: always small, whatever happened (claim check)."""

import json
from typing import Final

from flowproject.changes.canonical import Json
from flowproject.changes.encoding import ascii_json, encode, encode_whole
from flowproject.changes.entry import FORMAT, Entry
from flowproject.changes.limits import PAYLOAD_LIMIT, VALUE_LIMIT

__all__ = ["METAFLOW_KEYS", "facts", "payload"]

METAFLOW_KEYS: Final = ("generated-by-metaflow", "id", "name", "timestamp", "utc_date")
"""Payload keys that every event has, because Metaflow puts them there."""

_ROOM_FOR_METAFLOW: Final = 1024
_SMALL: Final = 1024
_OPTIONAL: Final = ("sample", "columns", "previous", "value", "reason")


def payload(
    entry: Entry,
    *,
    payload_key: str,
    location: str,
    attempt: int = 1,
    first_seq: int = 0,
    turn_of: str = "",
) -> dict[str, Json]:
    """The payload of the event that tells of `entry`, under `PAYLOAD_LIMIT` bytes.

    `location` is where the journal keeps the entry, `attempt` is above 1 if a person replays it,
    `first_seq` is the oldest of the changes that are told together (default: it is one), and
    `turn_of` the flow whose turn it is, if it takes changes in order. What does not fit is left
    out, the least needed first, and its size is given instead: a run reads it from the journal.
    What is small stays, because leaving it out would not help. Whatever comes from data is
    encoded, so that a flow may map any key of it.
    """
    change = facts(entry, location=location, attempt=attempt, first_seq=first_seq)
    change |= {"turn_of": turn_of} if turn_of else {}
    value = encode_whole(entry.value)
    if _size(value) > VALUE_LIMIT:
        value = encode_whole(_left_out(entry.value))
    for name in _OPTIONAL:
        message = {"id": entry.id, payload_key: value, "change": encode(change)}
        if _size(message) < PAYLOAD_LIMIT - _ROOM_FOR_METAFLOW:
            return message
        if _size(encode(change[name])) > _SMALL:
            change[name] = _left_out(change[name])
    return {"id": entry.id, payload_key: value, "change": encode(change)}


def facts(entry: Entry, *, location: str, attempt: int, first_seq: int) -> dict[str, Json]:
    """What a run is told of a change, of whatever size; the arguments are those of `payload`."""
    return {
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
        "columns": entry.columns_change,
        "recorded_at": entry.recorded_at,
        "run": entry.run,
        "entry": location,
    }


def _left_out(value: Json) -> dict[str, Json]:
    return {"left_out_bytes": len(json.dumps(value))}


def _size(value: Json) -> int:
    return len(ascii_json(value))
