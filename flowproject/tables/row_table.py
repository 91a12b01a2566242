"""Keeps the rows of a large result: in files that later looks add to, with which rows are left.

A row has a key, a version and its data; where an engine can digest rows itself, also a mark by
which it tells those that are as they were. What two looks share stays in the files of the first.
"""

import zlib
from array import array
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from flowproject.changes.canonical import Json, digest, digest_value
from flowproject.changes.difference import Item
from flowproject.changes.observation import Items, fingerprint_total, share
from flowproject.tables.lazy_rows import LazyRows
from flowproject.tables.manifest import MODULUS, NEW
from flowproject.tables.segments import Damaged, Segment, SegmentWriter
from flowproject.tables.serialization import item_form, item_schema, pack_items, packed, raw

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FEW_ROWS",
    "Marks",
    "RowManifest",
    "RowTable",
    "RowWriter",
    "compact_rows",
    "marks_schema",
    "row_tables",
    "rows_need_compaction",
    "sums_of_marks",
]

FEW_ROWS: Final = 50_000
"""Rows up to which a result is compared in memory, and kept as a table without a manifest."""

_FORMAT: Final = 1
_KIND: Final = "rows"
_GROUP_ROWS: Final = 50_000
_PIECE_ROWS: Final = 10_000
_MOST_SEGMENTS: Final = 16
_HIGH, _LOW, _PLACE = "high", "low", "place"
_HALF_BITS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Marks:
    """How the marks of rows are made: two are compared only if both `rule` and `salt` agree.

    A mark is the MD5 of a row's text behind the salt. Rows that are two by the canonical rule never
    share one.
    """

    rule: str
    salt: str


