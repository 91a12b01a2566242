"""Every range is handed out once, whoever takes, steals and cuts, in whatever order."""

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.sources.s3.pages import ListingClient
from flowproject.sources.s3.work_queue import (
    ListingRange,
    UnsplitRange,
    WorkQueue,
    WorkUnit,
    find_bounds,
    guess_bounds,
)
from flowproject.tables.manifest import Span
from tests.s3_pages import MemoryBucket, Stored

PAGE = 10


def ranges(*rows: int) -> list[ListingRange]:
    """Regions that end with 01, 02, ..., the last one open, with so many rows expected."""
    highs = [b"%02d" % (place + 1) for place in range(len(rows) - 1)]
    spans = [Span(last=str(count), listed=count, count=count, digest="x") for count in rows]
    return [
        ListingRange(high, span=span, rows=count)
        for high, span, count in zip([*highs, None], spans, rows, strict=True)
    ]


def units(*rows: int, at_once: int = 4, page_size: int = PAGE) -> WorkQueue:
    return WorkQueue(ranges(*rows), at_once=at_once, page_size=page_size)


def taken(shared: WorkQueue) -> WorkUnit:
    job = shared.take()
    assert isinstance(job, WorkUnit)
    return job


def unsplit_of(shared: WorkQueue) -> UnsplitRange:
    job = shared.take()
    assert isinstance(job, UnsplitRange)
    return job


def test_units_have_about_equal_numbers_of_rows():
    shared = units(*[40] * 10, at_once=4)
    sizes = [len(taken(shared).ranges) for _ in range(4)]
    assert sorted(sizes) == [2, 2, 3, 3]


def test_a_unit_begins_where_the_one_before_ends():
    shared = units(40, 40, 40, 40, at_once=2)
    first, second = taken(shared), taken(shared)
    assert (first.position, second.position) == (None, first.ranges[-1].high)


def test_few_rows_are_one_unit():
    shared = units(3, 3, 3, at_once=8)
    assert len(taken(shared).ranges) == 3


def test_what_nobody_knows_is_one_unit():
    shared = WorkQueue([ListingRange(None)], at_once=8, page_size=PAGE)
    assert [key_range.high for key_range in taken(shared).ranges] == [None]


def test_whoever_has_nothing_left_takes_the_upper_half_of_the_largest_rest():
    shared = units(*[10] * 8, at_once=1)
    all_of_it = taken(shared)
    half = taken(shared)
    assert [len(unit.ranges) for unit in (all_of_it, half)] == [4, 4]
    assert half.position == all_of_it.ranges[-1].high
    assert half.ranges[-1].high is None


def test_the_range_at_hand_is_never_taken_away():
    shared = units(100, 100, at_once=1)
    owner = taken(shared)
    assert [key_range.high for key_range in taken(shared).ranges] == [None]
    assert [key_range.high for key_range in owner.ranges] == [b"01"]


def test_less_than_a_page_is_not_worth_taking():
    shared = units(100, 9, at_once=1)
    owner = taken(shared)
    shared.advance(owner, b"01")
    assert [key_range.high for key_range in owner.ranges] == [None]


def test_reaching_a_key_completes_the_ranges_that_end_by_then():
    shared = units(10, 10, 10, at_once=1)
    unit = taken(shared)
    done, at_hand = shared.advance(unit, b"02")
    assert [key_range.high for key_range in done] == [b"01", b"02"]
    assert at_hand is not None
    assert at_hand.high is None


def test_the_end_of_the_listing_completes_everything():
    shared = units(10, 10, 10, at_once=1)
    done, at_hand = shared.advance(taken(shared), None)
    assert (len(done), at_hand) == (3, None)
    assert shared.take() is None


def test_a_range_much_larger_than_expected_is_offered_for_cutting():
    shared = units(10, at_once=2)
    unit = taken(shared)
    for key in (b"a", b"b", b"c", b"d", b"e"):
        shared.advance(unit, key)
    unsplit = unsplit_of(shared)
    assert (unsplit.unit, unsplit.after) == (unit, b"e")


