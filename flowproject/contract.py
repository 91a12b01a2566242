"""Checks, before anything runs, that sensors and the flows that listen to them fit together.

Pure: from a configuration and descriptions of flows to findings. On a cluster a broken contract
shows as nothing at all: the event is dropped, and no flow starts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from flowproject.alerts import channels
from flowproject.changes.payload import (
    METAFLOW_KEYS,
    PARAMETERS_LIMIT,
    PAYLOAD_LIMIT,
    VALUE_LIMIT,
    WORKFLOW_LIMIT,
)
from flowproject.config import Project, Sensor
from flowproject.cron import CronError, parse, warnings_about
from flowproject.errors import FlowError, closest
from flowproject.events import full_name, turn_event
from flowproject.flowfiles import Cron, Dependency, FlowFile
from flowproject.metaflow_internals.argo import end_event

__all__ = [
    "Finding",
    "Listening",
    "check_contract",
    "check_schedules",
    "foreign_events",
    "listeners_of",
]

# What every event of a sensor has besides its `payload_key`.
_PAYLOAD_KEYS: Final = frozenset({"change", *METAFLOW_KEYS})

_MAP_IT: Final = (
    'Map it, as in @trigger(event={"name": ..., "parameters": {...}}), or give it a default'
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked: `ok`, a `note` for the reader, or an `error`."""

    subject: str
    state: Literal["ok", "note", "error"]
    message: str
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The flows that inherit ours and that the event of a sensor starts.

    Those that it starts `alone`, and those that wait for several sensors and nothing else (`waits`
    says for which), must write a receipt for each of its changes. Those of the first that take one
    change after the other are `in_order`. Of one that waits `together` with it for what no sensor
    of the project sends, nobody can say when it is due.
    """

    alone: tuple[str, ...] = ()
    in_order: tuple[str, ...] = ()
    waits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    together: tuple[str, ...] = ()


def listeners_of(project: Project, flows: Sequence[FlowFile]) -> dict[str, Listening]:
    """Sensor -> the flows that its event starts."""
    sent = _sent(project, flows)
    heard = {
        flow.name: [_sensor_of(known, flow, sent) for known in flow.dependencies]
        for flow in flows
        if flow.inherits_ours and flow.dependencies
    }
    started = {
        flow: tuple(dict.fromkeys(sensor.name for sensor in sensors if sensor))
        for flow, sensors in heard.items()
        if all(sensors)
    }
    turns = {
        flow.name for flow in flows if any(_is_turn(one, flow, sent) for one in flow.dependencies)
    }
    return {
        sensor.name: Listening(
            alone=tuple(flow for flow, names in started.items() if names == (sensor.name,)),
            in_order=tuple(
                flow for flow, names in started.items() if names == (sensor.name,) and flow in turns
            ),
            waits={
                flow: names
                for flow, names in started.items()
                if sensor.name in names and len(names) > 1
            },
            together=tuple(
                flow for flow, sensors in heard.items() if sensor in sensors and flow not in started
            ),
        )
        for sensor in sent.values()
    }


def foreign_events(flow: FlowFile) -> tuple[str, ...]:
    """The events that a flow waits for and that do not belong to its own project and branch.

    One of them starts the flow on every branch that it is deployed for.
    """
    own = {
        "event": full_name("", project=flow.project, branch=flow.branch),
        # Of any flow of this project and branch: the name of the flow comes last.
        "run": end_event(f"{flow.project}.{flow.branch}.").removesuffix(".end"),
    }
    return tuple(one.event for one in flow.dependencies if not one.event.startswith(own[one.type]))


def check_contract(project: Project, flows: Sequence[FlowFile]) -> list[Finding]:
    """Check the events of sensors against the triggers of flows: what holds, and what does not."""
    sent = _sent(project, flows)
    findings = [*_check_names(flows)]
    findings += [finding for flow in flows for finding in _check_flow(flow, sent, flows)]
    findings += [*_check_on_event(project, flows), *_check_alerts(project)]
    findings += [_check_sensor(sensor, event, flows) for event, sensor in sent.items()]
    if not any(_sensor_of(one, flow, sent) for flow in flows for one in flow.dependencies):
        findings.append(
            Finding(
                subject="listeners",
                state="note",
                message="no flow listens to any sensor: changes are recorded and sent, and start "
                'nothing. `@on_change("SENSOR")` above a flow makes it listen',
            )
        )
    return findings


def _check_names(flows: Sequence[FlowFile]) -> Iterator[Finding]:
    files: dict[str, str] = {}
    for flow in flows:
        other = files.setdefault(flow.name, flow.path.name)
        if other != flow.path.name:
            yield _error(
                flow,
                f"is defined in {other}, too. Metaflow knows a flow by its class alone: runs, "
                "receipts and deployments of one would be those of the other. Rename one of them",
            )


def check_schedules(flows: Sequence[FlowFile], now: datetime) -> list[Finding]:
    """Errors for schedules that Argo would not run, and notes on those with odd days."""
    # Metaflow deploys any text, and Argo Workflows takes it: what it can't read, it never runs, and
    # only the log of its controller says so.
    return [
        finding
        for flow in flows
        for what, cron in (("@schedule", flow.schedule), ("reset_at", flow.reset))
        if cron
        for finding in _check_schedule(flow, what, cron, now)
    ]


def _check_schedule(flow: FlowFile, what: str, cron: Cron, now: datetime) -> Iterator[Finding]:
    argo = "Argo Workflows" if what == "@schedule" else "Argo Events"
    said = f"has a {what}, {cron.expression!r},"
    try:
        schedule = parse(cron.expression, cron.timezone, nicknames=what == "@schedule")
    except CronError as error:
        yield _error(flow, f"{said} that {argo} would never run: {error}")
        return
    for doubt in warnings_about(schedule, now):
        yield _note(flow, f"{said} that {doubt}")
    # A year that stands for any leaves nothing out.
    if cron.left_out.strip("*?"):
        yield _note(
            flow,
            f"{said} of which Metaflow drops the sixth field, {cron.left_out!r}: on Argo Workflows "
            "it is due in every year. Write five fields",
        )
    # AWS needs the sixth field, so who has it may count days as AWS does.
    if cron.left_out and re.search("[0-9]", cron.expression.split()[-1].partition("/")[0]):
        yield _note(
            flow,
            f"{said} that has six fields, as AWS writes them, where Sunday is 1 and Saturday 7; "
            "for Argo Workflows Sunday is 0 and Saturday 6. Name the days: SUN to SAT",
        )


def _sent(project: Project, flows: Sequence[FlowFile]) -> dict[str, Sensor]:
    """Full name of an event -> the sensor that sends it."""
    # All flows were described for one branch; one of another project has that project's.
    branch = next((flow.branch for flow in flows if flow.project == project.project_name), "")
    return {
        full_name(sensor.event_name, project=project.project_name, branch=branch): sensor
        for sensor in project.sensors.values()
    }


def _sensor_of(dependency: Dependency, flow: FlowFile, sent: Mapping[str, Sensor]) -> Sensor | None:
    """The sensor that sends the event, to all or to this flow alone; None if none does."""
    # A cluster knows no turns: they are events like others, and only their names say which flow.
    turns = {turn_event(event, flow.name): sensor for event, sensor in sent.items()}
    return sent.get(dependency.event) or turns.get(dependency.event)


def _is_turn(dependency: Dependency, flow: FlowFile, sent: Mapping[str, Sensor]) -> bool:
    """Whether by this event the flow is told that it is its turn."""
    return dependency.event not in sent and _sensor_of(dependency, flow, sent) is not None


def _check_flow(
    flow: FlowFile, sent: Mapping[str, Sensor], flows: Sequence[FlowFile]
) -> Iterator[Finding]:
    for dependency in flow.awaited:
        # The first that applies: what Argo can't evaluate need not be asked who sends it.
        if dependency.type == "run":
            yield _check_finish(flow, dependency, flows)
        elif not dependency.is_evaluable:
            yield _error(
                flow,
                f"waits for event {dependency.event!r}, whose name does not begin with a letter: "
                "Argo Events can't read the condition that Metaflow makes of it, so the flow would "
                "never start. Rename the event",
            )
        elif dependency.event in flow.pushes:
            yield _check_push(flow, dependency, sent)
        elif sensor := _sensor_of(dependency, flow, sent):
            yield from _check_turn(flow, dependency, sent)
            yield from _check_payload(flow, dependency, sensor)
            yield from _check_encoded(flow, dependency, sensor)
        else:
            yield _check_stranger(flow, dependency, sent)
    if flow.dependencies:
        yield from _check_unmapped(flow)
        yield from _check_sizes(flow, sent)


def _check_push(flow: FlowFile, dependency: Dependency, sent: Mapping[str, Sensor]) -> Finding:
    """What to say of an event at which sensors are looked at."""
    event, names = dependency.event, ", ".join(flow.pushes[dependency.event])
    ours = {name for sensor in sent.values() for name in (sensor.event_name, sensor.name)}
    if event in ours or event in sent:
        return _error(
            flow,
            f"looks at {names} on event {event!r}, which is the name of what a sensor of this "
            "project sends, and no event from elsewhere. A flow takes what a sensor found: "
            "@on_change",
        )
    return _ok(
        flow,
        f"looks at {names} on event {event!r}, which must come from elsewhere, and on schedule; on "
        "every branch: see foreign_event_branches under [deploy]",
    )


def _check_on_event(project: Project, flows: Sequence[FlowFile]) -> Iterator[Finding]:
    """Errors for sensors that nobody looks at on their event."""
    for sensor in project.sensors.values():
        looks = (names for flow in flows for names in flow.pushes.values())
        if sensor.on_event and not any(sensor.name in names for names in looks):
            yield Finding(
                subject=f"sensor {sensor.name}",
                state="error",
                message=f"on_event {sensor.on_event!r} starts nothing, because no flow in this "
                "folder looks at the sensor: SensorFlow does, with `self.observe()`",
                exit_code=FlowError.exit_code,
            )


def _check_alerts(project: Project) -> Iterator[Finding]:
    """A note for sensors that are expected to change where nobody would be told."""
    expected = [sensor.name for sensor in project.sensors.values() if sensor.expect_every]
    if expected and not channels(project.alerts):
        yield Finding(
            subject="alerts",
            state="note",
            message=f"nobody is told if {', '.join(expected)} stays silent for longer than "
            "expect_every: name a webhook, slack, email_to or command under [alerts]",
        )


def _check_turn(
    flow: FlowFile, dependency: Dependency, sent: Mapping[str, Sensor]
) -> Iterator[Finding]:
    """Whether a flow that takes changes in order waits for nothing else."""
    if not _is_turn(dependency, flow, sent):
        return
    # Argo Events starts a flow when all have come, and the next turn is told when this run is over.
    others = [one.event for one in flow.dependencies if one.event != dependency.event]
    if others:
        yield _error(
            flow,
            f"takes changes in order, and waits for {', '.join(others)} besides: nobody can say "
            "when it is its turn, so it would never start. Take the other trigger away, or "
            "`in_order=True`",
        )


def _check_payload(flow: FlowFile, dependency: Dependency, sensor: Sensor) -> Iterator[Finding]:
    """Whether the event of a sensor has what the flow requires of it."""
    lacking = [
        (parameter, key)
        for parameter, key in dependency.parameters.items()
        if flow.parameter(parameter).required and key not in {sensor.payload_key, *_PAYLOAD_KEYS}
    ]
    for parameter, key in lacking:
        yield _error(
            flow,
            f"requires parameter {parameter!r} from the payload's {key!r}, which the event of "
            f"sensor {sensor.name!r} does not have, so it would never start. The value is under "
            f"{sensor.payload_key!r}: map the parameter to that, name it like that, or drop "
            "`required=True`",
        )
    if not lacking:
        in_turn = dependency.event.endswith(turn_event(sensor.event_name, flow.name))
        how = ", by one change after the other" if in_turn else ""
        yield _ok(flow, f"is started by sensor {sensor.name!r}{how}")


def _check_encoded(flow: FlowFile, dependency: Dependency, sensor: Sensor) -> Iterator[Finding]:
    """Whether the parameters that get what comes from data can read how it is sent."""
    # All else in a payload is ours: names, numbers and times, which nothing has to encode.
    from_data = {sensor.payload_key, "change"}
    mapped = {name: key for name, key in dependency.parameters.items() if key in from_data}
    for name, key in mapped.items():
        if key == "change" and not flow.parameter(name).is_json:
            yield _error(
                flow,
                f"takes parameter {name!r} from the payload's 'change', which is an object: its "
                "run would fail on a cluster. `self.change` has what is in it; or declare "
                f"Parameter({name!r}, type=JSONType)",
            )
    if mapped and not flow.inherits_ours:
        yield _note(
            flow,
            f"does not inherit BaseFlow, which decodes what sensor {sensor.name!r} sends: "
            f"parameter {', '.join(map(repr, mapped))} gets every text with other signs than "
            "letters, digits and a few more encoded, as in 'flowproject-1.IlrDvHJpY2gi'",
        )


def _check_stranger(flow: FlowFile, dependency: Dependency, sent: Mapping[str, Sensor]) -> Finding:
    """What to say of an event that no sensor of the project sends."""
    # Ours by its project and branch, but no sensor's: a typing error, or a sensor that is gone.
    known = {sensor.event_name: sensor.name for sensor in sent.values()}
    name = flow.name_of(dependency)
    if dependency.event.removesuffix(name) in {
        event.removesuffix(sensor.event_name) for event, sensor in sent.items()
    }:
        return _error(
            flow,
            f"waits for event {name!r}, which no sensor sends. "
            f"Sensors send: {', '.join(known)}. {closest(name, known)}".rstrip(),
        )
    # `@trigger` takes a name as it is; `@on_change` and `namespaced_event_name` complete it.
    if dependency.event in known:
        return _error(
            flow,
            f"waits for {dependency.event!r} without project and branch, which is not the event "
            f"that the sensor sends. Write @on_change({known[dependency.event]!r})",
        )
    near = closest(dependency.event, [*known, *sent])
    message = (
        f"waits for {dependency.event!r}, which must come from elsewhere and starts it on every "
        f"branch: see foreign_event_branches under [deploy]. {near}"
    ).rstrip()
    return _note(flow, f"{message} {_trust(dependency)}".rstrip())


def _trust(dependency: Dependency) -> str:
    """What a flow takes on with parameters from an event that nobody encodes."""
    if not dependency.parameters:
        return ""
    named = ", ".join(map(repr, dependency.parameters))
    return (
        f"On a cluster a shell reads what the event has for {named}: who may send it may run "
        "commands in the flow's pods"
    )


def _check_finish(flow: FlowFile, dependency: Dependency, flows: Sequence[FlowFile]) -> Finding:
    """Whether the flow that is waited for is in the folder."""
    names = [other.name for other in flows]
    if dependency.event in {end_event(other.full_name) for other in flows}:
        return _ok(flow, f"is started when {dependency.flow} has succeeded")
    if dependency.flow in names:
        return _note(
            flow,
            f"waits for {dependency.flow} of another project or branch ({dependency.event}), not "
            "for the one in this folder",
        )
    return _note(
        flow,
        f"waits for {dependency.flow}, which is not in this folder and must be deployed from "
        f"elsewhere. {closest(dependency.flow, names)}".rstrip(),
    )


def _check_unmapped(flow: FlowFile) -> Iterator[Finding]:
    """Errors for parameters without which the flow can't run, and which no event gives it."""
    given = {parameter for known in flow.dependencies for parameter in known.parameters}
    runs_only = all(known.type == "run" for known in flow.dependencies)
    fix = "A run that ends gives none: give it a default" if runs_only else _MAP_IT
    for parameter in flow.parameters:
        if parameter.required and not parameter.has_default and parameter.name.lower() not in given:
            yield _error(
                flow,
                f"requires parameter {parameter.name!r}, and none of its events gives it. {fix}",
            )


