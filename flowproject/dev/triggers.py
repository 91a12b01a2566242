"""Decide which flows an event starts, and with which parameters and variables.

The rules are those of a cluster: the bus, the Sensor and the template of Argo Events (Go's JSON),
Metaflow's `set_parameters`, a shell. Pure; held against what real controllers answered.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NoReturn, Self

from flowproject.changes.payload import PARAMETERS_LIMIT, VARIABLE_LIMIT, WORKFLOW_LIMIT
from flowproject.errors import closest
from flowproject.events import turn_event
from flowproject.flowfiles import Dependency, FlowFile, FlowParameter
from flowproject.metaflow_internals.argo import EVENT_VARIABLE, end_event

__all__ = [
    "NOTHING_WAITS",
    "Argument",
    "Drop",
    "Event",
    "NotPassable",
    "Start",
    "Verdict",
    "Wait",
    "WaitingEvents",
    "argument",
    "offer",
    "run_event",
    "unheard",
    "variable",
    "workflow_text",
]

# What a shell expands between double quotes: Metaflow writes parameters as `export NAME="..."`.
_SHELL: Final = re.compile(r"\$[\w({@*#?$!-]|`")
# Up to here each integer is a 64-bit float of its own; Go's JSON reads all numbers as floats.
_EXACT: Final = 2**53
# Between these Go writes a number without an exponent.
_PLAIN: Final = (1e-6, 1e21)

# Levels of a payload. The webhook takes 10,000, and the Python of a run can't read 1,000.
_DEEPEST: Final = 200

# Spaces between tokens go, those inside of strings stay: so strings are matched first.
_STRING_OR_SPACE: Final = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+')
# Go's encoder escapes these inside strings, so that JSON can stand in HTML; the bus keeps them so.
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
_REFERENCE: Final = "Send a reference to the data instead"


# --------------------------------------------------------------------------- what a payload becomes


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
        """Read the event in the body of a POST; None if it has no payload with fields.

        Raises `ValueError` or `RecursionError` for what is not JSON.
        """
        # A byte that is no UTF-8 passes inside a string, and is replaced.
        text = _SURROGATE.sub(_REPLACEMENT, body.decode("utf-8", "surrogateescape"))
        if not isinstance(_parsed(text), dict):
            return None
        # Taken out as text: parsing and writing it again would change its numbers and its order,
        # and a run has to get what a cluster would give it.
        payload = _member(_compact(text), "payload")
        return cls(text=payload) if payload.startswith("{") else None

    @classmethod
    def sent(cls, payload: Mapping[str, Any]) -> Self:
        """Make the event that Metaflow publishes with this payload."""
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
    """Say what a value of a payload becomes for a parameter.

    Raises `NotPassable` for what breaks the run on a cluster, such as a list for a `str`.
    """
    text = workflow_text(parameter, value)
    if text is None:
        message = (
            f"parameter {parameter.name!r} keeps its default, here as on a cluster: its value has "
            "a number that is out of the range of 64-bit floats. Send it as a text"
        )
        return Argument(text=None, warning=message)
    # `set_parameters` reads the Workflow's parameter as JSON and writes it for a shell; `shlex` is
    # that shell.
    exported = json.dumps(json.loads(text))
    # Metaflow leaves out a parameter that is null and has no default.
    if exported == "null" and not parameter.has_default:
        return Argument(text=None)
    words = shlex.split(exported)
    # Quotes of a list or an object end the quotes around them, and the shell sees several words:
    # `export` fails, and so does the run.
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
    """Give the text of the Workflow's parameter, as Metaflow's `data_template` prints it.

    None if the template fails, for a number that Go can't write: then the default is taken.
    """
    try:
        text = _go_json(value)
    except _OutOfRange:
        return None
    # A JSONType's value is quoted once more by the template, unless it is a text already.
    return _go_json(text) if parameter.is_json and not isinstance(value, str) else text


def _go_json(value: object) -> str:
    """The value as Go reads and writes it: numbers are 64-bit floats, keys are sorted."""
    match value:
        case dict():
            # Go writes the keys of a map in order; Python keeps that of the payload.
            items = (f"{_go_json(key)}:{_go_json(value[key])}" for key in sorted(value))
            return f"{{{','.join(items)}}}"
        case list():
            return f"[{','.join(map(_go_json, value))}]"
        # Before numbers: True is an integer to Python.
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
    # Checked here and not by Python's recursion limit, which is another in each process.
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
    # gjson, with which Argo Events looks into payloads, takes the first of two equal keys; Python's
    # parser the last.
    return dict(reversed(pairs))


def _number(text: str) -> int | float:
    number = float(text)
    # Python's own integers have no -0 and no end; Go reads both as floats.
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
    # The text is compact JSON and known to be an object: the first member begins after its brace.
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


# -------------------------------------------------------------------------------- which flows start


WaitingEvents = Mapping[str, Event]
"""Alias of a dependency -> the latest event that satisfied it."""

NOTHING_WAITS: Final[WaitingEvents] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Drop:
    """The event is lost for this flow."""

    reason: str
    clears: bool = False
    """Whether what waited is lost with it: Argo Events forgets it after every attempt to start."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """The event is kept; others are still missing."""

    waiting: WaitingEvents
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The flow starts now, and forgets what was waiting."""

    events: tuple[Event, ...]
    """In the order of the flow's dependencies."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


Verdict = Drop | Wait | Start


def offer(flow: FlowFile, waiting: WaitingEvents, event: Event) -> Verdict | None:
    """Decide what the event does to the flow; None if it waits for events of other names."""
    verdict: Verdict | None = None
    for dependency in flow.dependencies:
        if dependency.event != event.name:
            continue
        reason = _unreadable(flow) or _refusal(flow, dependency, event)
        if reason:
            verdict = Drop(reason=reason)
            continue
        # A second event of one name takes the place of the first, as it does on a cluster: only the
        # latest is kept.
        waiting = {**waiting, dependency.alias: event}
        missing = tuple(d.event for d in flow.dependencies if d.alias not in waiting)
        verdict = Wait(waiting=waiting, missing=missing) if missing else _start(flow, waiting)
    return verdict


def unheard(event: Event, flows: tuple[FlowFile, ...]) -> str:
    """Say why an event that no flow waits for starts nothing."""
    names = sorted({d.event for flow in flows for d in flow.awaited})
    in_order = [flow.name for flow in flows if turn_event(event.name, flow.name) in names]
    if in_order:
        return f"{', '.join(in_order)} takes changes in order, and is told when it is its turn"
    if not names:
        return "no flow of this project waits for events"
    return " ".join(part for part in ("no flow waits for it.", closest(event.name, names)) if part)


def run_event(flow: FlowFile, *, run_id: str, task_id: str, timestamp: int) -> Event:
    """Make the event that Metaflow publishes on a cluster when a run has succeeded."""
    # What Metaflow itself puts into the event at the end of a deployed run, field by field.
    user_branch = flow.branch.startswith("user.")
    production = flow.branch == "prod" or flow.branch.startswith("prod.")
    pathspec = f"{flow.name}/{run_id}/{flow.end_step}/{task_id}"
    name = end_event(flow.full_name)
    payload = {
        "name": name,
        "id": pathspec,
        "timestamp": timestamp,
        "utc_date": datetime.fromtimestamp(timestamp, UTC).strftime("%Y%m%d"),
        "generated-by-metaflow": True,
        "pathspec": pathspec,
        "flow_name": flow.name,
        "run_id": run_id,
        "step_name": flow.end_step,
        "task_id": task_id,
        # Metaflow writes these as text, and leaves out what is empty or false.
        **({"project_name": flow.project, "branch_name": flow.branch} if flow.project else {}),
        **({"is_user_branch": "True"} if flow.project and user_branch else {}),
        **({"is_production": "True"} if flow.project and production else {}),
        **({"project_flow_name": flow.full_name} if flow.project else {}),
        "auto-generated-by-metaflow": "True",
    }
    return Event.sent(payload)


def _unreadable(flow: FlowFile) -> str:
    """Why Argo Events can't evaluate what the flow waits for; empty if it can."""
    for dependency in flow.dependencies:
        if not dependency.is_evaluable:
            return (
                f"it waits for {dependency.event!r}, whose name does not begin with a letter: on a "
                "cluster Argo Events can't evaluate that. Rename the event"
            )
    return ""


