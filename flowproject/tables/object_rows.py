"""Makes the rows of objects as Arrow columns, digests them, and reads them as items."""

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Item
from flowproject.tables.file_rows import FILE_COLUMNS, file_items, file_schema, file_total, raw_name
from flowproject.tables.manifest import IDENTITY, MODULUS, MTIME, key_bytes, key_text

if TYPE_CHECKING:
    from typing import TypeAlias

    import pyarrow as pa

    Rows: TypeAlias = pa.Table  # for those who may not import pyarrow

__all__ = [
    "COLUMNS",
    "FOLDER_ENDINGS",
    "after",
    "before",
    "between",
    "columns_of",
    "content_digest",
    "edit_schema",
    "edits",
    "key_of",
    "no_rows",
    "object_items",
    "object_rows",
    "object_schema",
    "one_line",
    "rank",
    "total",
]

COLUMNS: Final = ("size", "etag", "modified", "version_id")
"""What is kept of an object besides its key."""

FOLDER_ENDINGS: Final = (b"/", b"_$folder$")
"""What the keys of empty objects end with that only stand for a folder."""

_DIGEST_BYTES: Final = 16
_SEPARATOR: Final = b"\0"


def columns_of(identity: tuple[str, ...]) -> tuple[str, ...]:
    """The columns besides the key of a table with this identity: of objects, or of files."""
    return FILE_COLUMNS if MTIME in identity else COLUMNS


@cache
def object_schema(identity: tuple[str, ...] = IDENTITY) -> "pa.Schema":
    """The columns of objects. Keys are bytes, because a key need not be UTF-8."""
    import pyarrow as pa

    if MTIME in identity:
        return file_schema()
    return pa.schema(
        {
            # Not text: S3 and file systems have keys that are no UTF-8, and bytes sort as S3 lists.
            "key": pa.binary(),
            "size": pa.int64(),
            "etag": pa.string(),
            "modified": pa.timestamp("us", "UTC"),
            "version_id": pa.string(),
        }
    )


def no_rows(identity: tuple[str, ...] = IDENTITY) -> "pa.Table":
    """The table of no objects."""
    return object_schema(identity).empty_table()


def key_of(text: str, identity: tuple[str, ...]) -> bytes:
    """The key in a table with this identity of the item that has the key `text`."""
    return raw_name(text) if MTIME in identity else key_bytes(text)


def object_rows(
    keys: "Sequence[bytes] | pa.Array",
    sizes: "Sequence[bytes | int] | pa.Array",
    etags: "Sequence[bytes | str | None] | pa.Array",
    modified: "Sequence[bytes | str | dt.datetime] | pa.Array",
    versions: "Sequence[str | None] | pa.Array | None" = None,
) -> "pa.Table":
    """The table of these objects, in the order in which they are given.

    Numbers and moments (ISO 8601 with a zone) may be text, as a server sends them.

    Raises:
        ValueError: if a value can't be read, or one that every object has is missing.
    """
    import pyarrow as pa

    given = (keys, sizes, etags, modified, [None] * len(keys) if versions is None else versions)
    schema = object_schema()
    try:
        columns = [_column(values, field.type) for values, field in zip(given, schema, strict=True)]
        table = pa.Table.from_arrays(columns, schema=schema)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise ValueError(one_line(error)) from error
    for name in ("key", "size", "modified"):
        if table[name].null_count:
            raise ValueError(f"an object has no {name}")
    return table


def object_items(rows: "pa.Table", identity: tuple[str, ...]) -> Iterator[Item]:
    """Each row as an item, whose version follows from the columns of `identity`."""
    import pyarrow as pa

    if MTIME in identity:
        yield from file_items(rows)
        return
    # Without a zone Arrow needs no time zone database, which a slim container does not have.
    moments = rows["modified"].cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
    # Column by column, because a value that is taken out of a row by itself costs
    # Python much more.
    columns = zip(
        rows["key"].to_pylist(),
        rows["size"].to_pylist(),
        rows["etag"].to_pylist(),
        map(_moment, moments),
        rows["version_id"].to_pylist(),
        _digests(_joined(_identities(rows, identity), len(rows))),
        strict=True,
    )
    for raw, size, etag, modified, version_id, digest in columns:
        key = key_text(raw)
        data: dict[str, Json] = {"key": key, "size": size, "etag": etag, "modified": modified}
        if version_id is not None:
            data["version_id"] = version_id
        yield Item(key=key, version=digest.hex(), data=data)


@cache
def edit_schema(identity: tuple[str, ...] = IDENTITY) -> "pa.Schema":
    """The columns of modified objects: the key, what it was, what it is."""
    import pyarrow as pa

    key, *columns = object_schema(identity)
    return pa.schema(
        [
            key,
            *(
                column.with_name(f"{when}_{column.name}")
                for when in ("old", "new")
                for column in columns
            ),
        ]
    )


