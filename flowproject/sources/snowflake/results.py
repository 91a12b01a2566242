"""Reads the result of a statement: piece by piece, and its values as canonical JSON.

The server sends a moment as seconds and nanoseconds, a time as a count, a decimal as its digits.
The connector makes types of Arrow or Python of them that hold less, so that is done here.
"""

import datetime as dt
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, canonical, parsed
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows
from flowproject.sources.result import folded, without_garbage_collection
from flowproject.tables.arrow import empty, joined

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

__all__ = [
    "announced",
    "chunks",
    "columns",
    "converted",
    "exact_converter",
    "full_types",
    "has_tables",
    "plain_rows",
    "row_form",
    "tables",
    "text_form",
    "typed",
    "types",
    "whole",
    "without_rows",
]

# The connector's numbers for types of columns (FIELD_TYPES in its constants.py).
_SEMI_STRUCTURED: Final = frozenset([5, 9, 10, 14, 15, 16, 17])
# Among them VECTOR and MAP, which come as JSON as well where structured types are not switched on.
_PLAIN: Final = re.compile(r"u?int\d+|bool|(large_)?string|null")
_INTEGER: Final = re.compile(r"int\d+")
_NESTED: Final = re.compile(r"(?:struct|list|large_list|fixed_size_list|map)<")
_TIMESTAMP: Final = re.compile(r"timestamp\[(s|ms|us|ns)(, tz=.*)?\]")
_TIME: Final = re.compile(r"time(?:32|64)\[(?:s|ms|us|ns)\]")
_DURATION: Final = re.compile(r"duration\[(s|ms|us|ns)\]")
_DAY: Final = re.compile(r"\d{4,5}-\d\d-\d\d")
_PARTS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNITS: Final = {0: "s", 3: "ms", 6: "us", 9: "ns"}
_NANOSECONDS: Final = 9  # digits of a second
_FLOAT_DIGITS: Final = 16
_UNDEFINED: Final = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')
_BEYOND: Final = "no timestamp of Arrow holds nanoseconds before 1677 or after 2262"
_EPOCH: Final = dt.date(1970, 1, 1).toordinal() - 1
_DAYS_IN_400_YEARS: Final = 146_097

_Form = Callable[[Any], Json]

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

_FULL: Final = {1: "DOUBLE", 12: "TIME_NS"}
_INTEGER_DIGITS: Final = 18  # that any integer of 64 bits holds

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
    """How many rows Snowflake says that the result has; None if it doesn't."""
    # 5.x says -1 where 4.x says nothing.
    count = cursor.rowcount
    return None if count is None or count < 0 else count


def columns(description: Sequence[Any]) -> list[str]:
    """The columns' names, as rows have them."""
    return [folded(column[0]) for column in description]


def types(description: Sequence[Any]) -> dict[str, str]:
    """The columns with the names of their types."""
    # Without length, precision and scale: those of an expression may follow from the data, and the
    # columns would count as changed with every other value.
    kinds = [column[1] for column in description]
    return {
        name: _NAMES[kind] if kind < len(_NAMES) else f"type {kind}"
        for name, kind in zip(columns(description), kinds, strict=True)
    }


def full_types(description: Sequence[Any]) -> dict[str, str]:
    """The types, in DuckDB's words, of columns of which the name of the type says too little."""
    told: dict[str, str] = {}
    for name, about in zip(columns(description), description, strict=True):
        _, kind, _, _, precision, scale, *_ = about
        if kind == 0 and precision and (scale or precision <= _INTEGER_DIGITS):
            told[name] = f"DECIMAL({precision},{scale})" if scale else "BIGINT"
        elif kind in _SEMI_STRUCTURED or kind in _FULL:
            told[name] = _FULL.get(kind, "JSON")
    return told


def has_tables(cursor: "SnowflakeCursor") -> bool:
    """Whether the result comes as Arrow tables: that of SHOW or DESCRIBE is JSON to connector 4."""
    return not any(map(_is_json, cursor.get_result_batches() or ()))


def tables(cursor: "SnowflakeCursor", connection: "SnowflakeConnection") -> Iterator[Any]:
    """The result as Arrow tables as the server sent them, each downloaded when it is asked for."""
    # Not with the cursor's own `fetch_...`: connector 4 downloads in threads of a pool, and Python
    # waits for those when it exits, even for one that hangs.
    for batch in cursor.get_result_batches() or ():
        if stream := _stream(batch, connection):
            yield stream.read_all()


