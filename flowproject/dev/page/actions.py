"""Say what each action of the page will do, and do it."""

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from flowproject.dev.launcher import Order, child_environment
from flowproject.dev.messages import Acted, Listener
from flowproject.dev.page.components import Link, sensor_address
from flowproject.dev.page.context import FORCE, PageContext, can_force
from flowproject.errors import UsageError, closest
from flowproject.flowfiles import FlowFile
from flowproject.sensing import SENSORS_ONLY
from flowproject.wording import duration, outcome, printable

__all__ = ["ActionPlan", "ActionResult", "ActionRunner", "Field", "plan"]

# Nothing that a command line could take for an option.
# A run's name comes from an address and goes to a command line.
_RUN_ID: Final = re.compile(r"\w[\w.-]*")
_PAGE: Final = "page"
"""The cause of a run that was started here."""

# Before the names of a flow's parameters in a form: one of them may be called `token` or `sensor`.
_FIELD: Final = "p-"
# At the same time: each is a process.
# Each imports Metaflow: more of them at a time make all of them slow, and the loop's runs, too.
_COMMANDS: Final = 2
_Values = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A parameter of a flow that may be given."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class ActionPlan:
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


# --------------------------------------------------------------------------- what an action will do


def plan(context: PageContext, name: str, target: Target) -> ActionPlan:
    """Say what the action will do to this target.

    Raises:
        UsageError: if there is no such action or target, or they do not go together.
    """
    if name not in _PLANS:
        raise UsageError(
            f"There is no action {name!r}",
            allowed=f"Actions: {', '.join(_PLANS)}",
            fix=closest(name, _PLANS),
        )
    return _PLANS[name](context, target)


def _wanted_sensor(context: PageContext, target: Target) -> str:
    """Find the sensor that is meant.

    Raises:
        UsageError: if there is none of this name.
    """
    if context.project_context is None:
        raise UsageError("No flow of this project inherits BaseFlow, so no sensor is looked at")
    # Asked as every command asks, so that a wrong name gets the same answer with the nearest one.
    [sensor] = context.project_context.sensors([target.get("sensor", "")])
    return sensor.name


def _wanted_flow(context: PageContext, target: Target) -> FlowFile:
    """Find the flow that is meant.

    Raises:
        UsageError: if there is none of this name.
    """
    name = target.get("flow", "")
    flow = context.flow(name)
    if flow is None:
        names = [one.name for one in context.flows]
        raise UsageError(
            f"There is no flow {name!r}",
            where=f"Files *flow.py of {context.project}",
            allowed=f"Flows: {', '.join(names)}",
            fix=closest(name, names),
        )
    return flow


def _wanted_run(context: PageContext, target: Target) -> tuple[FlowFile, str]:
    """Find the run that is to be resumed: its flow and its id.

    Raises:
        UsageError: if no flow has it, or it still goes on.
    """
    name = target.get("run", "")
    flow, _, run_id = name.partition("/")
    found = _wanted_flow(context, {"flow": flow})
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"{name!r} is no run", allowed="A run is written as Flow/id")
    if name in context.loop.running:
        raise UsageError(f"The run {name} goes on", fix="Wait for its end")
    return found, run_id


def _wanted_flow_of(context: PageContext, sensor: str) -> FlowFile:
    """Find the flow that looks at a sensor.

    Raises:
        UsageError: if none does.
    """
    flow = context.flow_of(sensor)
    if flow is None:
        raise UsageError(
            f"No flow looks at the sensor {sensor!r}",
            allowed="A flow with @schedule that inherits BaseFlow looks at sensors",
            fix="Look at it by hand: `flowproject preview`",
        )
    return flow


def _plan_tick(context: PageContext, target: Target) -> ActionPlan:
    sensor = _wanted_sensor(context, target)
    flow = _wanted_flow_of(context, sensor)
    paused = " It stays paused." if sensor in context.paused else ""
    return ActionPlan(
        name="tick",
        title=f"Tick {sensor} now",
        says=(
            f"One run of {flow.name} looks at {sensor}, and at no other sensor.",
            f"If it has changed, the change is recorded and its event is sent.{paused}",
        ),
        command=_published(context, f"{SENSORS_ONLY}={sensor} {_run_command(context, flow)}"),
        label="Tick now",
        hidden={"sensor": sensor},
    )


