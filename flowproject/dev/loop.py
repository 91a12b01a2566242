"""Put bus, scheduler, launcher and page together, from the start to a clean end.

One asyncio loop does everything; it waits for events and for due times, and polls nothing but the
output of the runs that go on.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from flowproject.contract import check_schedules
from flowproject.cron import DEADLINE
from flowproject.dev.dispatcher import Dispatcher
from flowproject.dev.event_bus import serve_bus
from flowproject.dev.launcher import Launcher, logs_folder
from flowproject.dev.lookout import Lookout
from flowproject.dev.messages import (
    Listener,
    LoopStarted,
    LoopStopped,
    LoopStopping,
    Message,
    RunFinished,
    Warned,
)
from flowproject.dev.page import LoopState, PageContext, open_page, open_project
from flowproject.dev.records import (
    LoopRecord,
    PendingEvents,
    RunRecord,
    adopt,
    register_loop,
    work_folder,
)
from flowproject.dev.scheduler import (
    Clock,
    Entry,
    SystemClock,
    Timetable,
    due_times,
    last_times,
    rules_of,
    schedule_in_words,
)
from flowproject.dev.server import HOST
from flowproject.dev.triggers import Event
from flowproject.errors import FlowError
from flowproject.flowfiles import FlowFile, describe_flows
from flowproject.listeners import record_listeners

__all__ = ["Loop", "PageSettings", "Reason", "Result", "Settings"]

_INTERRUPTED: Final = 130
Reason = Literal["idle", "interrupted", "stopped"]
# Seconds between asking a process group to end and ending it.
_LAST_WORDS: Final = 3.0

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """Where the page of the loop is served."""

    host: str = HOST
    port: int = 0
    """0 is any free one."""
    token: str = ""
    """Who wants to see the page must know it; empty: whoever is on this machine may see it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the loop is to run."""

    branch: str = ""
    """Metaflow's `--branch`, for flows with a project."""
    production: bool = False
    """Metaflow's `--production`, for flows with a project."""
    every: float = 0.0
    """Seconds between two runs of each scheduled flow, in place of its schedule; 0 keeps that."""
    until_idle: bool = False
    """Run each scheduled flow once, then what follows from it, and end."""
    port: int = 0
    """Port of the bus; 0 is any free one."""
    max_parallel: int = 4
    """Runs at the same time: each is several processes."""
    grace: float = 5.0
    """Seconds that runs may go on after the loop was told to stop."""
    page: PageSettings | None = None
    """Where the page is served; None: nowhere."""

    @property
    def options(self) -> tuple[str, ...]:
        """The branch, as the command lines of flows and ours take it."""
        branch = ("--branch", self.branch) if self.branch else ()
        return (*branch, *(("--production",) if self.production else ()))


