"""Builds a new table out of a listing: ranges of keys that moved are compared and written anew."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from flowproject.changes.difference import Difference
from flowproject.tables.lazy_rows import Form, LazyRows, edits_of_objects, objects
from flowproject.tables.manifest import (
    IDENTITY,
    MODULUS,
    MTIME,
    NEW,
    NO_ROWS,
    SPAN_ROWS,
    Manifest,
    Span,
    key_bytes,
    key_text,
)
from flowproject.tables.object_rows import (
    FOLDER_ENDINGS,
    after,
    before,
    between,
    content_digest,
    edit_schema,
    edits,
    no_rows,
    object_schema,
    rank,
    total,
)
from flowproject.tables.scratch import Slot, SpilledTables
from flowproject.tables.segments import SegmentWriter
from flowproject.tables.table import ObjectTable, successor

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Built", "TableBuilder"]

T = TypeVar("T")

# Arrow keeps some 20 MB for each thread that it works in: not for each of many that list.
_WORKERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Built:
    """The result of a build: the new table, and what happened since the last one.

    `moved` says whether the manifest says anything new, even if no item changed.
    """

    items: ObjectTable
    difference: Difference
    fingerprint: str
    moved: bool


@dataclass(frozen=True, slots=True)
class _RowDifference:
    """Rows that were added, modified (old and new side by side) and removed."""

    added: "pa.Table"
    modified: "pa.Table"
    removed: "pa.Table"

    def __bool__(self) -> bool:
        return bool(len(self.added) or len(self.modified) or len(self.removed))


@dataclass(frozen=True, slots=True)
class _KeyRange:
    """A span of the new table, and the key after which it begins (None: the first there is).

    The rows of one that `is_new` are in the new segment, the others' where the past has them.
    """

    low: str | None
    span: Span
    is_new: bool = False


class TableBuilder:
    """Builds a table from ranges of a listing, put in any order and from any thread.

    `past` is the table that was known before; its digests and its total count only under the same
    `view`, its rows always. `identity` are the columns that make a version.
    """

    def __init__(
        self, past: ObjectTable | None, *, view: str, identity: tuple[str, ...] = IDENTITY
    ) -> None:
        # Two segments would have the same empty name: that of the past, and the one written here.
        if past is not None and NEW in past.manifest.segments:
            raise RuntimeError("the past has a segment without a name: record it first")
        self._past = past
        self._known = None if past is None else past.manifest
        self._view = view
        self._identity = identity
        # Digests and totals of another view say nothing here; rows can be compared all the same.
        self._same_view = _is_same_view(self._known, view, identity)
        self._total = self._known.total if self._known and self._same_view else 0
        self._ordered = True
        self._ranges: list[_KeyRange] = []
        self._spilled: _SpilledDifference | None = None
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
        # Compared whole, and not by its last key: a digest that another tick took is of other rows.
        if known is None or not self._same_view or known.spans[place : place + 1] != (span,):
            raise RuntimeError(f"no span of the past under this view ends with {span.last!r}")
        key_range = _KeyRange(known.low(place), span)
        with self._lock:
            self._ranges.append(key_range)

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
            RuntimeError: if the rows are not in order, or not in the range.
            Exception: what `rows` raises, or what the past makes of rows that it can't read.
        """
        # The threads that list wait here. Arrow keeps memory for each thread that works in it, and
        # these are as many as there are requests at once.
        self._workers.submit(self._put, low, high, listed, digest, rows).result()

    def put_all(self, rows: "pa.Table", *, listed: int, ordered: bool = True) -> None:
        """Take everything there is, in any order; of rows with the same key, the last.

        `listed` is how many keys there were, items or not; `ordered` says whether the server lists
        in the order of keys. Spans whose content has the same digest are kept.
        """
        self._ordered = ordered
        rows = _sorted_by_key(rows)
        # In which range the keys lie that are no items is not known any more; only their number is,
        # so the first range that is put has them all.
        beside = listed - len(rows)
        for low, high, piece in _cut_at_bounds(rows, self._known):
            digest = content_digest(piece, self._identity)
            known = self._same_span(low, high, digest)
            if known is not None:
                self.keep(known)
            else:
                self.put(low, high, listed=len(piece) + beside, digest=digest, rows=piece)
                beside = 0

    def finish(self) -> Built:
        """Finish the table, once all ranges were taken.

        Raises:
            RuntimeError: if they leave a gap, overlap, or end before the past does.
        """
        self._workers.shutdown()
        # They came in the order in which workers were done.
        ranges = sorted(self._ranges, key=lambda key_range: key_bytes(key_range.span.last))
        _check_cover(ranges, self._known)
        items = self._table(ranges)
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
        # Compared outside of the lock, because reading and comparing take nearly all of the time.
        old = no_rows(self._identity) if self._past is None else self._past.between(low, high)
        found = _compared(old, rows, self._identity)
        change = self._change(found, rows)
        # A digest may move without a row that does, such as when a server sends another element:
        # then the rows stay where they are, and no file is written.
        known = None if found else self._holder(low, high, len(rows))
        span = Span(last=high, listed=listed, count=len(rows), digest=digest)
        if known is not None:
            span = replace(span, segment=known.segment, group=known.group)
        with self._lock:
            # The file and the total have room for one thread at a time.
            self._total += change
            self._spill(high, found if MTIME in self._identity else _without_folders(found))
            if is_new := len(rows) > 0 and known is None:
                span = replace(span, group=self._write(rows))
            self._ranges.append(_KeyRange(low, span, is_new=is_new))

    def _change(self, found: _RowDifference, rows: "pa.Table") -> int:
        """What a range adds to the total; under another view nothing of it is known."""
        import pyarrow as pa

        if not self._same_view:
            return total(rows, self._identity)
        # The total is a sum, so what came and what went suffice: no row that stayed is digested.
        came = pa.concat_tables([found.added, after(found.modified, self._identity)])
        went = pa.concat_tables([found.removed, before(found.modified, self._identity)])
        return total(came, self._identity) - total(went, self._identity)

    def _holder(self, low: str | None, high: str, count: int) -> Span | None:
        """The span of the past that has these and no other rows; None if there is no one."""
        if self._known is None:
            return None
        near = [self._known.spans[place] for place in self._known.covering(low, high)]
        # Only a span whose rows are all in the range, and no others, can be named for them.
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

    def _spill(self, high: str, found: _RowDifference) -> None:
        # Without a past what was added is what there is, and that is in the table already.
        if self._past is None or not found:
            return
        # Made when it is needed: a tick that finds nothing opens no temporary file.
        if self._spilled is None:
            self._spilled = _SpilledDifference(self._identity)
        self._spilled.add(key_bytes(high), found)

    def _write(self, rows: "pa.Table") -> int:
        if self._writer is None:
            self._writer = SegmentWriter(object_schema(self._identity))
        return self._writer.write(rows)

    def _table(self, ranges: list[_KeyRange]) -> ObjectTable:
        writer = self._writer
        spans, segments, sizes = _arranged(ranges, self._known, writer.rows if writer else 0)
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
        if self._spilled is not None:
            return self._spilled.difference()
        if self._past is None and len(items):
            return Difference(added=LazyRows(len(items), items.tables, objects(self._identity)))
        return Difference()


