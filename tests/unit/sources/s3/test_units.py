"""Every region is handed out once, whoever takes, steals and cuts, in whatever order."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.sources.s3.units import Lump, Region, Unit, Units
from flowproject.tables.spans import Span

PAGE = 10


def regions(*rows: int) -> list[Region]:
    """Regions that end with 01, 02, ..., the last one open, with so many rows expected."""
    highs = [b"%02d" % (place + 1) for place in range(len(rows) - 1)]
    spans = [Span(last=str(count), listed=count, count=count, digest="x") for count in rows]
    return [
        Region(high, span=span, rows=count)
        for high, span, count in zip([*highs, None], spans, rows, strict=True)
    ]


def units(*rows: int, at_once: int = 4, page_size: int = PAGE) -> Units:
    return Units(regions(*rows), at_once=at_once, page_size=page_size)


def taken(shared: Units) -> Unit:
    job = shared.take()
    assert isinstance(job, Unit)
    return job


def lump_of(shared: Units) -> Lump:
    job = shared.take()
    assert isinstance(job, Lump)
    return job


def test_units_have_about_equal_numbers_of_rows():
    shared = units(*[40] * 10, at_once=4)
    sizes = [len(taken(shared).regions) for _ in range(4)]
    assert sorted(sizes) == [2, 2, 3, 3]


def test_a_unit_begins_where_the_one_before_ends():
    shared = units(40, 40, 40, 40, at_once=2)
    first, second = taken(shared), taken(shared)
    assert (first.position, second.position) == (None, first.regions[-1].high)


def test_few_rows_are_one_unit():
    shared = units(3, 3, 3, at_once=8)
    assert len(taken(shared).regions) == 3


def test_what_nobody_knows_is_one_unit():
    shared = Units([Region(None)], at_once=8, page_size=PAGE)
    assert [region.high for region in taken(shared).regions] == [None]


def test_whoever_has_nothing_left_takes_the_upper_half_of_the_largest_rest():
    shared = units(*[10] * 8, at_once=1)
    all_of_it = taken(shared)
    half = taken(shared)
    assert [len(unit.regions) for unit in (all_of_it, half)] == [4, 4]
    assert half.position == all_of_it.regions[-1].high
    assert half.regions[-1].high is None


def test_the_region_at_hand_is_never_taken_away():
    shared = units(100, 100, at_once=1)
    owner = taken(shared)
    assert [region.high for region in taken(shared).regions] == [None]
    assert [region.high for region in owner.regions] == [b"01"]


def test_less_than_a_page_is_not_worth_taking():
    shared = units(100, 9, at_once=1)
    owner = taken(shared)
    shared.reach(owner, b"01")
    assert [region.high for region in owner.regions] == [None]


def test_reaching_a_key_completes_the_regions_that_end_by_then():
    shared = units(10, 10, 10, at_once=1)
    unit = taken(shared)
    done, at_hand = shared.reach(unit, b"02")
    assert [region.high for region in done] == [b"01", b"02"]
    assert at_hand is not None
    assert at_hand.high is None


def test_the_end_of_the_listing_completes_everything():
    shared = units(10, 10, 10, at_once=1)
    done, at_hand = shared.reach(taken(shared), None)
    assert (len(done), at_hand) == (3, None)
    assert shared.take() is None


def test_a_region_much_larger_than_expected_is_offered_for_cutting():
    shared = units(10, at_once=2)
    unit = taken(shared)
    for key in (b"a", b"b", b"c", b"d", b"e"):
        shared.reach(unit, key)
    lump = lump_of(shared)
    assert (lump.unit, lump.after) == (unit, b"e")


def test_a_small_region_whose_page_is_its_neighbours_for_the_most_part_is_not_cut():
    shared = Units([Region(None, rows=1)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.reach(unit, b"a")
    assert not unit.is_lumpy


def test_a_cut_region_can_be_shared():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.reach(unit, b"c")
    shared.cut(lump_of(shared), [b"a", b"m", b"t"], level=0)
    assert [region.high for region in unit.regions] == [b"m", b"t", None]
    assert taken(shared).position == b"t"


def test_bounds_that_were_passed_meanwhile_are_no_bounds():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.reach(unit, b"c")
    lump = lump_of(shared)
    shared.reach(unit, b"p")
    shared.cut(lump, [b"m", b"t"], level=0)
    assert [region.high for region in unit.regions] == [b"t", None]


def test_a_region_that_is_done_meanwhile_is_not_cut():
    shared = Units([Region(b"k"), Region(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.reach(unit, b"c")
    taken(shared)
    lump = lump_of(shared)
    shared.reach(unit, b"k")
    shared.cut(lump, [b"d"], level=0)
    assert not unit.regions


def test_what_has_no_bounds_is_not_offered_again():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.reach(unit, b"c")
    shared.cut(lump_of(shared), [], level=0)
    shared.reach(unit, b"d")
    assert unit.solid


def test_an_idle_worker_gets_what_turns_up_later():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    jobs: list[Unit | Lump | None] = []
    idle = Thread(target=lambda: jobs.append(shared.take()))
    idle.start()
    shared.reach(unit, b"c")
    idle.join()
    assert [type(job) for job in jobs] == [Lump]


def test_stopping_sends_idle_workers_home():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    taken(shared)
    jobs: list[object] = [object()]
    idle = Thread(target=lambda: jobs.append(shared.take()))
    idle.start()
    shared.stop()
    idle.join()
    assert jobs[-1] is None
    assert shared.stopped


def test_requests_that_only_help_are_limited():
    shared = Units([Region(None)], at_once=2, page_size=PAGE)
    assert [shared.spend() for _ in range(4)] == [True, True, True, False]


class Walk:
    """Workers that do one step at a time, in the order that chance has it."""

    def __init__(self, chance: Random, shared: Units, workers: int) -> None:
        self.chance = chance
        self.shared = shared
        self.jobs: list[Unit | Lump | None] = [None] * workers
        self.lows: dict[int, bytes | None] = {}
        self.windows: list[tuple[bytes | None, bytes | None]] = []

    def run(self) -> None:
        while any(self.steps()):
            pass

    def steps(self) -> Iterator[bool]:
        for place in self.chance.sample(range(len(self.jobs)), len(self.jobs)):
            yield self.step(place)

    def step(self, place: int) -> bool:
        job = self.jobs[place]
        if job is None:
            return self.begin(place)
        if isinstance(job, Lump):
            bounds = [self.key() for _ in range(self.chance.randrange(4))]
            self.shared.cut(job, bounds, level=self.chance.randrange(3))
            self.jobs[place] = None
        else:
            self.list(place, job)
        return True

    def begin(self, place: int) -> bool:
        # Who would have to wait must not ask: all of them are one thread.
        job = self.shared._job()
        self.jobs[place] = job
        if isinstance(job, Unit):
            self.lows[place] = job.position
        return job is not None

    def list(self, place: int, unit: Unit) -> None:
        last = max(self.key(), (unit.position or b"") + b"0")
        done, at_hand = self.shared.reach(unit, None if last > b"95" else last)
        for region in done:
            self.windows.append((self.lows[place], region.high))
            self.lows[place] = region.high
        if at_hand is None:
            self.jobs[place] = None

    def key(self) -> bytes:
        return b"%02d" % self.chance.randrange(100)


@given(
    rows=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    workers=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_all_keys_are_listed_once_whatever_happens(rows: list[int], workers: int, seed: int):
    walk = Walk(Random(seed), units(*rows, at_once=workers), workers)
    walk.run()
    windows = sorted(walk.windows, key=lambda window: window[0] or b"")
    assert windows[0][0] is None
    assert windows[-1][1] is None
    assert all(before[1] == after[0] for before, after in pairwise(windows))


@pytest.mark.parametrize("at_once", [1, 3, 32])
def test_rows_ahead_stay_counted(at_once: int):
    shared = units(*[25] * 20, at_once=at_once)
    while job := shared._job():
        assert isinstance(job, Unit)
        assert job.ahead == sum(region.rows for region in job.regions) - job.regions[0].rows
