"""A stretch of time, and what the loop has told of it. Places are in percent of its width."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Reversible
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from flowproject.dev.happenings import EventReceived, Tick
from flowproject.dev.page.board import Board, Run
from flowproject.dev.page.knowledge import Knowledge

__all__ = ["Window", "ended", "window_of"]

_COLUMNS: Final = 120


class _Moment(Protocol):
    @property
    def at(self) -> datetime: ...


_T = TypeVar("_T", bound=_Moment)


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of time, and what lies in it, oldest first."""

    start: datetime
    end: datetime
    ticks: Mapping[str, list[Tick]] = field(default_factory=dict)
    events: list[EventReceived] = field(default_factory=list)
    runs: Mapping[str, list[Run]] = field(default_factory=dict)

    def x(self, moment: datetime) -> float:
        """Its place in percent; what was before the start is at 0."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def columns(self, things: Iterable[_T]) -> Iterable[list[_T]]:
        """The things by columns, 120 in all, without the empty ones: each is too narrow for two."""
        found: dict[int, list[_T]] = defaultdict(list)
        for thing in things:
            found[min(int(self.x(thing.at) * _COLUMNS / 100), _COLUMNS - 1)].append(thing)
        return found.values()


def window_of(known: Knowledge, start: datetime, end: datetime) -> Window:
    """What lies between the two moments: the work grows with that, not with what came before."""
    board = known.board
    ticks = {name: _since(board.ticks.get(name, ()), start) for name in known.sensors}
    runs: dict[str, list[Run]] = {flow.name: [] for flow in known.flows}
    for run in _runs(board, start, end):
        runs.setdefault(run.flow, []).append(run)
    return Window(start=start, end=end, ticks=ticks, events=_since(board.events, start), runs=runs)


def _runs(board: Board, start: datetime, end: datetime) -> list[Run]:
    """The runs that went on at any moment of the window, in the order of their starts."""
    known = board.runs
    running = {name: known[name] for name in board.running if name in known}
    # A run that ended in the window began at most the longest run's time before it.
    recent = _since(known.values(), start - timedelta(seconds=board.longest))
    found = running | {run.name: run for run in recent}
    return sorted((run for run in found.values() if ended(run, end) >= start), key=_started)


def _started(run: Run) -> datetime:
    return run.started


def ended(run: Run, now: datetime) -> datetime:
    """When it ended; now if it goes on."""
    return now if run.seconds is None else run.started + timedelta(seconds=run.seconds)


def _since(things: Reversible[_T], start: datetime) -> list[_T]:
    """Those from the start on, oldest first, of things in that order."""
    found: list[_T] = []
    for thing in reversed(things):
        if thing.at < start:
            break
        found.append(thing)
    return found[::-1]