@dataclass(frozen=True, kw_only=True)
class RowManifest:
    """Describes a table of rows: the files with them, and which of their rows are in the table.

    `rows` says how many rows each segment has. `live` has a bit for each of them, those of the
    first segment lowest, which is set if the row is in the table. `total` is the sum that the
    fingerprint is made of; `marks` is None if rows have no marks.
    """

    total: int
    segments: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    live: int = field(default=0, repr=False)
    marks: Marks | None = None

    @cached_property
    def count(self) -> int:
        """How many rows the table has."""
        return self.live.bit_count()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all rows."""
        return fingerprint_total(self.count, self.total)

    def recorded(self, segment: str) -> Self:
        """The same manifest, now that its new segment has the name `segment`."""
        names = tuple(segment if name == NEW else name for name in self.segments)
        return replace(self, segments=names)

    def to_json(self) -> dict[str, Json]:
        """The manifest as JSON, with its format and a digest that shows damage."""
        bits = self.live.to_bytes(-(-sum(self.rows) // 8), "little")
        body: dict[str, Json] = {
            "v": _FORMAT,
            "kind": _KIND,
            "total": f"{self.total % MODULUS:032x}",
            "segments": [*self.segments],
            "rows": [*self.rows],
            "live": b64encode(zlib.compress(bits, 1)).decode("ascii"),
            "marks": [self.marks.rule, self.marks.salt] if self.marks else None,
        }
        return {**body, "digest": digest_value(body)}

    @classmethod
    def is_told(cls, document: object) -> bool:
        """Whether a document is the manifest of such a table, and not of another kind."""
        return isinstance(document, Mapping) and document.get("kind") == _KIND

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> Self:
        """The manifest that `to_json` wrote.

        Raises:
            ValueError: if it is damaged, or a later flowproject wrote it.
        """
        body = {key: value for key, value in document.items() if key != "digest"}
        if document.get("digest") != digest_value(body):
            raise ValueError("its digest does not match what it says")
        if body.get("v") != _FORMAT:
            raise ValueError(f"its format is {body.get('v')!r}, and this is {_FORMAT}")
        # What follows was written by `to_json`, as the digest says.
        rule_and_salt: list[str] = body["marks"] or []  # type: ignore[assignment]
        try:
            bits = zlib.decompress(b64decode(str(body["live"])))
        except (zlib.error, Base64Error) as error:
            raise ValueError(str(error)) from error
        return cls(
            total=int(str(body["total"]), 16),
            segments=tuple(body["segments"]),  # type: ignore[arg-type]
            rows=tuple(body["rows"]),  # type: ignore[arg-type]
            live=int.from_bytes(bits, "little"),
            marks=Marks(rule=rule_and_salt[0], salt=rule_and_salt[1]) if rule_and_salt else None,
        )


class RowTable:
    """The rows of a manifest, read a group at a time when they are asked for.

    `open_segment` opens a segment by its name, `damaged` makes the error for one that can't be
    read.
    """

    def __init__(
        self,
        manifest: RowManifest,
        open_segment: Callable[[str], BinaryIO],
        damaged: Damaged = ValueError,
        opened: dict[str, Segment] | None = None,
    ) -> None:
        self.manifest = manifest
        self.open_segment = open_segment
        self.damaged = damaged
        self.opened = {} if opened is None else opened
        self._lock = Lock()

    @classmethod
    def of_one_file(
        cls, name: str, rows: int, open_segment: Callable[[str], BinaryIO], damaged: Damaged
    ) -> Self:
        """A table that is one file without a manifest, as all were written once."""
        # Its total is not known, and not needed: no later table keeps a part of it, for the file
        # goes with its entry.
        manifest = RowManifest(total=0, segments=(name,), rows=(rows,), live=(1 << rows) - 1)
        return cls(manifest, open_segment, damaged)

    def __len__(self) -> int:
        return self.manifest.count

    def __contains__(self, key: object) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not isinstance(key, str):
            return False
        wanted = pa.scalar(raw(key), pa.binary())
        return any(pc.index(rows["key"], wanted).as_py() >= 0 for rows in self.tables())

    def values(self) -> Iterator[Item]:
        """Every row as an item."""
        form = item_form()
        return (item for rows in self.tables() for item in form.decode(rows))

    def tables(self) -> "Iterator[pa.Table]":
        """Every row, in the columns of items, a group at a time."""
        return self.read(item_schema(""))

    def lazy(self) -> LazyRows[Item]:
        """Every row, as a collection of what a difference added."""
        return LazyRows(len(self), self.tables, item_form())

    def read(self, schema: "pa.Schema", only: int | None = None) -> "Iterator[pa.Table]":
        """The rows of `only` (default: of the table) in these columns, a group at a time.

        `only` has a bit for the place of each row: its number among all rows of all segments.

        Raises:
            Exception: what `damaged` makes, if they can't be read.
        """
        for _, bits, rows in self._read(schema, self.manifest.live if only is None else only):
            yield rows if bits is None else rows.filter(bits)

    def marks(self) -> "Iterator[pa.Table]":
        """The mark of every row, with its place: tables of `marks_schema`."""
        import pyarrow as pa

        for start, bits, rows in self._read(pa.schema([*marks_schema()][:2]), self.manifest.live):
            # Not a list of Python's integers, which would be as slow as all the rest.
            numbers = array("Q", range(start, start + len(rows)))
            places = pa.Array.from_buffers(pa.uint64(), len(rows), [None, pa.py_buffer(numbers)])
            marks = rows.append_column(_PLACE, places)
            yield marks if bits is None else marks.filter(bits)

    def places(self, keys: Collection[str]) -> dict[str, int]:
        """The places of the rows that have one of these keys."""
        import pyarrow as pa
        import pyarrow.compute as pc

        names = sorted(map(raw, keys))
        wanted = pa.array(names, pa.binary())
        found: dict[str, int] = {}
        schema = pa.schema([("key", pa.binary())])
        for start, bits, rows in self._read(schema, self.manifest.live, names):
            hits = pc.is_in(rows["key"], value_set=wanted)
            hits = hits if bits is None else pc.and_(hits, bits)
            at = pc.indices_nonzero(hits)
            hit = rows["key"].take(at).to_pylist()
            for name, place in zip(hit, at.to_pylist(), strict=True):
                found[name.decode("utf-8", "surrogatepass")] = start + place
        return found

    def recorded(self, segment: str) -> "RowTable":
        """The same table, now that its new segment has the name `segment`."""

        def open_segment(name: str) -> BinaryIO:
            # The new segment is still in its temporary file, which spares a request.
            return self.open_segment(NEW if name == segment else name)

        return RowTable(self.manifest.recorded(segment), open_segment, self.damaged)

    def followed_by(self, gone: int, writer: "RowWriter") -> "RowTable":
        """This table without the rows at the places `gone`, and with those that were written."""
        manifest, offset = self.manifest, sum(self.manifest.rows)
        live = (manifest.live & ~gone) | (((1 << writer.count) - 1) << offset)
        following = replace(
            manifest,
            live=live,
            segments=(*manifest.segments, NEW) if writer.count else manifest.segments,
            rows=(*manifest.rows, writer.count) if writer.count else manifest.rows,
        )
        opened = writer.finish()

        def open_segment(name: str) -> BinaryIO:
            return opened() if name == NEW else self.open_segment(name)

        # A copy: another try of this look writes another segment under the same empty name.
        return RowTable(following, open_segment, self.damaged, {**self.opened})

    def with_total(self, total: int) -> "RowTable":
        """The same table, whose shares come to `total`."""
        manifest = replace(self.manifest, total=total % MODULUS)
        return RowTable(manifest, self.open_segment, self.damaged, self.opened)

    def _read(
        self, schema: "pa.Schema", wanted: int, keys: Sequence[bytes] | None = None
    ) -> "Iterator[tuple[int, pa.Array | None, pa.Table]]":
        """Each group that has a wanted row: the place of its first, which ones, and all its rows.

        They are None if all are wanted. With `keys`, which are sorted, groups are left out that can
        have none of them.
        """
        for segment, group, start, count in self._groups():
            if keys is not None and not _may_have(segment.bounds(group, "key"), keys):
                continue
            bits = (wanted >> start) & ((1 << count) - 1)
            if bits:
                is_all = bits.bit_count() == count
                yield start, None if is_all else _mask(bits, count), segment.read(group, schema)

    def _groups(self) -> Iterator[tuple[Segment, int, int, int]]:
        """Every group: its segment and number, the place of its first row, and how many it has."""
        start = 0
        for name, rows in zip(self.manifest.segments, self.manifest.rows, strict=True):
            segment = self._segment(name)
            sizes = segment.groups
            # Parquet can be whole and of another table: a copy that was put back by hand.
            if sum(sizes) != rows:
                raise self.damaged(f"{name!r} has {sum(sizes):,} rows where {rows:,} belong")
            for group, count in enumerate(sizes):
                yield segment, group, start, count
                start += count

    def _segment(self, name: str) -> Segment:
        with self._lock:
            if name not in self.opened:
                self.opened[name] = Segment(partial(self.open_segment, name), name, self.damaged)
            return self.opened[name]


class RowWriter:
    """Writes rows into a new segment, in any order and without keeping them in memory.

    `marks` says how those that come with them are made; without it rows have none.
    """

    def __init__(self, marks: Marks | None = None) -> None:
        self.count = 0
        self.total = 0
        self.high = 0
        self.low = 0
        self.marks = marks
        self._waiting: list[pa.Table] = []
        self._segment: SegmentWriter | None = None
        self._opened: Callable[[], BinaryIO] | None = None

    def add(
        self,
        keys: Sequence[str],
        texts: Sequence[str],
        high: Sequence[int] = (),
        low: Sequence[int] = (),
    ) -> None:
        """Add rows: their keys, their data in the words of `dumps`, and the halves of their marks.

        Raises:
            SourceError: if there is no room for them.
        """
        import pyarrow as pa

        versions = [digest(text) for text in texts]
        rows = packed(keys, versions, texts)
        if self.marks:
            rows = rows.append_column(_HIGH, pa.array(high, pa.uint64()))
            rows = rows.append_column(_LOW, pa.array(low, pa.uint64()))
        self.count += len(keys)
        self.total += sum(map(share, keys, versions))
        self.high += sum(high)
        self.low += sum(low)
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _GROUP_ROWS:
            self._write()

    def finish(self) -> Callable[[], BinaryIO]:
        """Finish the file, and return what opens it; called again it returns the same.

        Raises:
            SourceError: if there is no room for the rest.
        """
        if self._opened is None:
            self._write()
            self._opened = self._segment.finish() if self._segment else _no_file
        return self._opened

    def table(self) -> RowTable:
        """What was written, as a table of its own."""
        opened = self.finish()
        segments, rows = ((NEW,), (self.count,)) if self.count else ((), ())
        manifest = RowManifest(
            total=self.total % MODULUS,
            segments=segments,
            rows=rows,
            live=(1 << self.count) - 1,
            marks=self.marks,
        )
        return RowTable(manifest, lambda _: opened())

    def _write(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        if self._segment is None:
            self._segment = SegmentWriter(rows.schema, "key")
        self._segment.write(rows)


def marks_schema() -> "pa.Schema":
    """The halves of a row's mark, and its place."""
    import pyarrow as pa

    return pa.schema([(name, pa.uint64()) for name in (_HIGH, _LOW, _PLACE)])


