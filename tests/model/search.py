"""Every state that can be reached, the shortest way first, and what must hold in each of them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.model.protocol import steps, without_idlers
from tests.model.states import Bounds, Rules, State, initial

__all__ = ["BLIND", "LOST", "ORDER", "TWICE", "Finding", "broken", "explore"]

_PATIENCE: Final = 500
"""Steps of one continuation without faults; the longest of the protocol's own needs far fewer."""

_NOTHING: Final[tuple[str, ...]] = ()

TWICE: Final = "a change has the effects of two runs of one flow"
UNRECORDED: Final = "an event tells of a change that is not recorded"
ORDER: Final = "changes reach the bus first in another order than they were recorded in"
UNTAKEN: Final = "there is a mark of what the bus never took"
NO_RUN: Final = "there is a receipt, and neither a run that goes on nor an effect"
UNSETTLED: Final = "a change counts as delivered, and a flow has no receipt for it"
BLIND: Final = "an event is sent again and again, and nobody can note that"
LOST: Final = "faults have ended, and a recorded change is never run"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How many states were looked at, which property is broken (none: ""), and the shortest way."""

    states: int
    broken: str = ""
    trace: tuple[str, ...] = ()


def explore(
    rules: Rules, bounds: Bounds, *, only: frozenset[str] = frozenset(), whole: bool = False
) -> Finding:
    """What a search breadth first finds, in all states; `only` limits it to some properties.

    Unless the `whole` is wanted, or the protocol is a broken one, what can only do nothing is left
    out (`without_idlers`). The first state in which a property is broken is one of the nearest, so
    its trace is one of the shortest.
    """
    start = initial(bounds)
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    ahead = deque([start])
    reduced = rules == Rules() and not whole
    lively = _Liveness(rules, bounds)
    while ahead:
        state = ahead.popleft()
        problem, after = broken(state, bounds), _NOTHING
        if only and problem not in only:
            problem = ""  # the state is looked at for the others
        if not problem and (not only or LOST in only):
            problem, after = lively.problem(state)
        if problem and (not only or problem in only):
            trace = (*_way(came_from, state), *after)
            return Finding(states=len(came_from), broken=problem, trace=trace)
        for label, after_it in steps(state, rules, bounds):
            following = without_idlers(after_it, bounds) if reduced else after_it
            if following not in came_from:
                came_from[following] = (state, label)
                ahead.append(following)
    return Finding(states=len(came_from))


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels = []
    while before := came_from[state]:
        state, label = before
        labels.append(label)
    return tuple(reversed(labels))


def broken(state: State, bounds: Bounds) -> str:
    """The property of safety that does not hold in this state, or ""."""
    effects, taken = state.effects, state.taken
    if len({*effects}) < len(effects):
        return TWICE
    if any(event.seq > state.entries for event in state.bus):
        return UNRECORDED
    if len(taken) < max(taken, default=0):
        return ORDER
    if not state.marks <= taken:
        return UNTAKEN
    # Each tick may have been about to send when the store failed.
    if max(state.blind, default=0) > bounds.ticks:
        return BLIND
    if not all(_is_a_runs(state, event.seq, flow) for event, flow in state.receipts):
        return NO_RUN
    known = bounds.listeners_known and not bounds.renames
    if known and not all(_is_received(state, bounds, s) for s in state.settled):
        return UNSETTLED
    return ""


def _is_a_runs(state: State, seq: int, flow: int) -> bool:
    if (seq, flow) in state.effects:
        return True
    return any(
        (run.owns or run.twin_owns) and (run.event.seq, run.flow) == (seq, flow)
        for run in state.runs
    )


def _is_received(state: State, bounds: Bounds, seq: int) -> bool:
    return {flow for event, flow in state.receipts if event.seq == seq} == {*range(bounds.flows)}


class _Liveness:
    """Whether all that is recorded gets its run once faults have ended.

    From every state that the search reaches, not only from those where it ends, one fair schedule
    is followed: no more faults and moves, runs go on, the bus hands out, then ticks pass after
    pass. If the good end can be reached from every state, no schedule can lead out of its reach,
    and one that leaves no possible step out for ever arrives there. Good ends last, because
    effects and receipts are never taken back. States that were passed are not followed again.
    """

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self._rules = rules
        self._bounds = bounds
        self._good: set[State] = set()

    def problem(self, state: State) -> tuple[str, tuple[str, ...]]:
        """The property of liveness that is broken from here, and the steps that show it."""
        state = state._replace(
            faults=0,
            read_only=False,
            blind=(0,) * len(state.blind) if state.read_only else state.blind,
        )
        passed: list[State] = []
        labels: list[str] = ["no more faults, and the data rest:"]
        bounds = Bounds(**{**vars(self._bounds), "moves": state.moves})
        while state not in self._good:
            passed.append(state)
            if self._is_at_rest(state):
                if not self._is_all_run(state):
                    return LOST, (*labels, "nothing is left to do")
                break
            if len(passed) > _PATIENCE:
                return LOST, (*labels[:12], "... and so on for ever")
            label, state = _fair(state, self._rules, bounds)
            labels.append(label)
        self._good.update(passed)
        return "", ()

    def _is_at_rest(self, state: State) -> bool:
        idle = all(tick.at == "idle" for tick in state.ticks)
        nothing_new = state.moves % 2 == state.entries % 2
        settled = all(self._is_over(state, seq) for seq in range(1, state.entries + 1))
        return idle and nothing_new and settled and not state.bus and not state.runs

    def _is_over(self, state: State, seq: int) -> bool:
        """Whether nothing is left to do for a change: it is settled, or given up and so named."""
        if seq in state.settled:
            return True
        return self._is_given_up(state, seq)

    def _is_given_up(self, state: State, seq: int) -> bool:
        may_be = bool(self._bounds.deaf) or self._bounds.renames
        return may_be and seq in state.marks and state.sent[seq - 1] + 1 >= self._bounds.sendings

    def _is_all_run(self, state: State) -> bool:
        if self._bounds.renames:
            done = {seq for seq, _ in state.effects} | state.named
            return all(
                seq in done or (seq not in state.settled and self._is_given_up(state, seq))
                for seq in range(1, state.entries + 1)
            )
        wanted = {
            (seq, flow)
            for seq in range(1, state.entries + 1)
            for flow in range(self._bounds.flows - self._bounds.deaf)
        }
        return wanted == {*state.effects}


def _fair(state: State, rules: Rules, bounds: Bounds) -> tuple[str, State]:
    """The next step of the fair schedule: whatever is under way first, a new pass last."""
    possible = [*steps(state, rules, bounds)]
    order: tuple[Callable[[str], bool], ...] = (
        lambda label: label.startswith("a run"),
        lambda label: label.startswith("the bus"),
        lambda label: label != "a tick reads the head",
    )
    for wanted in order:
        for label, following in possible:
            if wanted(label):
                return label, following
    return possible[0]
