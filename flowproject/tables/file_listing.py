"""Holds a listing of files as it came, with one digest, and compares it with a table if it moved.

Nearly all listings are as the last one was: then no line of them is looked at again.
"""

import struct
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final

from flowproject.changes.difference import Item
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.file_rows import file_item, file_rows
from flowproject.tables.manifest import FILE_IDENTITY, SPAN_ROWS, Span, key_bytes, key_text
from flowproject.tables.scratch import full_disk_explained
from flowproject.tables.table import ObjectTable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FileListing"]

_DIGEST_BYTES: Final = 16
_FIELDS: Final = 3
_END: Final = b"\0"
_SIZES: Final = struct.Struct("<III")
# What a few thousand files need stays in memory. The rest hardly ever reaches a disk: the file is
# short-lived.
_IN_MEMORY: Final = 1 << 20
_WRITTEN_AT_ONCE: Final = 300
_LARGE: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class _Piece:
    """Files of one folder, one after the other: name, size and time of each, ended by NULs."""

    prefix: bytes
    lines: bytes
    count: int

    @property
    def first(self) -> bytes:
        """The key of the first file."""
        return self.prefix + self.lines[: self.lines.index(_END)]

    @property
    def last(self) -> bytes:
        """The key of the last file."""
        return self.prefix + self.lines[:-1].rsplit(_END, _FIELDS)[-_FIELDS]

    @property
    def fields(self) -> list[bytes]:
        """Name, size and time of each file, all in one list."""
        return self.lines[:-1].split(_END)

    def cut(self, high: bytes) -> "tuple[_Piece, _Piece]":
        """The files up to and including the key `high`, and those behind it; there are both."""
        fields = self.fields
        end = bisect_right(fields[::_FIELDS], high[len(self.prefix) :])
        parts = fields[: end * _FIELDS], fields[end * _FIELDS :]
        pieces = [
            _Piece(self.prefix, b"".join(field + _END for field in part), len(part) // _FIELDS)
            for part in parts
        ]
        return pieces[0], pieces[1]


class FileListing:
    """Takes files in the order of their keys, as bytes, and forgets nothing of them.

    `view` says what is listed; `digest` is of it and of every name, size and time. `count` is how
    many files there are.
    """

    def __init__(self, view: str) -> None:
        self.count = 0
        self.view = view
        self._digest = _Digest(view)
        self._waiting: list[bytes] = []
        with full_disk_explained():
            # Not a `with`: it lives as long as this object does.
            self._spool = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._spool.close)

    @property
    def digest(self) -> str:
        """The digest of everything so far."""
        return self._digest.text

    def add(self, prefix: str, lines: Sequence[str]) -> None:
        r"""Take files whose keys begin with `prefix`: of each "name\0size\0nanoseconds".

        Raises:
            SourceError: if there is no room for them.
        """
        start, raw = key_bytes(prefix), key_bytes("\0".join(lines)) + _END
        self.count += len(lines)
        self._digest.add(start, raw)
        # Small ones some at a time: there may be a million folders of one file.
        self._waiting += (_SIZES.pack(len(start), len(raw), len(lines)), start, raw)
        if len(self._waiting) > _WRITTEN_AT_ONCE or len(raw) > _LARGE:
            self._write()

    def _write(self) -> None:
        with full_disk_explained():
            self._spool.write(b"".join(self._waiting))
        self._waiting.clear()

    def items(self) -> dict[str, Item]:
        """All files by key."""
        found: dict[str, Item] = {}
        for piece in self._pieces():
            names, sizes, mtimes = (piece.fields[start::_FIELDS] for start in range(_FIELDS))
            for name, size, mtime in zip(names, sizes, mtimes, strict=True):
                one = file_item(key_text(piece.prefix + name), int(size), int(mtime))
                found[one.key] = one
        return found

    def compared(self, known: ObjectTable | None) -> Built:
        """The table of all files, and what happened since the one that is known.

        Raises:
            Exception: what the known table makes of rows that it can't read.
        """
        builder = TableBuilder(known, view=self.view, identity=FILE_IDENTITY)
        spans = known.manifest.spans if known else ()
        is_same_view = known is not None and known.manifest.view == self.view
        queue = _Queue(self._pieces())
        low: str | None = None
        for span in spans[:-1]:
            low = self._compare(builder, queue, low, span, comparable=is_same_view)
        # The last one goes on to the end; nobody told its bound before all was listed.
        last = spans[-1] if spans else None
        self._compare_rest(builder, queue, low, last, comparable=is_same_view)
        return builder.finish()

    def _compare(
        self,
        builder: TableBuilder,
        queue: "_Queue",
        low: str | None,
        span: Span,
        *,
        comparable: bool,
    ) -> str:
        """Keep or compare the files of a span that is known."""
        high = key_bytes(span.last)
        # Spans that have grown are cut; below that they stay one, or a file that comes and goes
        # would cut and join them again and again.
        limit = max(2 * SPAN_ROWS, span.listed + SPAN_ROWS)
        taken = queue.take(high, limit)
        if comparable and not queue.is_full and _digest(self.view, taken) == span.digest:
            builder.keep(span)
            return span.last
        while queue.is_full:
            low = self._put(builder, low, taken, key_text(taken[-1].last))
            taken = queue.take(high, SPAN_ROWS)
        # Also if nothing is left of it: what was there was removed.
        return self._put(builder, low, taken, span.last)

    def _compare_rest(
        self,
        builder: TableBuilder,
        queue: "_Queue",
        low: str | None,
        span: Span | None,
        *,
        comparable: bool,
    ) -> None:
        """Keep or compare what is behind all other spans."""
        limit = max(2 * SPAN_ROWS, span.listed + SPAN_ROWS) if span else SPAN_ROWS
        taken = queue.take(None, limit)
        if span and comparable and not queue.is_full and _digest(self.view, taken) == span.digest:
            builder.keep(span)
            return
        while queue.is_full:
            low = self._put(builder, low, taken, key_text(taken[-1].last))
            taken = queue.take(None, SPAN_ROWS)
        # The table must reach as far as the one before, or what is gone would not be seen to be.
        ends = [*([taken[-1].last] if taken else []), *([key_bytes(span.last)] if span else [])]
        high = key_text(max(ends)) if ends else low
        if high is not None and high != low and (low is None or key_bytes(low) < key_bytes(high)):
            self._put(builder, low, taken, high)

    def _put(self, builder: TableBuilder, low: str | None, taken: "list[_Piece]", high: str) -> str:
        builder.put(
            low,
            high,
            listed=sum(piece.count for piece in taken),
            digest=_digest(self.view, taken),
            rows=partial(_rows, taken),
        )
        return high

    def _pieces(self) -> Iterator[_Piece]:
        """Everything that was listed, in its order."""
        self._write()
        self._spool.seek(0)
        while sizes := self._spool.read(_SIZES.size):
            prefix, lines, count = _SIZES.unpack(sizes)
            yield _Piece(self._spool.read(prefix), self._spool.read(lines), count)


