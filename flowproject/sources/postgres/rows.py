"""Reads the rows of a result: few into memory, many into a file, and of those few that moved.

The server tells rows apart by a hash of each, its mark, which is kept with the rows. It adds up the
marks of buckets; only rows of buckets whose sums are others now are read.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flowproject.changes.observation import Observation, Past
from flowproject.errors import QueryError
from flowproject.sources import Rows
from flowproject.sources.postgres.columns import Column, converted, hashed, listed
from flowproject.sources.postgres.connection import Session, array_text
from flowproject.sources.result import keyed, keys_and_texts, not_unique
from flowproject.tables.row_comparison import compare_all_rows, compare_some_rows
from flowproject.tables.row_table import FEW_ROWS, Marks, RowTable, RowWriter

__all__ = ["KeyedRows", "QueryResult", "gathered_rows", "moved_rows"]

_BUCKET_ROWS: Final = 16
_MOST_BUCKETS: Final = 1 << 15  # so many groups fit into what a server gives one by default
_UPPER_BITS: Final = 32
_LOWER_MASK: Final = (1 << 31) - 1
_HIGH, _LOW, _PLACE = "high", "low", "place"

CheckLimit = Callable[[int], None]
"""Raises a QueryError if a result has more rows than it may have."""


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The result of a query, of which the columns are known, and no row was read yet."""

    session: Session
    text: str
    columns: tuple[Column, ...]
    values: tuple[str | None, ...] = ()

    def batches(self, what: str, *, limit: int) -> Iterator[Any]:
        """At most `limit` of its rows as record batches: `what` of each."""
        return self.session.batches(self._of_rows(what, limit), self.values)

    def table(self, what: str, *, limit: int) -> Any:
        """At most `limit` of its rows as a pyarrow.Table: `what` of each."""
        return self.session.table(self._of_rows(what, limit), self.values)

    def digest(self, seed: int) -> str:
        """The digest of all its rows, whose order does not matter: one text from the server."""
        number = hashed(self.columns, seed)
        [told] = self.session.rows(
            f"SELECT pg_catalog.count(*) || ' ' || coalesce(pg_catalog.sum({number}), 0) AS digest "  # noqa: S608  # SQL is the input
            f"FROM {self._rows}"
        )
        return str(told["digest"])

    def buckets(self, seed: int, mask: int) -> Any:
        """Of each bucket that has rows: how many, and the sums of both parts of their marks."""
        # Of parts of 32 bits, because the sum of larger ones is a numeric, which is slow. OFFSET
        # keeps the server from working out a mark for each place at which it is used.
        return self.session.table(
            f"SELECT (m.n & {mask})::int8 AS bucket, pg_catalog.count(*) AS count, "  # noqa: S608  # SQL is the input
            f"pg_catalog.sum((m.n >> {_UPPER_BITS})::int4) AS upper, "
            f"pg_catalog.sum((m.n & {_LOWER_MASK})::int4) AS lower "
            f"FROM (SELECT {hashed(self.columns, seed)} AS n FROM {self._rows} OFFSET 0) AS m "
            "GROUP BY 1"
        )

    def marked(self, seed: int, *, limit: int) -> Iterator[Any]:
        """At most `limit` rows as record batches, each with the halves of its mark behind it."""
        return self.session.batches(self._of_rows(self._with_marks(seed), limit))

    def marked_of(self, seed: int, mask: int, buckets: Collection[int]) -> Iterator[Any]:
        """The rows of these buckets, in the same way."""
        which = f"({hashed(self.columns, seed)} & {mask})::int4"
        return self.session.batches(
            f"SELECT {self._with_marks(seed)} FROM {self._rows} "  # noqa: S608  # SQL is the input
            f"WHERE {which} = ANY ('{array_text(sorted(buckets))}'::int4[])"
        )

    def _with_marks(self, seed: int) -> str:
        high, low = (hashed(self.columns, seed + part) for part in (0, 1))
        return f"{listed(self.columns)}, {high} AS {_HIGH}, {low} AS {_LOW}"

    def _of_rows(self, what: str, limit: int) -> str:
        return f"SELECT {what} FROM {self._rows} LIMIT {limit}"  # noqa: S608  # SQL is the input

    @property
    def _rows(self) -> str:
        places = ", ".join(column.place for column in self.columns)
        return f"({self.text}\n) AS q({places})"


@dataclass(frozen=True, kw_only=True)
class KeyedRows:
    """What was read of a result with a key.

    Few rows are `rows`, many are in a `writer`: all of them, or with `gone` those that are not as
    they were, and the places of those that the past had in their stead.
    """

    count: int
    rows: Rows | None = None
    writer: RowWriter | None = None
    gone: int | None = None

    def observation(self, past: Past | None, key: Sequence[str], file: str) -> Observation:
        """What was observed, without what it cost.

        Raises:
            QueryError: if two rows have one key.
        """
        if self.writer is None:
            return keyed(self.rows or [], key, file)

        def twice(name: str) -> QueryError:
            return not_unique(name, key, file)

        known = past.items if past else None
        if self.gone is not None and isinstance(known, RowTable):
            found = compare_some_rows(known, self.writer, self.gone, twice)
        else:
            found = compare_all_rows(known, self.writer, twice)
        return Observation(
            value=len(found.items),
            fingerprint=found.fingerprint,
            items=found.items,
            difference=found.difference,
        )


