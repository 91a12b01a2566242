"""Lists all objects below a prefix into a table, with many workers at once.

What was recorded is a list of spans, with digests of what the server sent. A span whose rows are
byte for byte the same is kept unread; all others are parsed and compared. If the server turns out
not to list in the order of keys, everything is listed once more, one page after the other.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

from flowproject.sources.s3.comparer import Comparer, PendingRows
from flowproject.sources.s3.pages import (
    Columns,
    ListingClient,
    ListingPage,
    PageProvider,
    UnorderedError,
    outside,
    parse_rows,
    unreadable,
)
from flowproject.sources.s3.scope import Scope
from flowproject.sources.s3.work_queue import (
    ListingOptions,
    UnsplitRange,
    WorkQueue,
    WorkUnit,
    find_bounds,
)
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.table import ObjectTable

__all__ = ["BoundaryCheck", "Lister", "Workers"]

# Objects that come and go between two questions can look like disorder, but hardly twice.
_TRIES: Final = 2
_ROW_STOP: Final = b"</Contents>"


class Lister:
    """Lists what is in scope and compares it with the past; or lists only what comes `after` a key.

    If the server keeps its order, that takes at most a request for each page that the keys fill,
    and besides one in twenty or three for each worker, whichever is more.
    """

    def __init__(
        self,
        pages: PageProvider,
        scope: Scope,
        past: ObjectTable | None = None,
        *,
        after: bytes | None = None,
        options: ListingOptions | None = None,
    ) -> None:
        self._scope = scope
        self._past = past
        self._after = after
        self._options = options or ListingOptions()
        self._client = ListingClient(pages, scope.prefix, self._options.page_size)
        self._seen: Callable[[], int] = lambda: 0

    @property
    def seen(self) -> int:
        """How many keys were listed so far."""
        return self._seen()

    def run(self) -> Built:
        """The table of what is there now, and how it differs from the past.

        Raises:
            SourceError: if a page can't be had or read; the first such error ends everything.
            UnorderedError: if keys have no order, so that nothing can be said to come after one.
        """
        # A server that had no order the last time has none now, and two looks would be for nothing.
        for _ in range(_TRIES if self._past is None or self._past.manifest.ordered else 0):
            with suppress(UnorderedError):
                return self._list_at_once()
        # In an order that is none, what comes "after" a key says nothing of what is new.
        if self._after is not None:
            raise UnorderedError
        return self._list_in_turn()

    def _list_at_once(self) -> Built:
        builder = self._builder()
        known = None if self._past is None else self._past.manifest
        options, after = self._options, self._after
        with Comparer(builder, self._scope, options, known=known, after=after) as comparer:
            self._seen = lambda: comparer.seen
            queue = WorkQueue(
                comparer.ranges(), at_once=options.at_once, page_size=options.page_size, after=after
            )
            Workers(queue, self._client, comparer).run(options.at_once)
        return builder.finish()

    def _list_in_turn(self) -> Built:
        """List from a server that has an order of its own, page by page."""
        # By the server's own tokens: to ask for what comes after a key makes no sense here.
        columns = Columns()
        self._seen = lambda: len(columns.keys)
        try:
            for page in self._client.in_turn():
                columns.add(page.rows, encoded=page.encoded)
            if stray := [key for key in columns.keys if not key.startswith(self._scope.prefix)]:
                raise outside(stray[0], self._scope.prefix)
            rows = self._scope.rows(columns)
        except ValueError as error:
            raise unreadable(error) from error
        builder = self._builder()
        builder.put_all(rows, listed=len(set(columns.keys)), ordered=False)
        return builder.finish()

    def _builder(self) -> TableBuilder:
        return TableBuilder(self._past, view=self._scope.view, identity=self._scope.identity)


class Workers:
    """List all units, so that the comparer gets every key once."""

    def __init__(self, queue: WorkQueue, client: ListingClient, comparer: Comparer) -> None:
        self._queue = queue
        self._client = client
        self._comparer = comparer
        self._boundaries = BoundaryCheck()
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
            except BaseException as error:  # Ctrl-C: the pool would wait for its workers for ever
                self._end(error)
                raise
        if self._error:
            raise self._error
        # At the end, because what one worker saw beyond its bound another may see much later.
        self._boundaries.check(self._client)

    def _work(self) -> None:
        try:
            while job := self._queue.take():
                if isinstance(job, UnsplitRange):
                    self._split(job)
                else:
                    self._list(job)
        # Whatever it is: the others would wait for this one's unit for ever.
        except BaseException as error:
            self._end(error)
            raise

    def _list(self, unit: WorkUnit) -> None:
        """List a unit until no range is left of it; others may take some away meanwhile."""
        asked = unit.position
        with closing(PendingRows(asked)) as pending:
            page = self._client.after(asked)
            # Two units meet at a bound: what each saw there must be the same key.
            self._boundaries.begin(asked, page)
            while self._is_left(unit, page, asked, pending) and not self._queue.stopped:
                asked = page.last
                page = self._client.after(asked)

    def _is_left(
        self, unit: WorkUnit, page: ListingPage, asked: bytes | None, pending: PendingRows
    ) -> bool:
        """Whether anything is left of the unit, when this page has been dealt with."""
        # Told first: only from then on are the bounds of what is complete final.
        done, at_hand = self._queue.advance(unit, page.last if page.truncated else None)
        rows = page.rows
        for key_range, following in zip(done, [*done[1:], at_hand], strict=False):
            if following is not None and not (key_range.recorded or following.recorded):
                continue  # they are listed as one: nothing is known of either
            # A page hardly ever ends where a range does: its rows are shared out at the bounds.
            end = page.after(rows, key_range.high) if key_range.high is not None else len(rows)
            pending.add(page, rows[:end], spill=False)
            self._comparer.compare_range(pending, key_range)
            rows = rows[end:]
        if at_hand:
            pending.add(page, rows, spill=True)
            self._comparer.compare_full_spans(pending, at_hand)
        elif rows and (bound := done[-1].high) is not None:
            self._boundaries.end(bound, page, asked)
        return at_hand is not None

    def _split(self, unsplit: UnsplitRange) -> None:
        bounds, level = find_bounds(self._client, unsplit, spend=self._queue.spend)
        self._queue.split(unsplit, bounds, level)

    def _end(self, error: BaseException) -> None:
        """Let everybody end, because of the first error."""
        with self._lock:
            if self._error is None:
                self._error = error
        self._queue.stop()
        if not isinstance(error, UnorderedError):  # after that one, more is going to be asked
            self._client.cancel()


@dataclass(frozen=True, slots=True)
class _LowerEnd:
    """Says how the unit below a bound ended: with `key` beyond it, on the page after `asked`."""

    asked: bytes | None
    key: bytes


class BoundaryCheck:
    """Compares what was seen on either side of the bounds between units. Thread-safe."""

    def __init__(self) -> None:
        self._ends: dict[bytes, _LowerEnd] = {}
        self._begins: dict[bytes, bytes] = {}
        self._lock = Lock()

    def begin(self, bound: bytes | None, page: ListingPage) -> None:
        """Note the page with which the unit above a bound began."""
        if bound is not None:
            with self._lock:
                self._begins[bound] = page.first

    def end(self, bound: bytes, page: ListingPage, asked: bytes | None) -> None:
        """Note the page with which the unit below a bound ended; it follows the key `asked`."""
        with self._lock:
            self._ends[bound] = _LowerEnd(asked, _beyond(page, bound))

    def check(self, client: ListingClient) -> None:
        """See that both sides fit together; to be called when everything is listed.

        What came or went between the two looks does no harm. So both sides are looked at again
        before anything is said.

        Raises:
            UnorderedError: if they do not fit.
        """
        for bound, end in self._ends.items():
            if self._begins.get(bound) != end.key:
                key = _beyond(client.after(end.asked), bound)
                if key and key != client.after(bound).first:
                    raise UnorderedError


def _beyond(page: ListingPage, bound: bytes) -> bytes:
    """The first key of a page that is greater than the bound; empty if there is none."""
    # Of one row only: the rest of the page is the neighbour's to read.
    rows = bytes(page.rows[page.after(page.rows, bound) :])
    keys, *_ = parse_rows(rows[: rows.find(_ROW_STOP) + len(_ROW_STOP)], encoded=page.encoded)
    return keys[0] if keys else b""