@dataclass(frozen=True, kw_only=True)
class Result:
    """How the loop ended."""

    reason: Reason
    runs: tuple[RunFinished, ...]
    """The runs that ended, at most the last thousand."""
    failed: int
    until_idle: bool

    @property
    def ok(self) -> bool:
        """Whether every run succeeded."""
        return not self.failed

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ran the loop."""
        if self.reason == "interrupted":
            return _INTERRUPTED
        return FlowError.exit_code if self.until_idle and self.failed else 0


class Loop:
    """The local loop: schedules, listens and launches until it is stopped or idle. For one use."""

    def __init__(
        self,
        root: Path,
        *,
        listener: Listener = lambda _: None,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._root = root
        self._settings = settings or Settings()
        self._listener = listener
        self._clock = clock or SystemClock()
        self._reason: Reason = "stopped"
        self._deaf: Exception | None = None
        self._update_page: Listener = lambda _: None

    def run(self) -> Result:
        """Run, and say how it ended. In the main thread, Ctrl-C and SIGTERM end it, too."""
        return asyncio.run(self.serve())

    async def serve(self) -> Result:
        """Do the same as `run`, for a caller that has an asyncio loop already."""
        self._running = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        # One thread for Metaflow's client: it keeps its namespace and its provider of metadata in
        # globals of the module, and a second thread would change them under the first.
        with self._signals(), ThreadPoolExecutor(max_workers=1) as reading:
            # Before: what is edited meanwhile may not be what was described.
            begun = time.time()
            flows = await asyncio.to_thread(
                describe_flows,
                self._root,
                branch=self._settings.branch,
                production=self._settings.production,
            )
            # Before anything is served or recorded: a schedule that no cluster would run ends the
            # loop here.
            rules = rules_of(flows, self._settings.every)
            await asyncio.to_thread(record_listeners, self._root, flows, by="flowproject dev")
            # The launcher has to know the bus's address, and the bus whom to hand events to: so the
            # bus is opened first, and refuses what comes before there is a dispatcher.
            dispatcher: Dispatcher | None = None

            def accept(event: Event) -> bool:
                if dispatcher is None:
                    return False
                try:
                    return dispatcher.accept(event)
                except Exception as error:  # noqa: BLE001  # raised again when no process is left
                    dispatcher.fail(error)
                    return False

            # Nothing is due before the loop began: a cluster makes up for nothing that was due
            # before its CronWorkflow was there.
            timetable = Timetable(rules, self._clock.now())
            async with serve_bus(accept, port=self._settings.port) as url:
                with self._registered(flows, url) as (name, left):
                    dispatcher = self._dispatcher(flows, url, name, reading)
                    async with self._page(dispatcher, flows, timetable, url, reading) as page:
                        started = self._started(url, page, flows, timetable)
                        async with self._lookout(dispatcher, flows, begun):
                            await self._work(dispatcher, flows, timetable, started, left)
        result = self._conclude(dispatcher)
        if self._deaf:
            raise self._deaf
        return result

    def stop(self) -> None:
        """End the runs and return, once `LoopStarted` was emitted. May be called in any thread."""
        self._running.call_soon_threadsafe(self._stop.set)

    # -------------------------------------------------------------------------- from start to end

    async def _work(
        self,
        dispatcher: Dispatcher,
        flows: tuple[FlowFile, ...],
        timetable: Timetable[Entry],
        started: LoopStarted,
        left: Sequence[RunRecord],
    ) -> None:
        if self._stop.is_set():
            return
        # Told before the first run: who listens wants the addresses above everything that happens
        # there.
        self._emit(started)
        await dispatcher.take_over(left)
        # With either of them no schedule is followed, and a warning of one would be wrong.
        if not (self._settings.every or self._settings.until_idle):
            self._warn_of_schedules(flows)
        scheduled = {flow.path: flow for flow in flows if flow.schedule}
        working = asyncio.create_task(
            self._until_idle(dispatcher, scheduled)
            if self._settings.until_idle
            else self._by_schedule(dispatcher, scheduled, timetable)
        )
        stopping = asyncio.create_task(self._stop.wait())
        ends: set[asyncio.Future[Any]] = {working, stopping, dispatcher.crash}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
        await self._wind_down(dispatcher)
        # Only now, when no process is left, does an error of ours leave the loop.
        for end in (working, dispatcher.crash):
            if end.done() and not end.cancelled():
                end.result()

    async def _until_idle(self, dispatcher: Dispatcher, scheduled: Mapping[Path, FlowFile]) -> None:
        for flow in scheduled.values():
            dispatcher.start_scheduled(flow)
        # What killed loops have left behind goes on as well, and what waits for its end follows.
        while tasks := dispatcher.tasks | dispatcher.watches:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._reason = "idle"

    async def _by_schedule(
        self,
        dispatcher: Dispatcher,
        scheduled: Mapping[Path, FlowFile],
        timetable: Timetable[Entry],
    ) -> None:
        if self._settings.every:
            for flow in scheduled.values():
                dispatcher.start_scheduled(flow)
        while (when := timetable.next_time()) is not None:
            await self._clock.sleep_until(when)
            now = self._clock.now()
            for (kind, path), due in timetable.take(now).items():
                if kind == "reset":
                    dispatcher.forget(path)
                elif self._settings.every:
                    dispatcher.start_scheduled(scheduled[path])
                elif now - due < DEADLINE:
                    dispatcher.start_scheduled(scheduled[path], due)
                else:
                    # As on a cluster whose controller was away for so long.
                    dispatcher.skip(scheduled[path], due)
        await self._stop.wait()

    def _warn_of_schedules(self, flows: tuple[FlowFile, ...]) -> None:
        now = self._clock.now()
        for flow in flows:
            for found in check_schedules([flow], now):
                message = found.message.removeprefix(f"{flow.name} ")
                self._emit(Warned(at=now, flow=flow.name, message=message))

    async def _wind_down(self, dispatcher: Dispatcher) -> None:
        """Wait for the runs, then end them, so that none is left behind."""
        dispatcher.close()
        if not dispatcher.tasks:
            return
        grace = self._settings.grace
        self._emit(LoopStopping(at=self._clock.now(), runs=len(dispatcher.tasks), grace=grace))
        runs = asyncio.create_task(_all_over(dispatcher))
        hurrying = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({runs, hurrying}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        # Asked first: what a step does at its end, such as giving back a lock, is done after
        # SIGTERM, and never after SIGKILL.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not runs.done():
                dispatcher.kill(number)
                await asyncio.wait({runs}, timeout=_LAST_WORDS)
        await runs

    def _conclude(self, dispatcher: Dispatcher) -> Result:
        self._emit(
            LoopStopped(
                at=self._clock.now(),
                reason=self._reason,
                runs=dispatcher.runs,
                failed=dispatcher.failed,
            )
        )
        return Result(
            reason=self._reason,
            runs=tuple(dispatcher.finished),
            failed=dispatcher.failed,
            until_idle=self._settings.until_idle,
        )

    # ------------------------------------------------------------ bus, scheduler, launcher, page

    @contextlib.contextmanager
    def _registered(
        self, flows: tuple[FlowFile, ...], url: str
    ) -> Iterator[tuple[str, list[RunRecord]]]:
        """Register the loop; give its record's name and the runs that killed loops left behind."""
        if not flows:
            yield "", []
            return
        folder = work_folder(flows[0].local_root)
        record = LoopRecord(
            project=str(self._root),
            # Only BaseFlow's branch is that of journals: commands beside the loop compare it.
            branch=next((flow.branch for flow in flows if flow.inherits_ours), ""),
            options=self._settings.options,
            bus=url,
            pid=os.getpid(),
            started=time.time(),
        )
        with register_loop(folder, record) as name:
            options = self._settings.options
            yield name, adopt(folder, loop=name, project=record.project, options=options)

    def _dispatcher(
        self, flows: tuple[FlowFile, ...], url: str, name: str, reading: ThreadPoolExecutor
    ) -> Dispatcher:
        launcher = Launcher(
            url=url,
            root=self._root,
            loop=name,
            options=self._settings.options,
            limit=self._settings.max_parallel,
            emit=self._emit,
            now=self._clock.now,
        )
        root = flows[0].local_root if flows else self._root
        return Dispatcher(
            flows=flows,
            launcher=launcher,
            reading=reading,
            pending=PendingEvents(
                work_folder(root), project=str(self._root), options=self._settings.options
            ),
            emit=self._emit,
            now=self._clock.now,
        )

    @contextlib.asynccontextmanager
    async def _lookout(
        self, dispatcher: Dispatcher, flows: tuple[FlowFile, ...], since: float
    ) -> AsyncIterator[None]:
        """Have sensors looked at before runs are started for them, where that says as much."""

        def warn(flow: str, message: str) -> None:
            self._emit(Warned(at=self._clock.now(), flow=flow, message=message))

        lookout = Lookout(self._root, flows, since=since, moved=dispatcher.files_moved, warn=warn)
        # Who wants one run of each flow gets it, and one look is no saving.
        if self._settings.until_idle or not lookout.flows:
            yield
            return
        dispatcher.look_first(lookout)
        beginning = asyncio.create_task(lookout.watch())
        try:
            yield
        finally:
            await lookout.close()
            await asyncio.wait({beginning})

    @contextlib.asynccontextmanager
    async def _page(
        self,
        dispatcher: Dispatcher,
        flows: tuple[FlowFile, ...],
        timetable: Timetable[Entry],
        bus: str,
        reading: ThreadPoolExecutor,
    ) -> AsyncIterator[str]:
        """Serve the page and give its address; empty if none is wanted."""
        settings = self._settings.page
        if settings is None:
            yield ""
            return
        context = PageContext(
            loop=LoopState(),
            flows=flows,
            project_context=await asyncio.to_thread(open_project, self._root, flows),
            # Asked anew for each view: the timetable moves on with each run.
            due=lambda: {} if self._starts_no_more else due_times(flows, timetable),
            last_due=lambda: last_times(flows, timetable),
            now=self._clock.now,
            root=self._root,
            bus=bus,
            options=self._settings.options,
        )
        # From here on, not from the loop's start: what was emitted before has no page to be on.
        self._update_page = context.loop.update
        async with open_page(
            context,
            host=settings.host,
            port=settings.port,
            token=settings.token,
            dispatcher=dispatcher,
            reading=reading,
            emit=self._emit,
        ) as address:
            yield address

    @property
    def _starts_no_more(self) -> bool:
        return self._settings.until_idle or self._stop.is_set()

    def _started(
        self, url: str, page: str, flows: tuple[FlowFile, ...], timetable: Timetable[Entry]
    ) -> LoopStarted:
        return LoopStarted(
            at=self._clock.now(),
            url=url,
            page=page,
            logs=logs_folder(flows[0]) if flows else self._root,
            schedules={
                flow.name: schedule_in_words(
                    flow,
                    timetable.due.get(("run", flow.path)),
                    every=self._settings.every,
                    until_idle=self._settings.until_idle,
                )
                for flow in flows
                if flow.schedule
            },
            listeners={
                flow.name: [dependency.event for dependency in flow.awaited]
                for flow in flows
                if flow.dependencies and not flow.pushes
            },
            pushes={flow.name: [*flow.pushes] for flow in flows if flow.pushes},
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle signals: the first one ends the loop, the second one its runs as well."""
        try:
            for number in _SIGNALS:
                self._running.add_signal_handler(number, self._interrupt)
        # asyncio sets handlers in the main thread only. Tests and notebooks run the loop in
        # another.
        except (RuntimeError, ValueError):  # not the main thread: somebody else handles signals
            yield
            return
        try:
            yield
        finally:
            for number in _SIGNALS:
                self._running.remove_signal_handler(number)

    def _emit(self, message: Message) -> None:
        """Pass the message on. A listener that fails (a closed pipe, say) ends the loop cleanly."""
        if self._deaf:
            return
        # Before the listener: one that fails ends the loop, and the page should show of what.
        self._update_page(message)
        try:
            self._listener(message)
        except Exception as error:  # noqa: BLE001  # raised again when no process is left
            self._deaf = error
            self._stop.set()

    def _interrupt(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._reason = "interrupted"
        self._stop.set()


async def _all_over(dispatcher: Dispatcher) -> None:
    while tasks := dispatcher.tasks:
        await asyncio.wait(tasks)
