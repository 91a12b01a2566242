"""What a payload becomes in the run that it starts: parameters and environment variables.

The rules are those of the way to a cluster's run: Argo Events' template (Go's JSON), Metaflow's
`set_parameters`, a shell that sources its output. Pure; tested against Metaflow's own code.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowproject.flowfiles import Dependency, FlowParameter

__all__ = ["LIMIT", "Argument", "NotPassable", "argument", "compact", "variable"]

LIMIT: Final = 128 * 1024 - 1
"""Bytes that Linux allows for one argument or environment variable, its name included."""

_SHELL: Final = re.compile(r"\$[\w({@*#?$!-]|`")
_EXACT: Final = 2**53
_PLAIN_EXPONENT: Final = 1e21


class NotPassable(ValueError):  # noqa: N818  # a verdict on a payload, told to the user as a reason
    """A value can't reach a parameter: on a cluster the run would fail."""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """The text that a parameter gets, or nothing, so that its default holds."""

    text: str | None
    warning: str = ""


def argument(parameter: FlowParameter, value: object) -> Argument:
    """What a value of a payload becomes for a parameter.

    Raises `NotPassable` for what breaks the run on a cluster, such as a list for a `str`.
    """
    text = _through_go(parameter, value)
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


def variable(dependency: Dependency, payload: Mapping[str, Any]) -> tuple[str, str]:
    """Name and value of the environment variable that carries an event into every step."""
    name = f"METAFLOW_ARGO_EVENT_PAYLOAD_{dependency.type}_{dependency.alias}"
    return name, compact(payload)


def compact(value: object) -> str:
    """The value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _through_go(parameter: FlowParameter, value: object) -> str:
    """What Metaflow's `data_template` prints for the value."""
    if parameter.is_json and not isinstance(value, str):
        return json.dumps(compact(_as_go(value)))
    return compact(_as_go(value))


def _as_go(value: object) -> object:
    """The value after Go has read it: every number is a 64-bit float, keys are sorted."""
    if isinstance(value, dict):
        return {key: _as_go(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_as_go(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    number = float(value)
    whole = number.is_integer() and abs(number) < _PLAIN_EXPONENT
    return int(number) if whole else number


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
