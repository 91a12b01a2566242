"""How the keys are shared out among those who list them at once. Pure, but for a lock.

Keys are bytes, in byte order. A region is a stretch of them up to a bound; a unit is a run of
adjacent regions that one worker lists as one stream of pages.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Final, Self

from flowproject.tables.spans import Span

__all__ = ["Lump", "Region", "Unit", "Units"]

_PAGES_PER_EXTRA: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The keys up to and including `high`, from where the region before ends (None: to the end).

    `span` is what was recorded of exactly these keys; None: there is nothing to compare with. If
    its bounds were not `recorded` either, the region may be listed as one with its neighbours.
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


class Unit:
    """Adjacent regions for one worker, who is at the first of them.

    `position` is the last key that was listed, or the one to begin after. `pages` of the first
    region were listed since it was begun or cut, and `solid` says that no bounds are in it.
    `ahead` is how many rows the others are expected to have.
    """

    __slots__ = ("_page_size", "ahead", "pages", "position", "regions", "solid")

    def __init__(self, position: bytes | None, regions: Iterable[Region], page_size: int) -> None:
        self.position = position
        self.regions = deque(regions)
        self.pages = 0
        self.solid = False
        self._page_size = page_size
        self.ahead = sum(map(self._weight, self.regions)) - self._weight(self.regions[0])

    @property
    def is_lumpy(self) -> bool:
        """Whether the region at hand is twice as large as expected, and perhaps can be cut.

        Its first and its last page may belong to its neighbours for the most part.
        """
        expected = self.regions[0].rows
        pages = self.pages - 2 if expected else self.pages
        return not self.solid and pages * self._page_size > 2 * expected

    def reach(self, last: bytes | None) -> list[Region]:
        """The regions that are complete with a page up to `last`."""
        done = []
        while self.regions and self.regions[0].ends_by(last):
            done.append(self.regions.popleft())
            self.ahead -= self._weight(self.regions[0]) if self.regions else 0
        if done:
            self.pages, self.solid = 0, False
        self.position = last
        self.pages += 1
        return done

    def cut(self, bounds: Iterable[bytes], level: int) -> None:
        """Cut what is left of the region at hand at those of the keys that lie in it."""
        region = self.regions[0]
        inside = sorted({key for key in bounds if self._is_left(key, region.high)})
        self.solid = not inside
        if inside:
            # There may be more bounds at this level after the last one: an answer has its limits.
            rest = Region(region.high, level=region.level)
            parts = [*(Region(high, level=level) for high in inside), rest]
            self.regions.popleft()
            self.regions.extendleft(reversed(parts))
            self.ahead += len(inside) * self._page_size
            self.pages = 0

    def upper_half(self) -> Self:
        """A new unit of those regions that have about half of what is left."""
        taken: deque[Region] = deque()
        rows, half = 0, (self.ahead + self._weight(self.regions[0])) / 2
        while len(self.regions) > 1 and (
            not taken or rows + self._weight(self.regions[-1]) <= half
        ):
            taken.appendleft(self.regions.pop())
            rows += self._weight(taken[0])
        self.ahead -= rows
        return type(self)(self.regions[-1].high, taken, self._page_size)

    def _weight(self, region: Region) -> int:
        return region.rows or self._page_size

    def _is_left(self, key: bytes, high: bytes | None) -> bool:
        return (self.position is None or self.position < key) and (high is None or key < high)


@dataclass(frozen=True, slots=True, eq=False)
class Lump:
    """A region that turned out larger than expected: somebody should find bounds in it.

    They must lie after the key `after`, and before `region.high`.
    """

    unit: Unit
    region: Region
    after: bytes


@dataclass(slots=True)
class _Budget:
    """How many requests may be spent on being faster: one in twenty, or `spare` if that is more."""

    spare: int
    pages: int = 0
    spent: int = 0

    @property
    def has_left(self) -> bool:
        return self.spent < max(self.spare, self.pages // _PAGES_PER_EXTRA)


@dataclass(slots=True)
class _Work:
    """What is to do: units that nobody has begun, units in work, lumps that are looked into."""

    waiting: deque[Unit]
    active: list[Unit] = field(default_factory=list)
    lumps: list[Unit] = field(default_factory=list)
    idle: int = 0

    @property
    def is_done(self) -> bool:
        return not (self.waiting or self.active or self.lumps)


class Units:
    """Hands out units; whoever has nothing left takes the upper half of what another still has.

    Thread-safe. At any time the units together hold every region that is not complete, once.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        *,
        at_once: int,
        page_size: int,
        after: bytes | None = None,
    ) -> None:
        self._page_size = page_size
        waiting = deque(_share_out(regions, at_once, page_size, after))
        # Each unit may end within a page. Who knows nothing must find out where to begin.
        self._budget = _Budget(spare=2 * at_once if len(waiting) == 1 else at_once - len(waiting))
        self._work = _Work(waiting=waiting)
        self._changed = Condition()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether somebody called `stop`: what is under way is of no use any more."""
        return self._stopped

    def take(self) -> Unit | Lump | None:
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

    def reach(self, unit: Unit, last: bytes | None) -> tuple[list[Region], Region | None]:
        """The regions of a unit that are complete with a page up to `last` (None: the last page).

        From now on their bounds are final. Besides, the region that is at hand next, whose bound
        can only come down to a key after `last`; None: the unit is done.
        """
        with self._changed:
            done = unit.reach(last)
            self._budget.pages += 1
            if not unit.regions:
                self._work.active.remove(unit)
            self._wake()
            return done, unit.regions[0] if unit.regions else None

    def cut(self, lump: Lump, bounds: Iterable[bytes], level: int) -> None:
        """Cut the region, if it is still being listed, at those of the keys not yet reached.

        `level` is how long the prefix was that was asked for them.
        """
        with self._changed:
            self._work.lumps.remove(lump.unit)
            if lump.unit.regions and lump.unit.regions[0] is lump.region:
                lump.unit.cut(bounds, level)
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

    def _job(self) -> Unit | Lump | None:
        work = self._work
        if work.waiting:
            work.active.append(work.waiting.popleft())
            return work.active[-1]
        if victim := self._victim():
            self._budget.spent += 1
            work.active.append(victim.upper_half())
            return work.active[-1]
        if (unit := self._lumpy()) and unit.position is not None:
            work.lumps.append(unit)
            return Lump(unit, unit.regions[0], after=unit.position)
        return None

    def _victim(self) -> Unit | None:
        """The unit with the most rows ahead; None if what could be taken is not worth a request."""
        if not (self._budget.has_left and self._work.active):
            return None
        unit = max(self._work.active, key=lambda unit: unit.ahead)
        return unit if unit.ahead >= self._page_size else None

    def _lumpy(self) -> Unit | None:
        work = self._work
        if not self._budget.has_left:
            return None
        return next((u for u in work.active if u.is_lumpy and u not in work.lumps), None)

    def _wake(self) -> None:
        # One at a time: whoever takes something wakes the next one, if there is more to take.
        work = self._work
        if work.is_done:
            self._changed.notify_all()
        elif work.idle and (work.waiting or self._victim() or self._lumpy()):
            self._changed.notify()


def _share_out(
    regions: Sequence[Region], at_once: int, page_size: int, after: bytes | None
) -> list[Unit]:
    """At most `at_once` units, with about equal numbers of rows, and a page or more each."""
    total = sum(region.rows for region in regions)
    count = max(1, min(at_once, total // page_size))
    runs: list[list[Region]] = [[] for _ in range(count)]
    before = 0
    for region in regions:
        # The middle of a region decides where it belongs.
        place = (2 * before + region.rows) * count // (2 * total) if total else 0
        runs[min(place, count - 1)].append(region)
        before += region.rows
    units: list[Unit] = []
    for run in filter(None, runs):
        units.append(Unit(after, run, page_size))
        after = run[-1].high
    return units
