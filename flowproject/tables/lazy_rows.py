"""Holds collections of items that are read from disk, a group of rows at a time, when iterated.

Also what is made of one without reading all of it: a page of its rows, a search, other columns.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeGuard, TypeVar

from flowproject.changes.difference import Difference, Item
from flowproject.tables.file_rows import moments
from flowproject.tables.manifest import MTIME, key_text
from flowproject.tables.object_rows import after, before, edit_schema, object_items, object_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Excerpt",
    "Form",
    "LazyRows",
    "are_objects",
    "as_text",
    "edits_of_objects",
    "excerpt",
    "matching",
    "objects",
    "with_versions",
]

T = TypeVar("T")
_PIECE: Final = 4096
_SEARCHED: Final = 400_000
"""Rows that one search looks at; the next one goes on from there."""

_VERSION: Final = "version_id"
_NEW_VERSION: Final = "new_version_id"


@dataclass(frozen=True, kw_only=True)
class Form(Generic[T]):
    """How rows of a schema are decoded. `identity` is None if the rows are no objects."""

    schema: "pa.Schema"
    decode: "Callable[[pa.Table], Iterable[T]]"
    identity: tuple[str, ...] | None = None


class LazyRows(Collection[T], Generic[T]):
    """A collection whose rows are kept on disk: it has a size, and is read when it is iterated.

    `sizes` says how many rows each table of `read` has; then `read` takes the number of tables to
    pass over and the rows of a piece, and whoever wants a few need not read those before and after.
    """

    def __init__(
        self,
        count: int,
        read: "Callable[..., Iterable[pa.Table]]",
        form: Form[T],
        sizes: Sequence[int] = (),
    ) -> None:
        self._count = count
        self._read = read
        self._sizes = sizes
        self.form = form

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        for rows in self._read():
            yield from self.form.decode(rows)

    def __contains__(self, wanted: object, /) -> bool:
        return any(wanted == found for found in self)

    def __repr__(self) -> str:
        return f"<{self._count:,} rows: {', '.join(self.form.schema.names)}>"

    def tables(self) -> "Iterator[pa.Table]":
        """The rows as they are kept, a group at a time."""
        yield from self._read()

    def tables_from(self, start: int) -> "Iterator[pa.Table]":
        """The rows from the `start`-th on, counted from 0, some at a time."""
        # Groups before the start are not even unpacked: the sizes say how many rows they have.
        passed, skipped = 0, 0
        for size in self._sizes:
            if skipped + size > start:
                break
            passed, skipped = passed + 1, skipped + size
        ahead = start - skipped
        # In pieces, because a page of a hundred rows needs no group of sixteen thousand.
        for table in self._read(passed, _PIECE) if self._sizes else self._read():
            if ahead < len(table):
                yield table.slice(ahead)
            ahead = max(0, ahead - len(table))

    def to_arrow(self) -> "pa.RecordBatchReader":
        """The rows as a stream of Arrow, with their keys as text."""
        return as_text(self.form.schema, self.tables())


def are_objects(collection: Collection[Any]) -> TypeGuard[LazyRows[Any]]:
    """Whether these are rows of objects, which are kept in columns of their own."""
    return isinstance(collection, LazyRows) and collection.form.identity is not None


def objects(identity: tuple[str, ...]) -> Form[Item]:
    """The form of objects whose versions follow from the columns of `identity`."""

    def decode(rows: "pa.Table") -> Iterator[Item]:
        return object_items(rows, identity)

    return Form(schema=object_schema(identity), decode=decode, identity=identity)


def edits_of_objects(identity: tuple[str, ...]) -> Form[tuple[Item, Item]]:
    """The form of modified objects, old and new."""

    def decode(rows: "pa.Table") -> Iterator[tuple[Item, Item]]:
        old, new = (object_items(side(rows, identity), identity) for side in (before, after))
        return zip(old, new, strict=True)

    return Form(schema=edit_schema(identity), decode=decode, identity=identity)


def as_text(schema: "pa.Schema", tables: "Iterable[pa.Table]") -> "pa.RecordBatchReader":
    r"""The rows as a stream of Arrow for people: bytes as text, and no digests.

    Bytes that are no UTF-8 become `\xff`.
    """
    import pyarrow as pa

    # Digests say nothing to a reader.
    fields = [field for field in schema if not pa.types.is_fixed_size_binary(field.type)]
    shown = pa.schema([_shown(field) for field in fields])
    batches = (
        batch
        for table in tables
        for batch in pa.Table.from_arrays(
            [_for_people(table[field.name], field) for field in fields], schema=shown
        ).to_batches()
    )
    return pa.RecordBatchReader.from_batches(shown, batches)


def _shown(field: "pa.Field") -> "pa.Field":
    import pyarrow as pa

    if field.name.endswith(MTIME):
        name = field.name.removesuffix(MTIME) + "modified"
        return pa.field(name, pa.timestamp("us", "UTC"))
    return field.with_type(pa.string()) if pa.types.is_binary(field.type) else field


def _for_people(column: Any, field: "pa.Field") -> Any:
    import pyarrow as pa

    if field.name.endswith(MTIME):
        return moments(column)
    if not pa.types.is_binary(column.type):
        return column
    try:
        # Keys that are no UTF-8 are rare: only their column goes through Python.
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = (raw and raw.decode("utf-8", "backslashreplace") for raw in column.to_pylist())
        return pa.chunked_array([pa.array(decoded, pa.string())])


@dataclass(frozen=True, kw_only=True)
class Excerpt(Generic[T]):
    """Some rows, and the place from which the next ones are to be looked for; 0 at the end."""

    rows: tuple[T, ...] = ()
    following: int = 0


def excerpt(collection: Collection[T], start: int, limit: int) -> Excerpt[T]:
    """At most `limit` rows from the `start`-th on, counted from 0. Only their groups are read."""
    found: list[T] = []
    # Decoded by the slice: JSON of the other rows would be parsed in vain.
    for table, form in _tables_from(collection, start):
        found += form.decode(table.slice(0, limit - len(found)))
        if len(found) == limit:
            break
    end = start + len(found)
    return Excerpt(rows=tuple(found), following=end if end < len(collection) else 0)


def matching(collection: Collection[T], text: str, start: int, limit: int) -> Excerpt[T]:
    """At most `limit` rows with `text`, in either case of letters, in their key or data.

    It begins at the `start`-th row, and looks at some hundred thousand of them.
    """
    found: list[T] = []
    place = start
    for table, form in _tables_from(collection, start):
        for hit in _hits(table, text):
            # The search goes on at the first hit that was not shown, and not after the last one
            # shown: so its end is known without another look.
            if len(found) == limit:
                return Excerpt(rows=tuple(found), following=place + hit)
            found += form.decode(table.slice(hit, 1))
        place += len(table)
        # A search that finds little would read a table of millions before it answers.
        if place - start >= _SEARCHED:
            break
    return Excerpt(rows=tuple(found), following=place if place < len(collection) else 0)


def _tables_from(collection: Collection[T], start: int) -> "Iterator[tuple[pa.Table, Form[T]]]":
    """The rows from the `start`-th on as they are kept, and how they are read."""
    if isinstance(collection, LazyRows):
        yield from ((table, collection.form) for table in collection.tables_from(start))
    elif len(collection):
        raise TypeError(f"{type(collection).__name__} was not read from a difference")


def _hits(rows: "pa.Table", text: str) -> list[int]:
    """Where in these rows the text occurs; letters outside ASCII only match in their own case."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.repeat(False, len(rows))  # noqa: FBT003  # a value, not a switch
    for field in rows.schema:
        # Old and new sides of modified rows are searched alike: `old_key`, `new_data`.
        if field.name.rpartition("_")[2] in {"key", "data"}:
            options = {"pattern": text.encode(), "ignore_case": True}
            # Bytes are compared: text in other encodings is there, too, and lowering letters beyond
            # ASCII would need it decoded.
            hits = pc.match_substring(rows[field.name].combine_chunks(), **options)
            found = pc.or_(found, pc.fill_null(hits, False))  # noqa: FBT003
    return [int(place) for place in pc.indices_nonzero(found).to_pylist()]


def with_versions(difference: Difference, versions: Mapping[str, str]) -> Difference:
    """Add version ids to the objects of a difference that arrived."""
    return Difference(
        added=_versioned(difference.added, _VERSION, versions),
        modified=_versioned(difference.modified, _NEW_VERSION, versions),
        removed=difference.removed,
    )


def _versioned(rows: Collection[Any], column: str, versions: Mapping[str, str]) -> Collection[Any]:
    if not isinstance(rows, LazyRows):
        return rows
    return LazyRows(len(rows), partial(_tables_with_versions, rows, column, versions), rows.form)


def _tables_with_versions(
    rows: LazyRows[Any], column: str, versions: Mapping[str, str]
) -> "Iterator[pa.Table]":
    import pyarrow as pa

    for table in rows.tables():
        # Put in while rows are read: a difference on disk is not written a second time.
        ids = [versions.get(key_text(key)) for key in table["key"].to_pylist()]
        place = table.schema.get_field_index(column)
        yield table.set_column(place, table.schema.field(place), pa.array(ids, pa.string()))
