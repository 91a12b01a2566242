"""Describes a large table without its rows: spans of its keys with their digests, and its files."""

from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, digest, digest_value

__all__ = [
    "FILE_IDENTITY",
    "IDENTITY",
    "MODULUS",
    "MTIME",
    "NEW",
    "NO_ROWS",
    "SPAN_ROWS",
    "Manifest",
    "Span",
    "fingerprint",
    "key_bytes",
    "key_text",
]

SPAN_ROWS: Final = 4000
"""Keys that a span is made for: few enough to parse in a moment, and a manifest stays small."""

NEW: Final = ""
"""The name of the segment that a look wrote and that no journal has recorded yet."""

NO_ROWS: Final = -1
"""The segment and the row group of a span without items."""

IDENTITY: Final = ("size", "etag", "modified")
"""The columns that can make a version; `ignore` leaves some out."""

MTIME: Final = "mtime_ns"
"""The column of a file's time, in nanoseconds."""

FILE_IDENTITY: Final = ("size", MTIME)
"""The columns that make the version of a file; tables with these have files in them."""

MODULUS: Final = 2**128
"""What totals are taken modulo of: digests have 128 bits."""

_FORMAT: Final = 1
_KIND: Final = "objects"
_SPAN_FIELDS: Final = 6


@dataclass(frozen=True, slots=True)
class Span:
    """The keys after the previous span's last one, up to and including `last`.

    `listed` keys are there, and `count` of them are items. `digest` is of what the server sent; an
    empty one equals none. The rows are row group `group` of the manifest's segment `segment`.
    """

    last: str
    listed: int
    count: int
    digest: str
    segment: int = NO_ROWS
    group: int = NO_ROWS


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A table of objects: its spans in the order of their keys, and where their rows are.

    Digests and `total` (the sum of the digests of all items, modulo 2**128) can be compared only
    with those of the same `view`: the digest of what is listed and how it is compared. `segments`
    are Parquet files; `rows` says how many rows each has, needed or not. `ordered` is False if the
    server does not list in the order of keys. `identity` are the columns that make a version.
    """

    view: str
    total: int
    spans: tuple[Span, ...]
    segments: tuple[str, ...]
    rows: tuple[int, ...] = ()
    ordered: bool = True
    identity: tuple[str, ...] = IDENTITY

    @cached_property
    def count(self) -> int:
        """How many items there are."""
        return sum(span.count for span in self.spans)

    @cached_property
    def listed(self) -> int:
        """How many keys were listed, whether they are items or not."""
        return sum(span.listed for span in self.spans)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all items."""
        kind = "items" if MTIME in self.identity else "objects"
        return fingerprint(self.count, self.total, kind)

    @cached_property
    def bounds(self) -> list[bytes]:
        """The last key of every span, for bisection."""
        # As bytes, because Python compares text by code points, which differ from UTF-8 at
        # surrogates.
        return [key_bytes(span.last) for span in self.spans]

    def low(self, index: int) -> str | None:
        """The key after which a span begins; None for the first one."""
        return self.spans[index - 1].last if index else None

    def covering(self, low: str | None, high: str | None) -> range:
        """The places of the spans that share keys with (low, high]; None stands for no bound."""
        first = 0 if low is None else bisect_right(self.bounds, key_bytes(low))
        end = len(self.spans) if high is None else bisect_left(self.bounds, key_bytes(high)) + 1
        return range(first, min(end, len(self.spans)))

    def recorded(self, segment: str) -> Self:
        """The same manifest, now that its new segment has the name `segment`."""
        names = tuple(segment if name == NEW else name for name in self.segments)
        return replace(self, segments=names)

    def to_json(self) -> dict[str, Json]:
        """The manifest as JSON, with its format and a digest that shows damage."""
        # Lists in place of objects: names of fields would be half of a manifest of thousands of
        # spans.
        spans: list[Json] = [
            [_key_to_json(s.last), s.listed, s.count, s.digest, s.segment, s.group]
            for s in self.spans
        ]
        body: dict[str, Json] = {
            "v": _FORMAT,
            "kind": _KIND,
            "view": self.view,
            "total": f"{self.total:032x}",
            "ordered": self.ordered,
            "identity": [*self.identity],
            "segments": [*self.segments],
            "rows": [*self.rows],
            "spans": spans,
        }
        return {**body, "digest": digest_value(body)}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The manifest that `to_json` wrote.

        Raises:
            ValueError: if it is damaged, or a later flowproject wrote it.
        """
        known = document if isinstance(document, Mapping) else {}
        body = {key: value for key, value in known.items() if key != "digest"}
        if known.get("digest") != digest_value(body):
            raise ValueError("its digest does not match what it says")
        if (body.get("v"), body.get("kind")) != (_FORMAT, _KIND):
            raise ValueError(f"its format is {body.get('v')!r}, and this is {_FORMAT}")
        manifest = cls(
            view=body["view"],
            total=int(body["total"], 16),
            spans=tuple(map(_span, body["spans"])),
            segments=tuple(body["segments"]),
            rows=tuple(body["rows"]),
            ordered=body["ordered"],
            identity=tuple(body["identity"]),
        )
        # Everything is found by bisection, which would miss keys if they were not in order.
        if not all(low < high for low, high in pairwise(manifest.bounds)):
            raise ValueError("its spans are not in order")
        return manifest


def _span(values: list[Any]) -> Span:
    if len(values) != _SPAN_FIELDS:
        raise ValueError(f"one of its spans has {len(values)} fields")
    last, *others = values
    return Span(_key_from_json(last), *others)


def key_bytes(key: str) -> bytes:
    """The bytes of a key, whose order is the order of keys."""
    # Sources hand on keys as Python has them, where bytes that are no UTF-8 are lone surrogates.
    return key.encode("utf-8", "surrogateescape")


def key_text(raw: bytes) -> str:
    """The key that has these bytes; those that are no UTF-8 become lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def fingerprint(count: int, total: int, kind: str = "objects") -> str:
    """The fingerprint of a table of objects: the same for the same objects, however listed.

    A sum over digests (Bellare and Micciancio's AdHash) follows from what was added and removed.
    """
    return digest(kind, str(count), f"{total % MODULUS:032x}")


def _key_to_json(key: str) -> Json:
    # A lone surrogate can't be written as UTF-8, and JSON must be.
    raw = key_bytes(key)
    return [b64encode(raw).decode("ascii")] if _has_surrogates(key) else key


def _key_from_json(value: Any) -> str:
    return key_text(b64decode(value[0])) if isinstance(value, list) else str(value)


def _has_surrogates(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return True
    return False
