"""A fourth model: one flow that takes the changes of a sensor in order, and is told of each turn.

Whoever tells it looks, notes and sends, and may die in between: ticks side by side, and the runs
that end a turn. Recording and marking are one step here: the first model has what is in between.
Meanwhile the journal may be moved to another name: closed, noted where it went, and copied. A run
that was told of the old name claims there and ends there, and then, if that is noted, in the new.
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

    Without `ticks_tell` they tell the first turn only, and leave the rest to the runs. Of a journal
    that is moved it is first noted where it goes, and whoever comes late follows.
    """

    waits: bool = True
    over_when_done: bool = True
    ticks_tell: bool = True
    knows_what_it_does_not_know: bool = True
    goes_on_after_failure: bool = False
    notes_before_it_copies: bool = True
    claims_where_it_went: bool = True
    ends_where_it_went: bool = True


@dataclass(frozen=True, kw_only=True)
class World:
    """How large it is: changes, ticks at once, faults of any kind, and what people do."""

    changes: int = 2
    ticks: int = 2
    faults: int = 1
    replays: int = 0
    skips: int = 0
    moves: int = 0

    @property
    def sendings(self) -> int:
        """How often a turn is told at most: one more than faults can spoil."""
        return self.faults + 1


class Teller(NamedTuple):
    """Who tells a turn: a tick, or a run that ended one. `count`: how often it was told before.

    `old`: it goes by the journal that was moved.
    """

    at: str
    seq: int = 0
    attempt: int = 0
    count: int = 0
    old: bool = False


class Run(NamedTuple):
    """A run that was told of a turn; `owns`: the receipt is its own.

    `old`: it was told of it under the name that the journal had before it was moved; then `owns` is
    true of the receipt there, and `owns_both` also of that where the journal went.
    """

    seq: int
    attempt: int
    old: bool = False
    at: str = "start"
    owns: bool = False
    owns_both: bool = False


class State(NamedTuple):
    """What was sent, what the memo knows of it, newest attempts, tellings, and what came of them.

    `over` is what the journal says, `done` what is true: the work is done, or is not to be. `move`
    is how far the journal was moved, and `left` which receipts the old one has since it was copied,
    besides those that the new one has.
    """

    sent: int
    known: frozenset[int]
    attempts: tuple[int, ...]
    told: tuple[int, ...]
    bus: tuple[tuple[int, int, bool], ...]
    runs: tuple[Run, ...]
    tellers: tuple[Teller, ...]
    receipts: frozenset[tuple[int, int]]
    over: frozenset[int]
    done: frozenset[int]
    effects: tuple[tuple[int, int], ...]
    faults: int
    replays: int
    skips: int
    move: str = ""
    is_copied: bool = False
    is_noted: bool = False
    left: frozenset[tuple[int, int]] = frozenset()


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
    if state.sent < world.changes and state.move in ("", "done"):
        seq = state.sent + 1
        yield f"change {seq} is sent", state._replace(sent=seq, known=state.known | {seq})
    yield from _persons(state)
    yield from _move(state, rules, world)
    yield from _bus(state)
    for run in dict.fromkeys(state.runs):
        yield from _run(_without(state, run), run, rules)
    ticks = sum(one.at != "run looks" for one in state.tellers)
    seen = _all_known(state)
    # Under neither name a tick looks while the journal is on its way.
    tells = (rules.ticks_tell or not any(state.told)) and state.move in ("", "done")
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


def _move(state: State, rules: InOrder, world: World) -> Iterator[_Step]:
    """What a person does after the sensor was renamed: each step can be the last for long."""
    noted = state._replace(is_noted=True)
    # What is in the journal goes along; what is written there from now on does not.
    copied = state._replace(is_copied=True, left=state.receipts)
    if world.moves and not state.move and state.sent:
        yield "the journal is closed", state._replace(move="closed")
    elif state.move == "closed":
        if rules.notes_before_it_copies:
            yield "it is noted where the journal goes", noted._replace(move="half")
        else:
            yield "the journal is copied", copied._replace(move="half")
    elif state.move == "half":
        if rules.notes_before_it_copies:
            yield "the journal is copied", copied._replace(move="done")
        else:
            yield "it is noted where the journal went", noted._replace(move="done")


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
    fault = rest._replace(faults=rest.faults - 1)
    # It was told of the old name, and the journal is elsewhere: what it writes lies beside.
    is_late = run.old and rest.is_copied
    if run.at == "start":
        yield from _claim(rest, run, rules, is_late=is_late)
        if rest.faults and not run.owns:
            yield f"{who} dies before its receipt", fault
    elif run.at == "follow":
        yield from _claim_again(rest, run, is_late=is_late)
    elif run.at == "work":
        yield from _work(rest, run, rules)
    elif run.at == "note":
        yield from _end(rest, run, rules, is_late=is_late)
        if rest.faults and not is_late:
            yield f"{who} notes its end, and dies", _over(fault, run.seq)
    elif run.at == "noted":
        noted = _over(rest, run.seq) if rest.is_noted else rest
        yield f"{who} looks where the journal went, and ends", noted
        if rest.faults:
            yield f"{who} dies, to be tried again", _with(fault, run._replace(at="note"))