class _Queue:
    """Gives pieces up to a key; `is_full` says that it gave many and more are left before it."""

    def __init__(self, pieces: Iterator[_Piece]) -> None:
        self._pieces = pieces
        self._next = next(pieces, None)
        self.is_full = False

    def take(self, high: bytes | None, limit: int) -> list[_Piece]:
        """The files up to `high` (None: all), or of more than `limit` about that many."""
        taken: list[_Piece] = []
        count = 0
        self.is_full = False
        while (piece := self._next) is not None:
            if high is not None and piece.first > high:
                break
            if count >= limit:
                self.is_full = True
                break
            following = None
            if high is not None and piece.last > high:
                piece, following = piece.cut(high)
            taken.append(piece)
            count += piece.count
            self._next = following or next(self._pieces, None)
        return taken


class _Digest:
    """Digests pieces, wherever a folder was cut."""

    def __init__(self, view: str) -> None:
        self._state = blake2b(view.encode(), digest_size=_DIGEST_BYTES)
        self._prefix: bytes | None = None

    def add(self, prefix: bytes, lines: bytes) -> None:
        if prefix != self._prefix:
            # No name, size or time is empty, so two NULs are in no lines.
            self._state.update(_END + prefix + _END)
            self._prefix = prefix
        self._state.update(lines)

    @property
    def text(self) -> str:
        return self._state.hexdigest()


def _digest(view: str, pieces: list[_Piece]) -> str:
    state = _Digest(view)
    for piece in pieces:
        state.add(piece.prefix, piece.lines)
    return state.text


def _rows(pieces: list[_Piece]) -> "pa.Table":
    keys: list[bytes] = []
    sizes: list[bytes] = []
    mtimes: list[bytes] = []
    for piece in pieces:
        fields = piece.fields
        keys += [piece.prefix + name for name in fields[::_FIELDS]]
        sizes += fields[1::_FIELDS]
        mtimes += fields[2::_FIELDS]
    return file_rows(keys, sizes, mtimes)
