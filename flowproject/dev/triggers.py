"""Which flows an event starts: the semantics of the Argo Events sensor that Metaflow compiles.

Pure: a flow's waiting events go in with the new one, and a decision comes out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from flowproject.changes.payload import PARAMETERS_LIMIT, VARIABLE_LIMIT, WORKFLOW_LIMIT
from flowproject.dev.payload import Event, NotPassable, argument, variable
from flowproject.errors import closest
from flowproject.events import turn_event
from flowproject.flowfiles import Dependency, FlowFile

__all__ = [
    "NOTHING_WAITS",
    "Drop",
    "Start",
    "Verdict",
    "Wait",
    "WaitingEvents",
    "offer",
    "run_event",
    "unheard",
]


WaitingEvents = Mapping[str, Event]
"""Alias of a dependency -> the latest event that satisfied it."""

_REFERENCE: Final = "Send a reference to the data instead"

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
    """What the event does to the flow; nothing if the flow waits for events of other names."""
    verdict: Verdict | None = None
    for dependency in flow.dependencies:
        if dependency.event != event.name:
            continue
        reason = _unreadable(flow) or _refusal(flow, dependency, event)
        if reason:
            verdict = Drop(reason=reason)
            continue
        waiting = {**waiting, dependency.alias: event}
        missing = tuple(d.event for d in flow.dependencies if d.alias not in waiting)
        verdict = Wait(waiting=waiting, missing=missing) if missing else _start(flow, waiting)
    return verdict


def unheard(event: Event, flows: tuple[FlowFile, ...]) -> str:
    """Why an event that no flow waits for starts nothing."""
    names = sorted({d.event for flow in flows for d in flow.dependencies})
    in_order = [flow.name for flow in flows if turn_event(event.name, flow.name) in names]
    if in_order:
        return f"{', '.join(in_order)} takes changes in order, and is told when it is its turn"
    if not names:
        return "no flow of this project waits for events"
    return " ".join(part for part in ("no flow waits for it.", closest(event.name, names)) if part)


def run_event(flow: FlowFile, *, run_id: str, task_id: str, timestamp: int) -> Event:
    """The event that Metaflow publishes on a cluster when a run of the flow has succeeded."""
    user_branch = flow.branch.startswith("user.")
    production = flow.branch == "prod" or flow.branch.startswith("prod.")
    pathspec = f"{flow.name}/{run_id}/{flow.end_step}/{task_id}"
    name = f"metaflow.{flow.full_name}.end"
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
    for name, text in environment.items():
        if (size := len(f"{name}={text}".encode())) > VARIABLE_LIMIT:
            return (
                f"{name} would have {size} bytes, and Linux allows {VARIABLE_LIMIT} for an "
                f"environment variable, here as on a cluster. {_REFERENCE}"
            )
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
