"""What a person may do on the page: each says what it will do before it does it."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flowproject.dev.page.knowledge import FORCE, Knowledge, can_force
from flowproject.errors import UsageError, closest
from flowproject.flowfiles import FlowFile
from flowproject.sensing import SENSORS_ONLY

__all__ = ["Field", "Plan", "plan", "wanted_flow", "wanted_looker", "wanted_run", "wanted_sensor"]


_RUN_ID: Final = re.compile(r"\w[\w.-]*")
"""Nothing that a command line could take for an option."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A parameter of a flow that may be given."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an action will do; the form that does it posts `hidden` and the fields."""

    name: str
    """`tick`, `force`, `preview`, `replay`, `skip`, `pause`, `resume`, `run` or `resume-run`."""
    title: str
    says: tuple[str, ...]
    """Sentences."""
    command: str
    """The same in a terminal; empty if there is none."""
    label: str
    """Of the button."""
    hidden: dict[str, str]
    """The form's hidden values, the token not among them."""
    fields: tuple[Field, ...] = ()


Target = Mapping[str, str]
"""`sensor`, `change`, `run` or `flow`, and which one."""


def plan(known: Knowledge, name: str, target: Target) -> Plan:
    """What the action will do to this target.

    Raises:
        UsageError: if there is no such action or target, or they do not go together.
    """
    if name not in _PLANS:
        raise UsageError(
            f"There is no action {name!r}",
            allowed=f"Actions: {', '.join(_PLANS)}",
            fix=closest(name, _PLANS),
        )
    return _PLANS[name](known, target)


def wanted_sensor(known: Knowledge, target: Target) -> str:
    """The sensor that is meant.

    Raises:
        UsageError: if there is none of this name.
    """
    if known.scene is None:
        raise UsageError("No flow of this project inherits BaseFlow, so no sensor is looked at")
    [sensor] = known.scene.sensors([target.get("sensor", "")])
    return sensor.name


def wanted_flow(known: Knowledge, target: Target) -> FlowFile:
    """The flow that is meant.

    Raises:
        UsageError: if there is none of this name.
    """
    name = target.get("flow", "")
    flow = known.flow(name)
    if flow is None:
        names = [one.name for one in known.flows]
        raise UsageError(
            f"There is no flow {name!r}",
            where=f"Files *flow.py of {known.project}",
            allowed=f"Flows: {', '.join(names)}",
            fix=closest(name, names),
        )
    return flow


def wanted_run(known: Knowledge, target: Target) -> tuple[FlowFile, str]:
    """The run that is to be resumed: its flow and its id.

    Raises:
        UsageError: if no flow has it, or it still goes on.
    """
    name = target.get("run", "")
    flow, _, run_id = name.partition("/")
    found = wanted_flow(known, {"flow": flow})
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"{name!r} is no run", allowed="A run is written as Flow/id")
    if name in known.board.running:
        raise UsageError(f"The run {name} goes on", fix="Wait for its end")
    return found, run_id


def wanted_looker(known: Knowledge, sensor: str) -> FlowFile:
    """The flow that looks at a sensor.

    Raises:
        UsageError: if none does.
    """
    flow = known.looker(sensor)
    if flow is None:
        raise UsageError(
            f"No flow looks at the sensor {sensor!r}",
            allowed="A flow with @schedule that inherits BaseFlow looks at sensors",
            fix="Look at it by hand: `flowproject preview`",
        )
    return flow


def _tick(known: Knowledge, target: Target) -> Plan:
    sensor = wanted_sensor(known, target)
    flow = wanted_looker(known, sensor)
    paused = " It stays paused." if sensor in known.paused else ""
    return Plan(
        name="tick",
        title=f"Tick {sensor} now",
        says=(
            f"One run of {flow.name} looks at {sensor}, and at no other sensor.",
            f"If it has changed, the change is recorded and its event is sent.{paused}",
        ),
        command=_published(known, f"{SENSORS_ONLY}={sensor} {_run_command(known, flow)}"),
        label="Tick now",
        hidden={"sensor": sensor},
    )


def _force(known: Knowledge, target: Target) -> Plan:
    sensor = wanted_sensor(known, target)
    flow = wanted_looker(known, sensor)
    if not can_force(flow):
        raise UsageError(
            f"{flow.name} can't be told to force a tick",
            where=flow.path.name,
            allowed=f"SensorFlow and its subclasses have the parameter {FORCE!r}",
        )
    return Plan(
        name="force",
        title=f"Force {sensor}",
        says=(
            f"One run of {flow.name} looks at {sensor}, and at no other sensor.",
            "Whether it has changed or not, a change is recorded and its event is sent.",
            "The flows that wait for it start.",
        ),
        command=_published(
            known, f"{SENSORS_ONLY}={sensor} {_run_command(known, flow)} --{FORCE} True"
        ),
        label="Force",
        hidden={"sensor": sensor},
    )


