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
    """How it is done.

    Changes are decided for even if one is alone. The oldest of an event is marked last, the others
    in any order. All marks are read at once, in any order; what lacks one after a change that has
    one is read again, until none is found any more.
    """

    decides_alone: bool = True
    oldest_last: bool = True
    decides: bool = True
    reads_again: bool = True


class Worker(NamedTuple):
    """A tick: what it saw when it began, the group that it sends, and the marks to write.

    `to_read` are the marks that it asks for, `marked` those that it found, and `before` those that
    it had found when it began to ask.
    """

    at: str = "idle"
    todo: tuple[int, ...] = ()
    to_read: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
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
            yield f"a tick reads the head: {pile.entries}", _with(pile, Worker("read", todo, todo))
    elif worker.at == "read":
        yield from _read(pile, worker, rules)
    elif worker.at == "look":
        yield _look(pile, worker)
    elif worker.at == "gather":
        yield _gather(pile, worker)
    elif worker.at == "decide":
        yield _decide(pile, worker, rules)
    elif worker.at == "publish":
        then = worker._replace(at="mark", to_mark=worker.group)
        told = pile._replace(told=pile.told | {worker.group})
        yield f"a tick publishes {_named(worker.group)}", _with(told, then)
        yield (
            f"a tick publishes {_named(worker.group)}, and is told of an error",
            _with(told, Worker()),
        )
    else:
        later = worker.to_mark[1:] if rules.oldest_last else worker.to_mark
        for seq in later or worker.to_mark:
            more = tuple(one for one in worker.to_mark if one != seq)
            then = worker._replace(to_mark=more) if more else _next(worker)
            marked = pile._replace(marks=pile.marks | {seq})
            yield f"a tick marks change {seq}", _with(marked, then)


def _read(pile: Pile, worker: Worker, rules: Coalescing) -> Iterator[tuple[str, Pile]]:
    """Ask for all marks, of which the answers come in any order; then again for some."""
    for seq in worker.to_read:
        found = {*worker.marked, seq} if seq in pile.marks else worker.marked
        left = tuple(one for one in worker.to_read if one != seq)
        then = worker._replace(to_read=left, marked=tuple(sorted(found)))
        if not left:
            begun = min(then.marked, default=max(worker.todo))
            doubtful = tuple(one for one in worker.todo if one > begun and one not in then.marked)
            again = rules.reads_again and bool(doubtful) and then.marked != worker.before
            then = then._replace(at="read" if again else "look", to_read=doubtful if again else ())
            then = then._replace(before=then.marked)
        yield f"a tick asks for the mark of change {seq}", _with(pile, then)


def _look(pile: Pile, worker: Worker) -> tuple[str, Pile]:
    first = worker.todo[0]
    if first in worker.marked:
        then = _next(worker._replace(group=(first,)))
        return f"a tick has found change {first} marked", _with(pile, then)
    return f"a tick has found no mark of change {first}", _with(pile, worker._replace(at="gather"))


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
    return worker._replace(at="look", todo=todo, group=()) if todo else Worker()


def _named(group: tuple[int, ...]) -> str:
    return f"change {group[0]}" if len(group) == 1 else f"changes {group[0]} to {group[-1]}"


def _with(pile: Pile, worker: Worker) -> Pile:
    return pile._replace(workers=tuple(sorted((*pile.workers, worker))))
