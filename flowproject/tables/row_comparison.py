"""Compares the rows of two looks where they lie, in files: memory does not grow with them.

What differs is decided by key and version, which are made by the canonical rule. Marks only say
which rows need no look. Few rows are compared in memory; of many, DuckDB joins both sides, on disk
if it has to. Where rows come from is no concern of this module: any source may write them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import dumps
from flowproject.changes.difference import Difference, Item, diff
from flowproject.changes.observation import Items, share
from flowproject.errors import SourceError
from flowproject.tables.lazy_rows import Form, LazyRows
from flowproject.tables.row_table import FEW_ROWS, RowTable, RowWriter, row_tables
from flowproject.tables.segments import Segment, SegmentWriter
from flowproject.tables.serialization import item_edits_form, item_form, item_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

__all__ = [
    "ComparedRows",
    "compare_all_rows",
    "compare_known_rows",
    "compare_some_rows",
    "guarded_batches",
    "unequal_rows",
]

_BATCH_ROWS: Final = 20_000
_MEMORY: Final = "512MB"

NotUnique = Callable[[str], Exception]
"""Makes the error for a key that two rows have."""


@dataclass(frozen=True, kw_only=True)
class ComparedRows:
    """The table of all rows that were seen, and what happened to them since the past."""

    items: RowTable
    difference: Difference

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the table."""
        return self.items.manifest.fingerprint


def compare_all_rows(past: Items | None, writer: RowWriter, not_unique: NotUnique) -> ComparedRows:
    """Compare all rows of a look, which were written, with all of the past.

    Raises:
        Exception: what `not_unique` makes, if two rows have one key; what the past makes of rows
            that can't be read.
        SourceError: if there is no room for what is compared.
    """
    seen = writer.table()
    if not past:
        _check_unique(seen, not_unique)
        return ComparedRows(items=seen, difference=Difference(added=seen.lazy()))
    if len(past) + len(seen) <= FEW_ROWS:
        difference = diff(_by_key(past.values()), _unique(seen, not_unique))
    else:
        _check_unique(seen, not_unique)
        difference = _joined(row_tables(past), seen)
    return ComparedRows(items=seen, difference=difference)


def compare_some_rows(
    past: RowTable, writer: RowWriter, gone: int, not_unique: NotUnique
) -> ComparedRows:
    """Compare the rows of a look that are not as they were, which were written.

    `gone` has a bit for the place of each row of the past that was not seen as it was; all others
    were. The new table has its rows in the files of the past.

    Raises:
        Exception: as `compare_all_rows` does.
    """
    came = writer.table()
    stayed = past.manifest.live & ~gone
    left = 0
    if gone.bit_count() + len(came) <= FEW_ROWS:
        old = _by_key(_items(past, gone))
        new = _unique(came, not_unique)
        # The past has each key once: one that went is no key of a row that stayed.
        if new.keys() - old.keys():
            _check_apart(past, stayed, came, not_unique)
        difference = diff(old, new)
        left = sum(share(item.key, item.version) for item in old.values())
    else:
        _check_apart(past, stayed, came, not_unique)
        _check_unique(came, not_unique)
        left = sum(share(item.key, item.version) for item in _items(past, gone))
        difference = _joined(past.read(item_schema(""), gone), came)
    total = past.manifest.total - left + writer.total
    return ComparedRows(
        items=past.followed_by(gone, writer).with_total(total), difference=difference
    )


def compare_known_rows(
    past: RowTable, difference: Difference, not_unique: NotUnique
) -> ComparedRows | None:
    """Add to the past what is known to have happened to few of its rows.

    The new table has its rows in the files of the past. It is None if the past had other rows than
    the difference says.

    Raises:
        Exception: as `compare_all_rows` does.
    """
    before = {item.key: item.version for item in difference.removed}
    before |= {old.key: old.version for old, _ in difference.modified}
    came = [*difference.arrived]
    # Each key is looked for in one reading: of ten million rows that is most of what it costs.
    places = past.places({*before, *(item.key for item in came)})
    if taken := places.keys() - before.keys():
        raise not_unique(min(taken))
    gone = _bits(places.values())
    kept = {
        raw.decode("utf-8", "surrogatepass"): version.hex()
        for rows in past.read(item_schema("").remove(2), gone)
        for raw, version in zip(*(column.to_pylist() for column in rows.columns), strict=True)
    }
    if kept != before:
        return None
    writer = RowWriter()
    if came:
        writer.add([item.key for item in came], [dumps({**item.data}) for item in came])
    left = sum(share(key, version) for key, version in before.items())
    total = past.manifest.total - left + writer.total
    items = past.followed_by(gone, writer).with_total(total)
    return ComparedRows(items=items, difference=difference)


