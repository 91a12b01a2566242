"""A new table out of what was listed: what moved is compared and written, the rest stays."""

from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Final

from flowproject.changes.difference import Difference
from flowproject.tables.columns import between, content_digest, no_rows, object_schema, total
from flowproject.tables.compare import Moves, after, before, compare, without_folders
from flowproject.tables.cuts import cuts, in_order, is_rising
from flowproject.tables.lazy import LazyRows, objects
from flowproject.tables.moves import MovesSpool
from flowproject.tables.segments import SegmentWriter
from flowproject.tables.spans import IDENTITY, MODULUS, NEW, Manifest, Span, key_bytes
from flowproject.tables.table import ObjectTable, successor
from flowproject.tables.windows import Window, arrange, check_cover

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Built", "TableBuilder"]

# Arrow keeps some 20 MB for each thread that it works in: not for each of many that list.
_WORKERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Built:
    """A table, what happened since the one before, and whether its manifest says anything new."""

    items: ObjectTable
    difference: Difference
    fingerprint: str
    moved: bool


class TableBuilder:
    """Takes the windows of a listing, in any order and from any thread, until `finish`.

    `past` is the table that was known before; its digests and its total count only under the same
    `view`, its rows always. `identity` are the columns that make a version.
    """

    def __init__(
        self, past: ObjectTable | None, *, view: str, identity: tuple[str, ...] = IDENTITY
    ) -> None:
        if past is not None and NEW in past.manifest.segments:
            raise RuntimeError("the past has a segment without a name: record it first")
        self._past = past
        self._known = None if past is None else past.manifest
        self._view = view
        self._identity = identity
        self._same_view = _is_same_view(self._known, view, identity)
        self._total = self._known.total if self._known and self._same_view else 0
        self._ordered = True
        self._windows: list[Window] = []
        self._moves: MovesSpool | None = None
        self._writer: SegmentWriter | None = None
        self._lock = Lock()
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="tables")

    def keep(self, span: Span) -> None:
        """Take over a span of the past whose digest is the same.

        Raises:
            RuntimeError: if it is none, or its digest was taken under another view.
        """
        known = self._known
        place = bisect_left(known.bounds, key_bytes(span.last)) if known else 0
        if known is None or not self._same_view or known.spans[place : place + 1] != (span,):
            raise RuntimeError(f"no span of the past under this view ends with {span.last!r}")
        window = Window(known.low(place), span)
        with self._lock:
            self._windows.append(window)

    def put(
        self,
        low: str | None,
        high: str,
        *,
        listed: int,
        digest: str,
        rows: "pa.Table | Callable[[], pa.Table]",
    ) -> None:
        """Take the items of the keys (low, high], which were listed anew, in the order of keys.

        `rows` may be a function that makes them, which is called where they are compared. Rows
        that are all as they were stay where they are.

        Raises:
            RuntimeError: if the rows are not in order, or not in the window.
            Exception: what `rows` raises, or what the past makes of rows that it can't read.
        """
        self._workers.submit(self._put, low, high, listed, digest, rows).result()

    def put_all(self, rows: "pa.Table", *, listed: int, ordered: bool = True) -> None:
        """Take everything there is, in any order; of rows with the same key, the last.

        `listed` is how many keys there were, items or not; `ordered` says whether the server lists
        in the order of keys. Spans whose content has the same digest are kept.
        """
        self._ordered = ordered
        rows = in_order(rows)
        beside = listed - len(rows)
        for low, high, piece in cuts(rows, self._known):
            digest = content_digest(piece, self._identity)
            known = self._same_span(low, high, digest)
            if known is not None:
                self.keep(known)
            else:
                self.put(low, high, listed=len(piece) + beside, digest=digest, rows=piece)
                beside = 0

    def finish(self) -> Built:
        """The table, once all windows were taken.

        Raises:
            RuntimeError: if they leave a gap, overlap, or end before the past does.
        """
        self._workers.shutdown()
        windows = sorted(self._windows, key=lambda window: key_bytes(window.span.last))
        check_cover(windows, self._known)
        items = self._table(windows)
        return Built(
            items=items,
            difference=self._difference(items),
            fingerprint=items.manifest.fingerprint,
            moved=items.manifest != self._known,
        )

    def _put(
        self,
        low: str | None,
        high: str,
        listed: int,
        digest: str,
        make_rows: "pa.Table | Callable[[], pa.Table]",
    ) -> None:
        rows = make_rows() if callable(make_rows) else make_rows
        _check_rows(rows, low, high)
        old = no_rows() if self._past is None else self._past.window(low, high)
        moves = compare(old, rows, self._identity)
        change = self._change(moves, rows)
        known = None if moves else self._holder(low, high, len(rows))
        span = Span(last=high, listed=listed, count=len(rows), digest=digest)
        if known is not None:
            span = replace(span, segment=known.segment, group=known.group)
        with self._lock:
            self._total += change
            self._keep_moves(high, without_folders(moves))
            if is_new := len(rows) > 0 and known is None:
                span = replace(span, group=self._write(rows))
            self._windows.append(Window(low, span, is_new=is_new))

    def _change(self, moves: Moves, rows: "pa.Table") -> int:
        """What a window adds to the total; under another view nothing of it is known."""
        import pyarrow as pa

        if not self._same_view:
            return total(rows, self._identity)
        came = pa.concat_tables([moves.added, after(moves.modified)])
        went = pa.concat_tables([moves.removed, before(moves.modified)])
        return total(came, self._identity) - total(went, self._identity)

    def _holder(self, low: str | None, high: str, count: int) -> Span | None:
        """The span of the past that has these and no other rows; None if there is no one."""
        if self._known is None:
            return None
        near = [self._known.spans[place] for place in self._known.covering(low, high)]
        holders = [span for span in near if span.count]
        return holders[0] if len(holders) == 1 and holders[0].count == count else None

    def _same_span(self, low: str | None, high: str, digest: str) -> Span | None:
        """The span of the past with these bounds and this digest."""
        known = self._known
        if known is None or not self._same_view:
            return None
        place = bisect_left(known.bounds, key_bytes(high))
        if place == len(known.spans) or known.low(place) != low:
            return None
        span = known.spans[place]
        return span if (span.last, span.digest) == (high, digest) else None

    def _keep_moves(self, high: str, moves: Moves) -> None:
        if self._past is None or not moves:  # without a past, what was added is what there is
            return
        if self._moves is None:
            self._moves = MovesSpool(self._identity)
        self._moves.add(key_bytes(high), moves)

    def _write(self, rows: "pa.Table") -> int:
        if self._writer is None:
            self._writer = SegmentWriter(object_schema())
        return self._writer.write(rows)

    def _table(self, windows: list[Window]) -> ObjectTable:
        writer = self._writer
        spans, segments, sizes = arrange(windows, self._known, writer.rows if writer else 0)
        manifest = Manifest(
            view=self._view,
            total=self._total % MODULUS,
            spans=spans,
            segments=segments,
            rows=sizes,
            ordered=self._ordered,
            identity=self._identity,
        )
        return successor(self._past, manifest, writer.finish() if writer else None)

    def _difference(self, items: ObjectTable) -> Difference:
        if self._moves is not None:
            return self._moves.difference()
        if self._past is None and len(items):
            return Difference(added=LazyRows(len(items), items.tables, objects(self._identity)))
        return Difference()


def _is_same_view(known: Manifest | None, view: str, identity: tuple[str, ...]) -> bool:
    return known is not None and (known.view, known.identity) == (view, identity)


def _check_rows(rows: "pa.Table", low: str | None, high: str) -> None:
    if not is_rising(rows["key"]):
        raise RuntimeError(f"the rows of the window that ends with {high!r} are not in order")
    if len(between(rows, low, high)) != len(rows):
        raise RuntimeError(f"rows stand outside of their window ({low!r}, {high!r}]")