def sums_of_marks(marks: "pa.Table") -> tuple[int, int]:
    """The sums of both halves of marks, of which none is cut off."""
    return _sum(marks[_HIGH]), _sum(marks[_LOW])


def _sum(column: Any) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    # Of their upper and lower bits apart, because a sum of Arrow's begins anew at 2**64.
    bits = pa.scalar(_HALF_BITS, pa.uint64())
    upper = pc.sum(pc.shift_right(column, bits)).as_py() or 0
    lower = pc.sum(pc.bit_wise_and(column, pa.scalar(2**_HALF_BITS - 1, pa.uint64()))).as_py() or 0
    return (int(upper) << _HALF_BITS) + int(lower)


def row_tables(items: Items) -> "Iterator[pa.Table]":
    """Items of any kind in the columns of rows, some at a time."""
    if isinstance(items, RowTable):
        yield from items.tables()
        return
    rest = iter(items.values())
    while some := [*islice(rest, _PIECE_ROWS)]:
        yield pack_items(some)


def rows_need_compaction(manifest: RowManifest) -> bool:
    """Whether more rows are kept in vain than are needed, or in too many files."""
    # Half in vain is where writing everything anew costs as much as was written since the last
    # time, so it stays a constant factor.
    in_vain = sum(manifest.rows) - manifest.count
    return in_vain > manifest.count or len(manifest.segments) > _MOST_SEGMENTS