def _plan_force(context: PageContext, target: Target) -> ActionPlan:
    sensor = _wanted_sensor(context, target)
    flow = _wanted_flow_of(context, sensor)
    if not can_force(flow):
        raise UsageError(
            f"{flow.name} can't be told to force a tick",
            where=flow.path.name,
            allowed=f"SensorFlow and its subclasses have the parameter {FORCE!r}",
        )
    return ActionPlan(
        name="force",
        title=f"Force {sensor}",
        says=(
            f"One run of {flow.name} looks at {sensor}, and at no other sensor.",
            "Whether it has changed or not, a change is recorded and its event is sent.",
            "The flows that wait for it start.",
        ),
        command=_published(
            context, f"{SENSORS_ONLY}={sensor} {_run_command(context, flow)} --{FORCE} True"
        ),
        label="Force",
        hidden={"sensor": sensor},
    )


def _plan_preview(context: PageContext, target: Target) -> ActionPlan:
    sensor = _wanted_sensor(context, target)
    return ActionPlan(
        name="preview",
        title=f"Preview {sensor}",
        says=("Its source is asked once. Nothing is written, and nothing is sent.",),
        command=shlex.join(["flowproject", "preview", *context.options, sensor]),
        label="Preview",
        hidden={"sensor": sensor},
    )


def _plan_replay(context: PageContext, target: Target) -> ActionPlan:
    change = target.get("change", "")
    return ActionPlan(
        name="replay",
        title=f"Replay change {change}",
        says=(
            "Its event is sent once more, with the same id.",
            "Flows that have run for it run again, as a new attempt.",
            "But if a flow that listens has not started yet, only that one starts.",
            "A flow that waits for several sensors starts when each of them has sent it something.",
        ),
        command=_published(
            context, shlex.join(["flowproject", "replay", *context.options, change])
        ),
        label="Replay",
        hidden={"change": change},
    )


def _plan_skip(context: PageContext, target: Target) -> ActionPlan:
    change = target.get("change", "")
    return ActionPlan(
        name="skip",
        title=f"Let the changes after {change} pass",
        says=(
            "Flows that take changes in order wait for its end no more.",
            "The next change is sent to them. What the run of this one has done stays as it is.",
        ),
        command=_published(context, shlex.join(["flowproject", "skip", *context.options, change])),
        label="Skip",
        hidden={"change": change},
    )


