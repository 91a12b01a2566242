"""What an event becomes in the run that it starts: parameters and environment variables.

The rules are those of the way to a cluster's run: the bus and the template of Argo Events (Go's
JSON), Metaflow's `set_parameters`, a shell that sources its output. Pure; held against what real
controllers answered and against Metaflow's own code.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, NoReturn, Self

from flowproject.flowfiles import Dependency, FlowParameter
from flowproject.metaflow_internals.argo import EVENT_VARIABLE

__all__ = ["Argument", "Event", "NotPassable", "argument", "variable", "workflow_text"]

_SHELL: Final = re.compile(r"\$[\w({@*#?$!-]|`")
_EXACT: Final = 2**53
_PLAIN: Final = (1e-6, 1e21)
"""Between these Go writes a number without an exponent."""

_DEEPEST: Final = 200
"""Levels of a payload. The webhook takes 10,000, and the Python of a run can't read 1,000."""

_STRING_OR_SPACE: Final = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+')
_ESCAPED_BY_GO: Final = str.maketrans(
    {
        "<": r"\u003c",
        ">": r"\u003e",
        "&": r"\u0026",
        "\u2028": r"\u2028",
        "\u2029": r"\u2029",
    }
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"


class NotPassable(ValueError):  # noqa: N818  # a verdict on a payload, told to the user as a reason
    """A value can't reach a parameter: on a cluster the run would fail."""


class _OutOfRange(ValueError):  # noqa: N818  # caught here
    """A number is none that Go can write: the parameter takes its default."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What was put on the bus: only the payload counts, its own `name` included."""

    text: str
    """The payload as the bus keeps it: as it was sent, without spaces between its tokens."""

    @classmethod
    def received(cls, body: bytes) -> Self | None:
        """The event in the body of a POST; None if it has no payload with fields.

        Raises `ValueError` or `RecursionError` for what is not JSON.
        """
        # A byte that is no UTF-8 passes inside a string, and is replaced.
        text = _SURROGATE.sub(_REPLACEMENT, body.decode("utf-8", "surrogateescape"))
        if not isinstance(_parsed(text), dict):
            return None
        payload = _member(_compact(text), "payload")
        return cls(text=payload) if payload.startswith("{") else None

    @classmethod
    def sent(cls, payload: Mapping[str, Any]) -> Self:
        """The event that Metaflow publishes with this payload."""
        return cls(text=_compact(json.dumps(payload)))

    @cached_property
    def payload(self) -> dict[str, Any]:
        """The fields of the payload; of two equal keys the first counts."""
        fields: dict[str, Any] = _parsed(self.text)
        return fields

    @property
    def name(self) -> str:
        """The name that sensors compare; empty if it is no text."""
        return self._text("name")

    @property
    def id(self) -> str:
        """The id that its publisher gave it, for people: Argo Events does not look at it."""
        return self._text("id")

    def _text(self, key: str) -> str:
        value = self.payload.get(key)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """The text that a parameter gets, or nothing, so that its default holds."""

    text: str | None
    warning: str = ""


def argument(parameter: FlowParameter, value: object) -> Argument:
    """What a value of a payload becomes for a parameter.

    Raises `NotPassable` for what breaks the run on a cluster, such as a list for a `str`.
    """
    text = workflow_text(parameter, value)
    if text is None:
        message = (
            f"parameter {parameter.name!r} keeps its default, here as on a cluster: its value has "
            "a number that is out of the range of 64-bit floats. Send it as a text"
        )
        return Argument(text=None, warning=message)
    exported = json.dumps(json.loads(text))
    if exported == "null" and not parameter.has_default:
        return Argument(text=None)
    words = shlex.split(exported)
    if len(words) > 1:
        kind = type(value).__name__
        message = (
            f"parameter {parameter.name!r} is of type {parameter.type} and can't take a {kind}; "
            f"declare Parameter({parameter.name!r}, type=JSONType)"
        )
        raise NotPassable(message)
    return Argument(text=words[0], warning=_warning(parameter, value, exported, words[0]))


def variable(dependency: Dependency, event: Event) -> tuple[str, str]:
    """Name and value of the environment variable that carries an event into every step."""
    return f"{EVENT_VARIABLE}{dependency.type}_{dependency.alias}", event.text


def workflow_text(parameter: FlowParameter, value: object) -> str | None:
    """The text of the Workflow's parameter, as Metaflow's `data_template` prints it.

    None if the template fails, for a number that Go can't write: then the default is taken.
    """
    try:
        text = _go_json(value)
    except _OutOfRange:
        return None
    return _go_json(text) if parameter.is_json and not isinstance(value, str) else text


def _go_json(value: object) -> str:
    """The value as Go reads and writes it: numbers are 64-bit floats, keys are sorted."""
    match value:
        case dict():
            items = (f"{_go_json(key)}:{_go_json(value[key])}" for key in sorted(value))
            return f"{{{','.join(items)}}}"
        case list():
            return f"[{','.join(map(_go_json, value))}]"
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return _go_number(float(value))
        case _:
            text = json.dumps(value, ensure_ascii=False)
            return text.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


def _go_number(number: float) -> str:
    """The fewest digits that stand for the number, then zeros up to 1e21."""
    if not math.isfinite(number):
        raise _OutOfRange
    low, high = _PLAIN
    if number and not low <= abs(number) < high:
        return repr(number).replace("e-0", "e-")
    return format(Decimal(repr(number)), "f").removesuffix(".0")


def _parsed(text: str) -> Any:
    """The JSON value as the bus reads it; raises `ValueError` or `RecursionError`."""
    return _readable(_DECODER.decode(text), _DEEPEST)


def _readable(value: Any, deepest: int) -> Any:
    """The value without halves of surrogate pairs, which no template of Go has in a text."""
    if deepest == 0:
        message = f"it is nested more than {_DEEPEST} deep, and no run could read it"
        raise ValueError(message)
    match value:
        case str():
            return _SURROGATE.sub(_REPLACEMENT, value)
        case dict():
            return {_readable(key, 1): _readable(item, deepest - 1) for key, item in value.items()}
        case list():
            return [_readable(item, deepest - 1) for item in value]
        case _:
            return value


def _first_of_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _number(text: str) -> int | float:
    number = float(text)
    exact = math.isfinite(number) and text != "-0"
    return int(text) if exact else number


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON number"
    raise ValueError(message)


_DECODER: Final = json.JSONDecoder(
    parse_int=_number, parse_constant=_no_constant, object_pairs_hook=_first_of_equal_keys
)


def _compact(text: str) -> str:
    """JSON as the bus keeps it: no spaces between tokens, and Go's escapes of HTML."""
    return _STRING_OR_SPACE.sub(lambda found: found[1] or "", text).translate(_ESCAPED_BY_GO)


def _member(text: str, key: str) -> str:
    """The text of the first member of that name in an object that is compact; empty if none is."""
    at = 1
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        _, stop = _DECODER.raw_decode(text, end + 1)
        if name == key:
            return text[end + 1 : stop]
        at = stop + (text[stop] == ",")
    return ""


def _warning(parameter: FlowParameter, value: object, exported: str, text: str) -> str:
    if _SHELL.search(exported):
        return (
            f"parameter {parameter.name!r} contains '$' or a backtick, which a shell expands on "
            "a cluster; here it is passed as it is"
        )
    if isinstance(value, str) and not parameter.is_json and text != value:
        return (
            f"parameter {parameter.name!r} arrives as {text!r}, here as on a cluster: Metaflow "
            "keeps the JSON escapes of line breaks and of letters outside ASCII"
        )
    if isinstance(value, int) and abs(value) > _EXACT and float(value) != value:
        return f"parameter {parameter.name!r} loses digits, here as on a cluster: {value} -> {text}"
    return ""