def _without_folders(found: _RowDifference) -> _RowDifference:
    """The difference without removed objects that only stood for a folder."""
    import pyarrow.compute as pc

    # Versions before listed them, so they are in tables of the past; of what is listed none is, so
    # that one is missing says nothing of the store, and a new version must start no flow.
    removed = found.removed
    ends = reduce(
        pc.or_, (pc.ends_with(removed["key"], pattern=ending) for ending in FOLDER_ENDINGS)
    )
    is_folder = pc.and_(ends, pc.equal(removed["size"], 0))
    return replace(found, removed=removed.filter(pc.invert(is_folder)))


def _is_same_view(known: Manifest | None, view: str, identity: tuple[str, ...]) -> bool:
    return known is not None and (known.view, known.identity) == (view, identity)


def _check_rows(rows: "pa.Table", low: str | None, high: str) -> None:
    if not _is_rising(rows["key"]):
        raise RuntimeError(f"the rows of the range that ends with {high!r} are not in order")
    if len(between(rows, low, high)) != len(rows):
        raise RuntimeError(f"rows stand outside of their range ({low!r}, {high!r}]")


def _check_cover(ranges: Sequence[_KeyRange], past: Manifest | None) -> None:
    """Raise RuntimeError if the ranges, in order, leave a gap, overlap or end before the past."""
    low: str | None = None
    for key_range in ranges:
        if key_range.low != low:
            raise RuntimeError(f"a range begins after {key_range.low!r}, and {low!r} was seen last")
        low = key_range.span.last
    known = past.spans[-1].last if past and past.spans else None
    if known is not None and (low is None or key_bytes(low) < key_bytes(known)):
        raise RuntimeError(f"the last range ends with {low!r}, and the past with {known!r}")