def _stream(batch: Any, connection: "SnowflakeConnection") -> Any:
    """What the server sent as one piece of a result; None if that is nothing."""
    # Not with `create_iter`: the tables that it makes cut a TIME to microseconds, and a timestamp
    # if another of the piece lies beyond 2262; they make zeros or other numbers of intervals and
    # of timestamps of seven digits, and nothing of a DECFLOAT (connector 4.8.1 and 5.2.0).
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
    # Snowflake sends no stream then, and so no schema.
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


@without_garbage_collection()
def converted(table: Any, kinds: dict[str, int], file: str) -> Rows:
    """The rows of a table as the server sent it, in canonical form: column → value.

    `kinds` has the columns' names, as rows give them, with the connector's numbers of their types.

    Raises:
        QueryError: if a value is one that nobody can hold; it names the file.
    """
    columns = []
    for place, (name, kind) in enumerate(kinds.items()):
        with _readable(name, file):
            columns.append(_column(table.field(place), table.column(place), kind))
    names = list(kinds)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def typed(table: Any, names: list[str], file: str) -> Any:
    """A table as the server sent it, with the types of Arrow that hold what its columns say.

    Raises:
        QueryError: if no type of Arrow holds a value; it names the file.
    """
    import pyarrow as pa

    fields, arrays = [], []
    for place, name in enumerate(names):
        with _readable(name, file):
            field, array = _typed(table.field(place), table.column(place).combine_chunks())
        fields.append(field.with_name(name))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def whole(pieces: Sequence[Any], file: str) -> Any:
    """One table of the typed pieces of a result.

    Raises:
        QueryError: if no type of Arrow holds a column of all of them; it names the file.
    """
    import pyarrow as pa

    columns = []
    for place, name in enumerate(pieces[0].column_names):
        with _readable(name, file):
            columns.append(joined(_in_one_unit([piece.select([place]) for piece in pieces])))
    schema = pa.schema([column.field(0) for column in columns])
    return pa.Table.from_arrays([column.column(0) for column in columns], schema=schema)


def _in_one_unit(pieces: Sequence[Any]) -> Sequence[Any]:
    """The pieces of a column, with microseconds in all of them if one needs these.

    Raises:
        ValueError: if another then has digits that are lost.
    """
    # A piece in which 9999-12-31 stands has microseconds, and the next one may have nanoseconds:
    # Arrow would make nanoseconds of both, which end in 2262.
    import pyarrow as pa

    kinds = {str(piece.field(0).type): piece.schema for piece in pieces}
    wide = next((schema for text, schema in kinds.items() if "timestamp[us" in text), None)
    if wide is None or len(kinds) == 1:
        return pieces
    try:
        return [piece.cast(wide) for piece in pieces]
    except pa.ArrowInvalid as error:  # its words have the value
        raise ValueError(_BEYOND) from error


def row_form(kind: int) -> _Form:
    """Give what turns a value that came without Arrow, as from SHOW and DESCRIBE, into JSON."""
    return _parsed if kind in _SEMI_STRUCTURED else canonical


def text_form(word: str) -> Callable[[str], Json] | None:
    """Give what turns a text that came without Arrow into the JSON that it would have with Arrow.

    None for types of which the connector's own conversion loses nothing.
    """
    match word:
        case "DATE":
            return lambda text: _day(int(text))
        case "TIME":
            return lambda text: _time_of_day(_scaled(text))
        case "TIMESTAMP" | "TIMESTAMP_LTZ" | "TIMESTAMP_NTZ" | "TIMESTAMP_TZ":
            zone = _zone(word)
            # Behind a TIMESTAMP_TZ stands its offset: the moment is the same without it.
            return lambda text: _moment_at(_scaled(text.split()[0]), zone)
        case "INTERVAL_DAY_TIME":
            return lambda text: _duration(int(text), _PARTS["ns"])
        case "INTERVAL_YEAR_MONTH":
            return int
        case _:
            return None


@contextmanager
def _readable(name: str, file: str) -> Iterator[None]:
    """What can't be held inside becomes an error that names the column."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:  # a day before the year 1
        raise QueryError(
            f"A value of column {name!r} can't be read: {error}",
            where=file,
            fix=f"Cast it to text: {name}::VARCHAR AS {name}",
        ) from error


def _column(field: Any, column: Any, kind: int) -> list[Json]:
    described = str(column.type)
    if kind in _SEMI_STRUCTURED and described in ("string", "large_string"):
        return [_parsed(value) for value in column.to_pylist()]
    word, scale = _sent(field)
    if word.startswith("TIMESTAMP") and not _TIMESTAMP.fullmatch(described):
        try:
            field, column = _typed(field, column.combine_chunks())
        except ValueError:  # not between 1677 and 2262, or with nanoseconds that are out of there
            form = _form(field)
            return [form(value) for value in column.to_pylist()]
    elif word == "TIME" or (word == "FIXED" and scale and _INTEGER.fullmatch(described)):
        field, column = _typed(field, column.combine_chunks())
    elif word in ("DECFLOAT", "INTERVAL_DAY_TIME") or _NESTED.match(described):
        form = _form(field)
        return [form(value) for value in column.to_pylist()]
    return _plain_column(column)


def _plain_column(column: Any) -> list[Json]:
    """The values of a column that is of one of Arrow's types for what it says."""
    described = str(column.type)
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


