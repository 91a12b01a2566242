"""Turns DuckDB's values into canonical JSON, column by column.

Python's types can't hold all of them or tell some apart (`infinity` from the calendar's last day, a
month from thirty days, nanoseconds from microseconds), or need another package (`pytz`, for moments
with a zone): those the engine turns into text first.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, canonical, digest, dumps, marked_number, parsed
from flowproject.sources import Rows

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["BUILT_IN", "casts", "converted", "described", "distinct_text"]

_Form = Callable[[Any], Json]

BUILT_IN: Final = "system.main"
"""Where DuckDB's own functions are: a macro of a database may have the name of one, and is meant
where no place is named."""

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
_NESTED: Final = frozenset(["array", "list", "map", "struct", "tuple", "union"])
# What DuckDB's JSON holds exactly and its other nested values do not.
_NEEDS_JSON: Final = re.compile(r"INTERVAL|JSON|TIME_NS|TIMESTAMP_NS|WITH TIME ZONE|VARIANT")
_IS_JSON: Final = re.compile(r"JSON|VARIANT")
_ENUM: Final = re.compile(r"\bENUM\('(?:[^']|'')*'(?:, '(?:[^']|'')*')*\)")
_LONGEST_TYPE: Final = 200
_MICROSECONDS: Final = 6
# What JSON makes of a type; of all others it is a text.
_SHAPES: Final[Mapping[str, frozenset[type]]] = {
    "array": frozenset([list]),
    "boolean": frozenset([bool]),
    "list": frozenset([list]),
    "map": frozenset([dict, list]),
    "null": frozenset(),
    "struct": frozenset([dict]),
    "tuple": frozenset([list]),
    **dict.fromkeys(["decimal", "double", "float"], frozenset([float])),
    **dict.fromkeys(["bigint", "hugeint", "integer", "smallint", "tinyint"], frozenset([float])),
    **dict.fromkeys(["ubigint", "uhugeint", "uinteger", "usmallint"], frozenset([float])),
    "utinyint": frozenset([float]),
}


def casts(kinds: Mapping[str, "DuckDBPyType"]) -> str:
    """The columns of a SELECT that makes every value one that Python can hold; "" if all are."""
    targets = [_cast(kind) for kind in kinds.values()]
    if not any(targets):
        return ""
    columns = zip(map(_quoted, kinds), kinds.values(), targets, strict=True)
    return ", ".join(f"{_fetched(*column)} AS {column[0]}" for column in columns)


def converted(chunk: Sequence[tuple[Any, ...]], kinds: Mapping[str, "DuckDBPyType"]) -> Rows:
    """Rows as DuckDB's client gives them, in canonical form: column → value."""
    forms = [_form(kind) for kind in kinds.values()]
    columns = (
        [form(value) for value in column] if form else column
        for form, column in zip(forms, zip(*chunk, strict=True), strict=True)
    )
    names = list(kinds)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def described(kinds: Mapping[str, "DuckDBPyType"]) -> dict[str, str]:
    """The columns with their types in DuckDB's words, which stay short."""
    # Without the values of an ENUM: one more would be a change of columns, and those that there are
    # stand in the rows.
    return {name: _described(kind) for name, kind in kinds.items()}


def distinct_text(column: str, kind: "DuckDBPyType") -> str:
    """SQL for parts of a text that are two texts for two values of a column that have two forms.

    Whatever stands behind them, it can be told where they end. Values of one form may have two
    texts. It is empty for a type of which nobody has made sure.
    """
    if not _is_known(kind):
        return ""
    if kind.id == "null":
        return "';'"
    if kind.id in _PLAIN:
        return f"{column}, ';'"  # such a text is never empty, so that NULL has one of its own
    text = _whole_text(column, kind)
    return f"{BUILT_IN}.strlen({text}), ':', {text}"


def _whole_text(column: str, kind: "DuckDBPyType") -> str:
    if str(kind) == "VARCHAR":
        return column
    if kind.id == "geometry":
        # Well-known text is what JSON has of it, and the client gives the bytes.
        return f"CAST(CAST({column} AS BLOB) AS VARCHAR)"
    if _cast(kind) == "JSON":
        # The form is made of this very text.
        return f"CAST(CAST({column} AS JSON) AS VARCHAR)"
    if kind.id in _NESTED:
        # Not the cast to a text, which writes a list of two texts as it does one with a comma.
        exact = f"CAST({column} AS {_exact(kind)})" if _needs_exact(kind) else column
        return f"CAST(CAST({exact} AS JSON) AS VARCHAR)"
    return f"CAST({column} AS VARCHAR)"


def _is_known(kind: "DuckDBPyType") -> bool:
    """Whether it is a type of DuckDB's own, and made of such.

    Those of extensions are other types under a name, with casts of their own.
    """
    if kind.id in ("list", "array"):
        named = str(kind).endswith("]")
    else:
        named = str(kind).partition("(")[0].strip('"') in (kind.id.upper(), "JSON")
    parts = _parts(kind)
    is_leaf = kind.id in _PLAIN or kind.id in _WITH_TEXTS
    return named and (is_leaf or bool(parts)) and all(_is_known(part) for _, part in parts)


