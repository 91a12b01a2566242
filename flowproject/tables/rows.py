"""Items of any source as Parquet: small tables, whose data is JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.item import Item
from flowproject.tables.lazy import Form
from flowproject.tables.segments import parquet_options, reading

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["edits_of_rows", "pack_edits", "pack_items", "read_items", "rows", "write_items"]

_OLD: Final = "old_"
_NEW: Final = "new_"


def write_items(items: Mapping[str, Item]) -> bytes:
    """The items as Parquet, sorted by key."""
    import pyarrow.parquet as pq

    table = pack_items(items[key] for key in sorted(items))
    buffer = BytesIO()
    pq.write_table(table, buffer, **parquet_options(table.schema))
    return buffer.getvalue()


def read_items(content: bytes) -> dict[str, Item]:
    """The items that `write_items` wrote, by key.

    Raises:
        ValueError: if the content is not such a table.
    """
    import pyarrow.parquet as pq

    with reading(ValueError):
        table = pq.read_table(BytesIO(content))
    if not table.schema.equals(_schema("")):
        raise ValueError(f"its columns are {table.schema.names}")
    return {item.key: item for item in _unpack(table, "")}


def rows() -> Form[Item]:
    """The form of items whose data is JSON."""
    return Form(schema=_schema(""), decode=lambda table: _unpack(table, ""))


def edits_of_rows() -> Form[tuple[Item, Item]]:
    """The form of modified items whose data is JSON, old and new."""

    def decode(table: "pa.Table") -> Iterator[tuple[Item, Item]]:
        return zip(_unpack(table, _OLD), _unpack(table, _NEW), strict=True)

    return Form(schema=_schema(_OLD, _NEW), decode=decode)


def pack_items(items: Iterable[Item]) -> "pa.Table":
    """The items as columns: key, version, data."""
    return _pack([*items], "")


def pack_edits(edits: Iterable[tuple[Item, Item]]) -> "pa.Table":
    """Modified items as columns: what they were, what they are."""
    import pyarrow as pa

    pairs = [*edits]
    old, new = _pack([old for old, _ in pairs], _OLD), _pack([new for _, new in pairs], _NEW)
    return pa.Table.from_arrays([*old.columns, *new.columns], schema=_schema(_OLD, _NEW))


@cache
def _schema(*prefixes: str) -> "pa.Schema":
    import pyarrow as pa

    kinds = {"key": pa.binary(), "version": pa.binary(16), "data": pa.binary()}
    return pa.schema({prefix + name: kind for prefix in prefixes for name, kind in kinds.items()})


def _pack(items: list[Item], prefix: str) -> "pa.Table":
    import pyarrow as pa

    columns = [
        [_raw(item.key) for item in items],
        [bytes.fromhex(item.version) for item in items],
        [_raw(dumps({**item.data})) for item in items],
    ]
    schema = _schema(prefix)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _unpack(table: "pa.Table", prefix: str) -> Iterator[Item]:
    columns = (table[field.name].to_pylist() for field in _schema(prefix))
    for key, version, data in zip(*columns, strict=True):
        parsed: dict[str, Json] = json.loads(_text(data))
        yield Item(key=_text(key), version=version.hex(), data=parsed)


def _raw(text: str) -> bytes:
    # File names that are no UTF-8 reach Python as lone surrogates; they must survive.
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
