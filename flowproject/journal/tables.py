"""The one home of pyarrow: items and differences as Parquet bytes, and back."""

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.difference import Difference
from flowproject.changes.observation import Item

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_difference", "read_items", "write_difference", "write_items"]

_ADDED, _MODIFIED, _REMOVED = "added", "modified", "removed"
_PARQUET: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": False,
}


def write_items(items: Mapping[str, Item]) -> bytes:
    """The items as Parquet, sorted by key."""
    import pyarrow as pa

    ordered = [items[key] for key in sorted(items)]
    return _to_bytes(pa.table(_columns("", ordered)))


def read_items(content: bytes) -> dict[str, Item]:
    """The items that `write_items` wrote, by key.

    Raises:
        ValueError: if the content is not such a table.
    """
    items = (_item(row, "") for row in _rows(content))
    return {item.key: item for item in items if item is not None}


def write_difference(difference: Difference) -> bytes:
    """The difference as Parquet: one line for each item, with what it was and what it is."""
    import pyarrow as pa

    kinds = (
        [_ADDED] * len(difference.added)
        + [_MODIFIED] * len(difference.modified)
        + [_REMOVED] * len(difference.removed)
    )
    old: list[Item | None] = [
        *(None for _ in difference.added),
        *(before for before, _ in difference.modified),
        *difference.removed,
    ]
    new: list[Item | None] = [
        *difference.added,
        *(after for _, after in difference.modified),
        *(None for _ in difference.removed),
    ]
    return _to_bytes(pa.table({"kind": kinds, **_columns("old_", old), **_columns("new_", new)}))


def read_difference(content: bytes) -> Difference:
    """The difference that `write_difference` wrote.

    Raises:
        ValueError: if the content is not such a table.
    """
    added, modified, removed = [], [], []
    for row in _rows(content):
        old, new = _item(row, "old_"), _item(row, "new_")
        if old and new:
            modified.append((old, new))
        elif new:
            added.append(new)
        elif old:
            removed.append(old)
    return Difference(added=tuple(added), modified=tuple(modified), removed=tuple(removed))


def _columns(prefix: str, items: Iterable[Item | None]) -> "dict[str, pa.Array]":
    import pyarrow as pa

    present = list(items)
    return {
        f"{prefix}key": pa.array([item and _raw(item.key) for item in present], pa.binary()),
        f"{prefix}version": pa.array(
            [item and bytes.fromhex(item.version) for item in present], pa.binary(16)
        ),
        f"{prefix}data": pa.array(
            [item and _raw(dumps({**item.data})) for item in present], pa.binary()
        ),
    }


def _raw(text: str) -> bytes:
    # File names that are no UTF-8 reach Python as lone surrogates; they must survive.
    return text.encode("utf-8", "surrogatepass")


def _item(row: Mapping[str, Any], prefix: str) -> Item | None:
    key = row[f"{prefix}key"]
    if key is None:
        return None
    data: dict[str, Json] = json.loads(row[f"{prefix}data"].decode("utf-8", "surrogatepass"))
    return Item(
        key=key.decode("utf-8", "surrogatepass"), version=row[f"{prefix}version"].hex(), data=data
    )


def _to_bytes(table: "pa.Table") -> bytes:
    import pyarrow.parquet as pq

    buffer = BytesIO()
    pq.write_table(table, buffer, **_PARQUET)
    return buffer.getvalue()


def _rows(content: bytes) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(BytesIO(content)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        message = f"it is no Parquet table: {str(error).partition(chr(10))[0]}"
        raise ValueError(message) from error
    return rows