def _needs_exact(kind: "DuckDBPyType") -> bool:
    """Whether JSON would write two values of a nested type alike that the client tells apart."""
    parts = dict(_parts(kind))
    is_map_of_nested = kind.id == "map" and parts["key"].id in _NESTED
    return kind.id == "geometry" or is_map_of_nested or any(map(_needs_exact, _all_parts(kind)))


def _all_parts(kind: "DuckDBPyType") -> "list[DuckDBPyType]":
    return [part for _, part in _parts(kind)]


def _exact(kind: "DuckDBPyType") -> str:
    """The type of the same shape that JSON holds exactly."""
    if kind.id == "geometry":
        return "BLOB"
    if kind.id == "map" and dict(_parts(kind))["key"].id in _NESTED:
        # The names in an object are texts, and those of nested values can be told apart as JSON.
        return f"MAP(JSON, {_exact(dict(_parts(kind))['value'])})"
    return _shaped(kind, _exact)


def _described(kind: "DuckDBPyType") -> str:
    text = _ENUM.sub("ENUM", str(kind))
    if len(text) <= _LONGEST_TYPE:
        return text
    return f"{text[:_LONGEST_TYPE]}… ({digest(text)[:8]})"


def _cast(kind: "DuckDBPyType") -> str:
    """The type that a column is cast to before it is fetched, or an empty string."""
    if kind.id == "variant" or _goes_as_json(kind):
        return "JSON"
    return _target(kind) if any(leaf in _AS_TEXT for leaf in _leaves(kind)) else ""


def _form(kind: "DuckDBPyType") -> _Form | None:
    """What turns a fetched value into JSON; None if it already is."""
    if str(kind) == "JSON" or _cast(kind) == "JSON":
        return _parsed if _IS_JSON.search(str(kind)) else _parsed_of_known_types
    if kind.id in _TEXTS:
        return _TEXTS[kind.id]
    if "union" in _ids(kind) or any(leaf in _TEXTS for leaf in _leaves(kind)):
        return _nested(kind)
    return None if kind.id in _UNCHANGED else canonical


def _fetched(name: str, kind: "DuckDBPyType", target: str) -> str:
    """SQL for the values of a column, cast to this type unless it is empty."""
    if str(kind) == "JSON[]":
        # JSON is a text to DuckDB 2.0, so this list is cast to it as one of texts, in which what is
        # missing is NULL: no JSON. Deeper in a type the cast is right.
        return f"{BUILT_IN}.to_json({name})"
    return f"CAST({name} AS {target})" if target else name


def _goes_as_json(kind: "DuckDBPyType") -> bool:
    return kind.id in _NESTED and bool(_NEEDS_JSON.search(str(kind)) or _is_ambiguous(kind))


def _parts(kind: "DuckDBPyType") -> "list[tuple[str, DuckDBPyType]]":
    """The types that a nested one is made of, with their names."""
    parts: list[tuple[str, Any]] = kind.children if kind.id in _NESTED else []
    if kind.id == "array":
        return parts[:1]  # its size follows
    return parts[1:] if kind.id == "union" else parts  # the tag comes first


def _ids(kind: "DuckDBPyType") -> Iterator[str]:
    yield kind.id
    for _, part in _parts(kind):
        yield from _ids(part)


def _leaves(kind: "DuckDBPyType") -> Iterator[str]:
    return (found for found in _ids(kind) if found not in _NESTED)


def _is_ambiguous(kind: "DuckDBPyType") -> bool:
    """Whether the value of a union may not say which of its members it is: then JSON does."""
    shapes = [_shapes(part) for _, part in _parts(kind)] if kind.id == "union" else []
    doubled = sum(map(len, shapes)) > len(frozenset[type]().union(*shapes))
    return doubled or any(_is_ambiguous(part) for _, part in _parts(kind))


def _shapes(kind: "DuckDBPyType") -> frozenset[type]:
    if kind.id == "union":
        return frozenset[type]().union(*(_shapes(part) for _, part in _parts(kind)))
    return _SHAPES.get(kind.id, frozenset([str]))


def _target(kind: "DuckDBPyType") -> str:
    """The type of the same shape, with texts in the place of what Python can't hold."""
    return "VARCHAR" if kind.id in _AS_TEXT else _shaped(kind, _target)


