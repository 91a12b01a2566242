"""Show the overview: sensors, the timeline of ticks, events and runs, the flows, the news."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Reversible, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from flowproject.dev.messages import (
    EventDropped,
    EventReceived,
    LeftRun,
    Message,
    RunFinished,
    RunStarted,
    TickFinished,
    Warned,
    in_words,
)
from flowproject.dev.page.components import (
    ActionLink,
    Link,
    action,
    change_address,
    run_address,
    sensor_address,
    urgency,
)
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.runs import RunRow, run_row
from flowproject.dev.page.sensors import SensorRow
from flowproject.dev.page.state import LoopState, Run
from flowproject.flowfiles import FlowFile
from flowproject.wording import duration, one_line

__all__ = [
    "SPANS",
    "FlowRow",
    "Label",
    "Lane",
    "News",
    "Overview",
    "Tie",
    "Timeline",
    "TimelineMark",
    "overview",
    "timeline",
]

# Marks in a lane at most: more are neither drawn apart on a laptop's screen, nor told apart by a
# pointer.
_COLUMNS: Final = 120
SPANS: Final = {"5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "1w": 604800}
"""Name -> seconds."""
# Lines across lanes: with more of them nobody sees where one leads.
_TIES: Final = 200
# Percent: a run of a second in a view of a day would be thinner than a pixel.
_NARROWEST: Final = 0.4
_LABELS: Final = 5
_T = TypeVar("_T")
_STEPS: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_NEWS: Final = 50


# -------------------------------------------------------------------------------- a stretch of time


class _Moment(Protocol):
    @property
    def at(self) -> datetime: ...


_Timed = TypeVar("_Timed", bound=_Moment)


@dataclass(frozen=True, kw_only=True)
class _TimeWindow:
    """A stretch of time, and what lies in it, oldest first."""

    start: datetime
    end: datetime
    ticks: Mapping[str, list[TickFinished]] = field(default_factory=dict)
    events: list[EventReceived] = field(default_factory=list)
    runs: Mapping[str, list[Run]] = field(default_factory=dict)

    def x(self, moment: datetime) -> float:
        """Its place in percent; what was before the start is at 0."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def columns(self, things: Iterable[_Timed]) -> Iterable[list[_Timed]]:
        """The things by columns, 120 in all, without the empty ones: each is too narrow for two."""
        found: dict[int, list[_Timed]] = defaultdict(list)
        for thing in things:
            found[min(int(self.x(thing.at) * _COLUMNS / 100), _COLUMNS - 1)].append(thing)
        return found.values()


def _window_of(context: PageContext, start: datetime, end: datetime) -> _TimeWindow:
    """What lies between the two moments: the work grows with that, not with what came before."""
    loop = context.loop
    ticks = {name: _since(loop.ticks.get(name, ()), start) for name in context.sensors}
    runs: dict[str, list[Run]] = {flow.name: [] for flow in context.flows}
    for run in _runs_within(loop, start, end):
        runs.setdefault(run.flow, []).append(run)
    return _TimeWindow(
        start=start, end=end, ticks=ticks, events=_since(loop.events, start), runs=runs
    )


def _runs_within(loop: LoopState, start: datetime, end: datetime) -> list[Run]:
    """The runs that went on at any moment of the window, in the order of their starts."""
    runs = loop.runs
    running = {name: runs[name] for name in loop.running if name in runs}
    # A run that ended in the window began at most the longest run's time before it.
    recent = _since(runs.values(), start - timedelta(seconds=loop.longest))
    found = running | {run.name: run for run in recent}
    return sorted(
        (run for run in found.values() if _ended(run, end) >= start), key=lambda run: run.started
    )


def _ended(run: Run, now: datetime) -> datetime:
    """When it ended; now if it goes on."""
    return now if run.seconds is None else run.started + timedelta(seconds=run.seconds)


def _since(things: Reversible[_Timed], start: datetime) -> list[_Timed]:
    """Those from the start on, oldest first, of things in that order."""
    found: list[_Timed] = []
    # From the newest back, and only as far as needed: the state keeps a week of ticks.
    for thing in reversed(things):
        if thing.at < start:
            break
        found.append(thing)
    return found[::-1]


# ----------------------------------------------------------------------------------------- timeline


