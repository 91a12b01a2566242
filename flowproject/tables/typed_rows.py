"""Gives rows of a query's result, whose values are JSON, as Arrow with the query's own types.

The types are those that an engine says in words (`BIGINT`, `DECIMAL(10,2)`, `STRUCT(a INTEGER)`):
DuckDB's, and those of other engines by their names. Where nobody said them, values decide.
"""

import json
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, dumps, unmarked_text
from flowproject.changes.difference import Item
from flowproject.errors import FlowError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["edits_in_columns", "rows_in_columns"]

_BATCH_ROWS: Final = 16_384
_MICROSECONDS: Final = 6  # digits of a second
_FEBRUARY: Final = 2

_Make = Callable[[Any], Any]
"""Makes of a canonical value that is not NULL what pyarrow takes for a type."""

_Record = tuple[Mapping[str, Json], ...]
"""A row; or what it was, and what it is."""


@dataclass(frozen=True)
class _ArrowForm:
    """A type of Arrow, and what makes values of it."""

    type: "pa.DataType"
    make: _Make

    def value(self, value: Json) -> Any:
        return None if value is None else self.make(value)


def rows_in_columns(items: Collection[Item], columns: Mapping[str, str]) -> "pa.RecordBatchReader":
    """Stream the rows of items as Arrow; `columns` has the types that are known."""

    def records() -> Iterator[_Record]:
        return ((item.shown,) for item in items)

    return _stream(records, [("", columns)])


def edits_in_columns(
    edits: Collection[tuple[Item, Item]], before: Mapping[str, str], after: Mapping[str, str]
) -> "pa.RecordBatchReader":
    """Stream modified rows: each column as it was, `old_...`, and as it is, `new_...`."""

    def records() -> Iterator[_Record]:
        return ((old.shown, new.shown) for old, new in edits)

    return _stream(records, [("old_", before), ("new_", after)])