def _preview(known: Knowledge, target: Target) -> Plan:
    sensor = wanted_sensor(known, target)
    return Plan(
        name="preview",
        title=f"Preview {sensor}",
        says=("Its source is asked once. Nothing is written, and nothing is sent.",),
        command=shlex.join(["flowproject", "preview", *known.options, sensor]),
        label="Preview",
        hidden={"sensor": sensor},
    )


def _replay(known: Knowledge, target: Target) -> Plan:
    change = target.get("change", "")
    return Plan(
        name="replay",
        title=f"Replay change {change}",
        says=(
            "Its event is sent once more, with the same id.",
            "Flows that have run for it run again, as a new attempt.",
            "But if a flow that listens has not started yet, only that one starts.",
        ),
        command=_published(known, shlex.join(["flowproject", "replay", *known.options, change])),
        label="Replay",
        hidden={"change": change},
    )


def _skip(known: Knowledge, target: Target) -> Plan:
    change = target.get("change", "")
    return Plan(
        name="skip",
        title=f"Let the changes after {change} pass",
        says=(
            "Flows that take changes in order wait for its end no more.",
            "The next change is sent to them. What the run of this one has done stays as it is.",
        ),
        command=_published(known, shlex.join(["flowproject", "skip", *known.options, change])),
        label="Skip",
        hidden={"change": change},
    )


def _pause(known: Knowledge, target: Target) -> Plan:
    sensor = wanted_sensor(known, target)
    return Plan(
        name="pause",
        title=f"Pause {sensor}",
        says=(
            f"Scheduled runs of this loop pass {sensor} by until you resume it, or the loop ends.",
            "What is deployed elsewhere goes on.",
        ),
        command="",
        label="Pause",
        hidden={"sensor": sensor},
    )


def _resume(known: Knowledge, target: Target) -> Plan:
    sensor = wanted_sensor(known, target)
    missed = known.missed_look(sensor) if sensor in known.paused else None
    return Plan(
        name="resume",
        title=f"Resume {sensor}",
        says=(
            *(
                [f"It is looked at now, because it was passed by at {_clock(missed)}."]
                if missed
                else []
            ),
            f"Scheduled runs look at {sensor} again, from the next one on.",
        ),
        command="",
        label="Resume",
        hidden={"sensor": sensor},
    )


def _run(known: Knowledge, target: Target) -> Plan:
    flow = wanted_flow(known, target)
    return Plan(
        name="run",
        title=f"Run {flow.name}",
        says=(
            "A run starts by hand. No change starts it, so self.change is None.",
            *(("A parameter that is left empty has its default.",) if flow.parameters else ()),
        ),
        command=_published(known, _run_command(known, flow)),
        label="Run",
        hidden={"flow": flow.name},
        fields=tuple(
            Field(
                name=parameter.name,
                type=parameter.type,
                required=parameter.required and not parameter.has_default,
            )
            for parameter in flow.parameters
        ),
    )


def _resume_run(known: Knowledge, target: Target) -> Plan:
    flow, run_id = wanted_run(known, target)
    name = f"{flow.name}/{run_id}"
    options = known.options if flow.project else ()
    command = ["python", flow.path.name, *options, "resume", "--origin-run-id", run_id]
    return Plan(
        name="resume-run",
        title=f"Resume {name}",
        says=(
            "A new run takes over what this one has finished, and does the rest, with its changes.",
        ),
        command=_published(known, shlex.join(command)),
        label="Resume",
        hidden={"run": name},
    )


def _run_command(known: Knowledge, flow: FlowFile) -> str:
    options = known.options if flow.project else ()
    return shlex.join(["python", flow.path.name, *options, "run"])


def _clock(when: datetime) -> str:
    return f"{when.astimezone():%H:%M}"


def _published(known: Knowledge, command: str) -> str:
    """The command, and before it where its events go, so that it is this loop that hears them."""
    return f"export METAFLOW_ARGO_EVENTS_WEBHOOK_URL={known.bus}\n{command}"


_PLANS: Final[Mapping[str, Callable[[Knowledge, Target], Plan]]] = {
    "tick": _tick,
    "force": _force,
    "preview": _preview,
    "replay": _replay,
    "skip": _skip,
    "pause": _pause,
    "resume": _resume,
    "run": _run,
    "resume-run": _resume_run,
}
