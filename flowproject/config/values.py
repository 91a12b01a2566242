"""Defines the types of value that a key of `flowproject.toml` can have.

A type reads what a person wrote, says what it takes in words, and says it in JSON Schema, so that
the parser, the editor and the reference page can't disagree. Which key is of which type is said in
`model` and worked out in `keys`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flowproject.cron import CronError, parse, zone_of
from flowproject.errors import closest
from flowproject.secrecy import safe

__all__ = [
    "Boolean",
    "Choice",
    "ChoiceList",
    "CronExpression",
    "Duration",
    "Integer",
    "InvalidValueError",
    "Text",
    "TextList",
    "ValueType",
    "ZoneName",
    "shown",
    "text_of",
]

# A number with a few noughts too many is far likelier than a wait of more than a year.
_LONGEST: Final = 366 * 86_400
_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
# Used in the JSON Schema too, so it keeps to what both Python and JavaScript understand.
_DURATION: Final = r"([0-9]+(\.[0-9]+)?[dhms])( ?[0-9]+(\.[0-9]+)?[dhms])*"
# A user alone may stand in abfs://container@account, so only with https is one refused.
_CREDENTIALS: Final = re.compile(r"https?://[^/\s@]+@|://[^/\s@:]*:[^/\s@]*@")
_SHOWN: Final = 76  # characters of a value: a line of a terminal, with the key before it


class InvalidValueError(ValueError):
    """A value that a key can't have. Its text goes on where `[section] key = value` ends."""


class ValueType(Protocol):
    """What a key takes."""

    @property
    def words(self) -> str:
        """What it takes, as the reference page says it."""

    def read(self, value: object) -> Any:
        """The value in the form that the model holds; raises `InvalidValueError`."""

    def schema(self) -> dict[str, Any]:
        """What it takes, in JSON Schema."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Text, of a certain form if there is a pattern."""

    pattern: str = ""
    words: str = "text"
    reserved: tuple[str, ...] = ()
    why: str = ""
    hidden: bool = False
    """Whether messages leave the value out, because a secret may stand there by mistake."""

    def read(self, value: object) -> str:
        """The text as it was written."""
        text = text_of(value)
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise InvalidValueError(f"is not allowed. Use {self.words}{self.why}.")
        # Such a key of a payload would overwrite what the bus and the receiving flow read there.
        if text in self.reserved:
            names = ", ".join(self.reserved)
            raise InvalidValueError(
                f"is taken: flowproject and Argo Events use {names}. Choose another."
            )
        return text

    def schema(self) -> dict[str, Any]:
        """A string with that pattern, or an empty one."""
        form: dict[str, Any] = {"type": "string"}
        if self.pattern:
            form["pattern"] = f"^({self.pattern})?$"
        return form | ({"not": {"enum": list(self.reserved)}} if self.reserved else {})


@dataclass(frozen=True, kw_only=True)
class TextList:
    """A list of texts; one alone needs no brackets."""

    words: str = "list of texts"

    def read(self, value: object) -> tuple[str, ...]:
        """The texts, in their order."""
        if isinstance(value, str):
            return (text_of(value),)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise InvalidValueError('is not a list of texts. Use for example ["a", "b"].')
        return tuple(text_of(item) for item in value)

    def schema(self) -> dict[str, Any]:
        """An array of strings, or one string."""
        item = {"type": "string", "minLength": 1}
        return {"anyOf": [{"type": "array", "items": item}, {"type": "string"}]}


@dataclass(frozen=True, kw_only=True)
class Integer:
    """A whole number."""

    least: int = 1

    @property
    def words(self) -> str:
        """The range in words."""
        return f"whole number, {self.least} or more"

    def read(self, value: object) -> int:
        """The number."""
        # In Python True is an int, and row_limit = true would be a limit of one row.
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValueError(
                f"is not a whole number. Use {self.least} or more, without quotes."
            )
        if value < self.least:
            raise InvalidValueError(f"is too small. Use {self.least} or more.")
        return value

    def schema(self) -> dict[str, Any]:
        """An integer, or an empty string."""
        # An empty string means that a key is not set, whatever its type: editors must not mark it.
        return {"anyOf": [{"type": "integer", "minimum": self.least}, {"const": ""}]}


@dataclass(frozen=True, kw_only=True)
class Boolean:
    """True or false."""

    words: str = "`true` or `false`"

    def read(self, value: object) -> bool:
        """The value as it is."""
        if not isinstance(value, bool):
            raise InvalidValueError("is neither true nor false. Use one of these, without quotes.")
        return value

    def schema(self) -> dict[str, Any]:
        """A boolean, or an empty string."""
        return {"anyOf": [{"type": "boolean"}, {"const": ""}]}


