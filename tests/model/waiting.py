"""A third model: one flow that waits for two sensors, whose events are held until all are there.

Who holds them keeps the latest of each sensor, and forgets them when it ends. Recording, marking
and sending are one step here: the first model has what can happen in between.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["LOST", "NOBODYS", "PASSED_OVER", "Waiting", "explore_waiting"]

LOST: Final = "both sensors have changes that no run has worked for, and nothing is left to do"
NOBODYS: Final = "a run has a receipt, and ended without the work"
PASSED_OVER: Final = "a run has a change of a sensor, and an older one is nobody's"
TWICE: Final = "two runs work for one change"

_SENSORS: Final = (0, 1)
Change = tuple[int, int]
"""The number of a sensor and that of its change."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How it is done: a run has all that came since the last one, and who is due is sent again."""

    takes_all: bool = True
    sends_again: bool = True
    goes_on_with_its_own: bool = True


class Run(NamedTuple):
    """A run that the latest event of each sensor started, and what it is to have."""

    number: int
    told: tuple[int, int]
    at: str = "start"
    wanted: tuple[Change, ...] = ()


class State(NamedTuple):
    """What was sent, is on its way, is held, was claimed and done; how often sent again."""

    sent: tuple[int, int]
    bus: tuple[Change, ...]
    held: tuple[int, int]
    runs: tuple[Run, ...]
    receipts: frozenset[tuple[Change, int]]
    effects: tuple[Change, ...]
    again: tuple[Change, ...]
    started: int
    faults: int


def explore_waiting(
    rules: Waiting, *, changes: tuple[int, int] = (2, 1), faults: int = 1, sendings: int = 2
) -> tuple[int, str, tuple[str, ...]]:
    """States that were looked at, the property that is broken ("": none), the shortest way."""
    start = State((0, 0), (), (0, 0), (), frozenset(), (), (), 0, faults)
    ways: dict[State, tuple[str, ...]] = {start: ()}
    ahead = deque([start])
    while ahead:
        state = ahead.popleft()
        if problem := _broken(state, rules, sendings):
            return len(ways), problem, ways[state]
        for label, after in _steps(state, rules, changes, sendings):
            if after not in ways:
                ways[after] = (*ways[state], label)
                ahead.append(after)
    return len(ways), "", ()


def _broken(state: State, rules: Waiting, sendings: int) -> str:
    if len({*state.effects}) < len(state.effects):
        return TWICE
    alive = {run.number for run in state.runs}
    if any(who not in alive and one not in state.effects for one, who in state.receipts):
        return NOBODYS
    if state.bus or state.runs:
        return ""
    older = [(_unclaimed(state, one)[:1], _last_claimed(state, one)) for one in _SENSORS]
    if any(oldest and oldest[0] < last for oldest, last in older):
        return PASSED_OVER
    if not _is_due(state):
        return ""
    left = [one for sensor in _SENSORS for one in _unclaimed(state, sensor)]
    given_up = all(state.again.count(one) >= sendings - 1 for one in left)
    return "" if given_up or any(_sent_again(state, rules, sendings)) else LOST


def _unclaimed(state: State, sensor: int) -> list[Change]:
    claimed = {one for one, _ in state.receipts}
    every = ((sensor, seq) for seq in range(1, state.sent[sensor] + 1))
    return [one for one in every if one not in claimed]


def _last_claimed(state: State, sensor: int) -> Change:
    return max((one for one, _ in state.receipts if one[0] == sensor), default=(sensor, 0))


def _is_due(state: State) -> bool:
    """Whether each sensor has a change that is nobody's."""
    return all(_unclaimed(state, sensor) for sensor in _SENSORS)


def _steps(
    state: State, rules: Waiting, changes: tuple[int, int], sendings: int
) -> Iterator[tuple[str, State]]:
    for sensor in _SENSORS:
        if state.sent[sensor] < changes[sensor]:
            sent = tuple(number + (one == sensor) for one, number in enumerate(state.sent))
            new = (sensor, sent[sensor])
            yield (
                f"a change is sent: {_named(new)}",
                state._replace(sent=(sent[0], sent[1]), bus=tuple(sorted((*state.bus, new)))),
            )
    yield from _sent_again(state, rules, sendings)
    yield from _bus_steps(state)
    if state.faults and any(state.held):
        forgotten = state._replace(held=(0, 0), faults=state.faults - 1)
        yield "who holds the events ends, and forgets them", forgotten
    for run in state.runs:
        rest = state._replace(runs=tuple(one for one in state.runs if one != run))
        yield from _run_steps(rest, run, rules)


