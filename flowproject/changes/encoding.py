"""How values of data travel in events: in signs that no shell and no template takes for its own.

A mapped value goes through Go's templates, Argo's `{{...}}`, Kubernetes' `$(...)` and a shell of
Metaflow's, before it reaches a `Parameter`. What is plain stays as it is; the rest is written as a
text of letters and digits, and read back in the run. Why so is told in ADR 0023.
"""

import binascii
import json
import math
import re
from base64 import b64decode, urlsafe_b64encode
from typing import Final

from flowproject.changes.canonical import Json, dumps

__all__ = ["PREFIX", "ascii_json", "decode", "decode_text", "encode", "encode_whole"]

PREFIX: Final = "flowproject-1."
"""What an encoded value begins with; URL-safe base64 of its JSON follows."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9 ._,:/+@=-]*")
"""No sign of a shell, of a template or of JSON, and nothing outside ASCII."""

_EXACT: Final = 2**53
"""Integers up to here are themselves as 64-bit floats, which Go makes of every number."""

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_ACTIVE: Final = {ord("{"): r"\u007b", ord("$"): r"\u0024", 0x7F: r"\u007f"}


def ascii_json(value: Json) -> str:
    """The value as JSON that arrives on a cluster as it was sent, byte for byte.

    It is ASCII, and inside strings `{`, `$` and U+007F are escaped: Argo and Kubernetes would
    replace `{{...}}` and `$(...)` in it, and refuse U+007F.
    """
    return _STRING.sub(lambda found: found[0].translate(_ACTIVE), json.dumps(value))


def encode(value: Json) -> Json:
    """The value with the same shape, in which every text, key and number arrives as it is."""
    match value:
        case dict():
            return {str(_encode_scalar(key)): encode(item) for key, item in value.items()}
        case list():
            return [encode(item) for item in value]
        case _:
            return _encode_scalar(value)


def encode_whole(value: Json) -> Json:
    """The value as one text or number: a list or an object has signs that a shell reads.

    Null is a text as well: a `Parameter` could not tell it from the text "null".
    """
    return _as_text(value) if isinstance(value, dict | list | None) else _encode_scalar(value)


def decode(value: Json) -> Json:
    """What `encode` or `encode_whole` was given."""
    match value:
        case str():
            return decode_text(value)
        case dict():
            return {str(decode_text(key)): decode(item) for key, item in value.items()}
        case list():
            return [decode(item) for item in value]
        case _:
            return value


def decode_text(text: str) -> Json:
    """The value that a text stands for; the text itself if it is not an encoded value."""
    if not text.startswith(PREFIX):
        return text
    try:
        raw = b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
        value: Json = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (binascii.Error, ValueError, RecursionError):
        return text
    return value


def _encode_scalar(value: Json) -> Json:
    return value if _is_plain(value) else _as_text(value)


def _as_text(value: Json) -> str:
    # Names of files that are no UTF-8 have lone surrogates, and JSON's escapes would join two.
    return PREFIX + urlsafe_b64encode(dumps(value).encode("utf-8", "surrogatepass")).decode("ascii")


def _is_plain(value: Json) -> bool:
    match value:
        case bool() | None:
            return True
        case int():
            return abs(value) <= _EXACT
        case float():
            return math.isfinite(value) and not value.is_integer()
        case str():
            return not value.startswith(PREFIX) and _PLAIN.fullmatch(value) is not None
        case _:
            return False
