"""JSON as Go reads and writes it, on the way from a posted event to a parameter. Pure.

Two ways lead there: the text as it was sent, without spaces (`compact`, `member`), and the value
read and written anew (`decode`, `encode`). Held to recorded answers of Argo Events.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["OutOfRangeError", "compact", "decode", "encode", "is_json", "member"]

_DEEPEST: Final = 10_000
_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\s+|[{}\[\],:]|[^\s"{}\[\],:]+')
_ESCAPED: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
_LINES: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\u2028\u2029"}


class OutOfRangeError(ValueError):
    """A number that no float of 64 bits is near to."""


def is_json(text: str) -> bool:
    """Whether Go takes the text for JSON."""
    depth = deepest = 0
    for piece in _PIECE.findall(text):
        depth += (piece in "{[") - (piece in "}]") if len(piece) == 1 else 0
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        return False
    if deepest > 900:  # more than Python reads; its brackets match, and only that is asked
        return depth == 0
    try:
        json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return False
    return not text.startswith("\ufeff")


def compact(text: str) -> str:
    """The same JSON without spaces, and with the signs escaped that mean something in HTML."""
    pieces = (piece for piece in _PIECE.findall(text) if not piece.isspace())
    return "".join(
        piece.translate(_ESCAPED) if piece.startswith('"') else piece for piece in pieces
    )


def member(text: str, path: str) -> str | None:
    """The text below a path of keys with dots between them; of equal keys the first one's."""
    found: str | None = text
    for key in re.split(r"(?<!\\)\.", path):
        if found is None or not found.startswith("{"):
            return None
        name = key.replace("\\.", ".")
        found = next((value for known, value in _members(found) if known == name), None)
    return found


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Keys and the texts of their values, of a compact object."""
    key, start, depth, position = "", 0, 0, 0
    for piece in _PIECE.findall(text):
        if depth == 1 and piece == ":" and not start:
            start = position + 1
        elif depth == 1 and piece in {",", "}"} and start:
            yield key, text[start:position]
            start = 0
        elif depth == 1 and piece.startswith('"') and not start:
            key = json.loads(piece)
        depth += (piece in "{[") - (piece in "}]") if len(piece) == 1 else 0
        position += len(piece)


def decode(text: str) -> Any:
    """The value as Go has it: each number the nearest float; of equal keys the last one's.

    Raises `OutOfRangeError`.
    """
    return json.loads(text, parse_int=_number, parse_float=_number)


def encode(value: Any) -> str:
    """The value as Go writes it: keys sorted, numbers in their shortest digits."""
    if isinstance(value, dict):
        members = (f"{encode(key)}:{encode(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(encode(item) for item in value) + "]"
    if isinstance(value, float):
        return _digits(value)
    text = json.dumps(value, ensure_ascii=False)
    text = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    return text.translate(_LINES)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise OutOfRangeError(text)
    return number


def _digits(number: float) -> str:
    if number != 0 and not 1e-6 <= abs(number) < 1e21:
        digits, _, power = repr(number).partition("e")
        return f"{digits.removesuffix('.0')}e{power[0]}{power[1:].lstrip('0')}"
    if number.is_integer():
        text = repr(number)
        return str(int(number)) if "e" not in text and number else _plain(text)
    return _plain(repr(number))


def _plain(text: str) -> str:
    """A number without an exponent."""
    digits, _, power = text.partition("e")
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.removeprefix("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    shift = int(power or 0)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - 1)}{whole}{fraction}"
    if shift:
        return f"{sign}{whole}{fraction.ljust(shift, '0')}"
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _no_constant(name: str) -> Any:
    raise ValueError(name)
