"""Gives every value that a source can return one JSON form, and digests it.

The same data always has the same form, whatever engine, driver or row order it came through.
"""

import datetime as dt
import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from hashlib import blake2b
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, Final, cast
from uuid import UUID

__all__ = [
    "Json",
    "canonical",
    "digest",
    "digest_value",
    "dumps",
    "dumps_rows",
    "marked_number",
    "parsed",
    "unmarked_text",
]

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_DIGEST_BYTES: Final = 16
# One encoder for all values: `json.dumps` with these arguments makes one for each call, which took
# half of the time.
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
# Digits. The largest float has 309, and Python refuses to read an integer of more than 4,300.
_LONGEST_INTEGER: Final = 400
_MARK: Final = re.compile(r"\$+(?:number|object)")


def canonical(value: object) -> Json:
    """The JSON form of `value`.

    Numbers that are equal have one form (`Decimal('1.0')` and `1.0` are `1`), exact to the last
    digit: a decimal that no JSON number stands for becomes a string. Moments with a zone are given
    in UTC. What JSON has no word for becomes a string, too: `NaN`, `Infinity`, dates (ISO 8601),
    durations (ISO 8601 seconds), bytes (base64), UUIDs.

    Raises:
        TypeError: if `value` is of a kind that no supported engine returns.
    """
    # By the exact type, because a chain of `isinstance` for each of a million values is slow.
    form = _FORMS.get(type(value)) or _inherited(value)
    return form(value)


def parsed(text: str) -> Json:
    """The canonical form of a JSON text, in which any value may be where another kind was before.

    So a number that becomes a text is marked: `{"$number": "1E+400"}`, as are the members of an
    object that has a name twice: `{"$object": [["a", 1], ["a", 2]]}`. An object that looks like
    such a mark gets one more `$`.

    Raises:
        ValueError: if it is no JSON.
    """
    return cast("Json", _DECODER.decode(text))


def marked_number(text: str) -> Json:
    """A number for which JSON has no word, where it could be taken for a text."""
    # Marked, because inside JSON a text may stand where a number stood before, and must differ.
    return {"$number": text}


def unmarked_text(value: Json) -> str:
    """A JSON text that `parsed` gives this form."""
    if isinstance(value, list):
        return f"[{','.join(map(unmarked_text, value))}]"
    if not isinstance(value, dict):
        return dumps(value)
    match [*value.items()]:
        case [("$number", str(number))]:
            return number
        case [("$object", list(pairs))]:
            return _members(cast("list[tuple[str, Json]]", pairs))
        case [(name, inner)] if _MARK.fullmatch(name):
            return _members([(name[1:], inner)])
        case members:
            return _members(members)


def _members(pairs: Iterable[tuple[str, Json]]) -> str:
    return f"{{{','.join(f'{dumps(name)}:{unmarked_text(value)}' for name, value in pairs)}}}"


def dumps(value: Json) -> str:
    """The one spelling of a canonical value: sorted keys, no spaces, no ASCII escapes."""
    return _ENCODER.encode(value)


def dumps_rows(columns: Mapping[str, Sequence[Json]]) -> Iterator[str]:
    """Spell each row of a table, which is given by its columns, as `dumps` does.

    It asks once for each column, and not for each value, how such a value is spelled: that takes a
    third of the time.
    """
    names = sorted(columns)
    # A template for all rows: names are the same in each, and spelled once.
    fields = ",".join(dumps(name).replace("%", "%%") + ":%s" for name in names)
    spelled = [_spelled(columns[name]) for name in names]
    return map(f"{{{fields}}}".__mod__, zip(*spelled, strict=True))


def digest(*parts: bytes | str) -> str:
    """128 bits over the parts, as 32 hexadecimal digits (BLAKE2b, RFC 7693).

    Every part is preceded by its length, so that `("ab", "c")` and `("a", "bc")` differ.
    """
    state = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        # Names of files that are no UTF-8 have lone surrogates.
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()


def digest_value(value: Json) -> str:
    """The digest of one canonical value."""
    return digest(dumps(value))