@dataclass(frozen=True, kw_only=True)
class TimelineMark:
    """Something that happened: a point if `width` is 0, else a bar."""

    x: float
    width: float
    outcome: str
    """The outcome of a tick; `event`; the state of a run."""
    words: str
    """The whole of it in words, for the pointer and for screen readers."""
    href: str
    count: int
    """How many were so close together that they are one mark; `outcome` is the most pressing."""
    chain: str
    """The same text for everything that one change caused; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One row: the ticks of a sensor, the events, or the runs of a flow."""

    name: str
    kind: str
    """`ticks`, `events` or `runs`."""
    href: str
    marks: tuple[TimelineMark, ...]


@dataclass(frozen=True, kw_only=True)
class Tie:
    """A line from a cause to its effect: from (x1, lane number from) to (x2, lane number to)."""

    x1: float
    from_lane: int
    x2: float
    to_lane: int
    chain: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """A moment on the axis."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What happened in a stretch of time."""

    start: str
    end: str
    lanes: tuple[Lane, ...]
    ties: tuple[Tie, ...]
    labels: tuple[Label, ...]
    spans: tuple[Link, ...]
    """Other stretches to look at; the present one has no address."""


def timeline(context: PageContext, span: str) -> Timeline:
    """Draw the last 5 minutes, hour, ...; with an unknown or empty span, the one that fits.

    The work grows with what lies in the span, and the number of marks is bounded.
    """
    now = context.now()
    # It comes from the address: what is unknown there is as good as nothing.
    span = span if span in SPANS else _fitting(context.loop, now)
    window = _window_of(context, now - timedelta(seconds=SPANS[span]), now)
    lanes = [*_tick_lanes(window), _event_lane(window), *_run_lanes(window)]
    return Timeline(
        start=window.start.isoformat(),
        end=window.end.isoformat(),
        lanes=tuple(lanes),
        ties=tuple(islice(_ties(window), _TIES)),
        labels=tuple(_labels(window)),
        spans=tuple(
            Link(text=name, href="" if name == span else f"/?span={name}") for name in SPANS
        ),
    )


def _fitting(loop: LoopState, now: datetime) -> str:
    """The shortest span that has all of the loop so far, up to an hour."""
    began = loop.started.at if loop.started else now
    seconds = (now - began).total_seconds()
    return next((name for name in ("5m", "15m") if seconds < SPANS[name]), "1h")


# -------------------------------------------------------------------------------------------- lanes


def _tick_lanes(window: _TimeWindow) -> Iterator[Lane]:
    draw = partial(_tick_mark, window)
    for sensor, ticks in window.ticks.items():
        marks = _marks(window.columns(ticks), lambda tick: tick.outcome, draw)
        yield Lane(name=sensor, kind="ticks", href=sensor_address(sensor), marks=marks)


def _event_lane(window: _TimeWindow) -> Lane:
    hrefs = {
        tick.id: change_address(tick.sensor, tick.seq)
        for ticks in window.ticks.values()
        for tick in ticks
        if tick.id
    }
    draw = partial(_event_mark, window, hrefs)
    marks = _marks(window.columns(window.events), lambda _: "event", draw)
    return Lane(name="event bus", kind="events", href="", marks=marks)


def _run_lanes(window: _TimeWindow) -> Iterator[Lane]:
    draw = partial(_run_mark, window)
    for flow, runs in window.runs.items():
        marks = _marks(window.columns(runs), lambda run: run.state, draw)
        yield Lane(name=flow, kind="runs", href="/runs", marks=marks)


def _marks(
    columns: Iterable[list[_T]], word: Callable[[_T], str], draw: Callable[[_T], TimelineMark]
) -> tuple[TimelineMark, ...]:
    """One mark for each column: of what lies in it, the most pressing stands for all."""
    return tuple(_mark_of(things, word, draw) for things in columns)


def _mark_of(
    things: list[_T], word: Callable[[_T], str], draw: Callable[[_T], TimelineMark]
) -> TimelineMark:
    mark = draw(min(things, key=lambda thing: urgency(word(thing))))
    if len(things) == 1:
        return mark
    words = f"{mark.words}, and {len(things) - 1:,} more"
    return replace(mark, count=len(things), words=words)


