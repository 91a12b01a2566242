"""A result, read piece by piece in the thread that asked for it.

Not with the cursor's own `fetch_...`: connector 4 downloads in threads of a pool, and Python waits
for those when it exits, even for one that hangs.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from flowproject.sources import Rows
from flowproject.sources.result import folded
from flowproject.sources.snowflake.values import converted, row_form
from flowproject.tables.arrow import empty

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

__all__ = [
    "announced",
    "chunks",
    "columns",
    "has_tables",
    "plain_rows",
    "tables",
    "types",
    "without_rows",
]

# In the order of the connector's numbers (FIELD_TYPES in its constants.py).
_NAMES: Final = (
    "NUMBER",
    "FLOAT",
    "VARCHAR",
    "DATE",
    "TIMESTAMP",
    "VARIANT",
    "TIMESTAMP_LTZ",
    "TIMESTAMP_TZ",
    "TIMESTAMP_NTZ",
    "OBJECT",
    "ARRAY",
    "BINARY",
    "TIME",
    "BOOLEAN",
    "GEOGRAPHY",
    "GEOMETRY",
    "VECTOR",
    "MAP",
    "FILE",
    "INTERVAL YEAR TO MONTH",
    "INTERVAL DAY TO SECOND",
)

# The connector's numbers for types of columns, and the Arrow type of a column without a value.
_ARROW: Final[dict[int, tuple[str, ...]]] = {
    0: ("int64",),
    1: ("float64",),
    3: ("date32",),
    4: ("timestamp", "ns"),
    6: ("timestamp", "ns", "UTC"),
    7: ("timestamp", "ns", "UTC"),
    8: ("timestamp", "ns"),
    11: ("binary",),
    12: ("time64", "ns"),
    13: ("bool_",),
}


def announced(cursor: "SnowflakeCursor") -> int | None:
    """How many rows Snowflake says that the result has; None if it doesn't, which is -1 in 5.x."""
    count = cursor.rowcount
    return None if count is None or count < 0 else count


def columns(cursor: "SnowflakeCursor") -> list[str]:
    """The columns' names, as rows have them."""
    return [folded(column[0]) for column in cursor.description]


def types(cursor: "SnowflakeCursor") -> dict[str, str]:
    """The columns with the names of their types.

    Without length, precision and scale: those of an expression may follow from the data.
    """
    kinds = [column[1] for column in cursor.description]
    return {
        name: _NAMES[kind] if kind < len(_NAMES) else f"type {kind}"
        for name, kind in zip(columns(cursor), kinds, strict=True)
    }


def has_tables(cursor: "SnowflakeCursor") -> bool:
    """Whether the result comes as Arrow tables: that of SHOW or DESCRIBE is JSON to connector 4."""
    return not any(map(_is_json, cursor.get_result_batches() or ()))


def tables(cursor: "SnowflakeCursor", connection: "SnowflakeConnection") -> Iterator[Any]:
    """The result as Arrow tables, each downloaded when it is asked for."""
    from snowflake.connector.result_batch import IterUnit  # type: ignore[attr-defined]  # of 4 and 5

    for batch in cursor.get_result_batches() or ():
        pieces: Any = batch.create_iter(
            connection=connection,
            iter_unit=IterUnit.TABLE_UNIT,
            structure="arrow",
            number_to_decimal=True,  # 5 does not take it from the connection; 4 does
        )
        yield from (piece for piece in pieces if piece is not None)


def without_rows(cursor: "SnowflakeCursor") -> Any:
    """The Arrow table of a result that has no row to tell the types of its columns by."""
    types: dict[str, tuple[Any, ...]] = {}
    for name, kind, _, _, precision, scale, *_ in cursor.description:
        decimal = ("decimal128", precision, scale)
        types[folded(name)] = decimal if scale and kind == 0 else _ARROW.get(kind, ("string",))
    return empty(types)


def chunks(
    cursor: "SnowflakeCursor", connection: "SnowflakeConnection", file: str
) -> Iterator[Rows]:
    """The result as rows in canonical form, chunk by chunk as it arrives."""
    kinds = {folded(column[0]): column[1] for column in cursor.description}
    if has_tables(cursor):
        for table in tables(cursor, connection):
            yield converted(table, kinds, file)
        return
    forms = [row_form(kind) for kind in kinds.values()]
    for rows in plain_rows(cursor, connection):
        yield [
            {name: form(value) for name, form, value in zip(kinds, forms, row, strict=True)}
            for row in rows
        ]


def plain_rows(
    cursor: "SnowflakeCursor", connection: "SnowflakeConnection"
) -> Iterator[list[Sequence[Any]]]:
    """The result as rows of the connector's own values, chunk by chunk."""
    for batch in cursor.get_result_batches() or ():
        rows: list[Any] = list(batch.create_iter(connection=connection))
        for row in rows:
            if isinstance(row, Exception):  # what the connector gives for one it can't convert
                raise row
        yield rows


def _is_json(batch: object) -> bool:
    return hasattr(batch, "column_converters")  # its class has a name in 4 only
