"""Collections of items that are read, a group of rows at a time, whenever they are iterated."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from flowproject.changes.item import Item
from flowproject.tables.columns import object_items, object_schema
from flowproject.tables.compare import after, before, edit_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Form", "LazyRows", "as_text", "edits_of_objects", "objects", "to_arrow"]

T = TypeVar("T")
_PIECE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Form(Generic[T]):
    """How rows of these columns are read. `identity` is None if the rows are no objects."""

    schema: "pa.Schema"
    decode: "Callable[[pa.Table], Iterable[T]]"
    identity: tuple[str, ...] | None = None


class LazyRows(Collection[T], Generic[T]):
    """Some rows that are kept elsewhere: sized, and iterated as often as you like.

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
        passed, skipped = 0, 0
        for size in self._sizes:
            if skipped + size > start:
                break
            passed, skipped = passed + 1, skipped + size
        ahead = start - skipped
        for table in self._read(passed, _PIECE) if self._sizes else self._read():
            if ahead < len(table):
                yield table.slice(ahead)
            ahead = max(0, ahead - len(table))

    def to_arrow(self) -> "pa.RecordBatchReader":
        """The rows as a stream of Arrow, with their keys as text."""
        return as_text(self.form.schema, self.tables())


def to_arrow(collection: Collection[Any]) -> "pa.RecordBatchReader":
    """What was read from a difference as a stream of Arrow; nothing has the columns of objects."""
    if isinstance(collection, LazyRows):
        return collection.to_arrow()
    if len(collection):
        raise TypeError(f"{type(collection).__name__} was not read from a difference")
    return as_text(object_schema(), ())


def objects(identity: tuple[str, ...]) -> Form[Item]:
    """The form of objects whose versions follow from the columns of `identity`."""

    def decode(rows: "pa.Table") -> Iterator[Item]:
        return object_items(rows, identity)

    return Form(schema=object_schema(), decode=decode, identity=identity)


def edits_of_objects(identity: tuple[str, ...]) -> Form[tuple[Item, Item]]:
    """The form of modified objects, old and new."""

    def decode(rows: "pa.Table") -> Iterator[tuple[Item, Item]]:
        old, new = object_items(before(rows), identity), object_items(after(rows), identity)
        return zip(old, new, strict=True)

    return Form(schema=edit_schema(), decode=decode, identity=identity)


def as_text(schema: "pa.Schema", tables: "Iterable[pa.Table]") -> "pa.RecordBatchReader":
    r"""The rows as a stream of Arrow for people: bytes as text, and no digests.

    Bytes that are no UTF-8 become `\xff`.
    """
    import pyarrow as pa

    fields = [field for field in schema if not pa.types.is_fixed_size_binary(field.type)]
    shown = pa.schema(
        [f.with_type(pa.string()) if pa.types.is_binary(f.type) else f for f in fields]
    )
    batches = (
        batch
        for table in tables
        for batch in pa.Table.from_arrays(
            [_text(table[field.name]) for field in fields], schema=shown
        ).to_batches()
    )
    return pa.RecordBatchReader.from_batches(shown, batches)


def _text(column: Any) -> Any:
    import pyarrow as pa

    if not pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = (raw and raw.decode("utf-8", "backslashreplace") for raw in column.to_pylist())
        return pa.chunked_array([pa.array(decoded, pa.string())])
