"""A second, smaller model: which changes go as one event, decided while more pile up and ticks die.

The bus takes an event and may deny it; what follows from there is the first model's. A change that
is told of by two different events would be run twice, because these have different ids or contents.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["TOLD_TWICE", "Coalescing", "Pile", "explore_pile"]

TOLD_TWICE: Final = "two different events tell of one change"
OVERTAKEN: Final = "an event tells of a change before one that is older"


@dataclass(frozen=True, kw_only=True)
class Coalescing:
    """How it is done: changes are decided for even if one is alone, and marked newest first."""

    decides_alone: bool = True
    newest_first: bool = True
    decides: bool = True


class Worker(NamedTuple):
    """A tick: what it saw when it began, the group that it sends, and the marks to write."""

    at: str = "idle"
    todo: tuple[int, ...] = ()
    group: tuple[int, ...] = ()
    to_mark: tuple[int, ...] = ()


class Pile(NamedTuple):
    """The journal (entries, decisions, marks), what the bus took, and the ticks, sorted."""

    entries: int
    decisions: frozenset[tuple[int, ...]]
    marks: frozenset[int]
    told: frozenset[tuple[int, ...]]
    workers: tuple[Worker, ...]


def explore_pile(
    rules: Coalescing, *, changes: int = 3, ticks: int = 2
) -> tuple[int, str, tuple[str, ...]]:
    """States that were looked at, the property that is broken ("": none), the shortest way."""
    start = Pile(0, frozenset(), frozenset(), frozenset(), (Worker(),) * ticks)
    ways: dict[Pile, tuple[str, ...]] = {start: ()}
    ahead = deque([start])
    while ahead:
        pile = ahead.popleft()
        if problem := _broken(pile):
            return len(ways), problem, ways[pile]
        for label, after in _steps(pile, rules, changes):
            if after not in ways:
                ways[after] = (*ways[pile], label)
                ahead.append(after)
    return len(ways), "", ()


def _broken(pile: Pile) -> str:
    told = [seq for group in pile.told for seq in group]
    if len({*told}) < len(told):
        return TOLD_TWICE
    return OVERTAKEN if {*told} != {*range(1, len(told) + 1)} else ""


def _steps(pile: Pile, rules: Coalescing, changes: int) -> Iterator[tuple[str, Pile]]:
    if pile.entries < changes:
        yield f"change {pile.entries + 1} is recorded", pile._replace(entries=pile.entries + 1)
    for number, worker in enumerate(pile.workers):
        rest = pile._replace(workers=pile.workers[:number] + pile.workers[number + 1 :])
        if worker.at != "idle":
            yield "a tick dies", _with(rest, Worker())
        yield from _worker_steps(rest, worker, rules)


def _worker_steps(pile: Pile, worker: Worker, rules: Coalescing) -> Iterator[tuple[str, Pile]]:
    if worker.at == "idle":
        todo = tuple(range(1, pile.entries + 1))
        if todo:
            yield f"a tick reads the head: {pile.entries}", _with(pile, Worker("look", todo))
    elif worker.at == "look":
        yield _look(pile, worker)
    elif worker.at == "gather":
        yield _gather(pile, worker)
    elif worker.at == "decide":
        yield _decide(pile, worker, rules)
    elif worker.at == "publish":
        marks = worker.group[::-1] if rules.newest_first else worker.group
        then = worker._replace(at="mark", to_mark=marks)
        told = pile._replace(told=pile.told | {worker.group})
        yield f"a tick publishes {_named(worker.group)}", _with(told, then)
        yield (
            f"a tick publishes {_named(worker.group)}, and is told of an error",
            _with(told, Worker()),
        )
    else:
        seq, *more = worker.to_mark
        then = worker._replace(to_mark=tuple(more)) if more else _next(worker)
        marked = pile._replace(marks=pile.marks | {seq})
        yield f"a tick marks change {seq}", _with(marked, then)


def _look(pile: Pile, worker: Worker) -> tuple[str, Pile]:
    first = worker.todo[0]
    if first in pile.marks:
        then = _next(worker._replace(group=(first,)))
        return f"a tick finds change {first} marked", _with(pile, then)
    return f"a tick finds no mark of change {first}", _with(pile, worker._replace(at="gather"))


def _gather(pile: Pile, worker: Worker) -> tuple[str, Pile]:
    first = worker.todo[0]
    ours = tuple(seq for seq in worker.todo if seq == first or seq not in pile.marks)
    label = f"a tick would send {_named(ours)} at once"
    return label, _with(pile, worker._replace(at="decide", group=ours))


def _decide(pile: Pile, worker: Worker, rules: Coalescing) -> tuple[str, Pile]:
    """Take the decision that stands for the oldest: one that is there, or ours, if none is."""
    ours = worker.group
    standing = next((one for one in pile.decisions if one[0] == ours[0]), None)
    noted = rules.decides and (rules.decides_alone or len(ours) > 1)
    decided = pile._replace(decisions=pile.decisions | {standing or ours}) if noted else pile
    then = worker._replace(at="publish", group=standing or ours)
    whose = "finds it decided to send" if standing else "decides to send"
    return f"a tick {whose} {_named(then.group)} at once", _with(decided, then)


def _next(worker: Worker) -> Worker:
    todo = tuple(seq for seq in worker.todo if seq > max(worker.group))
    return Worker("look", todo) if todo else Worker()


def _named(group: tuple[int, ...]) -> str:
    return f"change {group[0]}" if len(group) == 1 else f"changes {group[0]} to {group[-1]}"


def _with(pile: Pile, worker: Worker) -> Pile:
    return pile._replace(workers=tuple(sorted((*pile.workers, worker))))