def _sent(field: Any) -> tuple[str, int]:
    """What the server says a column is, and how many digits it has behind the point."""
    about = field.metadata or {}
    word = about.get(b"logicalType", b"").decode()
    # Of times and moments without a word on it the connector takes it for nine, too.
    scale = about.get(b"scale") or (b"9" if word.startswith("TIME") else b"0")
    return word, int(scale)


def _zone(word: str) -> str:
    return "" if word == "TIMESTAMP_NTZ" else "+00:00"


# The connector's own choice of types is kept, as far as they hold what was sent.
def _typed(field: Any, array: Any) -> tuple[Any, Any]:
    """A column and its field, with a type of Arrow that holds what they say.

    Raises:
        ValueError: if no type does.
    """
    import pyarrow as pa

    word, scale = _sent(field)
    kind = array.type
    if word == "FIXED" and scale and pa.types.is_integer(kind):
        array = array.cast(pa.decimal128(38, 0)).view(pa.decimal128(38, scale))
    elif word == "TIME" and pa.types.is_integer(kind):
        unit, counts = _counts(array, scale)
        is_short = unit in ("s", "ms")
        array = counts.cast(pa.int32() if is_short else pa.int64())
        array = array.cast(pa.time32(unit) if is_short else pa.time64(unit))
    elif word.startswith("TIMESTAMP") and not pa.types.is_timestamp(kind):
        array = _moments(array, scale, "UTC" if _zone(word) else None)
    elif word == "INTERVAL_DAY_TIME" and not pa.types.is_duration(kind):
        array = array.cast(pa.int64()).cast(pa.duration("ns"))
    elif word == "DECFLOAT":
        raise ValueError("no type of Arrow holds a DECFLOAT")
    elif pa.types.is_struct(kind):
        parts = [_typed(kind.field(place), array.field(place)) for place in range(kind.num_fields)]
        names, arrays = [part for part, _ in parts], [part for _, part in parts]
        array = pa.StructArray.from_arrays(arrays, fields=names, mask=array.is_null())
    elif pa.types.is_map(kind):
        (_, keys), (_, items) = (
            _typed(kind.key_field, array.keys),
            _typed(kind.item_field, array.items),
        )
        array = pa.MapArray.from_arrays(array.offsets, keys, items, mask=array.is_null())
    elif pa.types.is_list(kind):
        inner, values = _typed(kind.value_field, array.values)
        of = pa.list_(inner)
        array = pa.ListArray.from_arrays(array.offsets, values, of, mask=array.is_null())
    else:
        return field, array
    return pa.field(field.name, array.type, field.nullable), array


