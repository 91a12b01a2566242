"""Reads a large table of objects where it lies, a span at a time, and compacts its files."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final

from flowproject.changes.difference import Item
from flowproject.tables.lazy_rows import as_text
from flowproject.tables.manifest import NEW, NO_ROWS, SPAN_ROWS, Manifest, Span
from flowproject.tables.object_rows import between, key_of, no_rows, object_items, object_schema
from flowproject.tables.segments import Damaged, Segment, SegmentWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ObjectTable", "compact", "needs_compaction", "successor"]

_MOST_SEGMENTS: Final = 32
_SMALL_SPAN: Final = SPAN_ROWS // 2


class ObjectTable:
    """The objects of a manifest, read when they are asked for, by any thread.

    `open_segment` opens the Parquet file of that name, to read and to seek in it. `damaged` makes
    the error for one that can't be read, out of the reason. `identity` are the columns that make
    a version, by default those of the manifest. `opened` are files that are open already.
    """

    def __init__(
        self,
        manifest: Manifest,
        open_segment: Callable[[str], BinaryIO],
        identity: tuple[str, ...] | None = None,
        damaged: Damaged = ValueError,
        *,
        opened: Mapping[str, Segment] | None = None,
    ) -> None:
        self.manifest = manifest
        self.identity = manifest.identity if identity is None else identity
        self.open_segment = open_segment
        self.damaged = damaged
        self.opened: dict[str, Segment] = {**(opened or {})}
        self._lock = Lock()
        self._latest: tuple[Span, pa.Table] | None = None

    def __len__(self) -> int:
        return self.manifest.count

    def __contains__(self, key: object, /) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not isinstance(key, str):
            return False
        # Questions come for neighbours (a marker file beside each item), so one span serves many.
        raw = key_of(key, self.identity)
        rows = self._nearby(raw)
        return bool(pc.index(rows["key"], pa.scalar(raw, pa.binary())).as_py() >= 0)

    def values(self) -> Iterator[Item]:
        """Every item, in the order of keys."""
        for rows in self.tables():
            yield from object_items(rows, self.identity)

    def rows(self, span: Span) -> "pa.Table":
        """The rows of one span.

        Raises:
            Exception: what `damaged` makes, if they can't be read.
        """
        if not span.count:
            return no_rows(self.identity)
        name = self.manifest.segments[span.segment]
        rows = self._segment(name).read(span.group, object_schema(self.identity))
        # Parquet can be whole and of another table: a copy that was put back by hand.
        if len(rows) != span.count:
            raise self.damaged(f"{name!r} has {len(rows):,} rows where {span.count:,} belong")
        return rows

    def between(self, low: str | None, high: str | None) -> "pa.Table":
        """The rows with low < key <= high, in the order of keys; None stands for no bound."""
        import pyarrow as pa

        places = self.manifest.covering(low, high)
        tables = [self.rows(self.manifest.spans[place]) for place in places]
        rows = pa.concat_tables(tables).combine_chunks() if tables else no_rows(self.identity)
        return between(rows, low, high)

    def tables(self) -> "Iterator[pa.Table]":
        """Every row, in the order of keys, a span at a time."""
        return (self.rows(span) for span in self.manifest.spans if span.count)

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Every row, in the order of keys, as record batches."""
        return (batch for rows in self.tables() for batch in rows.to_batches())

    def to_arrow(self) -> "pa.RecordBatchReader":
        """Every row as a stream of Arrow, with the keys as text."""
        return as_text(object_schema(self.identity), self.tables())

    def recorded(self, segment: str) -> "ObjectTable":
        """The same table, now that its new segment has the name `segment`."""

        def open_segment(name: str) -> BinaryIO:
            # The new segment is still in its temporary file, which spares a request.
            return self.open_segment(NEW if name == segment else name)

        return ObjectTable(
            self.manifest.recorded(segment), open_segment, self.identity, self.damaged
        )

    def _nearby(self, key: bytes) -> "pa.Table":
        """The rows among which the key would be; those that were read last are kept."""
        spans = self.manifest.spans
        place = bisect_left(self.manifest.bounds, key)
        if place == len(spans):
            return no_rows(self.identity)
        latest = self._latest
        if latest is None or latest[0] is not spans[place]:
            latest = self._latest = (spans[place], self.rows(spans[place]))
        return latest[1]

    def _segment(self, name: str) -> Segment:
        # Two threads would otherwise open one file twice, and read its footer twice.
        with self._lock:
            if name not in self.opened:
                opened = partial(self.open_segment, name)
                self.opened[name] = Segment(opened, name, self.damaged)
            return self.opened[name]


def successor(
    past: ObjectTable | None, manifest: Manifest, open_new: Callable[[], BinaryIO] | None
) -> ObjectTable:
    """Make the table of a manifest that builds on the past, with a new segment if one is given.

    Files that the past has opened are shared.
    """

    def open_segment(name: str) -> BinaryIO:
        if name == NEW and open_new is not None:
            return open_new()
        if past is None:
            raise FileNotFoundError(f"there is no segment {name!r}")
        return past.open_segment(name)

    if past is None:
        return ObjectTable(manifest, open_segment)
    # Names of segments are never used again, so what is open under one stays right.
    return ObjectTable(manifest, open_segment, damaged=past.damaged, opened=past.opened)


def needs_compaction(manifest: Manifest) -> bool:
    """Whether more rows are kept in vain than are needed, or in too many files."""
    # Half in vain is where writing everything anew costs as much as was written since the last
    # time, so it stays a constant factor.
    in_vain = sum(manifest.rows) - manifest.count
    return in_vain > manifest.count or len(manifest.segments) > _MOST_SEGMENTS


def compact(table: ObjectTable) -> ObjectTable:
    """Write a table anew into one segment, a span at a time; small neighbours become one span."""
    # A span at a time, because the whole table may be larger than memory.
    writer = SegmentWriter(object_schema(table.manifest.identity))
    spans = tuple(_rewrite(run, table, writer) for run in _runs(table.manifest.spans))
    names, rows = ((NEW,), (writer.rows,)) if writer.rows else ((), ())
    manifest = replace(table.manifest, spans=spans, segments=names, rows=rows)
    return successor(None, manifest, writer.finish())


def _runs(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Neighbours that are small enough to be one span."""
    run: list[Span] = []
    for span in spans:
        # Deletions leave spans of a few keys, each of which costs a group and a line of the
        # manifest.
        if run and sum(known.listed for known in run) + span.listed > _SMALL_SPAN:
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _rewrite(run: list[Span], table: ObjectTable, writer: SegmentWriter) -> Span:
    """One span with the rows of several."""
    # What the server sends for several was not seen in one piece, so there is no digest of it: the
    # next look parses it, finds no change, and notes one.
    import pyarrow as pa

    rows = pa.concat_tables([table.rows(span) for span in run])
    return Span(
        last=run[-1].last,
        listed=sum(span.listed for span in run),
        count=len(rows),
        digest=run[0].digest if len(run) == 1 else "",
        segment=0 if len(rows) else NO_ROWS,
        group=writer.write(rows) if len(rows) else NO_ROWS,
    )
