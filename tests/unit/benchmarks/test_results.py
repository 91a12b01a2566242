"""The arithmetic of `make bench` and its table. No time is asserted anywhere: machines differ."""

from collections.abc import Iterator

from benchmarks.pairs import Comparison, Timed, in_turn
from benchmarks.results import document, line, part, parts


def comparison(ours: list[float], peer: list[float], goal: float | None = 1.3) -> Comparison:
    return Comparison(
        ours_is="a tick",
        peer_is="a bare flow",
        fair_because="same",
        ours=ours,
        peer=peer,
        goal=goal,
    )


def test_the_ratio_is_the_median_of_the_pairs_so_one_disturbed_pair_does_not_move_it():
    disturbed = comparison([1.2, 9.0, 1.2], [1.0, 1.0, 1.0])

    assert disturbed.ratio == 1.2
    assert disturbed.is_met


def test_a_disturbance_that_hits_both_halves_of_a_pair_cancels_out():
    assert comparison([2.0, 20.0], [1.0, 10.0]).middle_half == (2.0, 2.0)


def test_a_ratio_above_its_goal_is_said_to_miss_it_on_the_terminal_and_in_the_table():
    missed = comparison([1.4], [1.0])

    assert "1.40  goal 1.3 (NOT met)" in line(missed, judged=True)
    assert "**1.40** | 1.40 to 1.40 | ≤ 1.3 | NOT met |" in part("About a tick.", [missed])


def test_a_cold_pair_is_shown_without_a_verdict():
    assert "met" not in line(comparison([1.4], [1.0]), judged=False)


def test_a_ratio_without_a_goal_has_no_verdict():
    shown = comparison([9.0], [1.0], goal=None)

    assert "9.00  no goal" in line(shown, judged=True)
    assert "met" not in part("", [shown]).split("Why this is fair")[0].split("|---|")[-1]


def test_a_part_that_is_measured_anew_leaves_the_others_as_they_are():
    both = document({"tick": part("A.", [comparison([1.0], [1.0])]), "journal": "B."})
    assert parts(both)["tick"].startswith("A.\n\n20")
    assert document(parts(both)) == both
    assert parts(document(parts(both) | {"tick": "C."})) == {"tick": "C.", "journal": "B."}


def test_what_is_compared_takes_turns_and_the_first_round_does_not_count():
    order: list[str] = []

    def timed(name: str, seconds: Iterator[float]) -> Timed:
        def once() -> float:
            order.append(name)
            return next(seconds)

        return once

    ours, peer = in_turn(
        timed("A", iter([100.0, 1.0, 2.0])),
        timed("B", iter([100.0, 3.0, 4.0])),
        rounds=2,
        quick=False,
    )

    assert order == ["A", "B"] * 3
    assert (ours, peer) == ([1.0, 2.0], [3.0, 4.0])


def test_a_quick_one_is_a_single_cold_round():
    assert in_turn(lambda: 5.0, rounds=9, quick=True) == [[5.0]]
