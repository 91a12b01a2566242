"""Makes the rows of files as Arrow columns, reads them as items, and says how a file is named.

A version follows from the size and the time to the nanosecond, and from nothing else.
"""

import datetime as dt
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, digest
from flowproject.changes.difference import Item, item
from flowproject.tables.manifest import MODULUS, MTIME, key_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FILE_COLUMNS",
    "file_item",
    "file_items",
    "file_rows",
    "file_schema",
    "file_total",
    "moment_text",
    "moments",
    "name_text",
    "raw_name",
]

FILE_COLUMNS: Final = ("size", MTIME)
"""What is kept of a file besides its key."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# What stands for the years that a file system has and Python has not.
_FIRST: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
# How Python holds bytes of a name that are no UTF-8; and a name in which the text that we make of
# them stands by itself.
_UNDECODED: Final = re.compile(r"[\udc80-\udcff]")
_LOOKS_UNDECODED: Final = re.compile(r"\\x[89a-f][0-9a-f]")
_ESCAPED: Final = re.compile(rb"\\(\\|x[89a-f][0-9a-f])")


@cache
def file_schema() -> "pa.Schema":
    """The columns of files."""
    import pyarrow as pa

    # The time as text: some file systems have years in which nanoseconds are more than 64 bits.
    return pa.schema({"key": pa.binary(), "size": pa.int64(), MTIME: pa.string()})


def file_rows(keys: list[bytes], sizes: list[bytes], mtimes: list[bytes]) -> "pa.Table":
    """The table of these files, in the order in which they are given; numbers are given as text."""
    import pyarrow as pa

    # Arrow reads numbers out of text faster than Python does.
    columns = [
        pa.array(keys, pa.binary()),
        pa.array(sizes, pa.string()).cast(pa.int64()),
        pa.array(mtimes, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=file_schema())


def file_item(key: str, size: int, mtime_ns: int) -> Item:
    """One file as an item; its key as Python has it."""
    name = name_text(key)
    data: dict[str, Json] = {"key": name, "size": size, "modified": moment_text(mtime_ns)}
    return item(name, data, identity=[size, mtime_ns])


def file_items(rows: "pa.Table") -> Iterator[Item]:
    """Each row as an item."""
    columns = (rows[name].to_pylist() for name in ("key", *FILE_COLUMNS))
    for raw, size, mtime in zip(*columns, strict=True):
        yield file_item(key_text(raw), size, int(mtime))


def file_total(items: Iterable[Item]) -> int:
    """The sum of the digests of all files, modulo 2**128, which is in their fingerprint."""
    # As `fingerprint_items` adds them up: journals of versions that had no columns for files have
    # fingerprints of that kind, and an upgrade must not change them.
    return sum(int(digest(one.key, one.version), 16) for one in items) % MODULUS


def moment_text(nanoseconds: int) -> str:
    """ISO 8601 in UTC, always with microseconds, so that text sorts like time."""
    return _moment(nanoseconds).isoformat(timespec="microseconds")


def moments(mtimes: Any) -> "pa.Array":
    """A column of nanoseconds as moments, for people."""
    import pyarrow as pa

    found = (text and _moment(int(text)) for text in mtimes.to_pylist())
    return pa.array(found, pa.timestamp("us", "UTC"))


def _moment(nanoseconds: int) -> dt.datetime:
    try:
        return _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # a file system can hold years that Python's calendar does not have
        return _LAST if nanoseconds > 0 else _FIRST


def name_text(name: str) -> str:
    r"""The name as text that can be written as UTF-8; two names never get the same.

    Bytes that are not UTF-8 become `\xff`. In such names, and in those that look as if they were
    such, a backslash is doubled.
    """
    if not (_UNDECODED.search(name) or _LOOKS_UNDECODED.search(name)):
        return name
    raw = os.fsencode(name.replace("\\", "\\\\"))
    return raw.decode("utf-8", "backslashreplace")


def raw_name(text: str) -> bytes:
    """The bytes of the name of which `name_text` made this text."""
    raw = text.encode("utf-8", "surrogateescape")
    if not _LOOKS_UNDECODED.search(text):
        return raw
    return _ESCAPED.sub(_unescaped, raw)


def _unescaped(found: "re.Match[bytes]") -> bytes:
    escaped = found[1]
    return escaped if escaped == b"\\" else bytes.fromhex(escaped[1:].decode())
