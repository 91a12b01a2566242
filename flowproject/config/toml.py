"""TOML text in, a dict out; where it isn't TOML, a message that shows the place."""

import re
import tomllib
from typing import Any, Final

from flowproject.errors import ConfigError

__all__ = ["read_toml"]

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_WIDTH: Final = 90  # characters of a line that are shown
_TWICE: Final = re.compile(r"Cannot (?:declare|mutate|redefine).*?\((.*)\)")


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML file; raises `ConfigError` with line, column and the line itself."""
    # TOML is UTF-8 without a mark, but some editors write one, and tomllib reads it as a key.
    text = text.removeprefix("\ufeff")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_explained(str(error), text, file)) from error
    except RecursionError as error:
        raise ConfigError(f"{file} nests brackets too deeply to be read") from error
    except ValueError as error:
        raise ConfigError(f"{file} has a number that is too long to be read") from error


def _explained(message: str, text: str, file: str) -> str:
    """What tomllib says, with the offending line and what usually helps."""
    reason = _PLACE.sub("", message)
    lines = text.replace("\r\n", "\n").split("\n")
    line, column = _place(message, lines)
    whole = lines[line - 1]
    start = max(0, column - _WIDTH * 2 // 3)
    pointer = re.sub(r"[^\t]", " ", whole[start : column - 1]) + "^"
    return (
        f"{file}, line {line}, column {column}: {_reason(reason)}\n"
        f"    {whole[start : start + _WIDTH]}\n"
        f"    {pointer}\n"
        f"{_advice(reason, whole)}"
    )


def _place(message: str, lines: list[str]) -> tuple[int, int]:
    """Line and column, counted from 1; the end of the text if that is where reading stopped."""
    found = _PLACE.search(message)
    if found and found[1]:
        return int(found[1]), int(found[2])
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    return last, len(lines[last - 1]) + 1


def _reason(reason: str) -> str:
    twice = _TWICE.search(reason)
    if not twice:
        return f"this is not TOML: {reason[:1].lower()}{reason[1:]}."
    parts = re.findall(r"'((?:[^'\\]|\\.)*)'", twice[1])
    both = ": two sensors with one name" if parts[:-1] == ["sensors"] else ""
    return f"[{'.'.join(parts)}] appears twice{both}."


def _advice(reason: str, line: str) -> str:
    if _TWICE.search(reason):
        return "Rename one of the two, or merge them."
    if reason.startswith("Cannot overwrite"):
        return "The same key stands further up. Keep one of the two."
    if reason.startswith("Invalid value") and "=" in line:
        key, _, value = line.partition("=")
        if re.fullmatch(r"\s*[A-Za-z_][^'\"#\[\]{}]*", value):
            return f'Text needs quotes: {key.strip()} = "{value.strip()}".'
        return 'After "=" comes text in quotes, a number, true, false, or a list in brackets.'
    return "Every line is [section], key = value, or a # comment; text stands in quotes."