def _stream(
    records: Callable[[], Iterator[_Record]], sides: Sequence[tuple[str, Mapping[str, str]]]
) -> "pa.RecordBatchReader":
    import pyarrow as pa

    settled = _settled(records, [columns for _, columns in sides])
    forms = [{name: _form(word) for name, word in columns.items()} for columns in settled]
    names = [prefix + name for (prefix, _), form in zip(sides, forms, strict=True) for name in form]
    types = [form.type for columns in forms for form in columns.values()]
    schema = pa.schema([*zip(names, types, strict=True)])

    def batches() -> "Iterator[pa.RecordBatch]":
        left = records()
        while chunk := list(islice(left, _BATCH_ROWS)):
            arrays = [
                _array(name, form, [record[side].get(name) for record in chunk])
                for side, columns in enumerate(forms)
                for name, form in columns.items()
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _array(name: str, form: _ArrowForm, values: list[Json]) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(map(form.value, values), form.type, size=len(values))
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        # Not the error's words, which may quote a value.
        raise FlowError(
            f"A value of column {name!r} is none of type {form.type} in Arrow "
            f"({type(error).__name__})",
            where="to_arrow() of a change",
            allowed="Iterating gives the rows as the journal has them",
            fix=f"Cast the column in the query: CAST({name} AS VARCHAR) AS {name}",
        ) from None


# ------------------------------------------------------------------ what values say of their type

# Words that leave open what holds their values: each is decided by all values of its column.
_OPEN: Final = frozenset(
    ["", "FLOAT", "NUMBER", "TIME", "TIMESTAMP_LTZ", "TIMESTAMP_NTZ", "TIMESTAMP_TZ"]
)


@dataclass
class _Seen:
    """What was seen of the values of a column."""

    kinds: set[str] = field(default_factory=set)
    digits: int = 0
    scale: int = 0
    is_short: bool = True
    is_float: bool = True
    is_near: bool = True
    parts: dict[str, "_Seen"] = field(default_factory=dict)

    def see(self, value: Json) -> None:
        match value:
            case None:
                return
            case bool():
                self.kinds.add("BOOLEAN")
            case int() | float():
                self._number(value)
            case str():
                self.kinds.add("VARCHAR")
                self.digits = max(self.digits, len(value.partition(".")[2].partition("+")[0]))
                # The years of which Arrow's nanoseconds hold every moment.
                self.is_near = self.is_near and value[4:5] == "-" and "1677" < value[:4] < "2262"
            case list():
                self.kinds.add("LIST")
                for part in value:
                    self.parts.setdefault("", _Seen()).see(part)
            case dict():
                self.kinds.add("STRUCT")
                for name, part in value.items():
                    self.parts.setdefault(name, _Seen()).see(part)

    def _number(self, value: float) -> None:
        self.kinds.add("BIGINT" if isinstance(value, int) else "DOUBLE")
        if isinstance(value, int):
            self.is_short = self.is_short and -(2**63) <= value < 2**63
        else:
            self.scale = max(self.scale, -_exponent(Decimal(repr(value))))
            self.is_float = self.is_float and _fits_float(value)

    def word(self, told: str) -> str:
        """The word for a type that holds all that was seen, if an engine told this one."""
        match told:
            case "FLOAT":
                # DuckDB's has 32 bits and Snowflake's 64.
                return "FLOAT" if self.is_float else "DOUBLE"
            case "NUMBER":
                is_whole = self.kinds <= {"BIGINT"} and self.is_short
                return "BIGINT" if is_whole else f"DECIMAL(38,{self.scale})"
            case "":
                return self._inferred()
            case "TIME":
                return "TIME_NS" if self.digits > _MICROSECONDS else "TIME"
            case _:
                zone = "" if told.endswith("NTZ") else " WITH TIME ZONE"
                return f"TIMESTAMP_NS{zone}" if self.is_near else f"TIMESTAMP{zone}"

    def _inferred(self) -> str:
        kinds = self.kinds
        if kinds <= {"BIGINT"} and kinds and self.is_short:
            return "BIGINT"
        if kinds <= {"BIGINT", "DOUBLE"} and kinds and self.is_short:
            return "DOUBLE"
        if kinds == {"LIST"}:
            return f"{self.parts[''].word('')}[]" if self.parts else "JSON"
        if kinds == {"STRUCT"} and self.parts:
            fields = (f"{_quoted(name)} {part.word('')}" for name, part in self.parts.items())
            return f"STRUCT({', '.join(fields)})"
        return kinds.copy().pop() if kinds in ({"BOOLEAN"}, {"VARCHAR"}) else "JSON"


def _settled(
    records: Callable[[], Iterator[_Record]], told: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """The columns with types that leave nothing open; those of rows of which nobody told any."""
    # A type whose words were too long for the journal was cut there.
    told = [{n: "" if "…" in word else word for n, word in columns.items()} for columns in told]
    looked = [{n: _Seen() for n, word in columns.items() if word in _OPEN} for columns in told]
    if all(told) and not any(looked):
        return [{**columns} for columns in told]
    for record in records():
        for row, columns, seen in zip(record, told, looked, strict=True):
            for name in seen if columns else row:
                seen.setdefault(name, _Seen()).see(row.get(name))
    return [
        {**columns, **{name: one.word(columns.get(name, "")) for name, one in seen.items()}}
        for columns, seen in zip(told, looked, strict=True)
    ]


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _fits_float(value: float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
    except OverflowError:
        return False


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ------------------------------------------------------------------ types, by an engine's words

_SUFFIX: Final = re.compile(r"(?P<inner>.*)\[(?P<size>\d*)\]", re.DOTALL)
_CALL: Final = re.compile(r"(?P<name>[A-Z_]+) ?\((?P<arguments>.*)\)", re.DOTALL)
_PART: Final = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|[()\[\],]|[^()\[\],"\']+')
_FIELD: Final = re.compile(r'(?P<name>"(?:[^"]|"")*"|\S+) (?P<word>.+)', re.DOTALL)
# Nested types that DuckDB's source fetches as JSON, in which bytes and keys of maps are written as
# the engine writes them.
_AS_JSON: Final = re.compile(r"INTERVAL|JSON|TIME_NS|TIMESTAMP_NS|WITH TIME ZONE|VARIANT|UNION")

_DAY: Final = r"(?P<year>-?\d+)-(?P<month>\d\d)-(?P<day>\d\d)(?P<bc> \(BC\))?"
_CLOCK: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?"
_DATE: Final = re.compile(_DAY)
_TIME: Final = re.compile(_CLOCK)
_MOMENT: Final = re.compile(rf"{_DAY}[T ]{_CLOCK}(?: \(BC\))?(?:\+00(?::00)?|Z)?")
_SPAN: Final = re.compile(r"(-?\d+) (year|month|mon|day)s?")
_SPAN_CLOCK: Final = re.compile(r"(?P<minus>-?)(?P<hours>\d+):(\d\d):(\d\d)(?:\.(\d+))?$")
_ESCAPED: Final = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_UNITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _form(word: str, *, in_json: bool = False) -> _ArrowForm:
    """The type that a word names; text, if it names none that Arrow has."""
    import pyarrow as pa

    if found := _SUFFIX.fullmatch(word):
        one = _form(found["inner"], in_json=in_json or bool(_AS_JSON.search(word)))
        of = pa.list_(one.type, int(found["size"])) if found["size"] else pa.list_(one.type)
        return _ArrowForm(of, lambda values: [one.value(value) for value in values])
    if found := _CALL.fullmatch(word):
        return _nested(
            found["name"],
            _arguments(found["arguments"]),
            in_json=in_json or bool(_AS_JSON.search(word)),
        )
    if word in _PLAIN:
        (kind, *given), make = _PLAIN[word]
        return _ArrowForm(getattr(pa, kind)(*given), make)
    if word in ("BLOB", "BINARY"):
        return _ArrowForm(pa.binary(), _unescaped if in_json else b64decode)
    if word == "JSON":
        return _ArrowForm(pa.string(), unmarked_text)
    return _ArrowForm(pa.string(), _text)


def _nested(name: str, arguments: list[str], *, in_json: bool) -> _ArrowForm:
    import pyarrow as pa

    inner = partial(_form, in_json=in_json)
    match name, arguments:
        case (("DECIMAL" | "NUMERIC" | "NUMBER"), [precision, scale]):
            return _ArrowForm(pa.decimal128(int(precision), int(scale)), _decimal)
        case "STRUCT", _:
            fields = [_FIELD.fullmatch(argument) for argument in arguments]
            parts = {_unquoted(one["name"]): inner(one["word"]) for one in fields if one}
            of = pa.struct([(name, part.type) for name, part in parts.items()])
            return _ArrowForm(of, partial(_struct, parts))
        case "TUPLE", _:
            members = {f"element{at}": inner(one) for at, one in enumerate(arguments, start=1)}
            of = pa.struct([(name, part.type) for name, part in members.items()])
            return _ArrowForm(of, partial(_tuple, members))
        case "MAP", [key, value]:
            keys, values = inner(key), inner(value)
            return _ArrowForm(pa.map_(keys.type, values.type), partial(_pairs, keys, values))
        case _:  # of an ENUM the values are not kept, a UNION has members that Python does not tell
            return _ArrowForm(pa.string(), _text)


def _arguments(text: str) -> list[str]:
    """What stands between the commas that are in no bracket and no quotes."""
    found, depth = [""], 0
    for part in _PART.findall(text):
        depth += (part in "([") - (part in ")]")
        if part == "," and not depth:
            found.append("")
        else:
            found[-1] += part
    return [argument.strip() for argument in found]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


# ------------------------------------------------------------------ values


def _text(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)


def _struct(parts: Mapping[str, _ArrowForm], value: Mapping[str, Json]) -> dict[str, Any]:
    return {name: part.value(value.get(name)) for name, part in parts.items()}


def _tuple(parts: Mapping[str, _ArrowForm], value: Sequence[Json] | Mapping[str, Json]) -> Any:
    members = value.values() if isinstance(value, Mapping) else value
    return {
        name: part.value(member)
        for (name, part), member in zip(parts.items(), members, strict=True)
    }


def _pairs(keys: _ArrowForm, values: _ArrowForm, value: Any) -> list[tuple[Any, Any]]:
    """A map in any of its forms: an object, pairs, or keys beside values."""
    pairs: Iterable[tuple[Json, Json]] = value
    if isinstance(value, Mapping):
        pairs = value.items()
        if value.keys() == {"key", "value"} and isinstance(value["key"], list):
            pairs = zip(value["key"], value["value"], strict=True)
    return [(keys.make(_key(keys, key)), values.value(part)) for key, part in pairs]


def _key(keys: _ArrowForm, key: Json) -> Json:
    """The key of a map, which in an object is a text whatever it was."""
    import pyarrow as pa

    is_text = isinstance(key, str) and not pa.types.is_string(keys.type)
    if is_text and (pa.types.is_nested(keys.type) or pa.types.is_boolean(keys.type)):
        parsed: Json = json.loads(str(key))
        return parsed
    return key


def _decimal(value: Json) -> Decimal:
    return Decimal(str(value))


def _unescaped(text: str) -> bytes:
    r"""Bytes as DuckDB writes them: `ab\x00`."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode())


def _days(found: "re.Match[str]") -> int:
    """The days since 1970 of a date of the proleptic Gregorian calendar, in any year."""
    year, month = int(found["year"]), int(found["month"])
    year = 1 - year if found["bc"] else year
    # Counted from March, so that the day that some years have more is the last one.
    year, shifted = (year, month - 3) if month > _FEBRUARY else (year - 1, month + 9)
    of_year = (153 * shifted + 2) // 5 + int(found["day"]) - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719_468


def _parts_of_second(found: "re.Match[str]", unit: str) -> int:
    """A time of day in parts of a second; ValueError if some of its digits are smaller."""
    digits = _UNITS[unit]
    fraction = found["fraction"] or ""
    if fraction[digits:].strip("0"):
        raise ValueError(f"it has more than {digits} digits of a second")
    seconds = (int(found["hour"]) * 60 + int(found["minute"])) * 60 + int(found["second"])
    return int(seconds * 10**digits) + int(f"{fraction[:digits]:0<{digits}}" or 0)


def _matched(pattern: "re.Pattern[str]", text: str) -> "re.Match[str]":
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError("it is not written as such a value is")
    return found


def _date(text: str) -> int:
    # As DuckDB's own Arrow has it.
    if text.endswith("infinity"):
        return -(2**31 - 1) if text.startswith("-") else 2**31 - 1
    return _days(_matched(_DATE, text))


def _time(unit: str) -> _Make:
    return lambda text: _parts_of_second(_matched(_TIME, text), unit)


def _moment(unit: str) -> _Make:
    def make(text: str) -> int:
        if text.endswith("infinity"):
            return -(2**63 - 1) if text.startswith("-") else 2**63 - 1
        found = _matched(_MOMENT, text)
        whole = _days(found) * 86_400 * 10 ** _UNITS[unit]
        return int(whole) + _parts_of_second(found, unit)

    return make


def _interval(text: str) -> Any:
    import pyarrow as pa

    counts = {"year": 0, "month": 0, "mon": 0, "day": 0}
    for number, unit in _SPAN.findall(text):
        counts[unit] += int(number)
    nanoseconds = 0
    if found := _SPAN_CLOCK.search(text):
        minus, hours, minutes, seconds, fraction = found.groups()
        whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
        nanoseconds = (whole * 10**9 + int(f"{fraction or '':0<9}")) * (-1 if minus else 1)
    months = counts["year"] * 12 + counts["month"] + counts["mon"]
    return pa.MonthDayNano([months, counts["day"], nanoseconds])


def _truth(value: Json) -> bool:
    return value is True or value == "true"


# By word: the function of pyarrow that makes the type, its arguments, and what makes a value.
_PLAIN: Final[Mapping[str, tuple[tuple[Any, ...], _Make]]] = {
    "BIGINT": (("int64",), int),
    "BOOLEAN": (("bool_",), _truth),
    "DATE": (("date32",), _date),
    "DOUBLE": (("float64",), float),
    "FLOAT": (("float32",), float),
    "HUGEINT": (("decimal128", 38, 0), _decimal),
    "INTEGER": (("int32",), int),
    "INTERVAL": (("month_day_nano_interval",), _interval),
    "SMALLINT": (("int16",), int),
    "TIME": (("time64", "us"), _time("us")),
    "TIME_NS": (("time64", "ns"), _time("ns")),
    "TIMESTAMP": (("timestamp", "us"), _moment("us")),
    "TIMESTAMP WITH TIME ZONE": (("timestamp", "us", "UTC"), _moment("us")),
    "TIMESTAMPTZ_NS": (("timestamp", "ns", "UTC"), _moment("ns")),
    "TIMESTAMP_MS": (("timestamp", "ms"), _moment("ms")),
    "TIMESTAMP_NS": (("timestamp", "ns"), _moment("ns")),
    "TIMESTAMP_NS WITH TIME ZONE": (("timestamp", "ns", "UTC"), _moment("ns")),
    "TIMESTAMP_S": (("timestamp", "s"), _moment("s")),
    "TINYINT": (("int8",), int),
    "UBIGINT": (("uint64",), int),
    "UHUGEINT": (("decimal128", 38, 0), _decimal),
    "UINTEGER": (("uint32",), int),
    "USMALLINT": (("uint16",), int),
    "UTINYINT": (("uint8",), int),
    '"NULL"': (("null",), _text),
}