def gathered_rows(
    result: QueryResult,
    marks: Marks | None,
    key: Sequence[str],
    file: str,
    check: Callable[[int], None],
    limit: int,
) -> KeyedRows:
    """All rows of a result: in memory while they are few, or have no marks; then in a file."""
    columns, count = result.columns, 0
    few: Rows = []
    writer: RowWriter | None = None
    if marks is None:
        batches = result.batches(listed(columns), limit=limit + 1)
    else:
        batches = result.marked(int(marks.salt), limit=limit + 1)
    waiting: list[Any] = []
    for batch in batches:
        count += batch.num_rows
        check(count)
        if writer is None and (marks is None or count <= FEW_ROWS):
            few += converted(batch, columns, file)
            waiting += [batch] if marks else []
            continue
        if writer is None:
            writer, few = RowWriter(marks), []
            for earlier in waiting:
                _write(writer, earlier, columns, key, file)
            waiting = []
        _write(writer, batch, columns, key, file)
    if writer is None:
        return KeyedRows(count=count, rows=few)
    return KeyedRows(count=count, writer=writer)


def moved_rows(
    result: QueryResult, known: RowTable, key: Sequence[str], file: str, check: CheckLimit
) -> KeyedRows | None:
    """The rows that are not as they were; None if the marks do not tell all rows apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    marks = known.manifest.marks
    if marks is None:
        return None
    seed, mask = int(marks.salt), _bucket_mask(len(known))
    now = result.buckets(seed, mask)
    count = pc.sum(now["count"]).as_py() or 0
    check(count)
    old = [*known.marks()]
    moved = _moved_buckets(old, now, mask)
    old = pa.concat_tables([_of_buckets(some, mask, moved) for some in old]).combine_chunks()
    stayed: list[Any] = []
    writer = RowWriter(marks)
    for batch in result.marked_of(seed, mask, moved.to_pylist()) if len(moved) else ():
        high, low = (_unsigned(batch.column(name)) for name in (_HIGH, _LOW))
        found = pc.index_in(high, value_set=old[_HIGH])
        is_same = pc.fill_null(pc.equal(low, old[_LOW].combine_chunks().take(found)), False)  # noqa: FBT003
        stayed.append(found.filter(is_same))
        _write(writer, batch.filter(pc.invert(is_same)), result.columns, key, file)
    is_left = pc.is_in(
        pa.array(range(len(old)), pa.int32()),
        value_set=pa.concat_arrays(stayed) if stayed else pa.array([], pa.int32()),
    )
    gone = _bits(old[_PLACE].filter(pc.invert(is_left)).to_pylist())
    # Two rows with one mark: all are compared.
    if len(known) - gone.bit_count() + writer.count != count:
        return None
    return KeyedRows(count=count, writer=writer, gone=gone)


def _write(
    writer: RowWriter, batch: Any, columns: Sequence[Column], key: Sequence[str], file: str
) -> None:
    if not batch.num_rows:
        return
    keys, texts = keys_and_texts(converted(batch, columns, file), key, file)
    halves = (_unsigned(batch.column(name)).to_pylist() for name in (_HIGH, _LOW))
    writer.add(keys, texts, *halves)


def _moved_buckets(old: Sequence[Any], now: Any, mask: int) -> Any:
    """The buckets whose rows are not as they were, as an Arrow array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # What was counts against what is: of a bucket that has not moved nothing is left. One sum holds
    # both parts, and all begin anew at 2**64, here and there. How many rows there are is not asked:
    # buckets of which nothing but that is another would not add up to all rows in the end.
    upper, lower = (now[name].cast(pa.int64()) for name in ("upper", "lower"))
    sums = pc.add(pc.shift_left(upper, _UPPER_BITS), lower)
    rows = [pa.table([now["bucket"].cast(pa.int32()), sums], names=("bucket", "sum"))]
    without = -1 - (1 << _UPPER_BITS - 1)  # all bits of a mark but the one that is in no part
    for some in old:
        high = _signed(some[_HIGH])
        bucket = pc.bit_wise_and(high, mask).cast(pa.int32())
        marks = pc.negate(pc.bit_wise_and(high, without))
        rows.append(pa.table([bucket, marks], names=("bucket", "sum")))
    left = pa.concat_tables(rows).group_by("bucket").aggregate([("sum", "sum")])
    moved = left.filter(pc.not_equal(left["sum_sum"], 0))["bucket"]
    return moved.cast(pa.int64()).combine_chunks()


def _of_buckets(marks: Any, mask: int, buckets: Any) -> Any:
    """The marks of these buckets."""
    import pyarrow.compute as pc

    bucket = pc.bit_wise_and(_signed(marks[_HIGH]), mask)
    return marks.filter(pc.is_in(bucket, value_set=buckets))


def _bucket_mask(rows: int) -> int:
    """The bits of a mark that say its bucket, for so many rows."""
    return min(1 << (rows // _BUCKET_ROWS).bit_length(), _MOST_BUCKETS) - 1


def _signed(marks: Any) -> Any:
    import pyarrow as pa

    return marks.combine_chunks().view(pa.int64())


def _unsigned(hashes: Any) -> Any:
    import pyarrow as pa

    return hashes.view(pa.uint64())


def _bits(places: Sequence[int]) -> int:
    """A number that has these bits set."""
    found = bytearray(max(places, default=-1) // 8 + 1)
    for place in places:
        found[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(found, "little")
