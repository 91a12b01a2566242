"""Keeps rows that were listed unread if they are the same as before, and compares all others.

Nearly all are the same. Until that is known they wait as they came, page by page, in a file.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import lt
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import IO, Final, Self

from flowproject.errors import SourceError
from flowproject.sources.s3.pages import (
    Columns,
    ListingPage,
    RawRows,
    UnorderedError,
    unreadable,
)
from flowproject.sources.s3.scope import Scope
from flowproject.sources.s3.work_queue import ListingOptions, ListingRange
from flowproject.tables.builder import TableBuilder
from flowproject.tables.manifest import Manifest, key_bytes, key_text

__all__ = ["Comparer", "PendingRows", "RowBatch", "RowsInFile", "SpillFile"]

# Few, because each thread that uses Arrow keeps memory, and one interpreter parses for all.
_PARSERS: Final = 2
_DIGEST_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class RowsInFile:
    """Finds rows in a file again."""

    file: IO[bytes]
    offset: int
    size: int

    def read(self) -> RawRows:
        """The rows; not after the file was cleared."""
        # With an offset, so that the parser can read while its worker writes on.
        return os.pread(self.file.fileno(), self.size, self.offset)


class SpillFile:
    """Holds rows in a temporary file, which is used again whenever it is cleared.

    A page or two for each of many workers would be most of a tick's memory, and pages of very long
    keys more than a small container has. The file is small and short-lived: it is hardly ever
    written to a disk.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0

    def clear(self) -> None:
        """Forget all rows."""
        self._end = 0

    def write(self, raw: RawRows) -> RowsInFile:
        """Write rows to the file, and say where they are.

        Raises:
            SourceError: if there is no room for them.
        """
        try:
            return self._write(raw)
        except OSError as error:
            raise SourceError(
                f"Rows can't be put aside in {gettempdir()!r}: {error.strerror or error}",
                fix="Make room there, or let the variable TMPDIR name another folder",
            ) from error

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, raw: RawRows) -> RowsInFile:
        if self._file is None:
            # Not before there is something to wait: nearly all units of a small bucket end at once.
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115  # `close` does it
        spilled = RowsInFile(self._file, self._end, len(raw))
        while raw:  # a system may write less than it was given
            written = os.pwrite(self._file.fileno(), raw, self._end)
            self._end += written
            raw = raw[written:]
        return spilled


