"""Knows the columns of a result by the server's types: how each is asked for, hashed and read.

Arrow's driver has no word for many values, and makes others of them without one of its own:
infinity a day before minus infinity, numerics a text, an array of arrays a list, money and oid
other numbers. So nothing is asked for in a type of which that is not known to be exact.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from flowproject.changes.canonical import Json, canonical, parsed
from flowproject.errors import QueryError
from flowproject.sources import Rows
from flowproject.sources.postgres.connection import Session
from flowproject.sources.result import without_garbage_collection

__all__ = ["Column", "columns_of", "converted", "hashed", "listed", "typed", "typed_listed"]

# What Arrow holds exactly, and Python too.
_PLAIN: Final = frozenset({"int2", "int4", "int8", "bool", "float8", "text", "varchar", "bpchar"})
_JSON: Final = frozenset({"json", "jsonb"})
_MOMENTS: Final = frozenset({"timestamp", "timestamptz", "time", "timetz"})
# What the server sends of these in its binary form is another thing for each other value.
_SENT: Final = frozenset(
    {
        *_PLAIN,
        *("float4", "numeric", "uuid", "bytea", "oid", "name", "json", "jsonb"),
        *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
    }
)
# Lists of Arrow hold these, if they have one dimension.
_LISTED: Final = frozenset({"int2", "int4", "int8", "bool", "float8", "text", "varchar"})
_TYPED: Final = frozenset({*_PLAIN, "float4", "bytea", "date", "time", "timestamp", "timestamptz"})
_BYTES: Final = frozenset({"bytea"})
_DECIMAL_DIGITS: Final = 38
_SECOND_DIGITS: Final = 6
_FIRST_WRAPPED: Final = "294247-01-10 04:00:54.775807"

_Form = Callable[[Any], Json]

# No WITH around a query: its names would be found there before those of the database's tables.
_NUMBERS: Final = """
SELECT ARRAY[{types}]::pg_catalog.oid[]::text AS numbers
FROM (SELECT) AS one
LEFT JOIN (SELECT * FROM ({query}
) AS q({places}) WHERE false) AS q ON true
"""
_TYPES: Final = """
WITH RECURSIVE based AS (
    SELECT k.place, k.oid, k.oid AS base
    FROM pg_catalog.unnest($1::text::pg_catalog.oid[]) WITH ORDINALITY AS k(oid, place)
    UNION ALL
    SELECT b.place, b.oid, t.typbasetype
    FROM based AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.base WHERE t.typtype = 'd'
)
SELECT pg_catalog.format_type(b.oid, NULL) AS kind,
    CASE n.nspname WHEN 'pg_catalog' THEN t.typname::text ELSE '' END AS base,
    t.typtype = 'c' OR t.typname = 'record' AS is_record,
    t.typcategory = 'A' AND t.typlen = -1 AS is_array,
    CASE m.nspname WHEN 'pg_catalog' THEN e.typname::text ELSE '' END AS element
