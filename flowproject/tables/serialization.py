"""Writes items and differences as Parquet: objects in columns of their own, other items as JSON.

Whatever its size, a difference is written and read a group of rows at a time. A group holds rows
of one kind; the file itself says how many there are of each.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from flowproject.changes.canonical import Json, digest_value, dumps
from flowproject.changes.difference import Difference, Item
from flowproject.tables.lazy_rows import Form, LazyRows, edits_of_objects, objects
from flowproject.tables.object_rows import columns_of
from flowproject.tables.segments import Damaged, Segment, parquet_options, reading

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "item_edits_form",
    "item_form",
    "item_schema",
    "pack_items",
    "packed",
    "raw",
    "read_difference",
    "read_items",
    "write_difference",
    "write_items",
]

_GROUP_ROWS: Final = 16_384
_NOTE: Final = b"flowproject"
_FORMAT: Final = 1
_KIND: Final = "kind"
_ADDED, _MODIFIED, _REMOVED = "added", "modified", "removed"
_OLD: Final = "old_"
_NEW: Final = "new_"


@dataclass(frozen=True, kw_only=True)
class _RowKind:
    """Rows of one kind: how they are read, and the columns of the file that they stand in."""

    name: str
    form: Form[Any]
    columns: tuple[str, ...]
    pack: "Callable[[Iterable[Any]], pa.Table] | None" = None

    def tables(self, collection: Collection[Any]) -> "Iterator[pa.Table]":
        """The rows of a collection, in the columns of the form."""
        if not collection:
            return
        # What is in columns already would take minutes, turned into items and back.
        in_columns = isinstance(collection, LazyRows) and collection.form.identity is None
        if self.pack is None or (in_columns and collection.form.schema.equals(self.form.schema)):  # type: ignore[attr-defined]  # these are lazy rows
            yield from collection.tables()  # type: ignore[attr-defined]
            return
        iterator = iter(collection)
        while batch := list(islice(iterator, _GROUP_ROWS)):
            yield self.pack(batch)

    def counts(self, segment: Segment, groups: Iterable[int]) -> dict[int, int]:
        """Which groups have rows of this kind, and how many; each group is looked at."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # Read without the other columns, which are most of the file.
        column = pa.schema([(_KIND, pa.string())])
        found = {
            group: pc.sum(pc.equal(segment.read(group, column)[_KIND], self.name)).as_py()
            for group in groups
        }
        return {group: rows for group, rows in found.items() if rows}

    def fold(self, table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
        """The rows in the columns of the file; those of other kinds are empty."""
        import pyarrow as pa

        known = {
            _KIND: pa.repeat(self.name, len(table)),
            **dict(zip(self.columns, table.columns, strict=True)),
        }
        columns = [known.get(f.name, pa.nulls(len(table), f.type)) for f in schema]
        return pa.Table.from_arrays(columns, schema=schema)

    @property
    def schema(self) -> "pa.Schema":
        """Its columns in the file, with that of the kind."""
        import pyarrow as pa

        names = zip(self.columns, self.form.schema, strict=True)
        return pa.schema([(_KIND, pa.string()), *((name, f.type) for name, f in names)])

    def unfold(self, table: "pa.Table") -> "pa.Table":
        """The rows of this kind among those of the file, in the columns of the form."""
        import pyarrow.compute as pc

        table = table.filter(pc.equal(table[_KIND], self.name)).drop_columns([_KIND])
        return table.rename_columns(self.form.schema.names)


def write_difference(file: BinaryIO, difference: Difference) -> None:
    """Write the difference to the file, a group of rows at a time."""
    import pyarrow.parquet as pq

    # Objects keep columns of their own only if all of them have the same: then a reader makes the
    # very same versions of them.
    identity = _identity(difference)
    kinds = _kinds(identity)
    schema = _schema(kinds[1], _note(identity, difference.counts))
    collections = (difference.added, difference.modified, difference.removed)
    # One file for all kinds: three would be three requests more for each change.
    with pq.ParquetWriter(file, schema, **parquet_options(schema)) as parquet:
        for kind, collection in zip(kinds, collections, strict=True):
            for table in _groups(kind.tables(collection)):
                parquet.write_table(kind.fold(table, schema), row_group_size=len(table))


def read_difference(open_file: Callable[[], BinaryIO], damaged: Damaged = ValueError) -> Difference:
    """Open a difference that `write_difference` wrote; its rows are read when they are iterated.

    Raises:
        Exception: what `damaged` makes of the reason, if the file can't be read. Of rows that may
            show only when they are read.
    """
    segment = Segment(open_file, "", damaged)
    layout = _layout(segment, damaged)
    views = [
        LazyRows(
            sum(rows.values()),
            partial(_read, kind, segment, [*rows]),
            kind.form,
            sizes=[*rows.values()],
        )
        for kind, rows in layout
    ]
    added, modified, removed = views
    return Difference(added=added, modified=modified, removed=removed)


def _layout(segment: Segment, damaged: Damaged) -> list[tuple[_RowKind, dict[int, int]]]:
    """The kinds, and for each how many rows which groups have of it."""
    note, groups = segment.metadata.get(_NOTE), segment.groups
    # Files from before there were large differences have no note, and few rows.
    if note is None:
        kinds = _kinds(None)
        return [(kind, kind.counts(segment, range(len(groups)))) for kind in kinds]
    with reading(damaged):
        identity, counts = _noted(note)
        kinds, places = _kinds(identity), enumerate(groups)
        return [(kind, _allotted(places, counts[kind.name])) for kind in kinds]


def _note(identity: tuple[str, ...] | None, counts: Mapping[str, int]) -> bytes:
    """What the file says of its rows."""
    # With a digest, because Parquet has checksums for pages and none for its footer.
    body: dict[str, Json] = {
        "v": _FORMAT,
        "identity": None if identity is None else [*identity],
        "counts": {**counts},
    }
    return dumps({**body, "digest": digest_value(body)}).encode()


def _noted(note: bytes) -> tuple[tuple[str, ...] | None, dict[str, int]]:
    """The identity and the counts of a note; ValueError if it is damaged or of a later version."""
    body = json.loads(note)
    if body.pop("digest", None) != digest_value(body) or body["v"] != _FORMAT:
        raise ValueError("its note is damaged, or a later version wrote it")
    identity = body["identity"]
    return None if identity is None else tuple(identity), body["counts"]


def _allotted(groups: Iterator[tuple[int, int]], count: int) -> dict[int, int]:
    """Take the next groups that have `count` rows in all, with the rows of each."""
    taken: dict[int, int] = {}
    # Groups stand in the order of kinds, so counting them off tells whose they are without a look
    # at their rows.
    left = count
    while left > 0:
        group, rows = next(groups, (0, 0))
        if not 0 < rows <= left:
            raise ValueError("its rows are not those that it speaks of")
        taken[group] = rows
        left -= rows
    return taken


def _read(
    kind: _RowKind, segment: Segment, groups: Sequence[int], passed: int = 0, rows: int = 0
) -> "Iterator[pa.Table]":
    """The groups that are not passed over, whole or in pieces of so many rows."""
    for group in groups[passed:]:
        if rows:
            yield from map(kind.unfold, segment.pieces(group, kind.schema, rows))
        else:
            yield kind.unfold(segment.read(group, kind.schema))


def _groups(tables: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
    """Join tables until they are worth a group of their own."""
    import pyarrow as pa

    # A tick spills a table for each range that moved: a group for each of them would be mostly
    # headers.
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _identity(difference: Difference) -> tuple[str, ...] | None:
    """The identity of the objects that changed; None if they are others than these, or mixed."""
    collections = (difference.added, difference.modified, difference.removed)
    # Collections without a row have no say: they may be plain tuples.
    found = {
        some.form.identity if isinstance(some, LazyRows) else None for some in collections if some
    }
    return found.pop() if len(found) == 1 else None


def _kinds(identity: tuple[str, ...] | None) -> tuple[_RowKind, _RowKind, _RowKind]:
    """What was added, modified and removed: objects with this identity, or other items."""
    if identity is None:
        return _kinds_of_rows()
    one, two, names = objects(identity), edits_of_objects(identity), columns_of(identity)
    return (
        _RowKind(name=_ADDED, form=one, columns=("key", *(f"new_{name}" for name in names))),
        _RowKind(name=_MODIFIED, form=two, columns=tuple(two.schema.names)),
        _RowKind(name=_REMOVED, form=one, columns=("key", *(f"old_{name}" for name in names))),
    )


def _kinds_of_rows() -> tuple[_RowKind, _RowKind, _RowKind]:
    one, two = item_form(), item_edits_form()
    new, old = (tuple(f"{when}_{name}" for name in one.schema.names) for when in ("new", "old"))
    return (
        _RowKind(name=_ADDED, form=one, columns=new, pack=pack_items),
        _RowKind(name=_MODIFIED, form=two, columns=tuple(two.schema.names), pack=_pack_edits),
        _RowKind(name=_REMOVED, form=one, columns=old, pack=pack_items),
    )


def _schema(modified: _RowKind, note: bytes) -> "pa.Schema":
    """All columns of the file: those of modified rows, which are old and new at once."""
    import pyarrow as pa

    columns = [pa.field(_KIND, pa.string()), *modified.form.schema]
    return pa.schema(columns, metadata={_NOTE: note})


def write_items(items: Mapping[str, Item]) -> bytes:
    """Write the items as Parquet, sorted by key."""
    import pyarrow.parquet as pq

    # Sorted, so that the same items make the same file.
    table = pack_items(items[key] for key in sorted(items))
    buffer = BytesIO()
    pq.write_table(table, buffer, **parquet_options(table.schema))
    return buffer.getvalue()


def read_items(content: bytes) -> dict[str, Item]:
    """Read the items that `write_items` wrote, by key.

    Raises:
        ValueError: if the content is not such a table.
    """
    import pyarrow.parquet as pq

    with reading(ValueError):
        table = pq.read_table(BytesIO(content))
    # Read whole and checked here: what it lacks would show as a KeyError far away.
    if not table.schema.equals(item_schema("")):
        raise ValueError(f"its columns are {table.schema.names}")
    return {item.key: item for item in _unpack(table, "")}


def item_form() -> Form[Item]:
    """The form of items whose data is JSON."""
    return Form(schema=item_schema(""), decode=lambda table: _unpack(table, ""))


def item_edits_form() -> Form[tuple[Item, Item]]:
    """The form of modified items whose data is JSON, old and new."""

    def decode(table: "pa.Table") -> Iterator[tuple[Item, Item]]:
        return zip(_unpack(table, _OLD), _unpack(table, _NEW), strict=True)

    return Form(schema=item_schema(_OLD, _NEW), decode=decode)


def pack_items(items: Iterable[Item]) -> "pa.Table":
    """The items as columns: key, version, data."""
    return _pack([*items], "")


def _pack_edits(edits: Iterable[tuple[Item, Item]]) -> "pa.Table":
    """Modified items as columns: what they were, what they are."""
    import pyarrow as pa

    pairs = [*edits]
    old, new = _pack([old for old, _ in pairs], _OLD), _pack([new for _, new in pairs], _NEW)
    return pa.Table.from_arrays([*old.columns, *new.columns], schema=item_schema(_OLD, _NEW))


@cache
def item_schema(*prefixes: str) -> "pa.Schema":
    """The columns of items whose data is JSON; those of `old_` and `new_` ones side by side."""
    import pyarrow as pa

    # Bytes, because names of files and texts in data need not be UTF-8.
    kinds = {"key": pa.binary(), "version": pa.binary(16), "data": pa.binary()}
    return pa.schema({prefix + name: kind for prefix in prefixes for name, kind in kinds.items()})


def _pack(items: list[Item], prefix: str) -> "pa.Table":
    return packed(
        [item.key for item in items],
        [item.version for item in items],
        [dumps({**item.data}) for item in items],
        prefix,
    )


def packed(
    keys: Sequence[str], versions: Sequence[str], texts: Sequence[str], prefix: str = ""
) -> "pa.Table":
    """Items as columns, of which each has its data in the words of `dumps`."""
    import pyarrow as pa

    columns = [[*map(raw, keys)], [*map(bytes.fromhex, versions)], [*map(raw, texts)]]
    schema = item_schema(prefix)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _unpack(table: "pa.Table", prefix: str) -> Iterator[Item]:
    columns = (table[field.name].to_pylist() for field in item_schema(prefix))
    for key, version, data in zip(*columns, strict=True):
        parsed: dict[str, Json] = json.loads(_text(data))
        yield Item(key=_text(key), version=version.hex(), data=parsed)


def raw(text: str) -> bytes:
    """The bytes that a text is kept as."""
    # File names that are no UTF-8 reach Python as lone surrogates; they must survive.
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