def compact_rows(table: RowTable) -> RowTable:
    """Write a table anew into one segment."""
    import pyarrow as pa

    manifest = table.manifest
    if not manifest.count:
        return RowTable(replace(manifest, segments=(), rows=(), live=0), _no_segment)
    fields = [*item_schema("")]
    if manifest.marks:
        fields += [pa.field(_HIGH, pa.uint64()), pa.field(_LOW, pa.uint64())]
    schema = pa.schema(fields)
    writer = SegmentWriter(schema, "key")
    # A group at a time, because the whole table may be larger than memory.
    for rows in table.read(schema):
        writer.write(rows)
    opened = writer.finish()
    whole = replace(
        manifest, segments=(NEW,), rows=(manifest.count,), live=(1 << manifest.count) - 1
    )
    return RowTable(whole, lambda _: opened())


def _may_have(bounds: tuple[bytes, bytes] | None, keys: Sequence[bytes]) -> bool:
    """Whether a group with keys between these bounds may have one of these keys."""
    if bounds is None:
        return True
    least, greatest = bounds
    at = bisect_left(keys, least)
    return at < len(keys) and keys[at] <= greatest


def _mask(bits: int, count: int) -> "pa.Array":
    import pyarrow as pa

    buffer = pa.py_buffer(bits.to_bytes(-(-count // 8), "little"))
    return pa.Array.from_buffers(pa.bool_(), count, [None, buffer])


def _no_file() -> BinaryIO:
    raise FileNotFoundError("no row was written")


def _no_segment(name: str) -> BinaryIO:
    raise FileNotFoundError(f"there is no segment {name!r}")
