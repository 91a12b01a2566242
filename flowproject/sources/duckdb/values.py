"""How DuckDB's values become canonical JSON, column by column.

Python's types can't tell some of them apart (a month from thirty days, nanoseconds from
microseconds) or need another package (`pytz`, for moments with a zone): those the engine turns
into text first.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, canonical
from flowproject.sources import Rows

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["casts", "converted"]

_Form = Callable[[Any], Json]

_UNCHANGED: Final = frozenset(
    [
        "bigint",
        "bignum",
        "bit",
        "boolean",
        "enum",
        "hugeint",
        "integer",
        "smallint",
        "tinyint",
        "ubigint",
        "uhugeint",
        "uinteger",
        "usmallint",
        "utinyint",
        "varchar",
    ]
)
_CASTS: Final = {
    "interval": "VARCHAR",
    "time_ns": "VARCHAR",
    "timestamp with time zone": "TIMESTAMP",
    "timestamp_ns": "VARCHAR",
    "variant": "JSON",
}
_NESTED: Final = frozenset(["array", "list", "map", "struct", "tuple", "union"])
_NEEDS_CAST: Final = re.compile(r"INTERVAL|JSON|TIME_NS|TIMESTAMP_NS|WITH TIME ZONE|VARIANT")


def casts(kinds: Mapping[str, "DuckDBPyType"]) -> str:
    """The columns of a SELECT that makes every value one that Python can hold; "" if all are."""
    targets = [_cast(kind) for kind in kinds.values()]
    if not any(targets):
        return ""
    quoted = ('"' + name.replace('"', '""') + '"' for name in kinds)
    return ", ".join(
        f"CAST({name} AS {target}) AS {name}" if target else name
        for name, target in zip(quoted, targets, strict=True)
    )


def converted(chunk: Sequence[tuple[Any, ...]], kinds: Mapping[str, "DuckDBPyType"]) -> Rows:
    """Rows as DuckDB's client gives them, in canonical form: column → value."""
    forms = [_form(kind) for kind in kinds.values()]
    columns = (
        [form(value) for value in column] if form else column
        for form, column in zip(forms, zip(*chunk, strict=True), strict=True)
    )
    names = list(kinds)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _cast(kind: "DuckDBPyType") -> str:
    """The type that a column is cast to before it is fetched, or an empty string."""
    if kind.id in _NESTED:
        return "JSON" if _NEEDS_CAST.search(str(kind)) else ""
    return _CASTS.get(kind.id, "")


def _form(kind: "DuckDBPyType") -> _Form | None:
    """What turns a fetched value into JSON; None if it already is."""
    if str(kind) == "JSON" or _cast(kind) == "JSON":
        return _parsed
    if kind.id == "timestamp with time zone":
        return _in_utc
    if kind.id == "timestamp_ns":
        return _like_iso
    return None if kind.id in _UNCHANGED or kind.id in _CASTS else canonical


def _parsed(value: str | None) -> Json:
    # Decimal, so that no digit of a number is lost on the way.
    return None if value is None else canonical(json.loads(value, parse_float=Decimal))


def _in_utc(value: object) -> Json:
    return None if value is None else f"{canonical(value)}+00:00"


def _like_iso(value: str | None) -> Json:
    return None if value is None else value.replace(" ", "T", 1)
