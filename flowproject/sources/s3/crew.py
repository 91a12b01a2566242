"""The workers that list at once: each takes a unit, streams its pages, and takes the next."""

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from threading import Lock

from flowproject.sources.s3.asking import Asker, UnorderedError
from flowproject.sources.s3.bounds import find_bounds
from flowproject.sources.s3.edges import Edges
from flowproject.sources.s3.judge import Judge
from flowproject.sources.s3.page import Page
from flowproject.sources.s3.stretch import Stretch
from flowproject.sources.s3.units import Lump, Unit, Units

__all__ = ["Crew"]


class Crew:
    """Lists all units, so that the judge gets every key once."""

    def __init__(self, units: Units, ask: Asker, judge: Judge) -> None:
        self._units = units
        self._ask = ask
        self._judge = judge
        self._edges = Edges()
        self._error: BaseException | None = None
        self._lock = Lock()

    def run(self, at_once: int) -> None:
        """List everything, with that many workers.

        Raises:
            UnorderedError: if the server does not list in the order of keys.
            SourceError: the first that any worker met; it ends them all.
        """
        with ThreadPoolExecutor(at_once, thread_name_prefix="lister") as pool:
            try:
                wait([pool.submit(self._work) for _ in range(at_once)])
            except BaseException as error:
                self._end(error)
                raise
        if self._error:
            raise self._error
        self._edges.check(self._ask)

    def _work(self) -> None:
        try:
            while job := self._units.take():
                if isinstance(job, Lump):
                    self._look_into(job)
                else:
                    self._list(job)
        except BaseException as error:
            self._end(error)
            raise

    def _list(self, unit: Unit) -> None:
        """List a unit until no region is left of it; others may take some away meanwhile."""
        asked = unit.position
        with closing(Stretch(asked)) as stretch:
            page = self._ask.after(asked)
            self._edges.begin(asked, page)
            while self._is_left(unit, page, asked, stretch) and not self._units.stopped:
                asked = page.last
                page = self._ask.after(asked)

    def _is_left(self, unit: Unit, page: Page, asked: bytes | None, stretch: Stretch) -> bool:
        """Whether anything is left of the unit, when this page has been dealt with."""
        done, at_hand = self._units.reach(unit, page.last if page.truncated else None)
        rows = page.rows
        for region, following in zip(done, [*done[1:], at_hand], strict=False):
            if following is not None and not (region.recorded or following.recorded):
                continue  # they are listed as one: nothing is known of either
            end = page.after(rows, region.high) if region.high is not None else len(rows)
            stretch.add(page, rows[:end], waits=False)
            self._judge.close(stretch, region)
            rows = rows[end:]
        if at_hand:
            stretch.add(page, rows, waits=True)
            self._judge.relieve(stretch, at_hand)
        elif rows and (bound := done[-1].high) is not None:
            self._edges.end(bound, page, asked)
        return at_hand is not None

    def _look_into(self, lump: Lump) -> None:
        bounds, level = find_bounds(self._ask, lump, spend=self._units.spend)
        self._units.cut(lump, bounds, level)

    def _end(self, error: BaseException) -> None:
        """Let everybody end, because of the first error."""
        with self._lock:
            if self._error is None:
                self._error = error
        self._units.stop()
        if not isinstance(error, UnorderedError):  # after that one, more is going to be asked
            self._ask.cancel()
