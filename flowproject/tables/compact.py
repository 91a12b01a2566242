"""A table whose files have too much in them that it no longer needs, written anew."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from flowproject.tables.columns import object_schema
from flowproject.tables.segments import SegmentWriter
from flowproject.tables.spans import NEW, NO_ROWS, SPAN_ROWS, Manifest, Span
from flowproject.tables.table import ObjectTable, successor

__all__ = ["compact", "is_wasteful"]

_MOST_SEGMENTS: Final = 32
_SMALL_SPAN: Final = SPAN_ROWS // 2


def is_wasteful(manifest: Manifest) -> bool:
    """Whether more rows are kept in vain than are needed, or in too many files."""
    in_vain = sum(manifest.rows) - manifest.count
    return in_vain > manifest.count or len(manifest.segments) > _MOST_SEGMENTS


def compact(table: ObjectTable) -> ObjectTable:
    """The same table in one new segment, a span at a time; small neighbours become one span."""
    writer = SegmentWriter(object_schema())
    spans = tuple(_rewrite(run, table, writer) for run in _runs(table.manifest.spans))
    names, rows = ((NEW,), (writer.rows,)) if writer.rows else ((), ())
    manifest = replace(table.manifest, spans=spans, segments=names, rows=rows)
    return successor(None, manifest, writer.finish())


def _runs(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Neighbours that are small enough to be one span."""
    run: list[Span] = []
    for span in spans:
        if run and sum(known.listed for known in run) + span.listed > _SMALL_SPAN:
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _rewrite(run: list[Span], table: ObjectTable, writer: SegmentWriter) -> Span:
    """One span with the rows of several. What the server sends for it was not seen in one piece."""
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