FROM based AS b
JOIN pg_catalog.pg_type AS t ON t.oid = b.base
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_catalog.pg_namespace AS m ON m.oid = e.typnamespace
WHERE t.typtype <> 'd'
ORDER BY b.place
"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a result: its name, its place, and what the server says of its type.

    `kind` is the type as the server writes it; `base` is the built-in type that it is or, of a
    domain, is made of, and empty for a type that is not built in. `modifier` is libpq's number for
    digits and lengths.
    """

    name: str
    place: str
    kind: str
    base: str
    is_record: bool = False
    is_array: bool = False
    element: str = ""
    modifier: int = -1

    @property
    def is_json(self) -> bool:
        """Whether the value is fetched as JSON text."""
        # Not as the server writes it: (1,"a b") and {1,2} are no JSON, and have no names.
        return self.is_record or self.is_array or self.base in _JSON

    @property
    def text(self) -> str:
        """SQL for the value in a type that Arrow and Python hold exactly, or as a text."""
        if self.is_record or self.is_array:
            return f"pg_catalog.to_json({self.place})::text"
        if self.base in _PLAIN or self.base in _BYTES:
            return self.place
        if self.base == "float4":
            return f"{self.place}::text::float8"  # 0.1, and not the nearest float8 to the float4
        if self.base == "oid":
            return f"{self.place}::bigint"
        return f"{self.place}::text"

    @property
    def hashable(self) -> str:
        """SQL for what is hashed, which is another value for each other form."""
        # A regclass is sent as a number, and its text changes without that when a table is renamed.
        return self.place if self.base in _SENT else self.text

    def form(self) -> _Form | None:
        """What turns a fetched value into JSON; None if it already is."""
        if self.is_json:
            return parsed
        if self.base == "numeric":
            return lambda text: canonical(Decimal(text))
        if self.base in _MOMENTS:
            return _moment
        if self.base in ("float4", "float8"):
            return canonical
        return (lambda value: b64encode(value).decode("ascii")) if self.base in _BYTES else None


def columns_of(
    session: Session, text: str, schema: Any, values: Sequence[str | None]
) -> tuple[Column, ...]:
    """The columns of the result of `text`, whose names are those of its Arrow `schema`."""
    places = [f"c{number}" for number in range(len(schema))]
    types = ", ".join(f"pg_catalog.pg_typeof(q.{place})" for place in places)
    asked = _NUMBERS.format(types=types, query=text, places=", ".join(places))
    [told] = session.rows(asked, values)
    described = session.rows(_TYPES, [told["numbers"]])
    return tuple(
        Column(name=field.name, place=place, modifier=_modifier(field), **told)
        for field, place, told in zip(schema, places, described, strict=True)
    )


def listed(columns: Sequence[Column]) -> str:
    """SQL for all columns of a row, each as it is fetched."""
    return ", ".join(f"{column.text} AS {column.place}" for column in columns)


def hashed(columns: Sequence[Column], seed: int) -> str:
    """SQL for a number of 64 bits that follows from the values of all these columns.

    Numbers of rows may be added up: none is a sum of parts that two rows could exchange.
    """
    # The bytes of the whole row are hashed, and not its values, because what the server hashes of a
    # value is made for its `=`, and loses more: the sign of a numeric, 1 and 2^32 of a bigint and a
    # moment, NaN and infinity, the case of a text.
    parts = ", ".join(column.hashable for column in columns)
    sent = f"pg_catalog.record_send(ROW({parts}))"
    return f"pg_catalog.hash_record_extended(ROW({sent}), {seed})"


@without_garbage_collection()
def converted(batch: Any, columns: Sequence[Column], file: str) -> Rows:
    """Rows of a batch in canonical form: column → value.

    Raises:
        QueryError: if a value is one that nobody can hold; it names the file.
    """
    values = [_values(batch.column(place), column, file) for place, column in enumerate(columns)]
    names = [column.name for column in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def typed_listed(columns: Sequence[Column]) -> str:
    """SQL for all columns of a row in the types that Arrow has for them, and what it has none for.

    Behind each column that Arrow may have no value for stands whether it is so.
    """
    return ", ".join(
        part
        for column in columns
        for part in (
            f"{_typed_text(column)} AS {column.place}",
            *(f"{doubt} AS {column.place}x" for doubt in filter(None, [_doubt(column)[0]])),
        )
    )


def typed(table: Any, columns: Sequence[Column], file: str) -> Any:
    """The columns of a table of what `typed_listed` asks for, as a pyarrow.Table.

    Raises:
        QueryError: if Arrow has no value for one of the server's; it names the column and the file.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = []
    for column in columns:
        test, what = _doubt(column)
        if test and pc.any(table[f"{column.place}x"]).as_py():
            raise _unheld(column, what, file)
        arrays.append(_as_typed(table[column.place], column, file))
    return pa.Table.from_arrays(arrays, names=[column.name for column in columns])


def _values(array: Any, column: Column, file: str) -> list[Json]:
    try:
        values: list[Any] = array.to_pylist()
        form = column.form()
        return [None if value is None else form(value) for value in values] if form else values
    except (ValueError, ArithmeticError) as error:  # a text of a database whose encoding is none
        raise QueryError(
            f"A value of column {column.name!r} can't be read: {error}",
            where=file,
            fix=f"Cast it to bytea, which may hold anything: {column.name}::bytea",
        ) from error