def _arranged(
    ranges: Iterable[_KeyRange], past: Manifest | None, rows: int
) -> tuple[tuple[Span, ...], tuple[str, ...], tuple[int, ...]]:
    """Arrange spans for a manifest, with the segments that they need and the rows of each.

    `rows` is how many the new segment has.
    """
    # Where nothing is listed there is no span: its keys belong to the next one, whose digest is of
    # what the server sent, and stays right.
    kept = [key_range for key_range in ranges if key_range.span.listed or key_range.span.count]
    # A segment that no span needs any more is dropped from the manifest, and pruned in time.
    needed = sorted({w.span.segment for w in kept if w.span.count and not w.is_new})
    places = {segment: place for place, segment in enumerate(needed)}
    spans = tuple(_moved(w, len(needed) if w.is_new else places.get(w.span.segment)) for w in kept)
    segments = tuple(past.segments[segment] for segment in needed) if past else ()
    sizes = tuple(_size(past, segment) for segment in needed) if past else ()
    if not rows:
        return spans, segments, sizes
    return spans, (*segments, NEW), (*sizes, rows)


def _moved(key_range: _KeyRange, segment: int | None) -> Span:
    """The range's span, its rows in this segment of the new manifest; None if it has none."""
    place = NO_ROWS if segment is None else segment
    return (
        key_range.span
        if place == key_range.span.segment
        else replace(key_range.span, segment=place)
    )


def _size(past: Manifest, segment: int) -> int:
    """How many rows a segment has; if nobody wrote that down, those that are still needed."""
    # Manifests of early versions do not say it.
    if past.rows:
        return past.rows[segment]
    return sum(span.count for span in past.spans if span.segment == segment)


def _sorted_by_key(rows: "pa.Table") -> "pa.Table":
    """The rows in the order of their keys; of those with the same key, the last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.combine_chunks()
    # Nearly every listing is in order, and sorting would copy it.
    if _is_rising(rows["key"]):
        return rows
    rows = rows.take(pc.sort_indices(rows, sort_keys=[("key", "ascending")]))
    # Of equal keys the last one counts, because a server that repeats a key sends the newer state
    # later; the sort is stable.
    keys = rows["key"].combine_chunks()
    others = pc.not_equal(keys[:-1], keys[1:])
    return rows.filter(pa.concat_arrays([others, pa.array([True])]))


def _is_rising(keys: Any) -> bool:
    """Whether each key comes after the one before."""
    import pyarrow.compute as pc

    if len(keys) <= 1:
        return True
    return bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py())


def _cut_at_bounds(
    rows: "pa.Table", past: Manifest | None
) -> "Iterator[tuple[str | None, str, pa.Table]]":
    """Cut rows, which are in order, into key ranges (low, high] that cover all keys, old and new.

    They have the bounds of the past's spans, so that these can be kept, and more where too many
    rows stand between two of them.
    """
    low: str | None = None
    start = 0
    for bound in _bounds(rows, past):
        end = rank(rows, bound)
        for high, piece in _pieces(rows.slice(start, end - start), bound):
            yield low, high, piece
            low = high
        start = end


def _bounds(rows: "pa.Table", past: Manifest | None) -> list[bytes]:
    """The past's bounds, the last of them moved so far that every row comes before it."""
    known = past.bounds if past else []
    # A range must reach as far as the past did, or keys that are gone would not be seen to be.
    last = [*known[-1:], *([rows["key"][-1].as_py()] if len(rows) else [])]
    return [*known[:-1], max(last)] if last else []