@dataclass(frozen=True, slots=True)
class _PageRows:
    """Holds raw rows out of one page, and the last key of that page."""

    raw: RawRows | RowsInFile
    high: bytes
    encoded: bool

    def read(self) -> RawRows:
        return self.raw.read() if isinstance(self.raw, RowsInFile) else self.raw


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Holds all that is listed after `low` (None: from the start) up to and including `high`.

    `digest` is of the raw rows, wherever the pages were cut.
    """

    low: bytes | None
    high: bytes
    digest: str
    pieces: Sequence[_PageRows]

    def columns(self) -> Columns:
        """The objects, in the order of their keys.

        Raises:
            UnorderedError: if the keys do not rise from `low` to `high`.
            SourceError: if the rows can't be read.
        """
        found = Columns()
        try:
            for piece in self.pieces:
                found.add(piece.read(), encoded=piece.encoded)
        except ValueError as error:
            raise unreadable(error) from error
        keys = found.keys
        # Looked at here, in rows that are parsed anyway; those that are kept were in order once.
        if keys and not (self._is_around(keys[0], keys[-1]) and all(map(lt, keys, keys[1:]))):
            raise UnorderedError
        return found

    def _is_around(self, first: bytes, last: bytes) -> bool:
        return (self.low is None or self.low < first) and last <= self.high


class PendingRows:
    """Holds the keys after `low` that one worker has listed and not handed on.

    `is_whole` says that nothing was taken out of it since it began.
    """

    def __init__(self, low: bytes | None) -> None:
        self._spill_file = SpillFile()
        self._fits = True
        self.begin(low)

    def begin(self, low: bytes | None) -> None:
        """Begin anew, after this key."""
        self.low = low
        self.is_whole = True
        self._pieces: list[_PageRows] = []
        self._empty()

    def close(self) -> None:
        """Forget everything, for good."""
        self._pieces.clear()
        self._spill_file.close()

    @property
    def digest(self) -> str:
        """The digest of all raw rows, as long as nothing was taken out."""
        return _text(self._state)

    @property
    def last(self) -> bytes | None:
        """The last key that was listed, or the one that they begin after."""
        return self._pieces[-1].high if self._pieces else self.low

    def add(self, page: ListingPage, raw: memoryview, *, spill: bool) -> None:
        """Add rows of a page; `spill` if more pages come before they are compared."""
        if raw:
            # Hashed as they come: once the range is complete, its pages would have to be read back.
            self._state.update(raw)
            held = self._spill_file.write(raw) if spill else raw
            self._pieces.append(_PageRows(held, page.last, page.encoded))

    def take(self, pages: int, *, keep: int = 0) -> Iterator[RowBatch]:
        """Take the rows of so many pages, from the lowest key, as long as `keep` pages are left.

        A batch must be used up before the next one is asked for.
        """
        while len(self._pieces) >= pages + keep:
            yield self._take(pages, self._pieces[pages - 1].high)
            if not self._pieces:
                self._empty()

    def rest(self, high: bytes) -> RowBatch:
        """Take all other rows, up to a key; they must be used up before more are added."""
        return self._take(len(self._pieces), high)

    def _take(self, pages: int, high: bytes) -> RowBatch:
        taken, self._pieces = self._pieces[:pages], self._pieces[pages:]
        # The state is of all rows since there were none.
        digest = _text(self._state) if self._fits and not self._pieces else _digest(taken)
        batch = RowBatch(self.low, high, digest, taken)
        self.low, self.is_whole, self._fits = high, False, False
        return batch

    def _empty(self) -> None:
        self._state = hashlib.sha256(usedforsecurity=False)
        self._fits = True
        self._spill_file.clear()


class Comparer:
    """Hands what was listed to the builder of the table; from many threads at once.

    `seen` is how many keys that were so far.
    """

    def __init__(
        self,
        builder: TableBuilder,
        scope: Scope,
        options: ListingOptions,
        *,
        known: Manifest | None,
        after: bytes | None,
    ) -> None:
        self.seen = 0
        self._builder = builder
        self._scope = scope
        self._span_pages = options.pages(options.span_rows)
        self._options = options
        self._after = after
        self._known = known
        # What was behind the last key that is listed now was removed, and someone must tell.
        self._end = known.bounds[-1] if known and known.spans else None
        self._lock = Lock()
        self._parsers = ThreadPoolExecutor(_PARSERS, thread_name_prefix="parser")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parsers.shutdown()

    def ranges(self) -> list[ListingRange]:
        """The ranges to list, one for each span that is known; the last one goes on to the end."""
        known = self._known
        spans = known.spans if known else ()
        comparable = known is not None and known.view == self._scope.view
        highs = [*(key_bytes(span.last) for span in spans[:-1]), None]
        # The bounds of the spans are kept even if digests of another view say nothing: they share
        # the keys out evenly, which is half of what a known table is good for.
        return [
            ListingRange(high, span=span if comparable else None, rows=span.listed, recorded=True)
            for high, span in zip(highs, spans, strict=False)
        ] or [ListingRange(None)]

    def compare_full_spans(self, pending: PendingRows, key_range: ListingRange) -> None:
        """Hand on full spans of a range that is still being listed, if it can't be the same."""
        keep = 0
        if key_range.recorded and pending.is_whole:
            # Two more than full pages hold: at both ends a page may belong to a neighbour.
            keep = self._options.pages(key_range.rows) + 3
        for batch in pending.take(self._span_pages, keep=keep):
            self._put(batch)

    def compare_range(self, pending: PendingRows, key_range: ListingRange) -> None:
        """Keep or compare a range that is listed completely; `pending` begins anew behind it."""
        if (high := self._high(pending, key_range)) is None:
            return
        # Byte for byte the same: no row is parsed, and none of the recorded ones is read.
        if key_range.span and pending.is_whole and pending.digest == key_range.span.digest:
            self._builder.keep(key_range.span)
            self._count(key_range.span.listed)
        else:
            for batch in pending.take(self._span_pages, keep=self._span_pages):
                self._put(batch)
            self._put(pending.rest(high))
        pending.begin(high)

    def _high(self, pending: PendingRows, key_range: ListingRange) -> bytes | None:
        """Up to where a complete range counts as listed; None if it has nothing to tell.

        Behind the last bound that is the last key that is there or was there.
        """
        if key_range.high is not None:
            return key_range.high
        ends = [end for end in (pending.last, self._end) if end is not None]
        high = max(ends, default=None)
        return None if high == pending.low else high

    def _put(self, batch: RowBatch) -> None:
        # To wait for it keeps the rows that wait to be parsed from becoming many.
        self._parsers.submit(self._compare, batch).result()

    def _compare(self, batch: RowBatch) -> None:
        columns = batch.columns()
        try:
            rows = self._scope.rows(columns)
        except ValueError as error:
            raise unreadable(error) from error
        # To the builder the first range has no lower bound, wherever the listing began.
        low = None if batch.low == self._after else batch.low
        self._builder.put(
            None if low is None else key_text(low),
            key_text(batch.high),
            listed=len(columns.keys),
            digest=batch.digest,
            rows=rows,
        )
        self._count(len(columns.keys))

    def _count(self, listed: int) -> None:
        with self._lock:
            self.seen += listed


def _digest(pieces: Sequence[_PageRows]) -> str:
    state = hashlib.sha256(usedforsecurity=False)
    for piece in pieces:
        state.update(piece.read())
    return _text(state)


def _text(state: "hashlib._Hash") -> str:
    return state.hexdigest()[:_DIGEST_DIGITS]
