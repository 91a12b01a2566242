"""The windows that a listing was seen through, and the manifest that they make together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flowproject.tables.spans import NEW, NO_ROWS, Manifest, Span, key_bytes

__all__ = ["Window", "arrange", "check_cover"]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the new table, and the key after which it begins (None: the first there is).

    The rows of one that `is_new` are in the new segment, the others' where the past has them.
    """

    low: str | None
    span: Span
    is_new: bool = False


def check_cover(windows: Sequence[Window], past: Manifest | None) -> None:
    """Raise RuntimeError if the windows, in order, leave a gap, overlap or end before the past."""
    low: str | None = None
    for window in windows:
        if window.low != low:
            raise RuntimeError(f"a window begins after {window.low!r}, and {low!r} was seen last")
        low = window.span.last
    known = past.spans[-1].last if past and past.spans else None
    if known is not None and (low is None or key_bytes(low) < key_bytes(known)):
        raise RuntimeError(f"the last window ends with {low!r}, and the past with {known!r}")


def arrange(
    windows: Iterable[Window], past: Manifest | None, rows: int
) -> tuple[tuple[Span, ...], tuple[str, ...], tuple[int, ...]]:
    """Spans, the segments that they still need, and how many rows each of these has.

    `rows` is how many the new segment has. Where nothing is listed, there is no span: the keys
    belong to the next one, and its digest stays right.
    """
    kept = [window for window in windows if window.span.listed or window.span.count]
    needed = sorted({w.span.segment for w in kept if w.span.count and not w.is_new})
    places = {segment: place for place, segment in enumerate(needed)}
    spans = tuple(_moved(w, len(needed) if w.is_new else places.get(w.span.segment)) for w in kept)
    segments = tuple(past.segments[segment] for segment in needed) if past else ()
    sizes = tuple(_size(past, segment) for segment in needed) if past else ()
    if not rows:
        return spans, segments, sizes
    return spans, (*segments, NEW), (*sizes, rows)


def _moved(window: Window, segment: int | None) -> Span:
    """The window's span, its rows in this segment of the new manifest; None if it has none."""
    place = NO_ROWS if segment is None else segment
    return window.span if place == window.span.segment else replace(window.span, segment=place)


def _size(past: Manifest, segment: int) -> int:
    """How many rows a segment has; if nobody wrote that down, those that are still needed."""
    if past.rows:
        return past.rows[segment]
    return sum(span.count for span in past.spans if span.segment == segment)