def _work(rest: State, run: Run, rules: InOrder) -> Iterator[_Step]:
    who = f"the run of change {run.seq}"
    fault = rest._replace(faults=rest.faults - 1)
    effects = tuple(sorted((*rest.effects, (run.seq, run.attempt))))
    done = rest._replace(effects=effects, done=rest.done | {run.seq})
    yield f"{who} does its work", _with(done, run._replace(at="note"))
    if rest.faults:
        yield f"{who} dies, to be tried again", _with(fault, run._replace(at="start"))
        if rules.goes_on_after_failure:
            yield f"{who} fails for good", _telling(_over(fault, run.seq), Teller("run looks"))
        else:
            yield f"{who} fails for good", _with(fault, run._replace(at="failed"))


def _claim(rest: State, run: Run, rules: InOrder, *, is_late: bool) -> Iterator[_Step]:
    who, key = f"the run of change {run.seq}", (run.seq, run.attempt)
    if key in (rest.left if is_late else rest.receipts) and not run.owns:
        yield f"{who} finds another's receipt, and does nothing", rest
        return
    if is_late:
        claimed = rest._replace(left=rest.left | {key})
    else:
        claimed = rest._replace(receipts=rest.receipts | {key})
        if not rules.over_when_done:
            claimed = claimed._replace(over=claimed.over | {run.seq})
    follows = run.old and rules.claims_where_it_went
    then = run._replace(at="follow" if follows else "work", owns=True)
    then = then._replace(owns_both=run.old and (run.owns_both or not is_late))
    yield f"{who} has its receipt", _with(claimed, then)


def _claim_again(rest: State, run: Run, *, is_late: bool) -> Iterator[_Step]:
    """Claim in the journal that is noted, if one is; what is copied later has the receipt too."""
    who, key = f"the run of change {run.seq}", (run.seq, run.attempt)
    if rest.is_noted and is_late and key in rest.receipts and not run.owns_both:
        yield f"{who} finds another's receipt where the journal went, and does nothing", rest
        return
    claimed = rest._replace(receipts=rest.receipts | {key}) if rest.is_noted else rest
    then = run._replace(at="work", owns_both=run.owns_both or rest.is_noted)
    yield f"{who} looks where the journal went", _with(claimed, then)


def _end(rest: State, run: Run, rules: InOrder, *, is_late: bool) -> Iterator[_Step]:
    who = f"the run of change {run.seq}"
    noted = rest._replace(done=rest.done | {run.seq}) if is_late else _over(rest, run.seq)
    label = f"{who} notes that its turn is over"
    if run.old and rules.ends_where_it_went:
        noted = _with(noted, run._replace(at="noted"))
    if run.old and rest.move:
        yield label, noted  # Under the old name nobody is told any more.
    else:
        yield label, _telling(noted, Teller("run looks", old=run.old))


def _teller(state: State, teller: Teller, rules: InOrder, world: World) -> Iterator[_Step]:
    left = list(state.tellers)
    left.remove(teller)
    rest = state._replace(tellers=tuple(left))
    if state.faults:
        yield "who is to tell the next turn dies", rest._replace(faults=state.faults - 1)
    if teller.at == "run looks":
        # Of a journal that was moved the memo tells nothing.
        is_gone = teller.old and rest.move == "done"
        after = rest if is_gone else _looked(rest, rules, world, old=teller.old)
        yield "who ended a turn looks for the next", after
    elif teller.at == "note" and teller.old and rest.is_copied:
        then = _telling(rest, teller._replace(at="send"))
        yield f"the turn of change {teller.seq} is noted under the old name", then
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
        event = (teller.seq, teller.attempt, teller.old)
        bus = tuple(sorted((*rest.bus, event)))
        yield f"the turn of change {teller.seq} is told", rest._replace(bus=bus)


def _all_known(state: State) -> State:
    """After a tick has read what the memo does not know."""
    return state._replace(known=frozenset(range(1, state.sent + 1)))


def _looked(state: State, rules: InOrder, world: World, *, old: bool = False) -> State:
    """After somebody looked whose turn it is; `old`: in the journal that is moved."""
    old = old or (world.moves > 0 and not state.move)
    for seq in _untold(state, rules, world):
        teller = Teller("note", seq, state.attempts[seq - 1], state.told[seq - 1], old)
        return _telling(state, teller)
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
