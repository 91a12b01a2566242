"""Reads the result of a sensor's query: as few rows as its past allows, and never all in memory."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.observation import (
    Cost,
    Memo,
    Observation,
    Past,
    fingerprint_whole,
)
from flowproject.errors import QueryError
from flowproject.sources import Rows, stopped
from flowproject.sources.duckdb.digest import (
    KNOWN_MARKS,
    ResultDigest,
    digested,
    digested_with_rows,
    marked_rows,
    moved_rows,
)
from flowproject.sources.duckdb.values import casts, converted
from flowproject.sources.result import (
    UNKEYED_LIMIT,
    VALUE_BYTES,
    keyed,
    keys_and_texts,
    not_unique,
    texts,
    unkeyed,
    value_of_rows,
)
from flowproject.sql import Query, statement
from flowproject.tables.manifest import MODULUS
from flowproject.tables.row_comparison import (
    ComparedRows,
    compare_all_rows,
    compare_some_rows,
    guarded_batches,
)
from flowproject.tables.row_table import (
    FEW_ROWS,
    Marks,
    RowTable,
    RowWriter,
    marks_schema,
    sums_of_marks,
)

if TYPE_CHECKING:
    from threading import Event

    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["ResultAnswer", "ResultLook", "look_at_many"]

_ROWS, _VERSION = "rows", "version"

_log = logging.getLogger(__name__)

_CHUNK_ROWS: Final = 10_000

# Looks at many rows that go on at the same time: each needs some tens of megabytes, at best, and a
# tick looks at sixteen sensors side by side.
_MANY_AT_ONCE: Final = BoundedSemaphore(2)
_LONGEST_WAIT: Final = 60.0
_WAIT_AGAIN: Final = 0.1


@contextmanager
def look_at_many(past: Past | None, cancelled: "Event") -> Iterator[None]:
    """Wait until few looks at many rows go on, if this may be one; a minute at most."""
    # Nobody knows how many rows a first look will find. What another look waits for (a server that
    # is slow) must not keep this one from being done in its time.
    may_be_many = past is None or _many(past) > UNKEYED_LIMIT
    deadline = time.monotonic() + _LONGEST_WAIT
    is_in = False
    while may_be_many and not is_in and not cancelled.is_set() and time.monotonic() < deadline:
        is_in = _MANY_AT_ONCE.acquire(timeout=_WAIT_AGAIN)
    try:
        yield
    finally:
        if is_in:
            _MANY_AT_ONCE.release()


class _RowSum:
    """Many rows without a key, of which no one is kept: their number, and a sum of digests.

    The sum is the same in any order, and moves with what is there twice.
    """

    def __init__(self, marks: Marks | None = None) -> None:
        self.marks = marks
        self.count = 0
        self.total = 0

    def add(self, texts: Sequence[str]) -> None:
        """Add rows, in the words of `dumps`."""
        self.count += len(texts)
        self.total += sum(int(digest(text), 16) for text in texts)

    def observation(self, columns: Sequence[str]) -> Observation:
        """What is seen of them."""
        version = digest("rows", str(self.count), str(len(columns)), f"{self.total % MODULUS:032x}")
        value: Json = {_ROWS: self.count, _VERSION: version}
        return Observation(
            value=value, fingerprint=fingerprint_whole(value), state=_in_words(self.count)
        )


def _in_words(rows: int) -> str:
    """What is said of rows that are known as a whole: nobody can read their version."""
    return f"{rows:,} rows, compared as a whole"


def _many(past: Past) -> int:
    """How many rows the past had, if they were too many to be one value."""
    if past.total is not None:
        return past.total
    # As `_RowSum` says it. A row of the user's that looks like it is asked for a memo in vain.
    if isinstance(past.value, dict) and past.value.keys() == {_ROWS, _VERSION}:
        rows = past.value[_ROWS]
        return rows if isinstance(rows, int) else 0
    return 0


@dataclass(frozen=True, kw_only=True)
class ResultAnswer:
    """What a look at a result with a key found.

    Few rows are `rows`, many are in a `writer`: all of them, or with `gone` those that are not as
    they were, and the places of those that the past had in their stead. With neither of both the
    result is that of the past, which has this digest.
    """

    count: int
    rows: Rows | None = None
    writer: RowWriter | _RowSum | None = None
    gone: int | None = None
    columns: Sequence[str] = ()
    digest: ResultDigest | None = None
    requests: int = 1

    def observation(self, past: Past | None, key: Sequence[str], file: str) -> Observation:
        """What was observed, without what it cost.

        Raises:
            QueryError: if two rows have one key.
        """
        if past and self.rows is None and self.writer is None:
            still = past.still(cost=Cost(), query="", note="")
            words = _in_words(_many(past)) if past.total is None and _many(past) else ""
            return replace(still, memo=self._memo(past.fingerprint), state=words)
        if isinstance(self.writer, _RowSum) or not key:
            seen = self._whole(past, file)
        elif self.writer is None:
            seen = keyed(self.rows or [], key, file)
        else:
            found = self._compared(past, self.writer, lambda name: not_unique(name, key, file))
            seen = Observation(
                value=len(found.items),
                fingerprint=found.fingerprint,
                items=found.items,
                difference=found.difference,
            )
        return replace(seen, memo=self._memo(seen.fingerprint))

    def _whole(self, past: Past | None, file: str) -> Observation:
        """A result without a key: one value, or of what is too large for that how it is known."""
        rows, sums = self.rows or [], self.writer
        if not isinstance(sums, _RowSum):
            if len(dumps(value_of_rows(rows)).encode()) <= VALUE_BYTES:
                return unkeyed(rows, file)
            sums = _RowSum()
            sums.add(texts(rows))
        # Most likely a condition was lost: who waits for a number has no use for that of rows.
        if past and not isinstance(past.value, list) and not _many(past):
            raise QueryError(
                f"The result has {sums.count:,} rows, and was one value at the last look",
                where=file,
                allowed='Rows are told one by one with key = ["..."], the columns that identify a '
                "row; without it they are compared as a whole",
                fix="Aggregate in the query, for example with count(*) or max(...); if it is to be "
                "a table now, `flowproject reset` its sensor",
            )
        return sums.observation(self.columns)

    def _compared(
        self, past: Past | None, writer: RowWriter, not_unique: Callable[[str], Exception]
    ) -> ComparedRows:
        known = past.items if past else None
        if self.gone is not None and isinstance(known, RowTable):
            return compare_some_rows(known, writer, self.gone, not_unique)
        return compare_all_rows(known, writer, not_unique)

    def _memo(self, fingerprint: str) -> Memo:
        """What the next look wants to know; nothing of so few rows that it will not ask."""
        if self.digest is None or not self.digest.text or self.count <= UNKEYED_LIMIT:
            return {}
        return self.digest.memo(fingerprint)


@dataclass(frozen=True, kw_only=True)
class ResultLook:
    """Asks DuckDB for a result with a key; `files` tells how the files are that it is read from.

    `files` is empty where they say little of it: tables of a database are written for others, too.
    """

    connection: "DuckDBPyConnection"
    query: Query
    ran: Query
    kinds: "Mapping[str, DuckDBPyType]"
    key: Sequence[str]
    limit: int
    past: Past | None
    cancelled: "Event"
    files: Callable[[], str]

    def answer(self, around: Callable[[str], Any]) -> ResultAnswer:
        """What the result is, of which at most one row is over the limit.

        `around` explains what DuckDB says of the query behind this text.
        """
        total = _many(self.past) if self.past else 0
        # Of few rows it takes longer to ask the journal for their digest than to read them.
        is_asked = self.past is None or total > UNKEYED_LIMIT
        expected = ResultDigest.expected(self.past, self.kinds, self.key) if is_asked else None
        few = FEW_ROWS if self.key else UNKEYED_LIMIT
        if expected is not None:
            # The next look compares at once if files are not as they were.
            files = self.files() if self.past is None or total > few else ""
            # What DuckDB can't digest it may still be able to give, and else says best why not.
            with _unless_it_fails():
                if total > few:
                    return self._of_many(expected, files)
                if self.past is None:
                    return self._marked(replace(expected, files=files))
                return self._of_few(expected)
        return self._plain(around)

    def _of_few(self, expected: ResultDigest) -> ResultAnswer:
        """The rows, unless the digest is the expected one; the query runs once."""
        both = digested_with_rows(self.ran.text, self.kinds, self.limit)
        given = {"salt": expected.salt, "known": expected.text}
        self.connection.execute(both, given)
        [(text, *_)] = self.connection.fetchmany(1)
        digest = expected.seen(text)
        if text == expected.text:
            return ResultAnswer(count=digest.rows, digest=digest)
        return replace(self._gathered(before=1), digest=digest)

    def _of_many(self, expected: ResultDigest, files: str) -> ResultAnswer:
        """The rows that are not as they were, if the past has marks; else all, if any is not."""
        requests = 1
        # Files that are not as they were have other rows, as a rule; then the digest, which costs
        # a run of the query by itself, would only say so.
        if expected.text and not (self.key and files and files != expected.files):
            salt = {"salt": expected.salt}
            self.connection.execute(digested(self.ran.text, self.kinds, self.limit), salt)
            if self.connection.fetchall() == [(expected.text,)]:
                return ResultAnswer(count=expected.rows, digest=replace(expected, files=files))
            requests += 1
        known = self.past.items if self.past and self.key else None
        if isinstance(known, RowTable) and known.manifest.marks:
            marks = known.manifest.marks
            if marks.rule == expected.rule:
                moved = self._moved(known, replace(expected, salt=marks.salt, files=files))
                if moved is not None:
                    return replace(moved, requests=requests)
                requests += 1
        return replace(self._marked(replace(expected, files=files)), requests=requests)

    def _moved(self, known: RowTable, expected: ResultDigest) -> ResultAnswer | None:
        """The rows that are not as they were; None if there may be some that are there twice."""
        failures: list[BaseException] = []
        sums = [0, 0]

        def marks() -> Iterator[Any]:
            for table in known.marks():
                sums[:] = [*map(sum, zip(sums, sums_of_marks(table), strict=True))]
                yield table

        self.connection.register(KNOWN_MARKS, guarded_batches(marks_schema(), marks(), failures))
        try:
            text = moved_rows(self.ran.text, self.kinds, self.limit)
            self.connection.execute(text, {"salt": expected.salt})
            writer, gone, went, count = self._came_and_went(known, expected)
        except Exception:
            # What was read of the journal is at fault, and not the query.
            if failures:
                raise failures[0] from None
            raise
        finally:
            self.connection.unregister(KNOWN_MARKS)
        left = gone.bit_count()
        # Rows that are there twice as they were, or a mark of which nobody knows: all are compared.
        if len(known) - left + writer.count != count:
            return None
        high, low = (
            before - old + new
            for before, old, new in zip(sums, went, (writer.high, writer.low), strict=True)
        )
        digest = expected.seen_in(count, high, low)
        if not left and not writer.count:
            return ResultAnswer(count=count, digest=digest)
        return ResultAnswer(count=count, writer=writer, gone=gone, digest=digest)

    def _came_and_went(
        self, known: RowTable, expected: ResultDigest
    ) -> tuple[RowWriter, int, tuple[int, int], int]:
        """The rows that came, the places of those that went, the sums of their marks.

        And how many rows the result has.
        """
        writer, count, width = RowWriter(expected.marks), 0, len(self.kinds)
        places = bytearray(-(-sum(known.manifest.rows) // 8))
        old_high = old_low = 0
        while chunk := self._chunk():
            came = []
            for row in chunk:
                high, _, known_high, known_low, place, number = row[width:]
                if number is not None:
                    count = number
                if high is None:
                    places[place >> 3] |= 1 << (place & 7)
                    old_high, old_low = old_high + known_high, old_low + known_low
                elif place is None:
                    came.append(row)
            if came:
                self._write(writer, came)
        return writer, int.from_bytes(places, "little"), (old_high, old_low), count

    def _marked(self, expected: ResultDigest) -> ResultAnswer:
        """All rows, with their marks."""
        text = marked_rows(self.ran.text, self.kinds, self.limit)
        self.connection.execute(text, {"salt": expected.salt})
        return self._gathered(expected=expected)

    def _plain(self, around: Callable[[str], Any]) -> ResultAnswer:
        """All rows, with nothing beside them."""
        text, before = self.ran.text, ""
        if projection := casts(self.kinds):
            before = f"SELECT {projection} FROM ("  # noqa: S608  # SQL is the input
            text = f"{before}{statement(self.ran.text)}\n)"
        with around(before):
            self.connection.execute(text)
            return self._gathered()

    def _gathered(self, *, before: int = 0, expected: ResultDigest | None = None) -> ResultAnswer:
        """All rows of the statement that runs: in memory while they are few, then in a file.

        `before` is how many values stand before their columns; with a digest their marks follow.
        """
        width = len(self.kinds)
        most = FEW_ROWS if self.key else UNKEYED_LIMIT
        is_large = bool(self.key and self.past and _many(self.past) > most)
        marks = expected.marks if expected else None
        writer = self._sink(marks) if is_large else None
        count = high = low = 0
        few: list[Any] = []
        while chunk := self._chunk(self.limit + 1 - count):
            count += len(chunk)
            if before:
                chunk = [row[before:] for row in chunk]
            if expected:
                high += sum(row[width] for row in chunk)
                low += sum(row[width + 1] for row in chunk)
            if writer is None and count <= most:
                few += chunk
                continue
            writer = writer or self._sink(marks)
            for start in range(0, len(few), _CHUNK_ROWS):
                self._write(writer, few[start : start + _CHUNK_ROWS])
            few = []
            self._write(writer, chunk)
        seen = expected.seen_in(count, high, low) if expected else None
        columns = [*self.kinds]
        if writer is not None:
            return ResultAnswer(count=count, writer=writer, columns=columns, digest=seen)
        rows: Rows = []
        for start in range(0, len(few), _CHUNK_ROWS):
            rows += self._converted(few[start : start + _CHUNK_ROWS])
        return ResultAnswer(count=count, rows=rows, columns=columns, digest=seen)

    def _sink(self, marks: Marks | None) -> RowWriter | _RowSum:
        return RowWriter(marks) if self.key else _RowSum(marks)

    def _chunk(self, most: int = _CHUNK_ROWS) -> list[tuple[Any, ...]]:
        chunk: list[tuple[Any, ...]] = self.connection.fetchmany(min(_CHUNK_ROWS, most))
        if self.cancelled.is_set():
            raise stopped()
        return chunk

    def _write(self, writer: RowWriter | _RowSum, chunk: Sequence[tuple[Any, ...]]) -> None:
        width = len(self.kinds)
        if isinstance(writer, _RowSum):
            writer.add(texts(self._converted(chunk)))
            return
        keys, told = keys_and_texts(self._converted(chunk), self.key, self.query.file)
        if writer.marks:
            writer.add(keys, told, *([row[place] for row in chunk] for place in (width, width + 1)))
        else:
            writer.add(keys, told)

    def _converted(self, chunk: Sequence[tuple[Any, ...]]) -> Rows:
        width = len(self.kinds)
        if len(chunk[0]) > width:
            chunk = [row[:width] for row in chunk]
        return converted(chunk, self.kinds)


@contextmanager
def _unless_it_fails() -> Iterator[None]:
    """What DuckDB raises inside is nothing, but that it was told to stop."""
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        # Not its words, which may quote a value.
        _log.info("The result was not digested, so it is read: %s", type(error).__name__)
