"""What becomes of rows that were listed: kept unread if they are the same, else compared."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final, Self

from flowproject.sources.s3.asking import unreadable
from flowproject.sources.s3.pace import Pace
from flowproject.sources.s3.scope import Scope
from flowproject.sources.s3.stretch import Stretch, Window
from flowproject.sources.s3.units import Region
from flowproject.tables.builder import TableBuilder
from flowproject.tables.spans import Manifest, key_bytes, key_text

__all__ = ["Judge"]

_PARSERS: Final = 2


class Judge:
    """Hands what was listed to the builder of the table; from many threads at once.

    `seen` is how many keys that were so far.
    """

    def __init__(
        self,
        builder: TableBuilder,
        scope: Scope,
        pace: Pace,
        *,
        known: Manifest | None,
        after: bytes | None,
    ) -> None:
        self.seen = 0
        self._builder = builder
        self._scope = scope
        self._span_pages = pace.pages(pace.span_rows)
        self._pace = pace
        self._after = after
        self._known = known
        self._end = known.bounds[-1] if known and known.spans else None
        self._lock = Lock()
        # Few, because each thread that uses Arrow keeps memory, and one interpreter parses for all.
        self._parsers = ThreadPoolExecutor(_PARSERS, thread_name_prefix="parser")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parsers.shutdown()

    def regions(self) -> list[Region]:
        """The regions to list, one for each span that is known; the last one goes on to the end."""
        known = self._known
        spans = known.spans if known else ()
        comparable = known is not None and known.view == self._scope.view
        highs = [*(key_bytes(span.last) for span in spans[:-1]), None]
        return [
            Region(high, span=span if comparable else None, rows=span.listed, recorded=True)
            for high, span in zip(highs, spans, strict=False)
        ] or [Region(None)]

    def relieve(self, stretch: Stretch, region: Region) -> None:
        """Hand on full spans of a region that is still being listed, if it can't be the same."""
        keep = 0
        if region.recorded and stretch.is_whole:
            # Two more than full pages hold: at both ends a page may belong to a neighbour.
            keep = self._pace.pages(region.rows) + 3
        for window in stretch.take(self._span_pages, keep=keep):
            self._put(window)

    def close(self, stretch: Stretch, region: Region) -> None:
        """Judge a region that is listed completely; the stretch begins anew behind it."""
        if (high := self._high(stretch, region)) is None:
            return
        if region.span and stretch.is_whole and stretch.digest == region.span.digest:
            self._builder.keep(region.span)
            self._count(region.span.listed)
        else:
            for window in stretch.take(self._span_pages, keep=self._span_pages):
                self._put(window)
            self._put(stretch.rest(high))
        stretch.begin(high)

    def _high(self, stretch: Stretch, region: Region) -> bytes | None:
        """Up to where a complete region counts as listed; None if it has nothing to tell.

        Behind the last bound that is the last key that is there or was there.
        """
        if region.high is not None:
            return region.high
        ends = [end for end in (stretch.last, self._end) if end is not None]
        high = max(ends, default=None)
        return None if high == stretch.low else high

    def _put(self, window: Window) -> None:
        # To wait for it keeps the rows that wait to be parsed from becoming many.
        self._parsers.submit(self._compare, window).result()

    def _compare(self, window: Window) -> None:
        columns = window.columns()
        try:
            rows = self._scope.rows(columns)
        except ValueError as error:
            raise unreadable(error) from error
        low = None if window.low == self._after else window.low
        self._builder.put(
            None if low is None else key_text(low),
            key_text(window.high),
            listed=len(columns.keys),
            digest=window.digest,
            rows=rows,
        )
        self._count(len(columns.keys))

    def _count(self, listed: int) -> None:
        with self._lock:
            self.seen += listed