def edits(old: "pa.Table", new: "pa.Table", identity: tuple[str, ...] = IDENTITY) -> "pa.Table":
    """Old and new rows of the same keys, side by side."""
    import pyarrow as pa

    names = columns_of(identity)
    columns = [new["key"], *(table[name] for table in (old, new) for name in names)]
    return pa.Table.from_arrays(columns, schema=edit_schema(identity))


def before(rows: "pa.Table", identity: tuple[str, ...] = IDENTITY) -> "pa.Table":
    """The old rows of what `edits` put side by side."""
    return _side(rows, "old", identity)


def after(rows: "pa.Table", identity: tuple[str, ...] = IDENTITY) -> "pa.Table":
    """The new rows of what `edits` put side by side."""
    return _side(rows, "new", identity)


def total(rows: "pa.Table", identity: tuple[str, ...]) -> int:
    """The sum of the digests of all rows, modulo 2**128: of their keys and their identity."""
    if not len(rows):
        return 0
    if MTIME in identity:
        return file_total(file_items(rows))
    # A sum over digests follows from what came and went, however a listing was cut.
    return sum(map(int.from_bytes, _digests(_records(rows, identity)))) % MODULUS


def content_digest(rows: "pa.Table", identity: tuple[str, ...]) -> str:
    """The digest of the rows in this order: of their keys and their identity."""
    # Over the rows in their order, unlike `total`: it stands for one span, and is cheaper.
    state = blake2b(digest_size=_DIGEST_BYTES)
    for record in _records(rows, identity):
        state.update(record)
    return state.hexdigest()


def rank(rows: "pa.Table", key: bytes) -> int:
    """Count the rows up to and including `key`, of rows in the order of keys."""
    # Rows are looked at one by one: turning all keys into Python values costs more than twelve
    # looks.
    keys = rows["key"]
    return bisect_right(range(len(keys)), key, key=lambda place: keys[place].as_py())


def between(rows: "pa.Table", low: str | None, high: str | None) -> "pa.Table":
    """The rows with low < key <= high, of rows in the order of keys; None stands for no bound."""
    start = 0 if low is None else rank(rows, key_bytes(low))
    end = len(rows) if high is None else rank(rows, key_bytes(high))
    return rows.slice(start, max(end - start, 0))


def one_line(error: Exception) -> str:
    """Shorten an error of Arrow to its first line: the others show where in Arrow it arose."""
    return str(error).partition("\n")[0]


def _column(values: Any, kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    # Some sources have columns of Arrow already, in narrower types.
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    # XML has text for everything, and Arrow parses it faster than Python would.
    is_text = len(values) > 0 and isinstance(values[0], bytes | str)
    if not is_text or pa.types.is_binary(kind) or pa.types.is_string(kind):
        return pa.array(values, kind)
    text = pa.array(values, pa.string())
    return _moments(text, kind) if pa.types.is_timestamp(kind) else text.cast(kind)


def _moments(text: "pa.Array", kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        # Some servers that speak S3 give nanoseconds, which do not fit without a loss.
        return text.cast(pa.timestamp("ns", "UTC")).cast(kind, safe=False)


def _moment(text: str) -> str:
    return f"{text[:10]}T{text[11:]}+00:00"


def _digests(records: Iterable[bytes]) -> list[bytes]:
    return [blake2b(record, digest_size=_DIGEST_BYTES).digest() for record in records]


def _records(rows: "pa.Table", identity: tuple[str, ...]) -> list[bytes]:
    """Each row's identity and key as bytes that no other row has."""
    # What has no fixed form is preceded by its length: without it, the end of an ETag could be
    # taken for the beginning of a key.
    keys = rows["key"]
    return _joined([*_identities(rows, identity), *_measured(keys)], len(rows))


def _identities(rows: "pa.Table", identity: tuple[str, ...]) -> "list[pa.ChunkedArray]":
    import pyarrow as pa

    columns: list[pa.ChunkedArray] = []
    # Sizes and moments have no separator in them, so they need no length before them.
    if "size" in identity:
        columns.append(rows["size"].cast(pa.string()).cast(pa.binary()))
    if "modified" in identity:
        columns.append(rows["modified"].cast(pa.int64()).cast(pa.string()).cast(pa.binary()))
    if "etag" in identity:
        columns += _measured(rows["etag"].cast(pa.binary()))
    return columns


def _measured(column: "pa.ChunkedArray") -> "list[pa.ChunkedArray]":
    """The length of each value, and the value; a missing one has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(column).cast(pa.string()).cast(pa.binary())
    return [pc.fill_null(lengths, b"-"), pc.fill_null(column, b"")]


def _joined(columns: "list[pa.ChunkedArray]", count: int) -> list[bytes]:
    import pyarrow.compute as pc

    if not columns:
        return [b""] * count
    joined: list[bytes] = pc.binary_join_element_wise(*columns, _SEPARATOR).to_pylist()
    return joined


def _side(rows: "pa.Table", when: str, identity: tuple[str, ...]) -> "pa.Table":
    import pyarrow as pa

    columns = [rows["key"], *(rows[f"{when}_{name}"] for name in columns_of(identity))]
    return pa.Table.from_arrays(columns, schema=object_schema(identity))