def _sent_again(state: State, rules: Waiting, sendings: int) -> Iterator[tuple[str, State]]:
    if not (rules.sends_again and _is_due(state)):
        return
    for sensor in _SENSORS:
        for one in _unclaimed(state, sensor):
            if state.again.count(one) < sendings - 1:
                again = tuple(sorted((*state.again, one)))
                bus = tuple(sorted((*state.bus, one)))
                yield f"{_named(one)} is sent again", state._replace(bus=bus, again=again)


def _bus_steps(state: State) -> Iterator[tuple[str, State]]:
    for one in dict.fromkeys(state.bus):
        left = list(state.bus)
        left.remove(one)
        rest = state._replace(bus=tuple(left))
        if state.faults:
            yield f"the bus drops {_named(one)}", rest._replace(faults=state.faults - 1)
        sensor, seq = one
        held = (seq, state.held[1]) if sensor == 0 else (state.held[0], seq)
        if not all(held):
            yield f"{_named(one)} is held", rest._replace(held=held)
            continue
        run = Run(state.started, held)
        runs = tuple(sorted((*state.runs, run)))
        begun = rest._replace(held=(0, 0), runs=runs, started=state.started + 1)
        yield f"{_named(one)} arrives, and run {run.number} starts", begun


def _run_steps(state: State, run: Run, rules: Waiting) -> Iterator[tuple[str, State]]:
    who = f"run {run.number}"
    if state.faults and run.at != "start":
        again = run._replace(at="start", wanted=())
        yield (
            f"{who} dies, to be tried again",
            _with(state._replace(faults=state.faults - 1), again),
        )
    if run.at == "start":
        begun = rules.goes_on_with_its_own and run.number in {who for _, who in state.receipts}
        wanted = [_since_last_run(state, run, sensor, rules) for sensor in _SENSORS]
        if not begun and not all(wanted):
            yield f"{who} finds a sensor without a change, and does nothing", state
        else:
            then = run._replace(at="claim" if begun else "gate", wanted=(*wanted[0], *wanted[1]))
            yield f"{who} looks for what is new", _with(state, then)
    elif run.at == "gate":
        if _owner(state, run.wanted[0]) not in (None, run.number):
            yield f"{who} finds its first change taken, and does nothing", state
        else:
            yield (
                f"{who} takes {_named(run.wanted[0])}",
                _with(_claimed(state, run, run.wanted[:1]), run._replace(at="claim")),
            )
    elif run.at == "claim":
        yield (
            f"{who} takes the rest",
            _with(_claimed(state, run, run.wanted), run._replace(at="work")),
        )
    else:
        mine = [one for one, number in state.receipts if number == run.number]
        effects = tuple(sorted((*state.effects, *mine)))
        yield f"{who} does its work", state._replace(effects=effects)


def _since_last_run(state: State, run: Run, sensor: int, rules: Waiting) -> tuple[Change, ...]:
    """The changes after the last one that another run has, up to that of the event, or all."""
    for newest in (run.told[sensor], state.sent[sensor]):
        found: list[Change] = []
        for seq in range(newest, 0, -1):
            if _owner(state, (sensor, seq)) not in (None, run.number):
                break
            found.append((sensor, seq))
        if not rules.takes_all:
            return tuple(found[:1])
        if found:
            return tuple(sorted(found))
    return ()


def _owner(state: State, one: Change) -> int | None:
    return next((number for claimed, number in state.receipts if claimed == one), None)


def _claimed(state: State, run: Run, wanted: tuple[Change, ...]) -> State:
    free = {(one, run.number) for one in wanted if _owner(state, one) is None}
    return state._replace(receipts=state.receipts | free)


def _with(state: State, run: Run) -> State:
    return state._replace(runs=tuple(sorted((*state.runs, run))))


def _named(one: Change) -> str:
    return f"change {one[1]} of sensor {'ab'[one[0]]}"
