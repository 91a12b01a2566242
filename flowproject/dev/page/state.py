"""Keep the messages of the loop for the page: bounded, and indexed by what is asked.

All of it belongs to the thread of the loop. Taking in a message takes the same time after ten
ticks and after ten thousand.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import singledispatchmethod
from pathlib import Path
from typing import Final, Literal

from flowproject.dev.messages import (
    Acted,
    EventReceived,
    LeftRun,
    LoopStarted,
    LoopStopped,
    LoopStopping,
    Message,
    RunFinished,
    RunPrinted,
    RunStarted,
    TickFinished,
)

__all__ = ["LoopState", "Run", "RunState"]

RunState = Literal["running", "succeeded", "failed", "unfinished"]
"""`unfinished` is a run that was killed together with another loop."""

# Of each sensor: one a minute for a week.
_KEPT_TICKS: Final = 10_000
# What is older is in Metaflow's datastore and in the journals: all of these bound the memory of a
# loop that goes on for weeks.
_KEPT_RUNS: Final = 2_000
_KEPT_EVENTS: Final = 2_000
_KEPT_NEWS: Final = 200
_KEPT_CHANGES: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that the loop has started."""

    flow: str
    run_id: str
    cause: str
    events: tuple[str, ...]
    """The ids of the events that started it, which are those of changes."""
    started: datetime
    log: Path
    sensors: tuple[str, ...] | None = None
    """The sensors that it may look at; None: all of its flow's."""
    state: RunState = "running"
    seconds: float | None = None
    exit_code: int | None = None
    ticks: tuple[TickFinished, ...] = ()

    @property
    def name(self) -> str:
        """`Flow/id`, as people and the journal write it; the flow alone if it never had an id."""
        return f"{self.flow}/{self.run_id}" if self.run_id else self.flow

    @property
    def at(self) -> datetime:
        """When it started: what a message has under this name."""
        return self.started


