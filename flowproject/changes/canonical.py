"""One JSON form for every value a source can return, and digests of it.

The same data always has the same form, whatever engine, driver or row order it came through.
"""

import datetime as dt
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import blake2b
from uuid import UUID

__all__ = ["Json", "canonical", "digest", "digest_value", "digest_values", "dumps"]

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_DIGEST_BYTES = 16


def canonical(value: object) -> Json:
    """The JSON form of `value`.

    Numbers that are equal have one form (`Decimal('1.0')` is `1`, `-0.0` is `0.0`); moments with
    a zone are given in UTC; what JSON has no word for becomes a string: `NaN`, `Infinity`,
    decimals, dates (ISO 8601), durations (ISO 8601 seconds), bytes (base64), UUIDs.

    Raises:
        TypeError: if `value` is of a kind that no supported engine returns.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return [canonical(element) for element in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(element) for element in value), key=dumps)
    return _text(value)


def dumps(value: Json) -> str:
    """The one spelling of a canonical value: sorted keys, no spaces, no ASCII escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(*parts: bytes | str) -> str:
    """128 bits over the parts, as 32 hexadecimal digits (BLAKE2b, RFC 7693).

    Every part is preceded by its length, so that `("ab", "c")` and `("a", "bc")` differ.
    """
    state = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()


def digest_value(value: Json) -> str:
    """The digest of one canonical value."""
    return digest(dumps(value))


def digest_values(values: Iterable[Json]) -> str:
    """The digest of a bag of canonical values: their order does not matter, their number does."""
    return digest(*sorted(digest_value(value) for value in values))


def _float(value: float) -> Json:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value + 0.0 if value else 0.0


def _decimal(value: Decimal) -> Json:
    if value.is_nan():
        return "NaN"
    if value.is_infinite():
        return "Infinity" if value > 0 else "-Infinity"
    if value == value.to_integral_value():
        return int(value)
    return format(value.normalize(), "f")


def _mapping(value: Mapping[object, object]) -> Json:
    if all(isinstance(key, str) for key in value):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    pairs: list[Json] = [[canonical(key), canonical(element)] for key, element in value.items()]
    return sorted(pairs, key=dumps)


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return f"PT{Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000:f}S"
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(value)).decode("ascii")
    if isinstance(value, UUID):
        return str(value)
    message = f"a value of type {type(value).__name__} has no canonical form: {value!r}"
    raise TypeError(message)
