"""Tables of objects as dicts, and what the package makes of them: the tests' brute force."""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st

from flowproject.changes.canonical import digest
from flowproject.changes.difference import Item
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.manifest import IDENTITY, Span, key_bytes, key_text
from flowproject.tables.object_rows import object_rows
from flowproject.tables.table import ObjectTable

START = dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)


class Facts(NamedTuple):
    """What is known of one object besides its key."""

    size: int
    etag: str | None
    modified: dt.datetime

    def seen(self, identity: Sequence[str]) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in identity)


Objects = dict[bytes, Facts]

PIECES = [b"a", b"b", b"/", b"//", b"\xff", b"\x00", b"\n", b" ", "é😀".encode(), b"\xed\xa0\x80"]
KEYS = st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join)
FACTS = st.builds(
    Facts,
    size=st.integers(0, 2),
    etag=st.sampled_from(["one", "two", "", None]),
    modified=st.sampled_from([START, START + dt.timedelta(microseconds=1)]),
)
TABLES = st.dictionaries(KEYS, FACTS, max_size=12)
CUTS = st.sets(KEYS, max_size=5)
IDENTITIES = st.sets(st.sampled_from(IDENTITY)).map(
    lambda kept: tuple(name for name in IDENTITY if name in kept)
)


def rows_of(objects: Objects, keys: Iterable[bytes] | None = None) -> Any:
    """The rows of these objects, by default of all in the order of their keys."""
    chosen = sorted(objects) if keys is None else list(keys)
    facts = [objects[key] for key in chosen]
    return object_rows(
        chosen, [f.size for f in facts], [f.etag for f in facts], [f.modified for f in facts]
    )


def numbered(count: int, *, size: int = 1) -> Objects:
    """So many objects whose keys have the order of their numbers."""
    return {b"key-%06d" % number: Facts(size, "etag", START) for number in range(count)}


def windows(objects: Objects, cuts: Iterable[bytes], past: ObjectTable | None) -> list[Any]:
    """(low, high, keys) of windows that end at the cuts and cover all keys of both tables."""
    known = past.manifest.bounds[-1:] if past is not None else []
    last = max([*objects, *known], default=None)
    if last is None:
        return []
    highs = [*sorted(cut for cut in cuts if cut < last), last]
    lows: list[bytes | None] = [None, *highs]
    return [
        (low, high, sorted(k for k in objects if (low is None or low < k) and k <= high))
        for low, high in zip(lows, highs, strict=False)
    ]


def raw_digest(objects: Objects, keys: Iterable[bytes]) -> str:
    """What stands for the digest of the bytes that a server sent."""
    return digest(*(repr((key, objects[key])) for key in keys))


def look(
    past: ObjectTable | None,
    objects: Objects,
    cuts: Iterable[bytes] = (),
    *,
    view: str = "view",
    identity: tuple[str, ...] = IDENTITY,
    order: Any = None,
    keeps: bool = True,
) -> Built:
    """What the builder makes of the objects, listed through windows that end at the cuts.

    `order` is a Random that shuffles the windows; spans with the same bounds and digest are kept.
    """
    builder = TableBuilder(past, view=view, identity=identity)
    seen = windows(objects, cuts, past)
    if order is not None:
        order.shuffle(seen)
    for low, high, keys in seen:
        raw = raw_digest(objects, keys)
        known = same_span(past, low, high, raw) if keeps else None
        if known and past and (past.manifest.view, past.manifest.identity) == (view, identity):
            builder.keep(known)
        else:
            builder.put(
                None if low is None else key_text(low),
                key_text(high),
                listed=len(keys),
                digest=raw,
                rows=rows_of(objects, keys),
            )
    return builder.finish()


def same_span(past: ObjectTable | None, low: bytes | None, high: bytes, raw: str) -> Span | None:
    """The span of the past with these bounds and this digest."""
    if past is None:
        return None
    lows = [None, *past.manifest.bounds]
    found = zip(lows, past.manifest.bounds, past.manifest.spans, strict=False)
    return next(
        (span for start, end, span in found if (start, end, span.digest) == (low, high, raw)), None
    )


def facts_of(item: Item) -> tuple[bytes, Facts]:
    """The object that an item tells of."""
    size, etag, modified = (item.data[name] for name in IDENTITY)
    assert isinstance(size, int)
    assert isinstance(modified, str)
    assert etag is None or isinstance(etag, str)
    return key_bytes(item.key), Facts(size, etag, dt.datetime.fromisoformat(modified))


def objects_in(items: Iterable[Item]) -> Objects:
    """The objects that the items tell of; it must be one for each key, in the order of keys."""
    found = [facts_of(item) for item in items]
    assert all(one < other for (one, _), (other, _) in pairwise(found))
    return dict(found)
