"""How Snowflake's values become canonical JSON, column by column, from Arrow.

Arrow holds them exactly; Python's own types do not (nanoseconds), and the connector's rows less.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from flowproject.changes.canonical import Json, canonical, parsed
from flowproject.errors import QueryError
from flowproject.sources import Rows
from flowproject.sources.result import uncollected

__all__ = ["converted", "row_form"]

# The connector's numbers for types of columns (FIELD_TYPES in its constants.py).
_SEMI_STRUCTURED: Final = frozenset([5, 9, 10, 14, 15, 16, 17])
_PLAIN: Final = re.compile(r"u?int\d+|bool|(large_)?string|null")
_TIMESTAMP: Final = re.compile(r"timestamp\[(s|ms|us|ns)(, tz=.*)?\]")
_TIME: Final = re.compile(r"time(?:32|64)\[(?:s|ms|us|ns)\]")
_DURATION: Final = re.compile(r"duration\[(s|ms|us|ns)\]")
_DAY: Final = re.compile(r"\d{4,5}-\d\d-\d\d")
_PARTS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FLOAT_DIGITS: Final = 16
_UNDEFINED: Final = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')

_Form = Callable[[Any], Json]


@uncollected()
def converted(table: Any, kinds: dict[str, int], file: str) -> Rows:
    """The rows of an Arrow table in canonical form: column → value.

    `kinds` has the columns' names, as rows give them, with the connector's numbers of their types.

    Raises:
        QueryError: if a value is one that nobody can hold; it names the file.
    """
    columns = []
    for place, (name, kind) in enumerate(kinds.items()):
        try:
            columns.append(_column(table.column(place), kind))
        except (TypeError, ValueError) as error:  # a day before the year 1
            raise QueryError(
                f"A value of column {name!r} can't be read: {error}",
                where=file,
                fix=f"Cast it to text: {name}::VARCHAR AS {name}",
            ) from error
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
    # Arrow writes texts five times as fast as Python makes values of its own.
    if described.startswith("decimal"):
        return [_number(text) for text in column.cast("string").to_pylist()]
    if described == "date32[day]":
        return list(column.cast("string").to_pylist())
    if _TIME.fullmatch(described):
        return [_clock(text) for text in column.cast("string").to_pylist()]
    if moment := _TIMESTAMP.fullmatch(described):
        zone = "+00:00" if moment[2] else ""
        utc = column.cast("int64").cast(f"timestamp[{moment[1]}]")  # whatever zone it is shown in
        return [_moment(text, zone) for text in _shortest(utc).cast("string").to_pylist()]
    if duration := _DURATION.fullmatch(described):
        parts = _PARTS[duration[1]]
        return [_duration(count, parts) for count in column.cast("int64").to_pylist()]
    return [canonical(value) for value in column.to_pylist()]


def _duration(count: int | None, parts: int) -> Json:
    """A number of parts of a second in the form that `canonical` gives it, nanoseconds included."""
    return None if count is None else f"PT{Decimal(count) / parts:f}S"


def _number(text: str | None) -> Json:
    """A decimal, which a float holds exactly if it has no more than 15 digits."""
    if text is None:
        return None
    if "." not in text and "E" not in text.upper():
        return int(text)  # a float holds no more than 15 digits of it
    if len(text) > _FLOAT_DIGITS:  # a point is one of them
        return canonical(Decimal(text))
    number = float(text)
    return int(number) if number.is_integer() else number


def _shortest(moments: Any) -> Any:
    """The moments in seconds, which are written and read in half the time, if they are whole."""
    try:
        return moments.cast("timestamp[s]")
    except ValueError:
        return moments


def _moment(text: str | None, zone: str) -> Json:
    """A moment in Arrow's words, `2024-01-01 12:00:00.000000000`, in those of ISO 8601."""
    if text is None:
        return None
    # In UTC a moment of the calendar's last day may lie in the year 10000, which has a digit more.
    day, _, clock = text.partition(" ")
    if not _DAY.fullmatch(day):
        raise ValueError(f"{text} is not between the years 0 and 10000")
    return f"{day}T{_clock(clock)}{zone}"


def _clock(text: str | None) -> Json:
    """A time with six digits behind the point, as every other engine's; nine only if needed."""
    if text is None or "." not in text:
        return text
    whole, _, fraction = text.partition(".")
    if not fraction.strip("0"):
        return whole
    return f"{whole}.{fraction[:6]:0<6}" if not fraction[6:].strip("0") else text


def _parsed(value: str | None) -> Json:
    """A VARIANT, OBJECT or ARRAY: Snowflake sends JSON, with one word that JSON does not have."""
    if value is None:
        return None
    try:
        return parsed(value)
    except ValueError:
        pass
    try:
        return parsed(_UNDEFINED.sub(lambda found: found[1] or "null", value))
    except ValueError:
        return value  # GEOGRAPHY as WKT, for example