def _refusal(flow: FlowFile, dependency: Dependency, event: Event) -> str:
    for parameter, key in dependency.parameters.items():
        if flow.parameter(parameter).required and key not in event.payload:
            near = closest(key, event.payload)
            return f"its payload has no {key!r} for the required parameter {parameter!r}. {near}"
    for key, text in dependency.filters.items():
        if event.payload.get(key) != text:
            return f"its payload has {key}={event.payload.get(key)!r} where {text!r} is awaited"
    return ""


def _start(flow: FlowFile, waiting: WaitingEvents) -> Verdict:
    arguments: dict[str, str] = {}
    environment: dict[str, str] = {}
    warnings: list[str] = []
    for dependency in flow.dependencies:
        event = waiting[dependency.alias]
        payload = event.payload
        name, text = variable(dependency, event)
        environment[name] = text
        for parameter, key in dependency.parameters.items():
            if key not in payload:
                continue
            try:
                found = argument(flow.parameter(parameter), payload[key])
            except NotPassable as error:
                return Drop(reason=str(error), clears=True)
            warnings += [found.warning] if found.warning else []
            if found.text is not None:
                arguments[parameter] = found.text
    if too_long := _too_long(environment, arguments):
        return Drop(reason=too_long, clears=True)
    events = tuple(waiting[dependency.alias] for dependency in flow.dependencies)
    return Start(
        events=events, arguments=arguments, environment=environment, warnings=tuple(warnings)
    )


def _too_long(environment: Mapping[str, str], arguments: Mapping[str, str]) -> str:
    """What of the payloads would not reach a run; empty if all of it does."""
    # MAX_ARG_STRLEN: Linux counts name, equals sign and value of each variable.
    for name, text in environment.items():
        if (size := len(f"{name}={text}".encode())) > VARIABLE_LIMIT:
            return (
                f"{name} would have {size} bytes, and Linux allows {VARIABLE_LIMIT} for an "
                f"environment variable, here as on a cluster. {_REFERENCE}"
            )
    # As base64 they are one argument of the first pod (see `limits`).
    parameters = sum(len(text.encode()) for text in arguments.values())
    if parameters > PARAMETERS_LIMIT:
        return (
            f"its parameters {', '.join(arguments)} would have {parameters} bytes, and a cluster "
            f"passes no more than {PARAMETERS_LIMIT} to a run. {_REFERENCE}"
        )
    together = parameters + sum(len(text.encode()) for text in environment.values())
    if together > WORKFLOW_LIMIT:
        return (
            f"its payloads and parameters would have {together} bytes, and a Workflow on a cluster "
            f"holds no more than {WORKFLOW_LIMIT}. {_REFERENCE}"
        )
    return ""
