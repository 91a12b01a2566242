"""Shares keys out among workers that list at once, and finds where a range can be split.

Keys are bytes, in byte order. A range is all of them up to a bound; a unit is a run of adjacent
ranges that one worker lists as one stream of pages.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Final, Self

from flowproject.sources.s3.pages import ListingClient, last_key, parse_rows
from flowproject.tables.manifest import SPAN_ROWS, Span

__all__ = [
    "ListingOptions",
    "ListingRange",
    "UnsplitRange",
    "WorkQueue",
    "WorkUnit",
    "find_bounds",
    "guess_bounds",
]

# S3 takes money for each request: to be faster may cost a twentieth more, not a multiple.
_PAGES_PER_EXTRA: Final = 20
# A few keys to split at: what is still too large then is split again, at a better place.
_ENOUGH: Final = 8
_SLASH: Final = ord("/")
# Bytes of UTF-8: from the first on, one of several of a character; from the second on, its first.
_FIRST_OF_SEVERAL: Final = 0x80
_FIRST_LEADING: Final = 0xC0


@dataclass(frozen=True, kw_only=True)
class ListingOptions:
    """Says how many requests go at once, keys to a page (S3's limit is 1,000), and to a span."""

    at_once: int = 32
    page_size: int = 1000
    span_rows: int = SPAN_ROWS

    def pages(self, rows: int) -> int:
        """How many pages so many rows fill."""
        return -(-rows // self.page_size)


@dataclass(frozen=True, slots=True, eq=False)
class ListingRange:
    """Stands for the keys up to and including `high` (None: all), from where the one before ends.

    `span` is what was recorded of exactly these keys; None: there is nothing to compare with. If
    its bounds were not `recorded` either, the range may be listed as one with its neighbours.
    `rows` are expected (0: nobody knows).
    Prefixes of up to `level` bytes have been asked for bounds in it already.
    """

    high: bytes | None
    span: Span | None = None
    rows: int = 0
    level: int = -1
    recorded: bool = False

    def ends_by(self, last: bytes | None) -> bool:
        """Whether it is complete once all keys up to `last` are listed (None: all there are)."""
        return last is None or (self.high is not None and self.high <= last)


class WorkUnit:
    """Holds adjacent ranges for one worker, who is at the first of them.

    `position` is the last key that was listed, or the one to begin after. `pages` of the first
    range were listed since it was begun or split, and `unsplittable` says that no bounds are in it.
    `ahead` is how many rows the others are expected to have.
    """

    __slots__ = ("_page_size", "ahead", "pages", "position", "ranges", "unsplittable")

    def __init__(
        self, position: bytes | None, ranges: Iterable[ListingRange], page_size: int
    ) -> None:
        self.position = position
        self.ranges = deque(ranges)
        self.pages = 0
        self.unsplittable = False
        self._page_size = page_size
        self.ahead = sum(map(self._weight, self.ranges)) - self._weight(self.ranges[0])

    @property
    def needs_split(self) -> bool:
        """Whether the range at hand is twice as large as expected, and perhaps can be cut.

        Its first and its last page may belong to its neighbours for the most part.
        """
        # Of two pages it is not known how much of them lies in the range.
        expected = self.ranges[0].rows
        pages = self.pages - 2 if expected else self.pages
        return not self.unsplittable and pages * self._page_size > 2 * expected

    def advance(self, last: bytes | None) -> list[ListingRange]:
        """The ranges that are complete with a page up to `last`."""
        done = []
        while self.ranges and self.ranges[0].ends_by(last):
            done.append(self.ranges.popleft())
            self.ahead -= self._weight(self.ranges[0]) if self.ranges else 0
        if done:  # what was found out is of the range before
            self.pages, self.unsplittable = 0, False
        self.position = last
        self.pages += 1
        return done

    def split(self, bounds: Iterable[bytes], level: int) -> None:
        """Cut what is left of the range at hand at those of the keys that lie in it."""
        key_range = self.ranges[0]
        # The worker went on meanwhile: a key that it has passed bounds nothing any more.
        inside = sorted({key for key in bounds if self._is_left(key, key_range.high)})
        self.unsplittable = not inside
        if inside:
            # There may be more bounds at this level after the last one: an answer has its limits.
            rest = ListingRange(key_range.high, level=key_range.level)
            parts = [*(ListingRange(high, level=level) for high in inside), rest]
            self.ranges.popleft()
            self.ranges.extendleft(reversed(parts))
            self.ahead += len(inside) * self._page_size
            self.pages = 0

    def upper_half(self) -> Self:
        """A new unit of those ranges that have about half of what is left."""
        taken: deque[ListingRange] = deque()
        rows, half = 0, (self.ahead + self._weight(self.ranges[0])) / 2
        # Never the first range: its worker is in the middle of it. And at least one, or nothing
        # would come of it where a single range is larger than all others.
        while len(self.ranges) > 1 and (not taken or rows + self._weight(self.ranges[-1]) <= half):
            taken.appendleft(self.ranges.pop())
            rows += self._weight(taken[0])
        self.ahead -= rows
        return type(self)(self.ranges[-1].high, taken, self._page_size)

    def _weight(self, key_range: ListingRange) -> int:
        return key_range.rows or self._page_size

    def _is_left(self, key: bytes, high: bytes | None) -> bool:
        return (self.position is None or self.position < key) and (high is None or key < high)


@dataclass(frozen=True, slots=True, eq=False)
class UnsplitRange:
    """Offers a range that turned out larger than expected: somebody should find bounds in it.

    They must lie after the key `after`, and before `range.high`.
    """

    unit: WorkUnit
    key_range: ListingRange
    after: bytes


@dataclass(slots=True)
class _RequestBudget:
    """Counts the requests that are spent on being faster: one in twenty, or `spare` if more."""

    spare: int
    pages: int = 0
    spent: int = 0

    @property
    def has_left(self) -> bool:
        return self.spent < max(self.spare, self.pages // _PAGES_PER_EXTRA)


@dataclass(slots=True)
class _OpenWork:
    """Lists what is to do: units that nobody has begun, units in work, those being split."""

    waiting: deque[WorkUnit]
    active: list[WorkUnit] = field(default_factory=list)
    splitting: list[WorkUnit] = field(default_factory=list)
    idle: int = 0

    @property
    def is_done(self) -> bool:
        return not (self.waiting or self.active or self.splitting)


class WorkQueue:
    """Hands out units; whoever has nothing left takes the upper half of what another still has.

    Thread-safe. At any time the units together hold every range that is not complete, once.
    """

    def __init__(
        self,
        ranges: Sequence[ListingRange],
        *,
        at_once: int,
        page_size: int,
        after: bytes | None = None,
    ) -> None:
        self._page_size = page_size
        waiting = deque(_share_out(ranges, at_once, page_size, after))
        # Each unit may end within a page, which costs a request more than its rows fill. Who knows
        # nothing must find out where to begin.
        self._budget = _RequestBudget(
            spare=2 * at_once if len(waiting) == 1 else at_once - len(waiting)
        )
        self._work = _OpenWork(waiting=waiting)
        self._changed = Condition()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether somebody called `stop`: what is under way is of no use any more."""
        return self._stopped

    def take(self) -> WorkUnit | UnsplitRange | None:
        """What to do next; waits for it. None: everything is done, or somebody called `stop`."""
        with self._changed:
            while not self._stopped:
                if job := self._job():
                    self._wake()
                    return job
                if self._work.is_done:
                    break
                self._work.idle += 1
                self._changed.wait()
                self._work.idle -= 1
            return None

    def advance(
        self, unit: WorkUnit, last: bytes | None
    ) -> tuple[list[ListingRange], ListingRange | None]:
        """The ranges of a unit that are complete with a page up to `last` (None: the last page).

        From now on their bounds are final. Besides, the range that is at hand next, whose bound
        can only come down to a key after `last`; None: the unit is done.
        """
        with self._changed:
            done = unit.advance(last)
            self._budget.pages += 1
            if not unit.ranges:
                self._work.active.remove(unit)
            self._wake()
            return done, unit.ranges[0] if unit.ranges else None

    def split(self, unsplit: UnsplitRange, bounds: Iterable[bytes], level: int) -> None:
        """Cut the range, if it is still being listed, at those of the keys not yet reached.

        `level` is how long the prefix was that was asked for them.
        """
        with self._changed:
            self._work.splitting.remove(unsplit.unit)
            # Its worker may have ended it, and begun the next range, while bounds were looked for.
            if unsplit.unit.ranges and unsplit.unit.ranges[0] is unsplit.key_range:
                unsplit.unit.split(bounds, level)
            self._wake()

    def spend(self) -> bool:
        """Note a request that finds out how to list faster; whether there may be more of them."""
        with self._changed:
            self._budget.spent += 1
            return self._budget.has_left

    def stop(self) -> None:
        """Let everybody end."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # From what costs nothing to what costs most: a unit that waits was planned for, half of
    # another's costs the page at the seam, and keys to split at must be asked for.
    def _job(self) -> WorkUnit | UnsplitRange | None:
        work = self._work
        if work.waiting:
            work.active.append(work.waiting.popleft())
            return work.active[-1]
        if largest := self._largest_unit():
            self._budget.spent += 1
            work.active.append(largest.upper_half())
            return work.active[-1]
        if (unit := self._unit_to_split()) and unit.position is not None:
            work.splitting.append(unit)
            return UnsplitRange(unit, unit.ranges[0], after=unit.position)
        return None

    def _largest_unit(self) -> WorkUnit | None:
        """The unit with the most rows ahead; None if what could be taken is not worth a request."""
        if not (self._budget.has_left and self._work.active):
            return None
        # The largest: the listing takes as long as its last worker.
        unit = max(self._work.active, key=lambda unit: unit.ahead)
        return unit if unit.ahead >= self._page_size else None

    def _unit_to_split(self) -> WorkUnit | None:
        work = self._work
        if not self._budget.has_left:
            return None
        return next((u for u in work.active if u.needs_split and u not in work.splitting), None)

    def _wake(self) -> None:
        # One at a time: whoever takes something wakes the next one, if there is more to take.
        work = self._work
        if work.is_done:
            self._changed.notify_all()
        elif work.idle and (work.waiting or self._largest_unit() or self._unit_to_split()):
            self._changed.notify()


def _share_out(
    ranges: Sequence[ListingRange], at_once: int, page_size: int, after: bytes | None
) -> list[WorkUnit]:
    """At most `at_once` units, with about equal numbers of rows, and a page or more each."""
    total = sum(key_range.rows for key_range in ranges)
    count = max(1, min(at_once, total // page_size))
    runs: list[list[ListingRange]] = [[] for _ in range(count)]
    before = 0
    for key_range in ranges:
        # The middle of a range decides where it belongs.
        place = (2 * before + key_range.rows) * count // (2 * total) if total else 0
        runs[min(place, count - 1)].append(key_range)
        before += key_range.rows
    units: list[WorkUnit] = []
    for run in filter(None, runs):
        units.append(WorkUnit(after, run, page_size))
        after = run[-1].high
    return units


def find_bounds(
    client: ListingClient, unsplit: UnsplitRange, *, spend: Callable[[], bool]
) -> tuple[list[bytes], int]:
    """Keys at which the range can be cut, and the length of the prefix that was asked for them.

    They are folders, of the highest level that has any. If none has, they are guesses from what
    keys look like, and some of them may have nothing behind them. `spend` is told of each request
    and says whether there may be more.
    """
    # From the top: a few folders of a high level share out all that is left, those of the lowest
    # only what one of them holds.
    levels = _levels(unsplit, len(client.prefix))
    for level in levels:
        may_go_on = spend()
        folders = client.folders(unsplit.after[:level], unsplit.after)
        bounds = [folder for folder in folders if _is_within(folder, unsplit)]
        if bounds or not may_go_on:
            return bounds, level
    last = unsplit.key_range.high or last_key(client, unsplit.after, spend=spend) or unsplit.after
    spend()
    page = client.after(unsplit.after)
    keys, *_ = parse_rows(page.rows, encoded=page.encoded)
    return guess_bounds(unsplit.after, last, keys), levels[0] if levels else unsplit.key_range.level


def guess_bounds(after: bytes, last: bytes, sample: list[bytes]) -> list[bytes]:
    """Keys between `after` and `last`, from characters that stand in a sample of what follows.

    With `a03` and `a9`, and digits in the sample, they are a1, a2, ... to a8 and a9.
    """
    shared = _shared(after, last)
    # ASCII only: half of a longer character would be a key that no server can be asked for.
    characters = {byte for key in sample for byte in key[shared:] if byte < _FIRST_OF_SEVERAL}
    bounds: list[bytes] = []
    for place in range(shared, len(after)):
        if len(bounds) >= _ENOUGH:
            break
        if not _FIRST_OF_SEVERAL <= after[place] < _FIRST_LEADING:  # within a character
            greater = (byte for byte in sorted(characters) if byte > after[place])
            guesses = (after[:place] + bytes([byte]) for byte in greater)
            bounds += [guess for guess in guesses if guess < last]
    return bounds


def _levels(unsplit: UnsplitRange, prefix: int) -> list[int]:
    """How long the prefixes are, from the top, that may have several folders in the range."""
    shared = unsplit.after[: _shared(unsplit.after, unsplit.key_range.high or b"")].rfind(b"/") + 1
    ends = [place + 1 for place, byte in enumerate(unsplit.after) if byte == _SLASH]
    lowest = max(prefix, shared, unsplit.key_range.level + 1)
    return sorted({end for end in (prefix, *ends) if end >= lowest})


def _is_within(key: bytes, unsplit: UnsplitRange) -> bool:
    return unsplit.after < key and (unsplit.key_range.high is None or key < unsplit.key_range.high)


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
