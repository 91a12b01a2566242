"""The protocol of delivery keeps its promises in every interleaving; each mutant of it does not."""

import json
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT
from tests.model.coalescing import TOLD_TWICE, Coalescing, explore_pile
from tests.model.search import LOST, TWICE, explore
from tests.model.states import Bounds, Rules
from tests.model.table import MUTANTS, PROTOCOL, Case, shown
from tests.model.turns import OVERTAKES, STUCK, InOrder, explore_turns
from tests.model.turns import TWICE as TURN_TWICE
from tests.model.turns import World as TurnsWorld
from tests.model.waiting import LOST as LOST_HALF
from tests.model.waiting import NOBODYS, PASSED_OVER, Waiting, explore_waiting


@pytest.mark.parametrize("case", PROTOCOL, ids=lambda case: case.name)
def test_the_protocol_holds_in_every_state_of_a_little_world(case: Case) -> None:
    finding = case.find()
    print("\n".join(shown(case, finding)))  # noqa: T201  # the number of states is the evidence
    assert finding.broken == "", "\n".join(shown(case, finding))


@pytest.mark.parametrize("case", MUTANTS, ids=lambda case: case.name)
def test_each_mutant_is_caught_with_a_trace_to_read(case: Case) -> None:
    finding = case.find()
    print("\n".join(shown(case, finding)))  # noqa: T201  # the trace is the evidence
    assert finding.broken == case.breaks
    assert finding.trace[0] == "the data move"


def test_every_mutant_is_tried() -> None:
    tried = {name for case in MUTANTS for name, is_on in vars(case.rules).items() if is_on}
    assert tried == {*vars(Rules())}


@pytest.mark.parametrize(
    "bounds", [Bounds(moves=1, faults=1, sendings=2), Bounds(moves=1, ticks=1)], ids=str
)
def test_leaving_out_what_can_only_do_nothing_leaves_no_verdict_out(bounds: Bounds) -> None:
    whole, reduced = explore(Rules(), bounds, whole=True), explore(Rules(), bounds)
    assert whole.broken == reduced.broken == ""
    assert whole.states > reduced.states


def test_as_many_faults_as_sendings_lose_a_change_so_the_search_can_tell() -> None:
    finding = explore(Rules(), Bounds(moves=1, ticks=1, faults=2, sendings=2))
    assert finding.broken == LOST


def test_changes_that_pile_up_are_told_of_by_one_event_only() -> None:
    states, broken, way = explore_pile(Coalescing())
    print(f"coalescing: {states:,} states")  # noqa: T201  # the number of states is the evidence
    assert (broken, way) == ("", ())


@pytest.mark.parametrize(
    "broken_rules",
    [
        Coalescing(decides=False),
        Coalescing(decides_alone=False),
        Coalescing(oldest_last=False),
        Coalescing(reads_again=False),
    ],
    ids=str,
)
def test_an_undecided_group_and_marks_in_another_order_are_caught(broken_rules: Coalescing) -> None:
    _, broken, way = explore_pile(broken_rules)
    assert broken == TOLD_TWICE
    assert way[-1].startswith("a tick publishes")


def test_a_flow_that_waits_for_two_sensors_has_every_change_of_both() -> None:
    states, broken, way = explore_waiting(Waiting())
    print(f"waiting: {states:,} states")  # noqa: T201  # the number of states is the evidence
    assert (broken, way) == ("", ())


@pytest.mark.parametrize(
    "broken_rules, breaks",
    [
        (Waiting(takes_all=False), PASSED_OVER),
        (Waiting(sends_again=False), LOST_HALF),
        (Waiting(goes_on_with_its_own=False), NOBODYS),
    ],
    ids=str,
)
def test_whoever_waits_in_another_way_loses_some(broken_rules: Waiting, breaks: str) -> None:
    _, broken, way = explore_waiting(broken_rules)
    print("\n".join(way))  # noqa: T201  # the trace is the evidence
    assert broken == breaks


@pytest.mark.parametrize(
    "rules, world",
    [
        (InOrder(), TurnsWorld()),
        (InOrder(goes_on_after_failure=True), TurnsWorld()),
        (InOrder(), TurnsWorld(ticks=1, skips=1)),
        (InOrder(), TurnsWorld(ticks=1, faults=0, replays=1, skips=1)),
        (InOrder(), TurnsWorld(changes=3, ticks=1, faults=0, replays=2)),
        (InOrder(), TurnsWorld(ticks=1, moves=1, faults=0)),
        (InOrder(), TurnsWorld(changes=1, ticks=1, moves=1)),
        pytest.param(InOrder(), TurnsWorld(ticks=1, moves=1), marks=pytest.mark.thorough),
    ],
    ids=str,
)
def test_a_flow_that_takes_changes_in_order_has_one_after_the_other(
    rules: InOrder, world: TurnsWorld
) -> None:
    states, broken, way = explore_turns(rules, world)
    print(f"turns: {states:,} states")  # noqa: T201  # the number of states is the evidence
    assert (broken, way) == ("", ())


@pytest.mark.parametrize(
    "broken_rules, world, breaks",
    [
        (InOrder(waits=False), TurnsWorld(), OVERTAKES),
        (InOrder(over_when_done=False), TurnsWorld(), OVERTAKES),
        (InOrder(ticks_tell=False), TurnsWorld(), STUCK),
        (
            InOrder(knows_what_it_does_not_know=False),
            TurnsWorld(changes=3, ticks=1, faults=0, replays=2),
            OVERTAKES,
        ),
        (InOrder(claims_where_it_went=False), TurnsWorld(ticks=1, moves=1, faults=0), TURN_TWICE),
        (InOrder(notes_before_it_copies=False), TurnsWorld(ticks=1, moves=1, faults=0), STUCK),
        (InOrder(ends_where_it_went=False), TurnsWorld(ticks=1, moves=1, faults=0), STUCK),
    ],
    ids=str,
)
def test_whoever_gives_turns_in_another_way_lets_changes_overtake_or_wait_for_ever(
    broken_rules: InOrder, world: TurnsWorld, breaks: str
) -> None:
    _, broken, way = explore_turns(broken_rules, world)
    print("\n".join(way))  # noqa: T201  # the trace is the evidence
    assert broken == breaks


def test_the_command_prints_json_and_succeeds() -> None:
    command = [sys.executable, "-m", "tests.model", "--json", "--only", "no claim"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    assert (found["mutant"], found["broken"]) == ("no_claim", TWICE)
