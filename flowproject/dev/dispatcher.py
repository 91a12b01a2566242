"""Turn events and due schedules into runs, and runs into ticks and further events.

It keeps what changes while the loop runs. When the loop ends is decided in `loop`.
"""

import asyncio
import re
import shlex
import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from flowproject.cron import DEADLINE
from flowproject.dev.launcher import Launcher, Order
from flowproject.dev.lookout import Lookout
from flowproject.dev.messages import (
    EventDropped,
    EventReceived,
    EventWaiting,
    LeftRun,
    Listener,
    RunFinished,
    RunSkipped,
    TickFinished,
    Warned,
)
from flowproject.dev.metaflow_client import end_task_id, read_state, read_ticks
from flowproject.dev.records import PendingEvents, RunRecord
from flowproject.dev.triggers import (
    NOTHING_WAITS,
    Drop,
    Event,
    Start,
    Wait,
    WaitingEvents,
    offer,
    run_event,
    unheard,
)
from flowproject.flowfiles import FlowFile
from flowproject.metaflow_internals.argo import end_event
from flowproject.runs import RunState
from flowproject.secrecy import safe

__all__ = ["Dispatcher"]

_SCHEDULE: Final = "schedule"
_FILES: Final = "files"
# Seconds between two looks that files or events want: a look takes less, and a burst is to be few.
_BETWEEN_LOOKS: Final = 1.0
# A loop may run for weeks; who wants more than the newest has the records beside the logs.
_KEPT_RESULTS: Final = 1000
# The id of an event that is a sensor's change.
_CHANGE: Final = re.compile(r"[0-9a-f]{32}")
_T = TypeVar("_T")