def unequal_rows(
    old: "Iterable[pa.Table]", new: "Iterable[pa.Table]", schema: "pa.Schema", most: int
) -> "tuple[pa.Table, pa.Table]":
    """At most so many rows of either side that the other does not have, whatever their columns are.

    What the engine takes for equal is so by the canonical rule, too; the reverse need not be true.
    """
    with _engine() as engine:
        for name, tables in (("old", old), ("new", new)):
            engine.keep(name, schema, tables)
        return (
            engine.table(f"(FROM old EXCEPT ALL FROM new) LIMIT {most}"),
            engine.table(f"(FROM new EXCEPT ALL FROM old) LIMIT {most}"),
        )


def guarded_batches(
    schema: "pa.Schema", tables: "Iterable[pa.Table]", failures: list[BaseException]
) -> "pa.RecordBatchReader":
    """A stream for the engine; what is raised while it is read is kept in `failures`.

    The engine would make an error of its own of it.
    """
    import pyarrow as pa

    def batches() -> "Iterator[pa.RecordBatch]":
        try:
            for table in tables:
                yield from table.to_batches(_BATCH_ROWS)
        except BaseException as error:
            failures.append(error)
            raise

    return pa.RecordBatchReader.from_batches(schema, batches())


def _bits(places: Iterable[int]) -> int:
    """A number in which the bits at these places are set."""
    found = bytearray()
    for place in places:
        found.extend(bytes(max(0, (place >> 3) + 1 - len(found))))
        found[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(found, "little")


def _items(past: RowTable, only: int) -> Iterator[Item]:
    form = item_form()
    return (item for rows in past.read(form.schema, only) for item in form.decode(rows))


def _by_key(items: Iterable[Item]) -> dict[str, Item]:
    return {item.key: item for item in items}


def _unique(table: RowTable, not_unique: NotUnique) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for item in table.values():
        if item.key in found:
            raise not_unique(item.key)
        found[item.key] = item
    return found


def _check_unique(table: RowTable, not_unique: NotUnique) -> None:
    """Raise what `not_unique` makes if two rows of a table have one key."""
    import pyarrow as pa

    schema = pa.schema([("key", pa.binary())])
    with _engine() as engine:
        engine.stream("seen", schema, table.read(schema))
        twice = engine.rows(
            "SELECT min(key) FROM (SELECT key FROM seen GROUP BY key HAVING count(*) > 1)"
        )
    [(key,)] = twice
    if key is not None:
        raise not_unique(bytes(key).decode("utf-8", "surrogatepass"))


def _check_apart(past: RowTable, stayed: int, came: RowTable, not_unique: NotUnique) -> None:
    """Raise what `not_unique` makes if a row that came has the key of one that stayed."""
    import pyarrow as pa

    if not len(came):
        return
    # Two rows with one key by the canonical rule (0.0 and -0.0) can have two marks.
    schema = pa.schema([("key", pa.binary())])
    there = past.read(schema, stayed)
    key = (_key_of_many if len(came) > FEW_ROWS else _key_of_few)(schema, there, came)
    if key is not None:
        raise not_unique(key.decode("utf-8", "surrogatepass"))


def _key_of_few(schema: "pa.Schema", there: "Iterable[pa.Table]", came: RowTable) -> bytes | None:
    """A key in `there` that one of a few rows has, if there is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pa.concat_tables([*came.read(schema)])["key"].combine_chunks()
    for rows in there:
        found = rows.filter(pc.is_in(rows["key"], value_set=keys))
        if len(found):
            return bytes(found["key"][0].as_py())
    return None


def _key_of_many(schema: "pa.Schema", there: "Iterable[pa.Table]", came: RowTable) -> bytes | None:
    """A key in `there` that one of many rows has, if there is one."""
    # Arrow would make an index of all of them anew for each group of rows that are there.
    with _engine() as engine:
        engine.stream("there", schema, there)
        engine.stream("came", schema, came.read(schema))
        [(key,)] = engine.rows("SELECT min(key) FROM there WHERE key IN (SELECT key FROM came)")
    return None if key is None else bytes(key)


def _joined(old: "Iterable[pa.Table]", seen: RowTable) -> Difference:
    """What happened to many rows, in files."""
    schema = item_schema("")
    writer = _DifferenceWriter()
    with _engine() as engine:
        engine.stream("old", schema, old)
        engine.stream("new", schema, seen.tables())
        # In the order of keys, as every difference is.
        for batch in engine.batches(
            "SELECT o.key AS old_key, o.version AS old_version, o.data AS old_data, "
            "n.key AS new_key, n.version AS new_version, n.data AS new_data "
            "FROM old AS o FULL OUTER JOIN new AS n ON o.key = n.key "
            "WHERE o.version IS DISTINCT FROM n.version ORDER BY coalesce(n.key, o.key)"
        ):
            writer.add(batch)
    return writer.difference()


class _DifferenceWriter:
    """Writes added, modified and removed rows, each kind into a temporary file of its own."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[Form[Any], SegmentWriter, list[int]]] = {}

    def add(self, rows: "pa.Table") -> None:
        """Add rows with their old and new columns, of which one side may be null."""
        import pyarrow.compute as pc

        is_new, is_old = pc.is_null(rows["old_key"]), pc.is_null(rows["new_key"])
        both = pc.invert(pc.or_(is_new, is_old))
        new, old = rows.schema.names[3:], rows.schema.names[:3]
        self._write("added", item_form(), rows.filter(is_new).select(new))
        self._write("modified", item_edits_form(), rows.filter(both))
        self._write("removed", item_form(), rows.filter(is_old).select(old))

    def difference(self) -> Difference:
        """What was added."""
        found = {
            kind: _lazy(form, writer, sizes) for kind, (form, writer, sizes) in self._kinds.items()
        }
        return Difference(**found)

    def _write(self, kind: str, form: Form[Any], rows: "pa.Table") -> None:
        if not len(rows):
            return
        if kind not in self._kinds:
            self._kinds[kind] = (form, SegmentWriter(form.schema), [])
        _, writer, sizes = self._kinds[kind]
        writer.write(rows.rename_columns(form.schema.names).cast(form.schema))
        sizes.append(len(rows))


def _lazy(form: Form[Any], writer: SegmentWriter, sizes: list[int]) -> LazyRows[Any]:
    segment = Segment(writer.finish(), "", ValueError)

    def read(passed: int = 0, rows: int = 0) -> "Iterator[pa.Table]":
        for group in range(passed, len(sizes)):
            if rows:
                yield from segment.pieces(group, form.schema, rows)
            else:
                yield segment.read(group, form.schema)

    return LazyRows(sum(sizes), read, form, sizes=sizes)


class _Engine:
    """A database in memory of ours, that spills what is more than it may hold."""

    def __init__(self, connection: "DuckDBPyConnection") -> None:
        self._connection = connection
        self.failures: list[BaseException] = []

    def stream(self, name: str, schema: "pa.Schema", tables: "Iterable[pa.Table]") -> None:
        """Give it rows to read once, under a name."""
        self._connection.register(name, guarded_batches(schema, tables, self.failures))

    def keep(self, name: str, schema: "pa.Schema", tables: "Iterable[pa.Table]") -> None:
        """Keep rows under a name, to be read more than once."""
        self.stream("given", schema, tables)
        self._connection.execute(f"CREATE TABLE {name} AS FROM given")  # a name of ours
        self._connection.unregister("given")

    def table(self, text: str) -> "pa.Table":
        """The rows of a statement, all of them."""
        return self._connection.sql(text).to_arrow_table()

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        return self._connection.execute(text).fetchall()

    def batches(self, text: str) -> "Iterator[pa.Table]":
        """The rows of a statement, some at a time."""
        import pyarrow as pa

        for batch in self._connection.sql(text).to_arrow_reader(_BATCH_ROWS):
            yield pa.Table.from_batches([batch])


@contextmanager
def _engine() -> Iterator[_Engine]:
    import duckdb

    with TemporaryDirectory(prefix="flowproject-") as folder:
        connection = duckdb.connect(
            config={
                "threads": 1,
                "memory_limit": _MEMORY,
                "temp_directory": folder,
                "autoinstall_known_extensions": False,
                "preserve_insertion_order": False,
            }
        )
        engine = _Engine(connection)
        try:
            yield engine
        except duckdb.Error as error:
            # What a stream raised comes out of the engine as an error without words.
            if engine.failures:
                raise engine.failures[0] from None
            raise SourceError(
                f"The rows could not be compared: {str(error).partition(chr(10))[0]}",
                where=f"The folder for what does not fit into memory is {gettempdir()!r}",
                fix="Make room there, or name another folder in the environment variable TMPDIR",
            ) from error
        finally:
            connection.close()
