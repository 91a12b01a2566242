"""Rows put in the order of their keys, and cut into windows."""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

from flowproject.tables.columns import rank
from flowproject.tables.spans import SPAN_ROWS, Manifest, key_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cuts", "in_order", "is_rising"]


def in_order(rows: "pa.Table") -> "pa.Table":
    """The rows in the order of their keys; of those with the same key, the last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.combine_chunks()
    if is_rising(rows["key"]):
        return rows
    rows = rows.take(pc.sort_indices(rows, sort_keys=[("key", "ascending")]))  # stable
    keys = rows["key"].combine_chunks()
    others = pc.not_equal(keys[:-1], keys[1:])
    return rows.filter(pa.concat_arrays([others, pa.array([True])]))


def is_rising(keys: Any) -> bool:
    """Whether each key comes after the one before."""
    import pyarrow.compute as pc

    if len(keys) <= 1:
        return True
    return bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py())


def cuts(rows: "pa.Table", past: Manifest | None) -> "Iterator[tuple[str | None, str, pa.Table]]":
    """Windows (low, high] and their rows, which are in order: all keys that were and that are.

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
    last = [*known[-1:], *([rows["key"][-1].as_py()] if len(rows) else [])]
    return [*known[:-1], max(last)] if last else []


def _pieces(rows: "pa.Table", bound: bytes) -> "Iterator[tuple[str, pa.Table]]":
    """Parts of about equal size, each with its last key; that of the last one is `bound`."""
    number = ceil(len(rows) / SPAN_ROWS) if len(rows) > 2 * SPAN_ROWS else 1
    places = [len(rows) * part // number for part in range(number + 1)]
    for start, end in pairwise(places):
        last = bound if end == len(rows) else rows["key"][end - 1].as_py()
        yield key_text(last), rows.slice(start, end - start)