def _plan_pause(context: PageContext, target: Target) -> ActionPlan:
    sensor = _wanted_sensor(context, target)
    return ActionPlan(
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


def _plan_resume(context: PageContext, target: Target) -> ActionPlan:
    sensor = _wanted_sensor(context, target)
    missed = context.missed_look(sensor) if sensor in context.paused else None
    return ActionPlan(
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


def _plan_run(context: PageContext, target: Target) -> ActionPlan:
    flow = _wanted_flow(context, target)
    return ActionPlan(
        name="run",
        title=f"Run {flow.name}",
        says=(
            "A run starts by hand. No change starts it, so self.change is None.",
            *(("A parameter that is left empty has its default.",) if flow.parameters else ()),
        ),
        command=_published(context, _run_command(context, flow)),
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


def _plan_resume_run(context: PageContext, target: Target) -> ActionPlan:
    flow, run_id = _wanted_run(context, target)
    name = f"{flow.name}/{run_id}"
    options = context.options if flow.project else ()
    # `python`, although the loop takes its own interpreter: it is for a person's shell, in the
    # project's environment.
    command = ["python", flow.path.name, *options, "resume", "--origin-run-id", run_id]
    return ActionPlan(
        name="resume-run",
        title=f"Resume {name}",
        says=(
            "A new run takes over what this one has finished, and does the rest, with its changes.",
        ),
        command=_published(context, shlex.join(command)),
        label="Resume",
        hidden={"run": name},
    )


def _run_command(context: PageContext, flow: FlowFile) -> str:
    options = context.options if flow.project else ()
    return shlex.join(["python", flow.path.name, *options, "run"])


def _clock(when: datetime) -> str:
    return f"{when.astimezone():%H:%M}"


def _published(context: PageContext, command: str) -> str:
    """The command, and before it where its events go, so that it is this loop that hears them."""
    return f"export METAFLOW_ARGO_EVENTS_WEBHOOK_URL={context.bus}\n{command}"


_PLANS: Final[Mapping[str, Callable[[PageContext, Target], ActionPlan]]] = {
    "tick": _plan_tick,
    "force": _plan_force,
    "preview": _plan_preview,
    "replay": _plan_replay,
    "skip": _plan_skip,
    "pause": _plan_pause,
    "resume": _plan_resume,
    "run": _plan_run,
    "resume-run": _plan_resume_run,
}


# --------------------------------------------------------------------------- doing what was planned


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """What came of an action."""

    ok: bool
    title: str
    lines: tuple[str, ...]
    """May be many, as a command prints them."""
    links: tuple[Link, ...] = ()


class ActionRunner:
    """Does the actions that a person asks for, and emits a message for each.

    `start` starts a run. `set_active_sensors` gets the sensors that scheduled runs look at; None:
    all.
    """

    def __init__(
        self,
        context: PageContext,
        *,
        start: Callable[[Order], None],
        set_active_sensors: Callable[[tuple[str, ...] | None], None],
        emit: Listener,
    ) -> None:
        self._context = context
        self._start = start
        self._set_active_sensors = set_active_sensors
        self._emit = emit
        self._turns = asyncio.Semaphore(_COMMANDS)
        self._children: set[int] = set()

    def close(self) -> None:
        """End the commands under way."""
        for child in self._children:
            _kill(child)

    async def do(self, name: str, values: _Values) -> ActionResult:
        """Do the action with the values of its form, and say what came of it.

        Raises:
            UsageError: if there is no such action, it does not go with its target, or the loop is
                about to end.
        """
        _refuse_nul(values)
        intended = plan(self._context, name, values)
        # The plan is made first: a wrong target is worth a message in any case.
        if self._context.loop.stopping:
            raise UsageError(f"The loop is ending: {intended.title!r} is not done any more")
        methods: Mapping[str, Callable[[_Values], Awaitable[ActionResult]]] = {
            "tick": self._tick,
            "force": self._force,
            "preview": self._preview,
            "replay": self._replay,
            "skip": self._skip,
            "pause": self._pause,
            "resume": self._resume,
            "run": self._run,
            "resume-run": self._resume_run,
        }
        result = await methods[name](values)
        target = next(iter(intended.hidden.values()))
        text = "" if result.ok else "failed: " + " ".join(result.lines)
        self._emit(Acted(at=self._context.now(), action=name, target=target, text=text))
        return result

    async def _tick(self, values: _Values) -> ActionResult:
        return self._look(_wanted_sensor(self._context, values), {})

    async def _force(self, values: _Values) -> ActionResult:
        return self._look(_wanted_sensor(self._context, values), {FORCE: "True"})

    def _look(self, sensor: str, arguments: Mapping[str, str]) -> ActionResult:
        flow = _wanted_flow_of(self._context, sensor)
        self._start(Order(flow=flow, cause=_PAGE, arguments=arguments, sensors=(sensor,)))
        return _started(flow, Link(text=sensor, href=sensor_address(sensor)))

    async def _run(self, values: _Values) -> ActionResult:
        flow = _wanted_flow(self._context, values)
        self._start(Order(flow=flow, cause=_PAGE, arguments=_arguments(flow, values)))
        return _started(flow)

    async def _resume_run(self, values: _Values) -> ActionResult:
        flow, run_id = _wanted_run(self._context, values)
        run = self._context.loop.runs.get(f"{flow.name}/{run_id}")
        events = run.events if run else ()
        self._start(Order(flow=flow, cause=_PAGE, events=events, resumes=run_id))
        return _started(flow)

    async def _pause(self, values: _Values) -> ActionResult:
        sensor = _wanted_sensor(self._context, values)
        # A second click must not move the moment: what was missed since the first one is made up.
        self._context.paused.setdefault(sensor, self._context.now())
        return self._settle(f"{sensor} is paused", "Scheduled runs pass it by.")

    async def _resume(self, values: _Values) -> ActionResult:
        sensor = _wanted_sensor(self._context, values)
        missed = self._context.missed_look(sensor) if sensor in self._context.paused else None
        self._context.paused.pop(sensor, None)
        settled = self._settle(f"{sensor} goes on", "The next scheduled run looks at it.")
        if missed is None:
            return settled
        # As Argo does with a schedule that is no longer suspended.
        started = self._look(sensor, {})
        text = f"It was passed by at {missed.astimezone():%H:%M}, so it is looked at now."
        return replace(settled, lines=(text, *started.lines), links=started.links)

    def _settle(self, title: str, text: str) -> ActionResult:
        paused = self._context.paused
        active = tuple(name for name in self._context.sensors if name not in paused)
        self._set_active_sensors(active if paused else None)
        return ActionResult(ok=True, title=title, lines=(text,))

    async def _preview(self, values: _Values) -> ActionResult:
        sensor = _wanted_sensor(self._context, values)
        code, output, complaints = await self._command("preview", sensor, "--json")
        try:
            # Its exit code says too little: a preview that finds a fault in the source prints its
            # tick all the same.
            [tick] = json.loads(output)
        except ValueError:
            return _failed("The preview failed", complaints)
        return ActionResult(
            ok=not code,
            title=f"{sensor}: {outcome(tick['outcome'])}",
            lines=(
                *printable(str(tick["reason"])).splitlines(),
                *([f"Took {duration(tick['cost']['seconds'])}."] if tick["cost"] else []),
                "Nothing was written, and nothing was sent.",
                *(printable(complaints).splitlines() if code else ()),
            ),
        )

    async def _replay(self, values: _Values) -> ActionResult:
        code, output, complaints = await self._command("replay", values.get("change", ""))
        if code:
            return _failed("It was not replayed", complaints)
        return ActionResult(
            ok=True, title="It was sent once more", lines=tuple(output.splitlines())
        )

    async def _skip(self, values: _Values) -> ActionResult:
        code, output, complaints = await self._command("skip", values.get("change", ""))
        if code:
            return _failed("It was not skipped", complaints)
        return ActionResult(
            ok=True, title="The next ones may pass", lines=tuple(output.splitlines())
        )

    async def _command(self, command: str, target: str, *options: str) -> tuple[int, str, str]:
        """Run a command of ours, which sees the loop's bus; give its exit code and output."""
        # `--` before the target: what is typed into an address may begin with a dash.
        words = (command, *options, *self._context.options, "--", target)
        async with self._turns:
            child = await asyncio.create_subprocess_exec(
                # A process and no call: commands read the configuration anew, block, and may end
                # with an exit code.
                *(sys.executable, "-m", "flowproject", *words),
                cwd=self._context.root,
                env=child_environment(self._context.bus),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            self._children.add(child.pid)
            try:
                output, complaints = await child.communicate()
            finally:
                self._children.discard(child.pid)
                # All of its group: what a command that was cut off has started must not go on.
                _kill(child.pid)
        code = child.returncode or 0
        return code, output.decode(errors="replace"), complaints.decode(errors="replace")


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _started(flow: FlowFile, *links: Link) -> ActionResult:
    return ActionResult(
        ok=True,
        title=f"{flow.name} starts",
        lines=("Its run is listed as soon as it has an id.",),
        links=(*links, Link(text="Runs", href="/runs")),
    )


def _failed(title: str, complaints: str) -> ActionResult:
    return ActionResult(ok=False, title=title, lines=tuple(printable(complaints).splitlines()))


def _refuse_nul(values: _Values) -> None:
    for name, text in values.items():
        if "\0" in text:
            raise UsageError(f"{name} has a NUL character, which no program can be given")


def _arguments(flow: FlowFile, values: _Values) -> dict[str, str]:
    """The parameters that were given; those left empty have their defaults."""
    given = {
        name.removeprefix(_FIELD): text
        for name, text in values.items()
        if name.startswith(_FIELD) and text
    }
    names = [parameter.name for parameter in flow.parameters]
    for name in given:
        if name not in names:
            raise UsageError(
                f"{flow.name} has no parameter {name!r}",
                where=flow.path.name,
                allowed=f"Parameters: {', '.join(names)}" if names else "It has none",
            )
    for parameter in flow.parameters:
        if parameter.required and not parameter.has_default and parameter.name not in given:
            raise UsageError(
                f"The parameter {parameter.name!r} of {flow.name} is required",
                where=flow.path.name,
                fix="Fill it in",
            )
    return given