def _shaped(kind: "DuckDBPyType", other: "Callable[[DuckDBPyType], str]") -> str:
    """The type itself, with another in the place of each of its parts."""
    parts = [(name, other(part)) for name, part in _parts(kind)]
    match kind.id:
        case "list":
            return f"{parts[0][1]}[]"
        case "array":
            return f"{parts[0][1]}[{kind.children[1][1]}]"
        case "struct" | "union":
            fields = ", ".join(f"{_quoted(name)} {target}" for name, target in parts)
            return f"{kind.id.upper()}({fields})"
        case "map" | "tuple":
            return f"{kind.id.upper()}({', '.join(target for _, target in parts)})"
        case _:
            return str(kind)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _nested(kind: "DuckDBPyType") -> _Form:
    """What turns a nested value into JSON, in which some of the texts stand for something else."""
    shape, parts = kind.id, dict(_parts(kind))
    forms = {name: _form(part) or _same for name, part in parts.items()}
    in_order = [_form(part) or _same for _, part in _parts(kind)]
    by_shape = {it: forms[name] for name, part in parts.items() for it in _shapes(part)}
    has_plain_keys = shape == "map" and parts["key"].id not in {*_TEXTS, *_NESTED}

    def form(value: Any) -> Json:
        if value is None:
            return None
        match shape:
            case "struct":
                return {name: forms[name](part) for name, part in value.items()}
            case "tuple":
                return [make(part) for make, part in zip(in_order, value, strict=True)]
            case "map":
                return _map(value, forms["key"], forms["value"], has_plain_keys=has_plain_keys)
            case "union":
                return _member(value, by_shape)
            case _:
                return [in_order[0](part) for part in value]

    return form


def _map(
    value: Mapping[Any, Any], key_form: _Form, value_form: _Form, *, has_plain_keys: bool
) -> Json:
    """A map in the form that `canonical` gives it: of pairs, if its keys are no texts."""
    # Keys that were made a text on the way are texts all the same here, as they were to versions
    # before, whose journals must not see a change.
    if has_plain_keys and all(isinstance(key, str) for key in value):
        return {key: value_form(part) for key, part in value.items()}
    if value.keys() == {"key", "value"} and isinstance(value["key"], list):
        # So the client gives a map whose keys are lists or structs.
        return {
            "key": [key_form(key) for key in value["key"]],
            "value": [value_form(part) for part in value["value"]],
        }
    pairs: list[Json] = [[key_form(key), value_form(part)] for key, part in value.items()]
    return sorted(pairs, key=dumps) if pairs else {}


def _member(value: Any, by_shape: Mapping[type, _Form]) -> Json:
    """The value of a union, whose shape tells which of the members it is."""
    if isinstance(value, bool | dict):
        return by_shape[type(value)](value)
    if isinstance(value, int | float | Decimal):
        told = by_shape[float](value)
        # NaN, which is no number of JSON, must not look like the text of another member.
        return marked_number(told) if isinstance(told, str) and str in by_shape else told
    return by_shape[list if isinstance(value, list | tuple) else str](value)


def _same(value: Any) -> Json:
    return value  # type: ignore[no-any-return]  # a value of a type in _UNCHANGED


def _parsed(value: str | None) -> Json:
    return None if value is None else parsed(value)


def _parsed_of_known_types(value: str | None) -> Json:
    """A nested value in the words of JSON, in which no text is where a number could be."""
    # As Decimal, so that no digit of a number is lost on the way.
    return None if value is None else canonical(json.loads(value, parse_float=Decimal))


def _moment(value: str | None) -> Json:
    """A moment in DuckDB's words, `2024-01-01 12:00:00.5`, in those of ISO 8601.

    `infinity` and what lies outside of the years 1 to 9999 stay as DuckDB writes them.
    """
    if value is None or value[4:5] != "-" or value[10:12] in ("", " ("):
        return value
    whole, point, fraction = f"{value[:10]}T{value[11:]}".partition(".")
    return f"{whole}.{fraction:0<{_MICROSECONDS}}" if point else whole


def _moment_in_utc(value: str | None) -> Json:
    """Convert a moment with a zone, which our connections have in UTC."""
    if value is None or not value.endswith("+00"):
        return value
    return f"{_moment(value[:-3])}+00:00"


def _like_iso(value: str | None) -> Json:
    return None if value is None else value.replace(" ", "T", 1)


# The types that are fetched as text, and what becomes of it.
_TEXTS: Final[Mapping[str, _Form | None]] = {
    "date": None,
    "interval": None,
    "time_ns": None,
    "timestamp": _moment,
    "timestamp with time zone": _moment_in_utc,
    "timestamp_ms": _moment,
    "timestamp_ns": _like_iso,
    "timestamp_s": _moment,
    "timestamptz_ns": _moment_in_utc,
}

# Those, and one of which the client makes a text itself, but not if it is the key of a map.
_AS_TEXT: Final = frozenset([*_TEXTS, "bignum"])

# Those whose texts have no semicolon in them, and are as many as the values.
_PLAIN: Final = frozenset(
    [
        *_TEXTS,
        *(_UNCHANGED - {"enum", "varchar"}),
        *("decimal", "double", "float", "time", "time with time zone", "uuid"),
    ]
)

# Those of which a text, or what stands for it, may hold any character.
_WITH_TEXTS: Final = frozenset(["blob", "enum", "geometry", "null", "variant", "varchar"])