def _tick_mark(window: _TimeWindow, tick: TickFinished) -> TimelineMark:
    run = run_address(f"{tick.flow}/{tick.run_id}") if tick.run_id else sensor_address(tick.sensor)
    return _mark(
        window.x(tick.at),
        tick.outcome,
        f"{tick.at:%H:%M:%S} {tick.sensor} {tick.outcome}: {one_line(tick.reason)}",
        href=change_address(tick.sensor, tick.seq) if tick.seq else run,
        chain=tick.id,
    )


def _event_mark(
    window: _TimeWindow, hrefs: Mapping[str, str], event: EventReceived
) -> TimelineMark:
    starts = ", ".join(event.flows) or "nothing"
    words = f"{event.at:%H:%M:%S} event {event.event}, starts {starts}"
    href = hrefs.get(event.id, "")
    return _mark(window.x(event.at), "event", words, href=href, chain=event.id)


def _run_mark(window: _TimeWindow, run: Run) -> TimelineMark:
    took = "" if run.seconds is None else f" after {duration(run.seconds)}"
    x = window.x(run.started)
    return _mark(
        x,
        run.state,
        f"{run.started:%H:%M:%S} {run.name} {run.state}{took}, started by {run.cause}",
        href=run_address(run.name),
        chain=next(iter(run.events), "") or next((tick.id for tick in run.ticks if tick.id), ""),
        width=round(max(_NARROWEST, window.x(_ended(run, window.end)) - x), 2),
    )


def _mark(
    x: float, outcome: str, words: str, *, href: str, chain: str, width: float = 0.0
) -> TimelineMark:
    return TimelineMark(
        x=x,
        width=width,
        outcome=outcome,
        words=words,
        href=href,
        count=1,
        chain=chain,
    )


# ----------------------------------------------------------------------- lines from cause to effect


def _ties(window: _TimeWindow) -> Iterator[Tie]:
    """From each tick with a change to its event, and from there to the runs; newest first."""
    events_lane = len(window.ticks)
    causes = {
        tick.id: (lane, tick)
        for lane, ticks in enumerate(window.ticks.values())
        for tick in ticks
        if tick.id
    }
    effects: dict[str, list[tuple[int, Run]]] = defaultdict(list)
    for lane, runs in enumerate(window.runs.values(), start=events_lane + 1):
        for run in runs:
            for event_id in run.events:
                effects[event_id].append((lane, run))
    for event in reversed(window.events):
        if not event.id:  # nobody can say what belongs to it
            continue
        x = window.x(event.at)
        if event.id in causes:
            lane, tick = causes[event.id]
            at = window.x(tick.at)
            yield Tie(x1=at, from_lane=lane, x2=x, to_lane=events_lane, chain=event.id)
        for lane, run in _begun_after(effects[event.id], event.at):
            at = window.x(run.started)
            yield Tie(x1=x, from_lane=events_lane, x2=at, to_lane=lane, chain=event.id)


def _begun_after(effects: list[tuple[int, Run]], moment: datetime) -> list[tuple[int, Run]]:
    """The runs that began then or later, which are taken from the list: the others had a cause."""
    found = [effect for effect in effects if effect[1].started >= moment]
    # An event that is sent again has the same id: each run belongs to the last sending before it.
    effects[:] = [effect for effect in effects if effect[1].started < moment]
    return found


