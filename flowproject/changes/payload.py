"""Says in an event what changed: always small (claim check), and inert wherever it passes.

A value that is mapped to a parameter goes through Go's templates, Argo's `{{...}}`, Kubernetes'
`$(...)` and a shell of Metaflow's. What is plain stays as it is; the rest is written as a text of
letters and digits, and read back in the run. ADR 0023 says why.
"""

import binascii
import json
import math
import re
from base64 import b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from flowproject.changes.canonical import Json, dumps

if TYPE_CHECKING:
    # Every step of every flow decodes its parameters, and needs no entry for it.
    from flowproject.changes.entry import Entry

__all__ = [
    "EVENT_LIMIT",
    "METAFLOW_KEYS",
    "PARAMETERS_LIMIT",
    "PAYLOAD_LIMIT",
    "PREFIX",
    "VALUE_LIMIT",
    "VARIABLE_LIMIT",
    "WORKFLOW_LIMIT",
    "ascii_json",
    "decode",
    "decode_text",
    "encode",
    "encode_whole",
    "facts",
    "payload",
]

METAFLOW_KEYS: Final = ("generated-by-metaflow", "id", "name", "timestamp", "utc_date")
"""Payload keys that every event has, because Metaflow puts them there."""

# Recorded on Argo Workflows 4.1.2 and Argo Events 1.9.11 (tests/unit/dev/recorded.json): what is
# larger fails there without a word of why, so `check` and the local loop refuse it before.
PAYLOAD_LIMIT: Final = 64 * 1024
"""Of the payload of an event of ours, which stays under it whatever happened."""

VALUE_LIMIT: Final = 45_000
"""Of the value under a sensor's `payload_key`: a text of 30 KB, encoded."""

EVENT_LIMIT: Final = 786_000
"""Of the body of an event: base64 in a message of the bus, which holds 1 MiB. Above: 500."""

VARIABLE_LIMIT: Final = 128 * 1024 - 1
"""Of an environment variable or an argument, its name included: Linux allows no more."""

PARAMETERS_LIMIT: Final = 90_000
"""Of all parameters of a flow together: as base64 they are one argument of its first pod."""

WORKFLOW_LIMIT: Final = 500_000
"""Of all parameters of a Workflow together, payloads included."""

PREFIX: Final = "flowproject-1."
"""What an encoded value begins with; URL-safe base64 of its JSON follows."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9 ._,:/+@=-]*")
"""No sign of a shell, of a template or of JSON, and nothing outside ASCII."""

_EXACT: Final = 2**53
"""Integers up to here are themselves as 64-bit floats, which Go makes of every number."""

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_ACTIVE: Final = {ord("{"): r"\u007b", ord("$"): r"\u0024", 0x7F: r"\u007f"}

_FORMAT: Final = 1
_ROOM_FOR_METAFLOW: Final = 1024
_SMALL: Final = 1024
_OPTIONAL: Final = ("version", "sample", "columns", "previous", "value", "reason")


def payload(
    entry: "Entry",
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
    # The value stands twice: under its own key for flows that map it, and in the change.
    if _size(value) > VALUE_LIMIT:
        value = encode_whole(_left_out(entry.value))
    # One at a time, so that no more is left out than must be.
    for name in _OPTIONAL:
        message = {"id": entry.id, payload_key: value, "change": encode(change)}
        if _size(message) < PAYLOAD_LIMIT - _ROOM_FOR_METAFLOW:
            return message
        # Its size is given in its place, which takes some room as well.
        if name in change and _size(encode(change[name])) > _SMALL:
            change[name] = _left_out(change[name])
    return {"id": entry.id, payload_key: value, "change": encode(change)}


def facts(entry: "Entry", *, location: str, attempt: int, first_seq: int) -> dict[str, Json]:
    """What a run is told of a change, of whatever size; the arguments are those of `payload`."""
    return {
        "v": _FORMAT,
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
        **_versions(entry),
    }


def _versions(entry: "Entry") -> dict[str, Json]:
    """Which versions of the source it leads from and to, where a source keeps versions."""
    if not entry.version:
        return {}
    return {"version": entry.version, "previous_version": entry.previous_version}


def _left_out(value: Json) -> dict[str, Json]:
    return {"left_out_bytes": len(json.dumps(value))}


def _size(value: Json) -> int:
    return len(ascii_json(value))


def ascii_json(value: Json) -> str:
    """The value as JSON that arrives on a cluster as it was sent, byte for byte.

    It is ASCII, and inside strings `{`, `$` and U+007F are escaped: Argo and Kubernetes would
    replace `{{...}}` and `$(...)` in it, and refuse U+007F.
    """
    # `json.dumps` writes ASCII. Braces and dollars outside of strings are JSON's own.
    return _STRING.sub(lambda found: found[0].translate(_ACTIVE), json.dumps(value))


def encode(value: Json) -> Json:
    """The value with the same shape, in which every text, key and number arrives as it is."""
    match value:
        case dict():
            return {str(_encode_scalar(key)): encode(item) for key, item in value.items()}
        case list():
            return [encode(item) for item in value]
        case _:
            return _encode_scalar(value)


def encode_whole(value: Json) -> Json:
    """The value as one text or number: a list or an object has signs that a shell reads."""
    # A `Parameter` gets a text, and could not tell null from the text "null".
    return _as_text(value) if isinstance(value, dict | list | None) else _encode_scalar(value)


def decode(value: Json) -> Json:
    """Decode what `encode` or `encode_whole` made."""
    match value:
        case str():
            return decode_text(value)
        case dict():
            return {str(decode_text(key)): decode(item) for key, item in value.items()}
        case list():
            return [decode(item) for item in value]
        case _:
            return value


def decode_text(text: str) -> Json:
    """The value that a text stands for; the text itself if it is not an encoded value."""
    if not text.startswith(PREFIX):
        return text
    try:
        # Strictly: a text of a user's that only looks encoded stays what it is.
        raw = b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
        value: Json = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (binascii.Error, ValueError, RecursionError):
        return text
    return value


def _encode_scalar(value: Json) -> Json:
    return value if _is_plain(value) else _as_text(value)


def _as_text(value: Json) -> str:
    # Names of files that are no UTF-8 have lone surrogates, and JSON's escapes would join two.
    return PREFIX + urlsafe_b64encode(dumps(value).encode("utf-8", "surrogatepass")).decode("ascii")


def _is_plain(value: Json) -> bool:
    match value:
        case bool() | None:
            return True
        case int():
            # Go reads every number of JSON as a float of 64 bits.
            return abs(value) <= _EXACT
        case float():
            # A whole float would arrive as an integer.
            return math.isfinite(value) and not value.is_integer()
        case str():
            # Else a text from data that begins like an encoded one would be decoded.
            return not value.startswith(PREFIX) and _PLAIN.fullmatch(value) is not None
        case _:
            return False