def _counts(array: Any, scale: int) -> tuple[str, Any]:
    """A unit in which the digits of a time or a moment are whole, and how many of it they are.

    Raises:
        ValueError: if there are more than an integer of 64 bits holds.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = -(-scale // 3) * 3  # seconds, or thousandths of them, as Arrow has units
    if not pa.types.is_struct(array.type):
        whole, part = pc.multiply_checked(array.cast(pa.int64()), 10 ** (digits - scale)), None
    elif array.type.get_field_index("fraction") < 0:
        # A TIMESTAMP_TZ of few digits: what is called an epoch counts these, and not seconds.
        epoch = pc.struct_field(array, "epoch")
        whole, part = pc.multiply_checked(epoch, 10 ** (digits - scale)), None
    else:
        whole = pc.multiply_checked(pc.struct_field(array, "epoch"), 10**digits)
        fraction = pc.struct_field(array, "fraction").cast(pa.int64())
        part = pc.divide(fraction, 10 ** (_NANOSECONDS - digits))
    return _UNITS[digits], whole if part is None else pc.add_checked(whole, part)


def _moments(array: Any, scale: int, zone: str | None) -> Any:
    """Moments as Arrow's timestamps.

    In microseconds, if they reach beyond what nanoseconds do, 1677 to 2262.

    Raises:
        ValueError: if one then has digits that are lost.
    """
    import pyarrow as pa

    try:
        unit, counts = _counts(array, scale)
        return counts.cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
    except pa.ArrowInvalid:
        counted = [_nanoseconds(value, scale) for value in array.to_pylist()]
    if any(count is not None and count % 1000 for count in counted):
        raise ValueError(_BEYOND)
    micros = [None if count is None else count // 1000 for count in counted]
    return pa.array(micros, pa.int64()).cast(pa.timestamp("us", zone))


def _form(field: Any) -> _Form:
    """What makes canonical JSON of a value of Python's that the server's Arrow holds."""
    form = _form_of_value(field)
    return lambda value: None if value is None else form(value)


def _form_of_value(field: Any) -> _Form:
    import pyarrow as pa

    (word, scale), kind = _sent(field), field.type
    if word == "TIME" and pa.types.is_integer(kind):
        return lambda count: _time_of_day(count * 10 ** (_NANOSECONDS - scale))
    if word.startswith("TIMESTAMP") and not pa.types.is_timestamp(kind):
        zone = _zone(word)
        return lambda value: _moment_at(_nanoseconds(value, scale), zone)
    if word == "INTERVAL_DAY_TIME" and not pa.types.is_duration(kind):
        return lambda count: _duration(int(count), _PARTS["ns"])
    if word == "DECFLOAT":
        return _floating
    if word == "FIXED" and scale and pa.types.is_integer(kind):
        return lambda count: canonical(Decimal(f"{count}E-{scale}"))
    return _nested_form(kind) if _NESTED.match(str(kind)) else canonical


def _nested_form(kind: Any) -> _Form:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        parts = {part.name: _form(part) for part in kind}
        return lambda value: {name: parts[name](part) for name, part in value.items()}
    if pa.types.is_map(kind):
        key, item = _form(kind.key_field), _form(kind.item_field)
        return lambda pairs: [[key(name), item(value)] for name, value in pairs]
    one = _form(kind.value_field)
    return lambda values: [one(value) for value in values]


def _nanoseconds(value: Any, scale: int) -> int | None:
    """A moment as the server sent it, in nanoseconds since 1970; None for NULL."""
    count, fraction = value, None
    if isinstance(value, dict):
        count, fraction = value["epoch"], value.get("fraction")
    if count is None:
        return None
    if fraction is None:
        return int(count) * int(10 ** (_NANOSECONDS - scale))
    return int(count) * _PARTS["ns"] + int(fraction)


def _floating(value: dict[str, Any]) -> Json:
    """A DECFLOAT, with all of its 38 digits."""
    # By way of a text: `scaleb`, which the connector uses, rounds to 28 digits.
    digits = int.from_bytes(value["significand"], "big", signed=True)
    return canonical(Decimal(f"{digits}E{value['exponent']}"))


def _scaled(text: str) -> int:
    """Seconds that are written with a point, in nanoseconds."""
    # As a decimal: the sign is that of all the digits, of those behind the point, too.
    return int(Decimal(text).scaleb(_NANOSECONDS))


def _moment_at(nanoseconds: int | None, zone: str) -> Json:
    if nanoseconds is None:
        return None
    seconds, fraction = divmod(nanoseconds, _PARTS["ns"])
    days, rest = divmod(seconds, 86_400)
    clock = _time_of_day(rest * _PARTS["ns"] + fraction)
    return _moment(f"{_day(days)} {clock}", zone)


def _time_of_day(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, _PARTS["ns"])
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return _shorter(f"{hour:02}:{minute:02}:{second:02}.{fraction:09}")


def _day(days: int) -> str:
    """The day so many days after the first of 1970, also where Python's calendar ends."""
    # In UTC a moment of Snowflake's last day may lie in the year 10000, and Python ends before it.
    cycles, rest = divmod(days + _EPOCH, _DAYS_IN_400_YEARS)  # after which the calendar repeats
    day = dt.date.fromordinal(rest + 1)
    year = day.year + 400 * cycles
    return f"{year:0{5 if year < 0 else 4}}-{day:%m-%d}"


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
    """A time in Arrow's words, without the digits that say nothing."""
    return text if text is None or "." not in text else _shorter(text)


def _shorter(text: str) -> str:
    """A time with six digits behind the point, as every other engine's; nine only if needed."""
    whole, _, fraction = text.partition(".")
    if not fraction.strip("0"):
        return whole
    return f"{whole}.{fraction[:6]:0<6}" if not fraction[6:].strip("0") else text


def _parsed(value: str | None) -> Json:
    """A VARIANT, OBJECT or ARRAY: Snowflake sends JSON, with one word that JSON does not have."""
    # `undefined` stands for a hole in an ARRAY. It is looked for only in what is no JSON: within a
    # text it is a word like any other.
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