def _pieces(rows: "pa.Table", bound: bytes) -> "Iterator[tuple[str, pa.Table]]":
    """Parts of about equal size, each with its last key; that of the last one is `bound`."""
    # Up to twice the size it stays one: a key that comes and goes would cut a span and join it
    # again and again.
    number = ceil(len(rows) / SPAN_ROWS) if len(rows) > 2 * SPAN_ROWS else 1
    places = [len(rows) * part // number for part in range(number + 1)]
    for start, end in pairwise(places):
        last = bound if end == len(rows) else rows["key"][end - 1].as_py()
        yield key_text(last), rows.slice(start, end - start)


def _compared(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> _RowDifference:
    """Compare rows: what must happen to `old` to become `new`, each with every key once, in order.

    What no column of `identity` shows is no change.
    """
    # Without one side there is nothing to look up; a first look takes this way for each row.
    if not (len(old) and len(new)):
        return _RowDifference(new, edit_schema(identity).empty_table(), old)
    # The usual case: something was overwritten, and no key came or went. Then rows stand side by
    # side already, and no index of keys is made.
    if old["key"].equals(new["key"]):
        places = _modified(old, new, identity)
        none = no_rows(identity)
        return _RowDifference(none, edits(old.take(places), new.take(places), identity), none)
    return _compare_keys(old, new, identity)


def _compare_keys(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> _RowDifference:
    import pyarrow.compute as pc

    # `index_in` gives null for a key that was not there before.
    found = pc.index_in(new["key"], value_set=old["key"]).combine_chunks()
    is_known = found.is_valid()
    old_places, new_places = found.drop_null(), pc.indices_nonzero(is_known)
    # Only what is compared is gathered; whole rows only of those that differ.
    columns = [*identity]
    places = _modified(
        old.select(columns).take(old_places), new.select(columns).take(new_places), identity
    )
    return _RowDifference(
        added=new.filter(pc.invert(is_known)),
        modified=edits(
            old.take(old_places.take(places)), new.take(new_places.take(places)), identity
        ),
        removed=old.take(_missing(old_places, len(old))),
    )


def _missing(places: "pa.Array", count: int) -> "pa.Array":
    """The places below `count` that are not among these, which rise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Gaps are looked for, and not all places counted off: of a span of thousands few are gone.
    edges = pa.concat_arrays([pa.array([-1], places.type), places, pa.array([count], places.type)])
    steps = pc.subtract(edges[1:], edges[:-1])
    gaps = pc.indices_nonzero(pc.greater(steps, 1)).to_pylist()
    missing = [
        place for gap in gaps for place in range(edges[gap].as_py() + 1, edges[gap + 1].as_py())
    ]
    return pa.array(missing, places.type)


def _modified(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...]) -> "pa.Array":
    """The places at which rows differ; both tables have the same keys in the same order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Most columns are equal throughout, which Arrow sees at once.
    moved = [name for name in identity if not old[name].equals(new[name])]
    if not moved:
        return pa.array([], pa.int64())
    return pc.indices_nonzero(reduce(pc.or_, (_different(old[name], new[name]) for name in moved)))


def _different(old: Any, new: Any) -> Any:
    """Where two columns differ; a missing value equals only another one."""
    import pyarrow.compute as pc

    # `not_equal` has null for an answer where either side is missing.
    unequal = pc.fill_null(pc.not_equal(old, new), fill_value=False)
    return pc.or_(unequal, pc.xor(old.is_null(), new.is_null()))


class _SpilledDifference:
    """What happened in all ranges, kept on disk until somebody asks."""

    def __init__(self, identity: tuple[str, ...]) -> None:
        self._added = _SpilledRows(objects(identity))
        self._modified = _SpilledRows(edits_of_objects(identity))
        self._removed = _SpilledRows(objects(identity))

    def add(self, high: bytes, found: _RowDifference) -> None:
        """Keep what happened in the range that ends with the key `high`."""
        self._added.add(high, found.added)
        self._modified.add(high, found.modified)
        self._removed.add(high, found.removed)

    def difference(self) -> Difference:
        """Give the whole difference, each kind in the order of keys."""
        return Difference(
            added=self._added.lazy(), modified=self._modified.lazy(), removed=self._removed.lazy()
        )


class _SpilledRows(Generic[T]):
    """Rows of one kind, by the last key of their range."""

    def __init__(self, form: Form[T]) -> None:
        self._form = form
        self._spool = SpilledTables(form.schema)
        self._slots: list[tuple[bytes, Slot]] = []
        self._count = 0

    def add(self, high: bytes, rows: "pa.Table") -> None:
        if len(rows):
            self._slots.append((high, self._spool.add(rows)))
            self._count += len(rows)

    def lazy(self) -> LazyRows[T]:
        return LazyRows(self._count, self._read, self._form)

    def _read(self) -> "Iterator[pa.Table]":
        # Ranges come in any order, and a difference is in the order of keys.
        return (self._spool.read(slot) for _, slot in sorted(self._slots))
