"""Ticks, events and runs on one axis of time. Positions are in percent of the width."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Reversible, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Protocol, TypeVar

from flowproject.cards.wording import duration, one_line
from flowproject.dev.happenings import EventReceived, Tick
from flowproject.dev.page.board import Board, Run
from flowproject.dev.page.knowledge import Knowledge
from flowproject.dev.page.parts import Link
from flowproject.dev.page.words import (
    change_address,
    run_address,
    sensor_address,
    symbol,
    urgency,
)

__all__ = ["SPANS", "Label", "Lane", "Mark", "Tie", "Timeline", "timeline"]

SPANS: Final = {"5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "1w": 604800}
"""Name -> seconds."""
_COLUMNS: Final = 120
"""Marks side by side in a lane: what is closer together becomes one."""
_TIES: Final = 200
_NARROWEST: Final = 0.4
_LABELS: Final = 5
_STEPS: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened: a point if `width` is 0, else a bar."""

    x: float
    width: float
    outcome: str
    """The outcome of a tick; `event`; the state of a run."""
    symbol: str
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
    marks: tuple[Mark, ...]


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


class _Moment(Protocol):
    @property
    def at(self) -> datetime: ...


_T = TypeVar("_T", bound=_Moment)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The stretch of time that is shown, and what lies in it, oldest first."""

    start: datetime
    end: datetime
    ticks: Mapping[str, list[Tick]] = field(default_factory=dict)
    events: list[EventReceived] = field(default_factory=list)
    runs: Mapping[str, list[Run]] = field(default_factory=dict)

    def x(self, moment: datetime) -> float:
        """Its place in percent; what was before the start is at 0."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)


def timeline(known: Knowledge, span: str) -> Timeline:
    """What has happened in the last 5 minutes, hour, ...; an unknown or empty span: what fits.

    The work grows with what lies in the span, and the number of marks is bounded.
    """
    now = known.now()
    span = span if span in SPANS else _fitting(known.board, now)
    window = _window(known, now - timedelta(seconds=SPANS[span]), now)
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


def _fitting(board: Board, now: datetime) -> str:
    """The shortest span that has all of the loop so far, up to an hour."""
    began = board.started.at if board.started else now
    seconds = (now - began).total_seconds()
    return next((name for name in ("5m", "15m") if seconds < SPANS[name]), "1h")


def _window(known: Knowledge, start: datetime, end: datetime) -> _Window:
    board = known.board
    runs: dict[str, list[Run]] = {flow.name: [] for flow in known.flows}
    for run in reversed(board.runs.values()):
        if run.started < start and run.state != "running":
            break
        runs.setdefault(run.flow, []).insert(0, run)
    ticks = {name: _since(board.ticks.get(name, ()), start) for name in known.sensors}
    return _Window(start=start, end=end, ticks=ticks, events=_since(board.events, start), runs=runs)


def _since(things: Reversible[_T], start: datetime) -> list[_T]:
    """Those from the start on, oldest first, of things in that order."""
    found: list[_T] = []
    for thing in reversed(things):
        if thing.at < start:
            break
        found.append(thing)
    return found[::-1]


# -------------------------------------------------------------------------------------------- lanes


def _tick_lanes(window: _Window) -> Iterator[Lane]:
    for sensor, ticks in window.ticks.items():
        marks = _merged([_tick_mark(tick, window) for tick in ticks])
        yield Lane(name=sensor, kind="ticks", href=sensor_address(sensor), marks=marks)


def _event_lane(window: _Window) -> Lane:
    hrefs = {
        tick.id: change_address(tick.sensor, tick.seq)
        for ticks in window.ticks.values()
        for tick in ticks
        if tick.id
    }
    marks = [_event_mark(event, window, hrefs.get(event.id, "")) for event in window.events]
    return Lane(name="events", kind="events", href="", marks=_merged(marks))


def _run_lanes(window: _Window) -> Iterator[Lane]:
    for flow, runs in window.runs.items():
        marks = _merged([_run_mark(run, window) for run in runs])
        yield Lane(name=flow, kind="runs", href="/runs", marks=marks)


def _tick_mark(tick: Tick, window: _Window) -> Mark:
    run = run_address(f"{tick.flow}/{tick.run_id}")
    return _mark(
        window.x(tick.at),
        tick.outcome,
        f"{tick.at:%H:%M:%S} {tick.sensor} {tick.outcome}: {one_line(tick.reason)}",
        href=change_address(tick.sensor, tick.seq) if tick.seq else run,
        chain=tick.id,
    )


def _event_mark(event: EventReceived, window: _Window, href: str) -> Mark:
    starts = ", ".join(event.flows) or "nothing"
    words = f"{event.at:%H:%M:%S} event {event.event}, starts {starts}"
    return _mark(window.x(event.at), "event", words, href=href, chain=event.id)


def _run_mark(run: Run, window: _Window) -> Mark:
    took = "" if run.seconds is None else f" after {duration(run.seconds)}"
    ended = run.started + timedelta(seconds=run.seconds or 0) if took else window.end
    x = window.x(run.started)
    return _mark(
        x,
        run.state,
        f"{run.started:%H:%M:%S} {run.name} {run.state}{took}, started by {run.cause}",
        href=run_address(run.name),
        chain=next(iter(run.events), "") or next((tick.id for tick in run.ticks if tick.id), ""),
        width=round(max(_NARROWEST, window.x(ended) - x), 2),
    )


def _mark(x: float, outcome: str, words: str, *, href: str, chain: str, width: float = 0.0) -> Mark:
    return Mark(
        x=x,
        width=width,
        outcome=outcome,
        symbol=symbol(outcome),
        words=words,
        href=href,
        count=1,
        chain=chain,
    )


def _merged(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The same in at most so many columns: of those in one, the most pressing stands for all."""
    columns: dict[int, list[Mark]] = defaultdict(list)
    for mark in marks:
        columns[int(mark.x * _COLUMNS / 100)].append(mark)
    return tuple(map(_most_pressing, columns.values()))


def _most_pressing(marks: list[Mark]) -> Mark:
    top = min(marks, key=lambda mark: urgency(mark.outcome))
    if len(marks) == 1:
        return top
    words = f"{top.words}, and {len(marks) - 1:,} more"
    return replace(top, count=len(marks), words=words)


# --------------------------------------------------------------------------------------------- ties


def _ties(window: _Window) -> Iterator[Tie]:
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
        x = window.x(event.at)
        if event.id in causes:
            lane, tick = causes[event.id]
            at = window.x(tick.at)
            yield Tie(x1=at, from_lane=lane, x2=x, to_lane=events_lane, chain=event.id)
        for lane, run in effects[event.id]:
            at = window.x(run.started)
            yield Tie(x1=x, from_lane=events_lane, x2=at, to_lane=lane, chain=event.id)


def _labels(window: _Window) -> Iterator[Label]:
    """Round moments, some five of them."""
    seconds = (window.end - window.start).total_seconds()
    step = next((step for step in _STEPS if seconds / step <= _LABELS), _STEPS[-1])
    offset = window.end.utcoffset() or timedelta()
    first = -((window.start.timestamp() + offset.total_seconds()) // -step) * step
    moment = window.start.replace(microsecond=0) + timedelta(
        seconds=first - int(window.start.timestamp()) - offset.total_seconds()
    )
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%b %d"  # noqa: PLR2004  # a minute, a day
    while moment <= window.end:
        yield Label(x=window.x(moment), text=format(moment, form))
        moment += timedelta(seconds=step)