def _modifier(field: Any) -> int:
    told: Mapping[bytes, bytes] = field.metadata or {}
    return int(told.get(b"POSTGRESQL:typmod", b"-1").strip(b"'"))


def _moment(text: str) -> str:
    """A moment or a time of the server's in the words of ISO 8601.

    Infinity, 24:00 and what lies outside of the years 1 to 9999 stay as the server writes them.
    """
    if text[4:5] == "-" and text[10:11] == " " and text[-1] != "C":
        text = f"{text[:10]}T{text[11:]}"
    elif text[2:3] != ":":
        return text
    whole, point, rest = text.partition(".")
    zone = next((rest[at:] for at, sign in enumerate(rest) if sign in "+-"), "")
    if point:
        whole += f".{rest[: len(rest) - len(zone)]:0<{_SECOND_DIGITS}}"
    else:
        whole, zone = _without_zone(whole)
    return f"{whole}{zone}:00" if len(zone) == len("+00") else f"{whole}{zone}"


def _without_zone(text: str) -> tuple[str, str]:
    clock = text.find("T") + 1
    at = max(text.find("+", clock), text.find("-", clock))
    return (text, "") if at < 0 else (text[:at], text[at:])


def _is_listed(column: Column) -> bool:
    return column.is_array and column.element in _LISTED


def _typed_text(column: Column) -> str:
    is_held = column.base in _TYPED or _is_listed(column)
    return column.place if is_held else column.text


def _doubt(column: Column) -> tuple[str, str]:
    """SQL for whether Arrow has no value for one of this column, and what such a value is."""
    it = column.place
    if _is_listed(column):
        return (
            f"pg_catalog.array_ndims({it}) > 1 OR pg_catalog.array_lower({it}, 1) <> 1",
            "an array of more than one dimension, or whose first element is not the first",
        )
    match column.base:
        case "date":
            return f"NOT pg_catalog.isfinite({it})", "an infinite date"
        case "timestamp" | "timestamptz":
            return (
                f"NOT pg_catalog.isfinite({it}) OR {it} > '{_FIRST_WRAPPED}'",
                "an infinite moment, or one after the year 294246",
            )
        case "time":
            return f"{it} = '24:00'", "the time 24:00"
        case "numeric":
            return f"{it} IN ('NaN', 'Infinity', '-Infinity')", "a number that is none"
        case _:
            return "", ""


def _as_typed(array: Any, column: Column, file: str) -> Any:
    if column.base != "numeric":
        return array
    import pyarrow as pa
    import pyarrow.compute as pc

    point, length = pc.find_substring(array, "."), pc.utf8_length(array)
    is_whole = pc.less(point, 0)
    whole = pc.max(pc.if_else(is_whole, length, point)).as_py() or 0  # with the sign, if any
    parts = pc.max(pc.if_else(is_whole, 0, pc.subtract(pc.subtract(length, point), 1))).as_py() or 0
    # Of a column without digits the values say how many there are.
    scale = _scale(column) if column.modifier >= 0 else parts
    # Arrow cuts what is too long for a decimal, and says nothing.
    if whole + scale > _DECIMAL_DIGITS:
        raise _unheld(column, f"a number of more than {_DECIMAL_DIGITS} digits", file)
    return array.cast(pa.decimal128(_DECIMAL_DIGITS, scale))


def _scale(column: Column) -> int:
    # The server keeps the scale in 11 bits of the modifier, with a sign of its own.
    scale = (column.modifier - 4) & 0x7FF
    return max((scale ^ 0x400) - 0x400, 0)


def _unheld(column: Column, what: str, file: str) -> QueryError:
    return QueryError(
        f"Column {column.name!r} has {what}, and Arrow has no value for it",
        where=file,
        allowed="`query` gives every value, as JSON",
        fix=f'Cast it to text: "{column.name}"::text',
    )
