"""Keeps the process beside the loop that looks at sensors before a run is started for them.

What it says decides only whether there is a run. Where it says nothing there is one, so nothing
can be lost by it.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeVar

from flowproject.dev.launcher import child_environment
from flowproject.dev.records import work_folder
from flowproject.flowfiles import FlowFile
from flowproject.metaflow_internals.argo import end_event

__all__ = ["Lookout", "Sighting"]

_CHILD: Final = "from flowproject.dev.looking import main; main()"
# Seconds for the start of Python, and beyond all limits of the sensors, after which a process that
# says nothing is ended.
_PATIENCE: Final = 60.0
# Seconds in which a process is gone that was killed.
_LAST_WAIT: Final = 3.0
# Deaths in a row without an answer, after which runs are started as if there were no lookout.
_MOST_DEATHS: Final = 3
# Bytes of a line: a tick holds a sample of ten items, and a history.
_LONGEST_LINE: Final = 1 << 24
# What Metaflow reads from the environment and gives every run: a run is then not what we look at.
_CHANGES_RUNS: Final = ("METAFLOW_RUN_", "METAFLOW_DECOSPECS", "METAFLOW_DEFAULT_ENVIRONMENT")


_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What was seen: ticks as JSON of sensors that need no run, and the names of those that do."""

    ticks: Sequence[Mapping[str, Any]]
    due: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What the process was asked: how long it may take, which it says first, and its answer."""

    process: asyncio.subprocess.Process
    within: asyncio.Future[float]
    answer: asyncio.Future[dict[str, Any]]

    def give_up(self) -> None:
        """Answer that nothing is known."""
        _answer(self.within, 0.0)
        _answer(self.answer, {})


class Lookout:
    """Looks ahead of runs, and tells of files that moved. It belongs to the thread of the loop."""

    def __init__(
        self,
        root: Path,
        flows: Sequence[FlowFile],
        *,
        since: float,
        moved: Callable[[Sequence[str]], None],
        warn: Callable[[str, str], None],
    ) -> None:
        self._root = root
        self._since = since
        self._flows = _that_only_look(flows)
        self._moved = moved
        self._warn = warn
        self._warned: set[str] = set()
        self._numbers = count(1)
        self._asked: dict[int, _Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._alive: set[asyncio.subprocess.Process] = set()
        self._making = asyncio.Lock()
        self._is_closed = False
        self._deaths = 0
        self._has_answered = False

    @property
    def flows(self) -> tuple[FlowFile, ...]:
        """The flows for which a look may stand in."""
        return self._flows

    def knows(self, flow: FlowFile) -> bool:
        """Whether a look may stand in for a run of this flow now."""
        if flow not in self._flows or self._deaths >= _MOST_DEATHS or not self._has_answered:
            return False
        if _is_as_it_was(flow, self._since):
            return True
        self._say(
            flow.name,
            "its code was edited, so it is started whenever it is due, without a look before; "
            "start the loop again to have that",
        )
        return False

    async def watch(self) -> None:
        """Begin: hear of the files of all sensors, before the first of them is due."""
        for flow in self._flows:
            await self._ask(flow, None, looks=False)

    async def look(self, flow: FlowFile, sensors: tuple[str, ...] | None) -> Sighting | None:
        """Look at those of a flow's sensors (None: all); None if nothing is known of them."""
        told = await self._ask(flow, sensors, looks=True)
        if told is None or "ticks" not in told:
            return None
        ticks = told["ticks"]
        return Sighting(
            ticks=[tick for tick in ticks if not tick["needs_tick"]],
            due=tuple(str(tick["sensor"]) for tick in ticks if tick["needs_tick"]),
        )

    async def close(self) -> None:
        """End the process, whatever it does."""
        self._is_closed = True
        # Not while one is made: it would be left behind.
        async with self._making:
            self._process = None
        for process in [*self._alive]:
            _kill(process)
            # Whoever else has its output keeps asyncio from saying that it has ended.
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _LAST_WAIT)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Whoever read the answers may have been ended before it saw that there will be none.
        for asked in self._asked.values():
            asked.give_up()

    async def _ask(
        self, flow: FlowFile, sensors: tuple[str, ...] | None, *, looks: bool
    ) -> dict[str, Any] | None:
        process = await self._running(flow)
        # It may have been ended between its making and now.
        if process is None or process.stdin is None or self._is_closed:
            return None
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        asked = _Question(process=process, within=loop.create_future(), answer=loop.create_future())
        self._asked[number] = asked
        request = {
            "id": number,
            "root": str(self._root),
            "branch": flow.branch,
            "datastore": flow.datastore,
            "aside": flow.local_root,
            "sensors": _names(flow, sensors),
            "looks": looks,
        }
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            within = await asyncio.wait_for(asked.within, _PATIENCE)
            told = await asyncio.wait_for(asked.answer, within + _PATIENCE)
        except (OSError, TimeoutError):
            # The sensors' own limits have long passed: not even those are kept there any more.
            self._end(process)
            return None
        finally:
            self._asked.pop(number, None)
        if told.get("unwatched"):
            self._say(flow.name, f"files are looked at on schedule only. {told['unwatched']}")
        if told.get("used_up") and not self._asked and self._process is process:
            self._go_on(self._replace(process))
        return told

    async def _running(self, flow: FlowFile) -> asyncio.subprocess.Process | None:
        """The process, made anew if it is gone; None if there is to be none."""
        async with self._making:
            if self._process and self._process.returncode is None:
                return self._process
            if self._deaths >= _MOST_DEATHS or self._is_closed:
                return None
            try:
                return await self._make(flow)
            except OSError:  # no room for a process, or for its log
                self._count_death()
                return None

    async def _make(self, flow: FlowFile) -> asyncio.subprocess.Process:
        log = work_folder(flow.local_root) / "lookout.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        # No bus: it could not deliver anything, even if it tried.
        environment = child_environment("")
        with log.open("w") as output:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _CHILD),
                cwd=self._root,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                limit=_LONGEST_LINE,
                # Ctrl-C in the terminal reaches the loop alone.
                start_new_session=True,
            )
        self._alive.add(process)
        self._go_on(self._read(process))
        return process

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        try:
            while line := await process.stdout.readline():
                self._take(json.loads(line))
        except ValueError:
            # Half a line, because it died over it; or one that never ends.
            _kill(process)
        await process.wait()
        _kill(process)  # of what it has started something may be left
        self._is_over(process)

    def _take(self, told: dict[str, Any]) -> None:
        """Take what the process has told."""
        asked = self._asked.get(told.get("id", 0))
        if "moved" in told:
            self._moved(told["moved"])
        elif asked and "within" in told:
            _answer(asked.within, told["within"])
        elif asked:
            self._deaths, self._has_answered = 0, True
            _answer(asked.answer, told)

    def _is_over(self, process: asyncio.subprocess.Process) -> None:
        self._alive.discard(process)
        for asked in self._asked.values():
            if asked.process is process:
                asked.give_up()
        if self._process is not process:
            return
        # It was not ended by us: an engine that crashed, or no memory was left.
        self._process = None
        self._count_death()

    def _count_death(self) -> None:
        self._deaths += 1
        if self._deaths == _MOST_DEATHS:
            self._say("", "the process that looks ahead died three times; runs look instead")
        elif self._deaths < _MOST_DEATHS:
            self._go_on(self.watch())

    def _end(self, process: asyncio.subprocess.Process) -> None:
        """End the process, and let another hear of files in its place."""
        if self._process is process:
            self._process = None
            _kill(process)
            self._go_on(self.watch())

    async def _replace(self, process: asyncio.subprocess.Process) -> None:
        """Let another take over from a process that has had enough, and then end that."""
        # The new one hears before the old one is deaf: nothing moves unheard in between.
        self._process = None
        try:
            await self.watch()
        finally:
            _kill(process)

    def _say(self, flow: str, message: str) -> None:
        # Once: it stays so until the loop is started again.
        if message not in self._warned:
            self._warned.add(message)
            self._warn(flow, message)


