"""What happened to a large table, gathered window by window: on disk, until somebody asks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from flowproject.changes.difference import Difference
from flowproject.tables.compare import Moves
from flowproject.tables.lazy import Form, LazyRows, edits_of_objects, objects
from flowproject.tables.scratch import Slot, Spool

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MovesSpool"]

T = TypeVar("T")


class MovesSpool:
    """The moves of all windows. Not for two threads at once, but for reading."""

    def __init__(self, identity: tuple[str, ...]) -> None:
        self._added = _Pile(objects(identity))
        self._modified = _Pile(edits_of_objects(identity))
        self._removed = _Pile(objects(identity))

    def add(self, high: bytes, moves: Moves) -> None:
        """Keep the moves of the window that ends with the key `high`."""
        self._added.add(high, moves.added)
        self._modified.add(high, moves.modified)
        self._removed.add(high, moves.removed)

    def difference(self) -> Difference:
        """All moves, each kind in the order of keys."""
        return Difference(
            added=self._added.lazy(), modified=self._modified.lazy(), removed=self._removed.lazy()
        )


class _Pile(Generic[T]):
    """Rows of one kind, by the last key of their window."""

    def __init__(self, form: Form[T]) -> None:
        self._form = form
        self._spool = Spool(form.schema)
        self._slots: list[tuple[bytes, Slot]] = []
        self._count = 0

    def add(self, high: bytes, rows: "pa.Table") -> None:
        if len(rows):
            self._slots.append((high, self._spool.add(rows)))
            self._count += len(rows)

    def lazy(self) -> LazyRows[T]:
        return LazyRows(self._count, self._read, self._form)

    def _read(self) -> "Iterator[pa.Table]":
        return (self._spool.read(slot) for _, slot in sorted(self._slots))