class Dispatcher:
    """Turns events and schedules into runs. All its methods belong to the thread of the loop."""

    def __init__(
        self,
        *,
        flows: tuple[FlowFile, ...],
        launcher: Launcher,
        reading: Executor,
        pending: PendingEvents,
        emit: Listener,
        now: Callable[[], datetime],
    ) -> None:
        self._flows = flows
        self._launcher = launcher
        self._reading = reading
        self._emit = emit
        self._now = now
        self._pending = pending
        # On a cluster what waits outlives the pod of the Sensor, so here it outlives the loop.
        self._waiting = pending.load(flows, now())
        self._lookout: Lookout | None = None
        self._scheduled: set[Path] = set()
        self._missed: dict[Path, datetime] = {}
        self._looked: dict[Path, float] = {}
        self._moved: defaultdict[Path, dict[str, str]] = defaultdict(dict)
        """Flow -> sensor -> what wants it looked at, since the last look at it began."""
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self.crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with an exception once something went wrong that is nobody's flow's fault."""
        self.active_sensors: tuple[str, ...] | None = None
        """The sensors that scheduled runs look at; None: all, for none is paused."""
        self.finished: deque[RunFinished] = deque(maxlen=_KEPT_RESULTS)
        self.runs = 0
        self.failed = 0

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """The runs under way, with all that follows from each."""
        return frozenset(self._tasks)

    @property
    def watches(self) -> frozenset[asyncio.Task[None]]:
        """The runs of killed loops that are followed to their end."""
        return frozenset(self._watches)

    def look_first(self, lookout: Lookout) -> None:
        """Have it look before runs are started that would do nothing else, from here on."""
        self._lookout = lookout

    def files_moved(self, names: Collection[str]) -> None:
        """Look at these sensors at once, whose files were written, or as soon as a look is over."""
        for flow in self._lookout.flows if self._lookout else ():
            mine = [name for name in names if not flow.sensors or name in flow.sensors]
            self._look_soon(flow, mine, _FILES)

    def _look_soon(self, flow: FlowFile, names: Iterable[str], cause: str) -> bool:
        """Look at these of a flow's sensors once no look of it goes on; False if all are paused."""
        active = self.active_sensors
        mine = [name for name in names if active is None or name in active]
        if mine and not self._closed:
            self._moved[flow.path] |= dict.fromkeys(mine, cause)
            self._look_at_moved(flow)
        return bool(mine)

    def close(self) -> None:
        """Take no more events, and start none of the runs that still wait for a slot."""
        self._closed = True
        self._launcher.close()
        for look in self._looks:
            look.cancel()
        # Runs of an earlier loop are not this one's children: it stops looking at them, and the
        # next loop sees to them.
        for watch in self._watches:
            watch.cancel()

    def kill(self, number: signal.Signals) -> None:
        """Send the signal to every process of every run."""
        self._launcher.kill(number)

    def accept(self, event: Event) -> bool:
        """Take an event, and set under way all that it starts; say whether it was taken."""
        if self._closed:
            return False
        if any(event.name == one.event for flow in self._flows for one in flow.own_events):
            # A cluster needs a flow's word that it may be started again; here its run's end tells.
            return True
        names = [
            flow.name
            for flow in self._flows
            if any(dependency.event == event.name for dependency in flow.awaited)
        ]
        # Told before what follows from it, so that causes stand above effects.
        self._emit(EventReceived(at=self._now(), event=event.name, id=event.id, flows=names))
        if not names:
            self._drop(event, "", unheard(event, self._flows))
        for flow in self._flows:
            if flow.pushes:
                self._push(flow, event)
            else:
                self._offer(flow, event)
        return True

    def start_scheduled(self, flow: FlowFile, due: datetime | None = None) -> None:
        """Start the flow, unless its previous scheduled run is not over.

        What was `due` meanwhile is then made up, the last of it, as Argo does that forbids runs at
        the same time; without a time, nothing is.
        """
        if flow.path in self._scheduled:
            reason = "its previous scheduled run is not over"
            if due:
                self._missed[flow.path] = due
                reason += f"; what was due at {_clock(due)} is made up when it is"
            self._emit(RunSkipped(at=self._now(), flow=flow.name, reason=reason))
            return
        self._scheduled.add(flow.path)
        # A new run makes up for all that was missed before it.
        self._missed.pop(flow.path, None)
        # All of them are looked at now.
        self._moved.pop(flow.path, None)
        self._begin(flow, _SCHEDULE, self.active_sensors)

    async def take_over(self, left: Sequence[RunRecord]) -> None:
        """Take over the runs of killed loops: those that go on, and those that have ended."""
        for run in left:
            flow = next((flow for flow in self._flows if flow.name == run.flow), None)
            if flow and run.is_alive:
                self._emit_left(flow, run, "running")
                # Its flow must not be started a second time by this loop's schedule while it goes
                # on.
                if _is_only_one(flow, run):
                    self._scheduled.add(flow.path)
                watch = asyncio.create_task(self._watch(flow, run))
                self._watches.add(watch)
                watch.add_done_callback(self._over)
            elif flow:
                await self._end_left(flow, run)

    def skip(self, flow: FlowFile, due: datetime) -> None:
        """Say that a run was due so long ago that it is not made up."""
        reason = f"what was due at {_clock(due)} is more than {_minutes(DEADLINE)} minutes ago"
        self._emit(RunSkipped(at=self._now(), flow=flow.name, reason=reason))

    def start(self, order: Order) -> None:
        """Start a run as soon as there is a free slot, and handle what follows from it."""
        task = asyncio.create_task(self._follow(order))
        self._tasks.add(task)
        # asyncio keeps no reference to a task: what is not in the set may be collected while it
        # runs.
        task.add_done_callback(self._over)

    def forget(self, path: Path) -> None:
        """Forget the events that wait for others to start this flow."""
        self._keep(path, NOTHING_WAITS)

    def fail(self, error: BaseException) -> None:
        """End the loop with this error."""
        if not self.crash.done():
            self.crash.set_exception(error)

    def _push(self, flow: FlowFile, event: Event) -> None:
        """Look at the sensors that an event from elsewhere is for."""
        names = flow.pushes.get(event.name)
        if names and not self._look_soon(flow, names, event.name):
            self._drop(event, flow.name, f"{', '.join(names)}: paused")

    def _look_at_moved(self, flow: FlowFile) -> None:
        """Look at what moved since the flow's last look; if one goes on, its end does."""
        if flow.path in self._scheduled or self._closed:
            return
        loop = asyncio.get_running_loop()
        if (left := self._looked.get(flow.path, 0.0) + _BETWEEN_LOOKS - loop.time()) > 0:
            # Whichever of those that wait comes first finds all of them.
            loop.call_later(left, self._look_at_moved, flow)
            return
        if names := self._moved.pop(flow.path, None):
            self._looked[flow.path] = loop.time()
            self._scheduled.add(flow.path)
            cause = " and ".join(sorted({*names.values()}))
            self._begin(flow, cause, tuple(sorted(names)))

    def _begin(self, flow: FlowFile, cause: str, sensors: tuple[str, ...] | None) -> None:
        """Start a run, after a look at whether it would find anything where that may be asked."""
        lookout = self._lookout
        if lookout is None or not lookout.knows(flow):
            self.start(_only_one(flow, cause, sensors))
            return
        look = asyncio.create_task(self._look(lookout, flow, cause, sensors))
        self._looks.add(look)
        look.add_done_callback(self._over)

    async def _look(
        self, lookout: Lookout, flow: FlowFile, cause: str, sensors: tuple[str, ...] | None
    ) -> None:
        """Look at sensors, and start a run for those that need one."""
        seen = await lookout.look(flow, sensors)
        if self._closed:
            return
        if seen is None:
            self.start(_only_one(flow, cause, sensors))
            return
        for tick in seen.ticks:
            self._emit_tick(flow, "", tick)
        if seen.due:
            due = sensors if sensors is None and not seen.ticks else seen.due
            self.start(_only_one(flow, cause, due))
        else:
            self._release(flow)

    def _release(self, flow: FlowFile) -> None:
        """Let the flow be due again, after its run or look."""
        self._scheduled.discard(flow.path)
        self._make_up(flow)
        self._look_at_moved(flow)

    def _offer(self, flow: FlowFile, event: Event) -> None:
        verdict = offer(flow, self._waiting.get(flow.path, NOTHING_WAITS), event)
        match verdict:
            case Drop(reason=reason, clears=clears):
                # Argo Events forgets what waited after each attempt to start, whether it came to a
                # run or not.
                if clears:
                    self._keep(flow.path, NOTHING_WAITS)
                self._drop(event, flow.name, reason)
            case Wait(waiting=waiting, missing=missing):
                self._keep(flow.path, waiting)
                self._emit(
                    EventWaiting(
                        at=self._now(),
                        event=event.name,
                        id=event.id,
                        flow=flow.name,
                        missing=list(missing),
                    )
                )
            case Start():
                self._keep(flow.path, NOTHING_WAITS)
                self._start(flow, verdict)
            case None:
                return

    def _keep(self, path: Path, waiting: WaitingEvents) -> None:
        # Most events start a flow at once and change nothing that waits: no file is written for
        # those.
        if self._waiting.get(path, NOTHING_WAITS) != waiting:
            self._waiting[path] = waiting
            self._pending.save(self._flows, self._waiting, self._now())

    def _start(self, flow: FlowFile, start: Start) -> None:
        for message in start.warnings:
            self._warn(flow, message)
        order = Order(
            flow=flow,
            cause=" and ".join(event.name for event in start.events),
            events=tuple(event.id for event in start.events),
            arguments=start.arguments,
            environment=start.environment,
        )
        self.start(order)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._watches.discard(task)
        self._looks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            self.fail(error)

    async def _follow(self, order: Order) -> None:
        """Run the order to its end; then emit its ticks and publish its end event."""
        try:
            finished = await self._launcher.run(order)
        finally:
            # Whatever becomes of the run, its schedule goes on.
            if order.is_only_one:
                self._release(order.flow)
        if finished is None:
            reason = "the loop was stopped before there was a free slot for its run"
            self._emit(RunSkipped(at=self._now(), flow=order.flow.name, reason=reason))
            return
        self.runs += 1
        self.failed += not finished.ok
        self.finished.append(finished)
        # Ticks before the run's end: what a sensor saw is the reason for what the end may start.
        if finished.run_id:
            await self._emit_ticks(order.flow, finished.run_id)
            if finished.ok:
                await self._publish_end(order.flow, finished.run_id)

    async def _watch(self, flow: FlowFile, run: RunRecord) -> None:
        """Follow a run of a killed loop to its end."""
        await self._launcher.watch(run)
        state = await self._end_left(flow, run)
        self.runs += 1
        self.failed += state != "succeeded"
        if _is_only_one(flow, run):
            self._release(flow)

    async def _end_left(self, flow: FlowFile, run: RunRecord) -> RunState:
        """Emit the ticks and publish the end event of a run that has ended without its loop.

        How it ended.
        """
        run_id = run.run_id
        state = (await self._read(flow, read_state, run_id) if run_id else None) or "unfinished"
        # Noted first: commands that run beside the loop read the record, not what it emits.
        run.end(state)
        self._emit_left(flow, run, state)
        if run_id:
            await self._emit_ticks(flow, run_id)
            if state == "succeeded":
                await self._publish_end(flow, run_id)
        return state

    def _emit_left(
        self, flow: FlowFile, run: RunRecord, state: RunState | Literal["running"]
    ) -> None:
        # Without an id there is nothing to resume, and with success no reason.
        failed = state not in ("running", "succeeded") and run.run_id
        options = run.options if flow.project else ()
        resume = ["python", flow.path.name, *options, "resume", "--origin-run-id", run.run_id]
        self._emit(
            LeftRun(
                at=self._now(),
                flow=flow.name,
                run_id=run.run_id,
                cause=run.cause,
                events=list(run.events),
                state=state,
                started=datetime.fromisoformat(run.started),
                pid=run.pid,
                log=run.log,
                sensors=None if run.sensors is None else list(run.sensors),
                resume=shlex.join(resume) if failed else "",
                replays=[
                    shlex.join(["flowproject", "replay", *run.options, change])
                    for change in run.events
                    if failed
                    and flow.inherits_ours
                    and _CHANGE.fullmatch(change)
                    # Of several events one alone would start nothing: only a resumption has all.
                    and len(run.events) == 1
                ],
            )
        )

    def _make_up(self, flow: FlowFile) -> None:
        missed = self._missed.pop(flow.path, None)
        if missed is None or self._closed:
            return
        if self._now() - missed < DEADLINE:
            self.start_scheduled(flow, missed)
        else:
            self.skip(flow, missed)

    async def _emit_ticks(self, flow: FlowFile, run_id: str) -> None:
        if not flow.inherits_ours:
            return
        # Artifacts of a run are plain JSON that any version of flowproject has written: each field
        # may be missing.
        for tick in await self._read(flow, read_ticks, run_id) or ():
            self._emit_tick(flow, run_id, tick)

    def _emit_tick(self, flow: FlowFile, run_id: str, tick: Mapping[str, Any]) -> None:
        self._emit(
            TickFinished(
                at=self._now(),
                looked=_moment(tick),
                flow=flow.name,
                run_id=run_id,
                sensor=str(tick.get("sensor", "")),
                outcome=str(tick.get("outcome", "")),
                reason=str(tick.get("reason", "")),
                seq=int(tick.get("seq") or 0),
                id=str(tick.get("id", "")),
                total=tick.get("total"),
                value=tick.get("value"),
                queued=str(tick.get("queued") or ""),
                trouble=str(
                    tick.get("undelivered")
                    or tick.get("abandoned")
                    or tick.get("held")
                    or tick.get("late")
                    or tick.get("queued")
                    or ""
                ),
            )
        )

    async def _publish_end(self, flow: FlowFile, run_id: str) -> None:
        """Tell the flows that wait for this one to succeed, as a cluster does."""
        name = end_event(flow.full_name)
        # A cluster publishes it in any case; here nobody else could hear it, and reading the task's
        # id costs time.
        if not any(d.event == name for other in self._flows for d in other.dependencies):
            return
        task_id = await self._read(flow, end_task_id, run_id)
        if task_id is not None:
            event = run_event(flow, run_id=run_id, task_id=task_id, timestamp=int(time.time()))
            self.accept(event)

    async def _read(
        self, flow: FlowFile, read: Callable[[FlowFile, str], _T], run_id: str
    ) -> _T | None:
        """What the Metaflow client says about a run; nothing, and a warning, if it fails."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reading, read, flow, run_id)
        # The run itself is over, so the loop goes on: what could not be read is not told, and that
        # is said.
        except Exception as error:  # noqa: BLE001  # the client raises what its storage raises
            self._warn(
                flow, safe(f"run {run_id} could not be read: {type(error).__name__}: {error}")
            )
            return None

    def _drop(self, event: Event, flow: str, reason: str) -> None:
        self._emit(
            EventDropped(at=self._now(), event=event.name, id=event.id, flow=flow, reason=reason)
        )

    def _warn(self, flow: FlowFile, message: str) -> None:
        self._emit(Warned(at=self._now(), flow=flow.name, message=message))


def _only_one(flow: FlowFile, cause: str, sensors: tuple[str, ...] | None) -> Order:
    return Order(flow=flow, cause=cause, sensors=sensors, is_only_one=True)


def _is_only_one(flow: FlowFile, run: RunRecord) -> bool:
    """Whether a run of another loop is one after whose end the flow is looked at again."""
    causes = {_SCHEDULE, _FILES, *flow.pushes}
    return causes.issuperset(run.cause.split(" and "))


def _clock(when: datetime) -> str:
    return f"{when.astimezone():%H:%M}"


def _minutes(length: timedelta) -> int:
    return int(length.total_seconds() // 60)


def _moment(tick: Mapping[str, Any]) -> datetime | None:
    """When the sensor was looked at, in this machine's zone; None if the tick does not say so."""
    try:
        return datetime.fromisoformat(str(tick.get("at"))).astimezone()
    except ValueError:
        return None