def test_a_small_range_whose_page_is_its_neighbours_for_the_most_part_is_not_cut():
    shared = WorkQueue([ListingRange(None, rows=1)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.advance(unit, b"a")
    assert not unit.needs_split


def test_a_cut_range_can_be_shared():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.advance(unit, b"c")
    shared.split(unsplit_of(shared), [b"a", b"m", b"t"], level=0)
    assert [key_range.high for key_range in unit.ranges] == [b"m", b"t", None]
    assert taken(shared).position == b"t"


def test_bounds_that_were_passed_meanwhile_are_no_bounds():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.advance(unit, b"c")
    unsplit = unsplit_of(shared)
    shared.advance(unit, b"p")
    shared.split(unsplit, [b"m", b"t"], level=0)
    assert [key_range.high for key_range in unit.ranges] == [b"t", None]


def test_a_range_that_is_done_meanwhile_is_not_cut():
    shared = WorkQueue([ListingRange(b"k"), ListingRange(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.advance(unit, b"c")
    taken(shared)
    unsplit = unsplit_of(shared)
    shared.advance(unit, b"k")
    shared.split(unsplit, [b"d"], level=0)
    assert not unit.ranges


def test_what_has_no_bounds_is_not_offered_again():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    shared.advance(unit, b"c")
    shared.split(unsplit_of(shared), [], level=0)
    shared.advance(unit, b"d")
    assert unit.unsplittable


def test_an_idle_worker_gets_what_turns_up_later():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    unit = taken(shared)
    jobs: list[WorkUnit | UnsplitRange | None] = []
    idle = Thread(target=lambda: jobs.append(shared.take()))
    idle.start()
    shared.advance(unit, b"c")
    idle.join()
    assert [type(job) for job in jobs] == [UnsplitRange]


def test_stopping_sends_idle_workers_home():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    taken(shared)
    jobs: list[object] = [object()]
    idle = Thread(target=lambda: jobs.append(shared.take()))
    idle.start()
    shared.stop()
    idle.join()
    assert jobs[-1] is None
    assert shared.stopped


def test_requests_that_only_help_are_limited():
    shared = WorkQueue([ListingRange(None)], at_once=2, page_size=PAGE)
    assert [shared.spend() for _ in range(4)] == [True, True, True, False]


class Walk:
    """Workers that do one step at a time, in the order that chance has it."""

    def __init__(self, chance: Random, shared: WorkQueue, workers: int) -> None:
        self.chance = chance
        self.shared = shared
        self.jobs: list[WorkUnit | UnsplitRange | None] = [None] * workers
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
        if isinstance(job, UnsplitRange):
            bounds = [self.key() for _ in range(self.chance.randrange(4))]
            self.shared.split(job, bounds, level=self.chance.randrange(3))
            self.jobs[place] = None
        else:
            self.list(place, job)
        return True

    def begin(self, place: int) -> bool:
        # Who would have to wait must not ask: all of them are one thread.
        job = self.shared._job()
        self.jobs[place] = job
        if isinstance(job, WorkUnit):
            self.lows[place] = job.position
        return job is not None

    def list(self, place: int, unit: WorkUnit) -> None:
        last = max(self.key(), (unit.position or b"") + b"0")
        done, at_hand = self.shared.advance(unit, None if last > b"95" else last)
        for key_range in done:
            self.windows.append((self.lows[place], key_range.high))
            self.lows[place] = key_range.high
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
        assert isinstance(job, WorkUnit)
        assert job.ahead == sum(key_range.rows for key_range in job.ranges) - job.ranges[0].rows


def bounds(keys: list[bytes], after: bytes, high: bytes | None = None) -> list[bytes]:
    bucket = MemoryBucket(dict.fromkeys(keys, Stored()))
    key_range = ListingRange(high)
    unsplit = UnsplitRange(WorkUnit(after, deque([key_range]), 10), key_range, after)
    return find_bounds(ListingClient(bucket, b"raw/", 10), unsplit, spend=lambda: True)[0]


def test_folders_behind_the_key_are_bounds():
    keys = [b"raw/%s/1" % name for name in (b"a", b"b", b"c")]
    assert bounds(keys, after=keys[0]) == [b"raw/b/", b"raw/c/"]


def test_folders_outside_the_range_are_none():
    keys = [b"raw/%s/1" % name for name in (b"a", b"b", b"c", b"d")]
    assert bounds(keys, after=keys[0], high=b"raw/c/1") == [b"raw/b/", b"raw/c/"]


def test_a_lower_level_is_asked_if_the_upper_one_has_none():
    keys = [b"raw/only/%s/1" % name for name in (b"a", b"b", b"c")]
    assert bounds(keys, after=keys[0]) == [b"raw/only/b/", b"raw/only/c/"]


def test_without_folders_it_is_characters_that_keys_have():
    keys = [b"raw/%03d" % number for number in range(0, 1000, 7)]
    assert bounds(keys, after=keys[9]) == [b"raw/%d" % digit for digit in range(1, 10)]


def test_guesses_go_deeper_until_they_are_enough():
    sample = [b"a%d" % digit for digit in range(10)]
    assert guess_bounds(b"a07", b"a19", sample) == [b"a1", b"a08", b"a09"]


def test_guesses_never_split_a_character():
    sample = ["ü1".encode(), "ü9".encode()]
    guesses = guess_bounds("ü1".encode(), "ýz".encode(), sample)
    assert all(guess.decode() for guess in guesses)


def test_nothing_is_guessed_where_nothing_lies_between():
    assert guess_bounds(b"a", b"a", []) == []
