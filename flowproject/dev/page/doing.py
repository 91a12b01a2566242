"""Doing what a person has asked for on the page: runs through the loop, the rest by commands."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from flowproject.dev.happenings import Acted, Listener
from flowproject.dev.launcher import Order, child_environment
from flowproject.dev.page.actions import plan, wanted_flow, wanted_looker, wanted_run, wanted_sensor
from flowproject.dev.page.knowledge import FORCE, Knowledge
from flowproject.dev.page.parts import Link
from flowproject.dev.page.words import sensor_address
from flowproject.errors import UsageError
from flowproject.flowfiles import FlowFile
from flowproject.wording import duration, outcome, printable

__all__ = ["PAGE", "Doer", "Result"]

PAGE: Final = "page"
"""The cause of a run that was started here."""

_FIELD: Final = "p-"
_COMMANDS: Final = 2
"""At the same time: each is a process."""
_Values = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    ok: bool
    title: str
    lines: tuple[str, ...]
    """May be many, as a command prints them."""
    links: tuple[Link, ...] = ()


class Doer:
    """Does what a person asks for, and tells the loop's listeners.

    `start` starts a run, and `keep_awake` is told the sensors that scheduled runs look at (None:
    all).
    """

    def __init__(
        self,
        known: Knowledge,
        *,
        start: Callable[[Order], None],
        keep_awake: Callable[[tuple[str, ...] | None], None],
        tell: Listener,
    ) -> None:
        self._known = known
        self._start = start
        self._keep_awake = keep_awake
        self._tell = tell
        self._turns = asyncio.Semaphore(_COMMANDS)
        self._children: set[int] = set()

    def close(self) -> None:
        """End the commands under way."""
        for child in self._children:
            _kill(child)

    async def do(self, name: str, values: _Values) -> Result:
        """What came of the action with the values of its form.

        Raises:
            UsageError: if there is no such action, it does not go with its target, or the loop is
                about to end.
        """
        _refuse_nul(values)
        intended = plan(self._known, name, values)
        if self._known.board.stopping:
            raise UsageError(f"The loop is ending: {intended.title!r} is not done any more")
        deeds: Mapping[str, Callable[[_Values], Awaitable[Result]]] = {
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
        result = await deeds[name](values)
        target = next(iter(intended.hidden.values()))
        text = "" if result.ok else "failed: " + " ".join(result.lines)
        self._tell(Acted(at=self._known.now(), action=name, target=target, text=text))
        return result

    async def _tick(self, values: _Values) -> Result:
        return self._look(wanted_sensor(self._known, values), {})

    async def _force(self, values: _Values) -> Result:
        return self._look(wanted_sensor(self._known, values), {FORCE: "True"})

    def _look(self, sensor: str, arguments: Mapping[str, str]) -> Result:
        flow = wanted_looker(self._known, sensor)
        self._start(Order(flow=flow, cause=PAGE, arguments=arguments, sensors=(sensor,)))
        return _started(flow, Link(text=sensor, href=sensor_address(sensor)))

    async def _run(self, values: _Values) -> Result:
        flow = wanted_flow(self._known, values)
        self._start(Order(flow=flow, cause=PAGE, arguments=_arguments(flow, values)))
        return _started(flow)

    async def _resume_run(self, values: _Values) -> Result:
        flow, run_id = wanted_run(self._known, values)
        run = self._known.board.runs.get(f"{flow.name}/{run_id}")
        events = run.events if run else ()
        self._start(Order(flow=flow, cause=PAGE, events=events, resumes=run_id))
        return _started(flow)

    async def _pause(self, values: _Values) -> Result:
        sensor = wanted_sensor(self._known, values)
        self._known.paused.setdefault(sensor, self._known.now())
        return self._settle(f"{sensor} is paused", "Scheduled runs pass it by.")

    async def _resume(self, values: _Values) -> Result:
        sensor = wanted_sensor(self._known, values)
        missed = self._known.missed_look(sensor) if sensor in self._known.paused else None
        self._known.paused.pop(sensor, None)
        settled = self._settle(f"{sensor} goes on", "The next scheduled run looks at it.")
        if missed is None:
            return settled
        # As Argo does with a schedule that is no longer suspended.
        started = self._look(sensor, {})
        text = f"It was passed by at {missed.astimezone():%H:%M}, so it is looked at now."
        return replace(settled, lines=(text, *started.lines), links=started.links)

    def _settle(self, title: str, text: str) -> Result:
        paused = self._known.paused
        awake = tuple(name for name in self._known.sensors if name not in paused)
        self._keep_awake(awake if paused else None)
        return Result(ok=True, title=title, lines=(text,))

    async def _preview(self, values: _Values) -> Result:
        sensor = wanted_sensor(self._known, values)
        code, output, complaints = await self._command("preview", sensor, "--json")
        try:
            [tick] = json.loads(output)
        except ValueError:
            return _failed("The preview failed", complaints)
        return Result(
            ok=not code,
            title=f"{sensor}: {outcome(tick['outcome'])}",
            lines=(
                *printable(str(tick["reason"])).splitlines(),
                *([f"Took {duration(tick['cost']['seconds'])}."] if tick["cost"] else []),
                "Nothing was written, and nothing was sent.",
                *(printable(complaints).splitlines() if code else ()),
            ),
        )

    async def _replay(self, values: _Values) -> Result:
        code, output, complaints = await self._command("replay", values.get("change", ""))
        if code:
            return _failed("It was not replayed", complaints)
        return Result(ok=True, title="It was sent once more", lines=tuple(output.splitlines()))

    async def _skip(self, values: _Values) -> Result:
        code, output, complaints = await self._command("skip", values.get("change", ""))
        if code:
            return _failed("It was not skipped", complaints)
        return Result(ok=True, title="The next ones may pass", lines=tuple(output.splitlines()))

    async def _command(self, command: str, target: str, *options: str) -> tuple[int, str, str]:
        """Exit code and output of a command of ours, which sees the loop's bus."""
        words = (command, *options, *self._known.options, "--", target)
        async with self._turns:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flowproject", *words),
                cwd=self._known.root,
                env=child_environment(self._known.bus),
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
                _kill(child.pid)
        code = child.returncode or 0
        return code, output.decode(errors="replace"), complaints.decode(errors="replace")


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _started(flow: FlowFile, *links: Link) -> Result:
    return Result(
        ok=True,
        title=f"{flow.name} starts",
        lines=("Its run is listed as soon as it has an id.",),
        links=(*links, Link(text="Runs", href="/runs")),
    )


def _failed(title: str, complaints: str) -> Result:
    return Result(ok=False, title=title, lines=tuple(printable(complaints).splitlines()))


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
    known = [parameter.name for parameter in flow.parameters]
    for name in given:
        if name not in known:
            raise UsageError(
                f"{flow.name} has no parameter {name!r}",
                where=flow.path.name,
                allowed=f"Parameters: {', '.join(known)}" if known else "It has none",
            )
    for parameter in flow.parameters:
        if parameter.required and not parameter.has_default and parameter.name not in given:
            raise UsageError(
                f"The parameter {parameter.name!r} of {flow.name} is required",
                where=flow.path.name,
                fix="Fill it in",
            )
    return given
