"""A fourth model: one flow that takes the changes of a sensor in order, and is told of each turn.

Whoever tells it looks, notes and sends, and may die in between: ticks side by side, and the runs
that end a turn. Recording and marking are one step here: the first model has what is in between.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["OVERTAKES", "STUCK", "TWICE", "InOrder", "World", "explore_turns"]

OVERTAKES: Final = "a run works for a change, and an older one is not over"
TWICE: Final = "two runs work for one attempt of a change"
STUCK: Final = "a change has had no turn, and nothing is left to do"


@dataclass(frozen=True, kw_only=True)
class InOrder:
    """How it is done: the next has its turn when the last is over, and ticks see to it as well.

    Without `ticks_tell` they tell the first turn only, and leave the rest to the runs.
    """

    waits: bool = True
    over_when_done: bool = True
    ticks_tell: bool = True
    knows_what_it_does_not_know: bool = True
    goes_on_after_failure: bool = False


@dataclass(frozen=True, kw_only=True)
class World:
    """How large it is: changes, ticks at once, faults of any kind, and what people do."""

    changes: int = 2
    ticks: int = 2
    faults: int = 1
    replays: int = 0
    skips: int = 0

    @property
    def sendings(self) -> int:
        """How often a turn is told at most: one more than faults can spoil."""
        return self.faults + 1


class Teller(NamedTuple):
    """Who tells a turn: a tick, or a run that ended one. `count`: how often it was told before."""

    at: str
    seq: int = 0
    attempt: int = 0
    count: int = 0


class Run(NamedTuple):
    """A run that was told of a turn; `owns`: the receipt is its own."""

    seq: int
    attempt: int
    at: str = "start"
    owns: bool = False


class State(NamedTuple):
    """What was sent, what the memo knows of it, newest attempts, tellings, and what came of them.

    `over` is what the journal says, `done` what is true: the work is done, or is not to be.
    """

    sent: int
    known: frozenset[int]
    attempts: tuple[int, ...]
    told: tuple[int, ...]
    bus: tuple[tuple[int, int], ...]
    runs: tuple[Run, ...]
    tellers: tuple[Teller, ...]
    receipts: frozenset[tuple[int, int]]
    over: frozenset[int]
    done: frozenset[int]
    effects: tuple[tuple[int, int], ...]
    faults: int
    replays: int
    skips: int


_Step = tuple[str, State]


def explore_turns(rules: InOrder, world: World) -> tuple[int, str, tuple[str, ...]]:
    """States that were looked at, the property that is broken ("": none), the shortest way."""
    none: frozenset[int] = frozenset()
    start = State(
        sent=0,
        known=none,
        attempts=(1,) * world.changes,
        told=(0,) * world.changes,
        bus=(),
        runs=(),
        tellers=(),
        receipts=frozenset(),
        over=none,
        done=none,
        effects=(),
        faults=world.faults,
        replays=world.replays,
        skips=world.skips,
    )
    ways: dict[State, tuple[State, str] | None] = {start: None}
    ahead = deque([start])
    while ahead:
        state = ahead.popleft()
        following = [*_steps(state, rules, world)]
        problem = _broken(state)
        if not problem and not following and len(state.over) < state.sent:
            problem = STUCK
        if problem:
            return len(ways), problem, _way(ways, state)
        for label, after in following:
            if after not in ways:
                ways[after] = (state, label)
                ahead.append(after)
    return len(ways), "", ()


def _way(ways: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels = []
    while before := ways[state]:
        state, label = before
        labels.append(label)
    return tuple(reversed(labels))


def _broken(state: State) -> str:
    if len({*state.effects}) < len(state.effects):
        return TWICE
    at_work = {run.seq for run in state.runs if run.at == "work"} - state.done
    older = {seq for one in at_work for seq in range(1, one)}
    return OVERTAKES if older - state.done else ""


def _steps(state: State, rules: InOrder, world: World) -> Iterator[_Step]:
    if state.sent < world.changes:
        seq = state.sent + 1
        yield f"change {seq} is sent", state._replace(sent=seq, known=state.known | {seq})
    yield from _persons(state)
    yield from _bus(state)
    for run in dict.fromkeys(state.runs):
        yield from _run(_without(state, run), run, rules)
    ticks = sum(one.at != "run looks" for one in state.tellers)
    seen = _all_known(state)
    tells = rules.ticks_tell or not any(state.told)
    if tells and ticks < world.ticks and _untold(seen, rules, world):
        yield "a tick looks", _looked(seen, rules, world)
    for teller in dict.fromkeys(state.tellers):
        yield from _teller(state, teller, rules, world)


def _persons(state: State) -> Iterator[_Step]:
    """What people do about a run that failed, and may do about any change."""
    for run in state.runs:
        if run.at == "failed":
            yield (
                f"the run of change {run.seq} is resumed",
                _with(_without(state, run), run._replace(at="start")),
            )
    for seq in range(1, state.sent + 1):
        if state.skips and seq not in state.over:
            skipped = _over(state, seq)._replace(skips=state.skips - 1)
            yield f"change {seq} is skipped", _telling(skipped, Teller("run looks"))
        if state.replays and (seq, state.attempts[seq - 1]) in state.receipts:
            # What is put back nobody remembers until a tick has read it.
            yield (
                f"change {seq} is replayed",
                state._replace(
                    attempts=_set(state.attempts, seq, state.attempts[seq - 1] + 1),
                    told=_set(state.told, seq, 0),
                    known=state.known - {seq},
                    replays=state.replays - 1,
                ),
            )


def _bus(state: State) -> Iterator[_Step]:
    for event in dict.fromkeys(state.bus):
        left = list(state.bus)
        left.remove(event)
        rest = state._replace(bus=tuple(left))
        yield f"a run starts for change {event[0]}", _with(rest, Run(*event))
        if state.faults:
            less = state.faults - 1
            yield f"the bus drops the event of change {event[0]}", rest._replace(faults=less)
            twice = tuple(sorted((*state.bus, event)))
            yield (
                f"the bus doubles the event of change {event[0]}",
                state._replace(bus=twice, faults=less),
            )


def _run(rest: State, run: Run, rules: InOrder) -> Iterator[_Step]:
    who = f"the run of change {run.seq}"
    key = (run.seq, run.attempt)
    fault = rest._replace(faults=rest.faults - 1)
    if run.at == "start":
        if key in rest.receipts and not run.owns:
            yield f"{who} finds another's receipt, and does nothing", rest
            return
        claimed = rest._replace(receipts=rest.receipts | {key})
        if not rules.over_when_done:
            claimed = claimed._replace(over=claimed.over | {run.seq})
        yield f"{who} has its receipt", _with(claimed, run._replace(at="work", owns=True))
        if rest.faults and not run.owns:
            yield f"{who} dies before its receipt", fault
    elif run.at == "work":
        effects = tuple(sorted((*rest.effects, key)))
        done = rest._replace(effects=effects, done=rest.done | {run.seq})
        yield f"{who} does its work", _with(done, run._replace(at="note"))
        if rest.faults:
            yield f"{who} dies, to be tried again", _with(fault, run._replace(at="start"))
            if rules.goes_on_after_failure:
                yield f"{who} fails for good", _telling(_over(fault, run.seq), Teller("run looks"))
            else:
                yield f"{who} fails for good", _with(fault, run._replace(at="failed"))
    elif run.at == "note":
        yield (
            f"{who} notes that its turn is over",
            _telling(_over(rest, run.seq), Teller("run looks")),
        )
        if rest.faults:
            yield f"{who} notes its end, and dies", _over(fault, run.seq)


def _teller(state: State, teller: Teller, rules: InOrder, world: World) -> Iterator[_Step]:
    left = list(state.tellers)
    left.remove(teller)
    rest = state._replace(tellers=tuple(left))
    if state.faults:
        yield "who is to tell the next turn dies", rest._replace(faults=state.faults - 1)
    if teller.at == "run looks":
        yield "who ended a turn looks for the next", _looked(rest, rules, world)
    elif teller.at == "note":
        if state.told[teller.seq - 1] != teller.count or (
            state.attempts[teller.seq - 1] != teller.attempt
        ):
            yield f"another tells change {teller.seq}", rest
            return
        noted = rest._replace(told=_set(rest.told, teller.seq, teller.count + 1))
        yield (
            f"the turn of change {teller.seq} is noted",
            _telling(noted, teller._replace(at="send")),
        )
    else:
        event = (teller.seq, teller.attempt)
        bus = tuple(sorted((*rest.bus, event)))
        yield f"the turn of change {teller.seq} is told", rest._replace(bus=bus)


def _all_known(state: State) -> State:
    """After a tick has read what the memo does not know."""
    return state._replace(known=frozenset(range(1, state.sent + 1)))


def _looked(state: State, rules: InOrder, world: World) -> State:
    """After somebody looked whose turn it is."""
    for seq in _untold(state, rules, world):
        return _telling(state, Teller("note", seq, state.attempts[seq - 1], state.told[seq - 1]))
    return state


def _untold(state: State, rules: InOrder, world: World) -> list[int]:
    """The changes that are to be told of now, as far as they are known."""
    found = []
    for seq in range(1, state.sent + 1):
        is_over, is_taken = seq in state.over, (seq, state.attempts[seq - 1]) in state.receipts
        if seq not in state.known and not is_over and rules.knows_what_it_does_not_know:
            break
        may = state.told[seq - 1] < world.sendings and not is_taken
        replayed = is_over and state.attempts[seq - 1] > 1
        if may and seq in state.known and (not is_over or replayed):
            found.append(seq)
        if seq in state.known and not is_over and rules.waits:
            break
    return found


def _over(state: State, seq: int) -> State:
    return state._replace(over=state.over | {seq}, done=state.done | {seq})


def _telling(state: State, teller: Teller) -> State:
    return state._replace(tellers=tuple(sorted((*state.tellers, teller))))


def _with(state: State, run: Run) -> State:
    return state._replace(runs=tuple(sorted((*state.runs, run))))


def _without(state: State, run: Run) -> State:
    left = list(state.runs)
    left.remove(run)
    return state._replace(runs=tuple(left))


def _set(numbers: tuple[int, ...], seq: int, number: int) -> tuple[int, ...]:
    return (*numbers[: seq - 1], number, *numbers[seq:])