def _answer(asked: asyncio.Future[_T], answer: _T) -> None:
    # Nobody waits any more for what took too long.
    if not asked.done():
        asked.set_result(answer)


def _kill(process: asyncio.subprocess.Process) -> None:
    """End it, with all that its libraries have started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _names(flow: FlowFile, sensors: Sequence[str] | None) -> Sequence[str] | None:
    """Those of the sensors that the flow looks at; None: all that there are."""
    if sensors is None:
        return flow.sensors or None
    return [name for name in sensors if not flow.sensors or name in flow.sensors]


def _that_only_look(flows: Sequence[FlowFile]) -> tuple[FlowFile, ...]:
    if any(name.startswith(_CHANGES_RUNS) for name in os.environ):
        return ()
    # Who waits for the end of a run gets one each time.
    awaited = {dependency.event for flow in flows for dependency in flow.dependencies}
    return tuple(
        flow for flow in flows if flow.looks_in and end_event(flow.full_name) not in awaited
    )


def _is_as_it_was(flow: FlowFile, since: float) -> bool:
    """Whether its code is what was described then."""
    try:
        statuses = [os.stat(file) for file in flow.looks_in]  # noqa: PTH116  # names, not paths
    except OSError:
        return False
    # Both times: an old file that is moved here keeps the one, and nothing keeps the other.
    return all(max(one.st_mtime, one.st_ctime) < since for one in statuses)