def _spelled(column: Sequence[Json]) -> list[str]:
    """What `dumps` says of each value."""
    # `bool` is a kind of `int`, so types are compared and not asked for.
    kinds = {*map(type, column)} - {type(None)}
    spell: Callable[[Any], str] = dumps
    if kinds <= {str}:
        spell = encode_basestring
    elif kinds <= {int, float}:
        spell = repr
    elif kinds == {bool}:
        spell = {True: "true", False: "false"}.__getitem__
    return ["null" if value is None else spell(value) for value in column]


def _same(value: Any) -> Json:
    return cast("Json", value)


def _float(value: float) -> Json:
    if math.isfinite(value):
        # Engines differ in whether a whole number comes as an integer or as a float.
        return int(value) if value.is_integer() else value
    return "NaN" if math.isnan(value) else _infinity(positive=value > 0)


def _decimal(value: Decimal) -> Json:
    if not value.is_finite():
        return "NaN" if value.is_nan() else _infinity(positive=value > 0)
    # The default context would round to 28 digits; databases have 38.
    exact = value.normalize(_EXACT)
    if exact == exact.to_integral_value() and exact.adjusted() < _LONGEST_INTEGER:
        return int(exact)
    # A float where it is exact, because readers of JSON expect numbers; else text, which loses
    # nothing.
    number = float(exact)
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else str(exact)


def _json_number(text: str) -> Json:
    try:
        number = _decimal(Decimal(text))  # so that no digit of it is lost on the way
    except InvalidOperation:  # an exponent of twenty digits
        number = text
    return marked_number(number) if isinstance(number, str) else number


def _json_integer(text: str) -> Json:
    return int(text) if len(text) < _LONGEST_INTEGER else _json_number(text)


def _json_object(pairs: list[tuple[str, Json]]) -> Json:
    # A name that stands twice would lose a member, and a change of it be missed.
    found = dict(sorted(pairs, key=itemgetter(0)))
    if len(found) < len(pairs):
        return {"$object": [[name, value] for name, value in pairs]}
    if len(found) == 1 and _MARK.fullmatch(next(iter(found))):
        return {f"${name}": value for name, value in found.items()}
    return cast("Json", found)


def _infinity(*, positive: bool) -> str:
    return "Infinity" if positive else "-Infinity"


def _mapping(value: Mapping[object, object]) -> Json:
    if all(isinstance(key, str) for key in value):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    # JSON has no keys but texts, and engines have maps with any.
    pairs: list[Json] = [[canonical(key), canonical(element)] for key, element in value.items()]
    return sorted(pairs, key=dumps)


def _sequence(value: Iterable[object]) -> Json:
    return [canonical(element) for element in value]


def _set(value: Iterable[object]) -> Json:
    # Sets have no order, and Python gives them another one in each process.
    return sorted((canonical(element) for element in value), key=dumps)


def _moment(value: dt.datetime) -> str:
    try:
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat()
    except OverflowError:  # within a day of the calendar's first or last moment
        return value.isoformat()


def _duration(value: dt.timedelta) -> str:
    # In seconds alone: days and months differ between engines.
    return f"PT{Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000:f}S"


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return b64encode(bytes(value)).decode("ascii")


def _inherited(value: object) -> Callable[[Any], Json]:
    """The form for the first kind in `_FORMS` that the value's class derives from."""
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form
    message = f"a value of type {type(value).__name__} has no canonical form: {value!r}"
    raise TypeError(message)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_json_object,
    parse_constant=marked_number,
    parse_float=_json_number,
    parse_int=_json_integer,
)

# Looked up by exact type first, because a table of a million rows goes through here.
_FORMS: Final[dict[type, Callable[[Any], Json]]] = {
    type(None): _same,
    bool: _same,
    int: _same,
    str: _same,
    float: _float,
    Decimal: _decimal,
    dt.datetime: _moment,  # before date, of which it is a kind
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: _duration,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    UUID: str,
    list: _sequence,
    tuple: _sequence,
    set: _set,
    frozenset: _set,
    dict: _mapping,
    Mapping: _mapping,
}