@dataclass(frozen=True, kw_only=True)
class Duration:
    """A length of time: seconds, or text such as "1h30m"."""

    zero: bool = True
    words: str = 'seconds, or text such as `"30s"`, `"5m"`, `"1h30m"`'

    def read(self, value: object) -> float:
        """The seconds."""
        seconds = _seconds(value)
        if not 0 <= seconds <= _LONGEST:
            raise InvalidValueError("is out of range. Use from 0 seconds to 366 days.")
        if seconds == 0 and not self.zero:
            raise InvalidValueError(
                "leaves no time at all. Use more than 0 seconds, for example 300."
            )
        return seconds

    def schema(self) -> dict[str, Any]:
        """A number, or text with units."""
        lower = "minimum" if self.zero else "exclusiveMinimum"
        number = {"type": "number", lower: 0, "maximum": _LONGEST}
        return {"anyOf": [number, {"type": "string", "pattern": f"^({_DURATION})?$"}]}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """The choice in words."""
        return " or ".join(f'`"{option}"`' for option in self.options)

    def read(self, value: object) -> str:
        """The word."""
        if value in self.options:
            return str(value)
        # A number or a list has no nearest word.
        near = closest(value, self.options) if isinstance(value, str) else ""
        raise InvalidValueError(
            f"is not a choice. Use one of: {', '.join(self.options)}. {near}".rstrip()
        )

    def schema(self) -> dict[str, Any]:
        """One of the words, or an empty string."""
        return {"enum": [*self.options, ""]}


@dataclass(frozen=True, kw_only=True)
class ChoiceList:
    """A list of a few words, of which each may stand in it; one alone needs no brackets."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """The choices in words."""
        return "list of " + ", ".join(f'`"{option}"`' for option in self.options)

    def read(self, value: object) -> tuple[str, ...]:
        """The words, in their order, each once."""
        one = Choice(options=self.options)
        words = value if isinstance(value, list) else [value]
        # Metaflow would get an option twice for a word that is written twice.
        return tuple(dict.fromkeys(one.read(word) for word in words))

    def schema(self) -> dict[str, Any]:
        """An array of the words, or one of them, or an empty string."""
        words = {"type": "array", "items": {"enum": [*self.options]}}
        return {"anyOf": [words, {"enum": [*self.options, ""]}]}


@dataclass(frozen=True, kw_only=True)
class CronExpression:
    """A schedule of five fields that both the local loop and Argo Workflows understand."""

    words: str = "cron schedule of five fields"

    def read(self, value: object) -> str:
        """The schedule, its fields separated by single spaces."""
        text = " ".join(text_of(value).split())
        try:
            # Argo knows @hourly as well, but the schema and the editors that follow it know five
            # fields.
            parse(text, nicknames=False)
        except CronError as error:
            raise InvalidValueError(f"is not a cron schedule: {error}.") from None
        return text

    def schema(self) -> dict[str, Any]:
        """Text of five fields."""
        return {"type": "string", "pattern": r"^(\s*\S+(\s+\S+){4}\s*)?$"}


@dataclass(frozen=True, kw_only=True)
class ZoneName:
    """A time zone by its name."""

    words: str = 'time zone such as `"Europe/Helsinki"`'

    def read(self, value: object) -> str:
        """The name of the zone."""
        name = text_of(value)
        try:
            zone_of(name)
        except CronError as error:
            raise InvalidValueError(str(error).removeprefix(f"{name!r} ")) from None
        return name

    def schema(self) -> dict[str, Any]:
        """Any text: the names differ between machines."""
        # The schema is written on one machine and read on others, with other data on time zones.
        return {"type": "string"}


def shown(value: object) -> str:
    """The value as a message shows it: its repr, cut where it gets long."""
    # Of a secret that is cut, nobody could say that it is one.
    text = safe(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def text_of(value: object) -> str:
    """The value, if it is text; raises `InvalidValueError`."""
    if not isinstance(value, str):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        quoted = f': "{shown(value)}"' if number else ""
        raise InvalidValueError(f"is not text. Put it in quotes{quoted}.")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise InvalidValueError("has a control character in it. Remove it.")
    if _CREDENTIALS.search(value):
        raise InvalidValueError(
            "has a user or a password in it. The file travels with every run and is kept as an "
            "artifact: leave them out of it. What a source logs in with is in the environment."
        )
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidValueError(
            "is not a duration. Use seconds, or text such as '30s', '5m', '1h30m'."
        )
    if not isinstance(value, str):
        # An int of TOML may be too large for a float: it must be refused, and not overflow.
        return float(value) if abs(value) <= _LONGEST else float("inf")
    if not re.fullmatch(_DURATION, value):
        raise InvalidValueError(
            "is not a duration. Use text such as '30s', '5m', '1h30m', or seconds."
        )
    parts = re.findall(r"([0-9.]+)([dhms])", value)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
