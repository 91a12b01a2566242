"""How Snowflake's values become canonical JSON, column by column, from Arrow.

Arrow holds them exactly; Python's own types do not (nanoseconds), and the connector's rows less.
"""

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from flowproject.changes.canonical import Json, canonical
from flowproject.sources import Rows

__all__ = ["converted", "row_form"]

# The connector's numbers for types of columns (FIELD_TYPES in its constants.py).
_SEMI_STRUCTURED: Final = frozenset([5, 9, 10, 14, 15, 16, 17])
_PLAIN: Final = re.compile(r"u?int\d+|bool|(large_)?string|null")
_TIMESTAMP: Final = re.compile(r"timestamp\[(s|ms|us|ns)(, tz=.*)?\]")
_TIME: Final = re.compile(r"time(?:32|64)\[(s|ms|us|ns)\]")
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NANO: Final = 1_000_000_000
_MICRO: Final = 1_000  # nanoseconds
_DAY: Final = 86_400  # seconds
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001  # a moment without a zone has none
_UNDEFINED: Final = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')

_Form = Callable[[Any], Json]


def converted(table: Any, kinds: dict[str, int]) -> Rows:
    """The rows of an Arrow table in canonical form: column → value.

    `kinds` has the columns' names, as rows give them, with the connector's numbers of their types.

    Raises:
        ValueError: if a value is of no kind that is known.
    """
    columns = [_column(table.column(place), kind) for place, kind in enumerate(kinds.values())]
    names = list(kinds)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def row_form(kind: int) -> _Form:
    """What turns a value that came without Arrow into JSON: SHOW and DESCRIBE answer like that."""
    return _parsed if kind in _SEMI_STRUCTURED else canonical


def _column(column: Any, kind: int) -> list[Json]:
    described = str(column.type)
    if kind in _SEMI_STRUCTURED and described in ("string", "large_string"):
        return [_parsed(value) for value in column.to_pylist()]
    if _PLAIN.fullmatch(described):
        return list(column.to_pylist())
    if moment := _TIMESTAMP.fullmatch(described):
        unit, zone = _NANO // _PER_SECOND[moment[1]], "+00:00" if moment[2] else ""
        return [_moment(value, unit, zone) for value in column.cast("int64").to_pylist()]
    if time := _TIME.fullmatch(described):
        unit, whole = _NANO // _PER_SECOND[time[1]], "int32" if time[1] in ("s", "ms") else "int64"
        return [_time(value, unit) for value in column.cast(whole).to_pylist()]
    return [canonical(value) for value in column.to_pylist()]


def _moment(value: int | None, unit: int, zone: str) -> Json:
    """A number of units, of so many nanoseconds each, since 1970."""
    if value is None:
        return None
    seconds, nanoseconds = divmod(value * unit, _NANO)
    days, seconds = divmod(seconds, _DAY)
    moment = _EPOCH + dt.timedelta(days, seconds, nanoseconds // _MICRO)
    return _with_nanoseconds(moment.isoformat(), nanoseconds) + zone


def _time(value: int | None, unit: int) -> Json:
    """A number of units, of so many nanoseconds each, since midnight."""
    if value is None:
        return None
    seconds, nanoseconds = divmod(value * unit, _NANO)
    moment = _EPOCH + dt.timedelta(0, seconds, nanoseconds // _MICRO)
    return _with_nanoseconds(moment.time().isoformat(), nanoseconds)


def _with_nanoseconds(text: str, nanoseconds: int) -> str:
    """Nine digits where six do not say it all; else what every other engine's value has."""
    if not nanoseconds % _MICRO:
        return text
    return f"{text.partition('.')[0]}.{nanoseconds:09}"


def _parsed(value: str | None) -> Json:
    """A VARIANT, OBJECT or ARRAY: Snowflake sends JSON, with one word that JSON does not have."""
    if value is None:
        return None
    try:
        return _loaded(value)
    except ValueError:
        pass
    try:
        return _loaded(_UNDEFINED.sub(lambda found: found[1] or "null", value))
    except ValueError:
        return value  # GEOGRAPHY as WKT, for example


def _loaded(text: str) -> Json:
    # Decimal, so that no digit of a number is lost on the way.
    return canonical(json.loads(text, parse_float=Decimal, parse_constant=_constant))


def _constant(word: str) -> str:
    return word  # NaN, Infinity and -Infinity, in the words of `canonical`
