"""How `make bench` shows what ways cost, and what must stay within limits."""

from benchmarks.costs import Cost, Limit, Taken
from benchmarks.pairs import Comparison
from benchmarks.results import line, part


def taken(wall: float, *, peak_mb: float = 100, requests: int = 1000) -> Taken:
    return Taken(wall=wall, cpu=wall / 2, peak_mb=peak_mb, requests=requests, objects=1_000_000)


def limit(amount: float) -> Limit:
    return Limit(what="peak memory of a tick", amount=amount, most=150, unit="MB")


def test_a_cost_is_the_median_of_the_seconds_and_the_most_memory():
    cost = Cost(
        method="a tick",
        setting="0 ms",
        taken=[taken(1.0), taken(9.0, peak_mb=140, requests=1010), taken(2.0)],
    )

    row = "| a tick | 0 ms | 2.00 s | 1.00 s | 140 MB | 1,010 | 3 |"
    assert row in part("", [cost])
    assert "2.00 s, CPU 1.00 s, 140 MB, 1,010 requests: a tick (0 ms)" in line(cost, judged=True)


def test_an_amount_above_its_limit_is_said_to_miss_it():
    assert "| 151 MB | ≤ 150 | NOT met |" in part("", [limit(151)])
    assert "151 of 150 MB (NOT met)" in line(limit(151), judged=True)
    assert "| 150 MB | ≤ 150 | met |" in part("", [limit(150)])


def test_a_limit_is_not_judged_by_a_quick_run():
    assert "met" not in line(limit(151), judged=False)


def test_a_ratio_of_a_hundredth_keeps_its_digits():
    hundredth = Comparison(
        ours_is="a tick", peer_is="boto3", fair_because="same", ours=[0.4], peer=[74.0], goal=0.01
    )

    assert "**0.0054** | 0.0054 to 0.0054 | ≤ 0.01 | met |" in part("", [hundredth])


def test_tables_that_would_be_empty_are_left_out():
    assert "|" not in part("", [])
    assert "Why this is fair" not in part("", [limit(151)])
