"""A result, read piece by piece in the thread that asked for it.

Not with the cursor's own `fetch_...`: connector 4 downloads in threads of a pool, and Python waits
for those when it exits, even for one that hangs.
"""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from flowproject.errors import SourceError
from flowproject.sources import Rows
from flowproject.sources.result import folded
from flowproject.sources.snowflake.values import converted, row_form, text_form
from flowproject.tables.arrow import empty

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

__all__ = [
    "announced",
    "chunks",
    "columns",
    "exact_converter",
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
    """The result as Arrow tables as the server sent them, each downloaded when it is asked for."""
    for batch in cursor.get_result_batches() or ():
        if stream := _stream(batch, connection):
            yield stream.read_all()


def _stream(batch: Any, connection: "SnowflakeConnection") -> Any:
    """What the server sent as one piece of a result; None if that is nothing.

    Not with `create_iter`: the tables that it makes cut a TIME to microseconds, and a timestamp if
    another of the piece lies beyond 2262; they make zeros or other numbers of intervals and of
    timestamps of seven digits, and nothing of a DECFLOAT (connector 4.8.1 and 5.2.0).
    """
    import pyarrow as pa
    from snowflake.connector import __version__

    try:
        if hasattr(batch, "_take_arrow_stream_ptr"):  # connector 5, which reads the stream itself
            pointer = batch._take_arrow_stream_ptr(connection)  # noqa: SLF001
            return pa.RecordBatchReader._import_from_c(pointer)  # noqa: SLF001
        piece = copy(batch)  # so that what is downloaded is kept for no longer than it is read
        if piece._data is None:  # noqa: SLF001
            piece.populate_data(connection=connection)
        sent = piece._data  # noqa: SLF001
    except AttributeError as error:
        raise SourceError(
            f"Version {__version__} of Snowflake's connector gives a result in a way that is not "
            f"known here ({error})",
            allowed="What it makes of a result by itself holds less than the server sent",
            fix='Install another: python -m pip install "snowflake-connector-python<=5.2"',
        ) from error
    sent = b64decode(sent) if isinstance(sent, str) else sent
    return pa.ipc.open_stream(sent) if sent else None


def exact_converter() -> Any:
    """The class by which connector 4 reads an answer in JSON, without the losses of its own."""
    from snowflake.connector.converter import SnowflakeConverter

    class ExactConverter(SnowflakeConverter):
        def to_python_method(self, type_name: str, column: dict[str, Any]) -> Any:
            return text_form(type_name) or super().to_python_method(type_name, column)

    return ExactConverter


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