def _labels(window: _TimeWindow) -> Iterator[Label]:
    """Round moments, some five of them."""
    seconds = (window.end - window.start).total_seconds()
    step = next((step for step in _STEPS if seconds / step <= _LABELS), _STEPS[-1])
    # Round on the reader's clock: a full hour in UTC is half past in some zones.
    offset = window.end.utcoffset() or timedelta()
    first = -((window.start.timestamp() + offset.total_seconds()) // -step) * step
    moment = window.start.replace(microsecond=0) + timedelta(
        seconds=first - int(window.start.timestamp()) - offset.total_seconds()
    )
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%b %d"  # noqa: PLR2004  # a minute, a day
    while moment <= window.end:
        yield Label(x=window.x(moment), text=format(moment.astimezone(), form))
        moment += timedelta(seconds=step)


# ------------------------------------------------------------------------------------- the overview


@dataclass(frozen=True, kw_only=True)
class FlowRow:
    """One flow file."""

    name: str
    starts: str
    """What starts it, in words: `every 10 s`, `waits for weather_changed`."""
    next_at: str
    latest: RunRow | None
    actions: tuple[ActionLink, ...]


@dataclass(frozen=True, kw_only=True)
class News:
    """One thing that happened, as the terminal tells it."""

    at: str
    kind: str
    """`tick`, `event`, `run`, `dropped`, `waiting`, `warning`, `skipped`, `action`, ..."""
    subject: Link
    text: str
    more: tuple[str, ...]
    """Lines that follow, such as the last ones of a failed run."""
    bad: bool
    repeats: int = 0
    """How often the same was said just before, of a sensor that fails."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Holds the overview, or one piece of it, others empty; `news` is newest first, at most 50."""

    sensors: tuple[SensorRow, ...]
    timeline: Timeline | None
    flows: tuple[FlowRow, ...]
    news: tuple[News, ...]


def overview(
    context: PageContext, sensors: Sequence[SensorRow], span: str, part: str = ""
) -> Overview:
    """Put together the overview, or a piece of it, of these rows of sensors and this span."""
    return Overview(
        sensors=tuple(sensors),
        timeline=timeline(context, span) if part in ("", "timeline") else None,
        flows=tuple(_flow(context, flow) for flow in context.flows)
        if part in ("", "flows")
        else (),
        news=_folded_news(_news(context)) if part in ("", "news") else (),
    )


def _flow(context: PageContext, flow: FlowFile) -> FlowRow:
    due = context.due().get(flow.name)
    latest = context.loop.newest_run(flow.name)
    return FlowRow(
        name=flow.name,
        starts=_starts(context, flow),
        next_at=due.isoformat() if due else "",
        latest=run_row(context, latest) if latest else None,
        actions=(action("run", "Run", flow=flow.name),),
    )


def _starts(context: PageContext, flow: FlowFile) -> str:
    started = context.loop.started
    ways = [f"runs {started.schedules[flow.name]}"] if started and flow.schedule else []
    if flow.dependencies:
        events = (flow.name_of(event) for event in flow.awaited)
        ways.append(f"waits for {(' or ' if flow.pushes else ' and ').join(events)}")
    return "; ".join(ways) or "by hand"


def _folded_news(news: Iterable[News]) -> tuple[News, ...]:
    """The newest; what a sensor that fails said several times in a row is said once."""
    found: list[News] = []
    # Sensor → where its newest tick stands: other news may stand between two ticks.
    ticks: dict[str, int] = {}
    for one in news:
        place = ticks.get(one.subject.text) if one.kind == "tick" else None
        if one.bad and place is not None and found[place].text == one.text:
            found[place] = replace(found[place], repeats=found[place].repeats + 1)
            continue
        if len(found) == _NEWS:
            break
        if one.kind == "tick":
            ticks[one.subject.text] = len(found)
        found.append(one)
    return tuple(found)


def _news(context: PageContext) -> Iterator[News]:
    """What the terminal has said, newest first."""
    for message in reversed(context.loop.news):
        if words := in_words(message):
            yield News(
                at=message.at.isoformat(),
                kind=words.kind,
                subject=Link(text=words.subject, href=_href(message)),
                text=words.rest,
                more=words.more if isinstance(message, RunFinished | LeftRun) else (),
                bad=_is_bad(message),
            )


def _href(message: Message) -> str:
    """Where more about it is shown."""
    match message:
        case TickFinished(seq=seq, sensor=sensor) if seq:
            return change_address(sensor, seq)
        case TickFinished(run_id="", sensor=sensor):
            return sensor_address(sensor)
        case TickFinished() | RunStarted() | RunFinished() | LeftRun():
            return run_address(f"{message.flow}/{message.run_id}") if message.run_id else ""
        case _:
            return ""


def _is_bad(message: Message) -> bool:
    match message:
        case RunFinished(ok=ok):
            return not ok
        case LeftRun(state=state):
            return state in ("failed", "unfinished")
        case TickFinished(outcome=outcome, trouble=trouble):
            return outcome == "failed" or bool(trouble)
        case EventDropped() | Warned():
            return True
        case _:
            return False