@dataclass(kw_only=True)
class LoopState:
    """The state of the loop, as its messages tell it."""

    ticks: dict[str, deque[TickFinished]] = field(default_factory=dict)
    """Sensor -> its ticks, oldest first."""
    events: deque[EventReceived] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))
    runs: OrderedDict[str, Run] = field(default_factory=OrderedDict)
    """Name -> run, oldest first."""
    news: deque[Message] = field(default_factory=lambda: deque(maxlen=_KEPT_NEWS))
    last_flows: dict[str, str] = field(default_factory=dict)
    """Sensor -> the flow whose run looked at it last."""
    running: set[str] = field(default_factory=set)
    """Names of the runs under way."""
    changes: OrderedDict[str, tuple[str, int]] = field(default_factory=OrderedDict)
    """Id of a change -> its sensor and number."""
    acts: int = 0
    """How many things people have done."""
    longest: float = 0.0
    """Seconds of the longest run that has ended."""
    started: LoopStarted | None = None
    stopping: bool = False
    over: bool = False
    """Whether the loop tells no more."""
    number: int = 0
    """How many things have happened."""
    watchers: set[asyncio.Event] = field(default_factory=set)
    """Each is set whenever something has happened."""
    readers: dict[str, set[asyncio.Event]] = field(default_factory=dict)
    """Name of a run -> each is set whenever it has printed something, or is over."""
    _newest: dict[str, str] = field(default_factory=dict)
    """Flow -> name of the run that started last."""

    def update(self, message: Message) -> None:
        """Take in a message, and wake those who wait for one."""
        # Not counted either: a run that prints a thousand lines a second would renew every view as
        # often.
        if isinstance(message, RunPrinted):  # its log has what it says
            self._wake(self.readers.get(f"{message.flow}/{message.run_id}", ()))
            return
        self._apply(message)
        self.news.append(message)
        self.number += 1
        self._wake(self.watchers)

    @contextmanager
    def watching(self) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever something has happened."""
        moved = asyncio.Event()
        self.watchers.add(moved)
        try:
            yield moved
        finally:
            self.watchers.discard(moved)

    @contextmanager
    def reading(self, run: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the run has printed something, or is over."""
        moved = asyncio.Event()
        self.readers.setdefault(run, set()).add(moved)
        try:
            yield moved
        finally:
            self.readers[run].discard(moved)
            if not self.readers[run]:
                del self.readers[run]

    def close(self) -> None:
        """Say that nothing more will come to all who wait."""
        # Streams end only when they are woken: the server waits for them.
        self.stopping = self.over = True
        self._wake(self.watchers.union(*self.readers.values()))

    def newest_run(self, flow: str) -> Run | None:
        """Find the run of a flow that started last."""
        return self.runs.get(self._newest.get(flow, ""))

    def latest(self, sensor: str) -> TickFinished | None:
        """Find the newest tick of a sensor."""
        ticks = self.ticks.get(sensor)
        return ticks[-1] if ticks else None

    def _wake(self, watchers: Iterable[asyncio.Event]) -> None:
        for watcher in watchers:
            watcher.set()

    def _keep(self, run: Run) -> None:
        # Two runs that failed before they had an id are two, and their logs tell them apart.
        key = run.name if run.run_id else f"{run.flow}/{run.log.name}"
        self.runs[key] = run
        self._newest[run.flow] = key
        while len(self.runs) > _KEPT_RUNS:
            # A run that goes on is shown, however many have come and gone since it started.
            del self.runs[next(name for name in self.runs if name not in self.running)]

    @singledispatchmethod
    def _apply(self, message: Message) -> None:
        """Change nothing: other messages are news only."""

    @_apply.register
    def _(self, started: LoopStarted) -> None:
        self.started = started

    @_apply.register
    def _(self, tick: TickFinished) -> None:
        # On the page causes come before their effects, which are told while the run goes on.
        seen = replace(tick, at=tick.looked or tick.at)
        self.ticks.setdefault(tick.sensor, deque(maxlen=_KEPT_TICKS)).append(seen)
        self.last_flows[tick.sensor] = tick.flow
        if tick.id:
            self.changes[tick.id] = (tick.sensor, tick.seq)
            while len(self.changes) > _KEPT_CHANGES:
                self.changes.popitem(last=False)
        if run := self.runs.get(name := f"{tick.flow}/{tick.run_id}"):
            self.runs[name] = replace(run, ticks=(*run.ticks, tick))

    @_apply.register
    def _(self, event: EventReceived) -> None:
        self.events.append(event)

    @_apply.register
    def _(self, start: RunStarted) -> None:
        run = Run(
            flow=start.flow,
            run_id=start.run_id,
            cause=start.cause,
            events=tuple(start.events),
            started=start.at,
            log=start.log,
            sensors=None if start.sensors is None else tuple(start.sensors),
        )
        self.running.add(run.name)
        self._keep(run)

    @_apply.register
    def _(self, left: LeftRun) -> None:
        if left.state == "running" and not left.run_id:
            return  # as of any run, its start is told as soon as it has an id
        run = Run(
            flow=left.flow,
            run_id=left.run_id,
            cause=left.cause,
            events=tuple(left.events),
            started=left.started,
            log=left.log,
            sensors=None if left.sensors is None else tuple(left.sensors),
            state=left.state,
        )
        if left.state == "running":
            self.running.add(run.name)
        else:
            self.running.discard(run.name)
        self._keep(run)
        self._wake(self.readers.get(run.name, ()))

    @_apply.register
    def _(self, end: RunFinished) -> None:
        name = f"{end.flow}/{end.run_id}"
        self.running.discard(name)
        self.longest = max(self.longest, end.seconds)
        # It was never told to have started, so it is added as it ended.
        if not end.run_id:
            self._keep(_run_without_id(end))
        elif run := self.runs.get(name):
            self.runs[name] = replace(
                run,
                state="succeeded" if end.ok else "failed",
                seconds=end.seconds,
                exit_code=end.exit_code,
            )
        self._wake(self.readers.get(name, ()))

    @_apply.register
    def _(self, _: Acted) -> None:
        self.acts += 1

    @_apply.register(LoopStopping | LoopStopped)
    def _(self, _: Message) -> None:
        self.stopping = True


def _run_without_id(end: RunFinished) -> Run:
    """A run that failed before it had an id."""
    return Run(
        flow=end.flow,
        run_id="",
        cause=end.cause,
        events=(),
        started=end.at - timedelta(seconds=end.seconds),
        log=end.log,
        state="failed",
        seconds=end.seconds,
        exit_code=end.exit_code,
    )