def _check_sizes(flow: FlowFile, sent: Mapping[str, Sensor]) -> Iterator[Finding]:
    """A note if all sensors that it waits for, with the largest values, are too much for a run."""
    # One event never is: so small are ours kept. A mapped value is in a workflow twice: as a
    # parameter, and in the payload of its event.
    ours = [(one, sensor) for one in flow.dependencies if (sensor := _sensor_of(one, flow, sent))]
    parameters = {
        name
        for one, sensor in ours
        for name, key in one.parameters.items()
        if key == sensor.payload_key
    }
    values = len(parameters) * VALUE_LIMIT
    payloads = len(ours) * PAYLOAD_LIMIT
    if values > PARAMETERS_LIMIT or values + payloads > WORKFLOW_LIMIT:
        yield _note(
            flow,
            f"waits for {len(ours)} sensors, whose events have at most {PAYLOAD_LIMIT:,} bytes "
            f"each, {VALUE_LIMIT:,} of them for a parameter. A run gets at most "
            f"{PARAMETERS_LIMIT:,} bytes in parameters and {WORKFLOW_LIMIT:,} in all: if every "
            "value is that large, it does not start. `self.change` has any value, so map fewer",
        )


def _check_sensor(sensor: Sensor, event: str, flows: Sequence[FlowFile]) -> Finding:
    """Who listens to a sensor."""
    listeners = [
        flow.name
        for flow in flows
        if any(_sensor_of(one, flow, {event: sensor}) for one in flow.dependencies)
    ]
    heard = f"is heard by {', '.join(listeners)}" if listeners else "has no listener in this folder"
    return Finding(
        subject=f"sensor {sensor.name}",
        state="ok" if listeners else "note",
        message=f"event {sensor.event_name!r} {heard}",
    )


def _ok(flow: FlowFile, message: str) -> Finding:
    return Finding(subject=flow.path.name, state="ok", message=f"{flow.name} {message}")


def _note(flow: FlowFile, message: str) -> Finding:
    return Finding(subject=flow.path.name, state="note", message=f"{flow.name} {message}")


def _error(flow: FlowFile, message: str) -> Finding:
    return Finding(
        subject=flow.path.name,
        state="error",
        message=f"{flow.name} {message}",
        exit_code=FlowError.exit_code,
    )
