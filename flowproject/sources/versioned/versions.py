"""Makes observations of tables that know their version, whichever format they are in.

How a version is asked and a file read stands with the format; here commits and rows are there.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from flowproject.changes.canonical import Json, canonical, digest, dumps
from flowproject.changes.columns import columns_change
from flowproject.changes.difference import Difference, Item, diff
from flowproject.changes.observation import (
    Cost,
    Items,
    Memo,
    Observation,
    Past,
    fingerprint_items,
    fingerprint_value,
)
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows
from flowproject.sources.result import (
    keyed,
    keys_and_texts,
    keys_and_texts_of_columns,
    not_unique,
    without_garbage_collection,
)
from flowproject.tables.row_comparison import (
    compare_all_rows,
    compare_known_rows,
    unequal_rows,
)
from flowproject.tables.row_table import FEW_ROWS, RowTable, RowWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Candidates",
    "Commit",
    "FeedRow",
    "GoneError",
    "PatchedItems",
    "TableVersion",
    "WholeTable",
    "changed",
    "check_limit",
    "has_other_columns",
    "is_large",
    "known_version",
    "moment",
    "netted",
    "question",
    "rows_of",
    "type_in_words",
    "unmoved",
    "whole",
    "without_rows",
]

_FORMAT: Final = 1
_MOST_COMMITS: Final = 20
_MOST_OPERATIONS: Final = 5
_PIECE_ROWS: Final = 10_000
_WORDS: Final = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "binary": "BLOB",
    "large_binary": "BLOB",
    "binary_view": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
}
"""DuckDB's words for Arrow's types."""

_PLAIN: Final = {"bool", "int8", "int16", "int32", "int64", "string", "large_string", "string_view"}
"""Types whose values are canonical as they are."""


class GoneError(Exception):
    """What was known of the table can't be read from it any more: the table is there, the past not.

    Its text says what is gone.
    """


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What a table's log says of one commit; None is what it does not say.

    Rows and files are those of the files that came and went: to change one row of a file, a writer
    puts all of its rows into another one.
    """

    version: int
    operation: str
    time: str = ""
    rows_added: int | None = None
    rows_removed: int | None = None
    files_added: int | None = None
    files_removed: int | None = None

    def to_json(self) -> dict[str, Json]:
        """The commit as JSON."""
        return {
            "version": self.version,
            "operation": self.operation,
            "time": self.time,
            "rows_added": self.rows_added,
            "rows_removed": self.rows_removed,
            "files_added": self.files_added,
            "files_removed": self.files_removed,
        }


def moment(milliseconds: object) -> str:
    """The moment of a commit, of its writer's clock, which nobody checks; empty if it is none."""
    if not isinstance(milliseconds, int):
        return ""
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return ""


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """One version of a table: which table, which version, and what its log says of it.

    `rows` is None if the log does not say how many there are. `details` is what its format wants to
    know of it at the next look. `question` is a digest of what is watched: a version that was known
    to another question says nothing of this one. `types` has those of the columns in DuckDB's
    words, of a version that was looked into.
    """

    noun: str
    table: str
    version: int | None
    rows: int | None
    columns: Mapping[str, str]
    question: str
    details: Mapping[str, Json] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of what this version holds."""
        return fingerprint_value([self.noun, self.table, self.version])

    @property
    def words(self) -> str:
        """The version as a person reads it."""
        if self.version is None:
            return "an empty table"
        many = "" if self.rows is None else f", {_count(self.rows, 'row')}"
        return f"{self.noun} {self.version}{many}"

    def to_memo(self) -> Memo:
        """What the next look wants to know."""
        return {
            "v": _FORMAT,
            "table": self.table,
            "version": self.version,
            "rows": self.rows,
            "columns": {**self.columns},
            "question": self.question,
            "details": {**self.details},
        }

    @property
    def value(self) -> Json:
        """The value where no row is read: a version's number, or a snapshot's id as text."""
        # As text, because an id of 63 bits is another number to whoever reads JSON with floats.
        return str(self.version) if self.noun == "snapshot" and self.version else self.version

    def told(self, commits: Sequence[Commit]) -> dict[str, Json]:
        """What a change says of it; of many commits it has the newest."""
        shown: list[Json] = [commit.to_json() for commit in commits[-_MOST_COMMITS:]]
        more = len(commits) - len(shown)
        return {
            "version": self.version,
            "table": self.table,
            "rows": self.rows,
            "commits": shown,
            **({"earlier_commits": more} if more else {}),
        }


def known_version(past: Past | None, noun: str, question: str) -> TableVersion | None:
    """The version that was known; None if none was, or to another question.

    What a look noted last may be newer than what is recorded: since then no row changed.
    """
    memo = past.memo if past else {}
    if memo.get("v") != _FORMAT or memo.get("question") != question:
        return None
    version, rows, columns, details = (
        memo.get(name) for name in ("version", "rows", "columns", "details")
    )
    if not isinstance(columns, dict) or not isinstance(details, dict):
        return None
    return TableVersion(
        noun=noun,
        table=str(memo.get("table")),
        version=version if isinstance(version, int) else None,
        rows=rows if isinstance(rows, int) else None,
        columns={name: str(kind) for name, kind in columns.items()},
        question=question,
        details=details,
    )


class PatchedItems:
    """Items that are known but for a difference, which nobody has put into one table yet."""

    def __init__(self, past: Past, difference: Difference, place: str) -> None:
        self._past = past
        self._place = place
        self._difference = difference
        self._arrived = {item.key: item for item in difference.arrived}
        self._removed = {item.key for item in difference.removed}

    def __len__(self) -> int:
        return (self._past.total or 0) + len(self._difference.added) - len(self._removed)

    def __contains__(self, key: object) -> bool:
        return key in self._arrived or (
            key not in self._removed and key in (self._past.items or {})
        )

    def values(self) -> Iterator[Item]:
        """All items; those that were known are read from the journal.

        Raises:
            QueryError: if a row was added whose key another row had.
        """
        added = {item.key for item in self._difference.added}
        for one in self._past.items.values() if self._past.items is not None else ():
            if one.key in added:
                raise QueryError(
                    f"A row was added with the key {one.key!r}, which another row has",
                    where=self._place,
                    fix="Add the columns to `key` that tell them apart",
                )
            if one.key not in self._removed and one.key not in self._arrived:
                yield one
        yield from self._arrived.values()

    def table(self) -> RowTable:
        """All items in a table of rows, which a later one can go on from."""
        writer, rest = RowWriter(), self.values()
        while some := [*islice(rest, _PIECE_ROWS)]:
            writer.add([one.key for one in some], [dumps({**one.data}) for one in some])
        return writer.table()


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The rows that may have changed, as they were and as they are, in canonical form."""

    old: Rows
    new: Rows

    @classmethod
    def of_files(
        cls,
        old: "Iterable[pa.Table] | None",
        new: "Iterable[pa.Table] | None",
        schema: "pa.Schema",
        left: Callable[[], None],
    ) -> "Candidates | None":
        """The rows of files that went and of files that came, None if there are none of a kind.

        They are None if there are so many that all rows had better be compared.
        """
        if old is not None and new is not None:
            # Most rows of a file that was written anew are what they were.
            sides: Sequence[Iterable[Any]] = [
                [rows] for rows in unequal_rows(old, new, schema, FEW_ROWS + 1)
            ]
        else:
            sides = [old or (), new or ()]
        found = [_few_rows(tables, left) for tables in sides]
        if found[0] is None or found[1] is None:
            return None
        return cls(old=found[0], new=found[1])

    def compared(self, past: Past, key: Sequence[str], place: str) -> tuple[Items, Difference, str]:
        """The items of the table now, what happened to them, and their fingerprint.

        Raises:
            GoneError: if the journal does not have the rows that were there.
            QueryError: if two rows have the same key.
        """
        sides = [keyed(rows, key, place).items if rows else {} for rows in (self.old, self.new)]
        old, new = ({item.key: item for item in (side or {}).values()} for side in sides)
        difference = diff(old, new)
        known = past.items if any(difference.counts.values()) else None
        if not isinstance(known, RowTable):
            items = PatchedItems(past, difference, place)
            if not any(difference.counts.values()):
                return items, difference, past.fingerprint
            if len(items) > FEW_ROWS:
                # Nobody knew that it has grown, where the format does not say how many rows it has.
                # Of the one file that few rows are kept in, no later table could keep a part.
                table = items.table()
                return table, difference, table.manifest.fingerprint
            return items, difference, fingerprint_items(items.values())
        # Only rows that really changed are looked for among the many that are kept.
        found = compare_known_rows(known, difference, lambda name: not_unique(name, key, place))
        if found is None:
            raise GoneError("the journal has other rows than the table had")
        return found.items, found.difference, found.fingerprint


@dataclass(frozen=True, kw_only=True)
class WholeTable:
    """All rows of a table: few of them as they are, many in a file."""

    count: int
    rows: Rows
    writer: RowWriter | None

    @classmethod
    def gather(
        cls,
        tables: "Iterable[pa.Table]",
        key: Sequence[str],
        limit: int,
        place: str,
        left: Callable[[], None],
    ) -> "WholeTable":
        """Take the rows of tables of Arrow; `left` raises if nobody waits for them.

        Raises:
            QueryError: if there are more than `limit`, or a row has no key.
        """
        count, few = 0, list[dict[str, Json]]()
        writer: RowWriter | None = None
        for piece in _pieces(tables):
            left()
            count += len(piece)
            check_limit(count, limit, place)
            if writer is None and count <= FEW_ROWS:
                few += _rows(_columns(piece))
                continue
            if writer is None:
                writer = RowWriter()
                for start in range(0, len(few), _PIECE_ROWS):
                    writer.add(*keys_and_texts(few[start : start + _PIECE_ROWS], key, place))
                few = []
            writer.add(*keys_and_texts_of_columns(_columns(piece), key, place))
        return cls(count=count, rows=few, writer=writer)

    def compared(
        self, past: Past | None, key: Sequence[str], place: str
    ) -> tuple[Items, Difference | None, str]:
        """The items, what happened to them if they are many, and their fingerprint.

        Raises:
            QueryError: if two rows have the same key.
        """
        if self.writer is None:
            seen = keyed(self.rows, key, place)
            return seen.items or {}, None, seen.fingerprint
        found = compare_all_rows(
            past.items if past else None, self.writer, lambda name: not_unique(name, key, place)
        )
        return found.items, found.difference, found.fingerprint


def unmoved(past: Past, now: TableVersion, cost: Cost, note: str) -> Observation:
    """The observation of a table none of whose rows changed since the past."""
    seen = past.still(cost=cost, query="", note=note)
    return replace(
        seen,
        memo=now.to_memo(),
        state=_state(now, seen),
        columns=dict(now.columns),
        types=dict(now.types),
    )


def changed(
    now: TableVersion,
    commits: Sequence[Commit],
    compared: tuple[Items, Difference, str] | None,
    cost: Cost,
    *,
    note: str = "",
) -> Observation:
    """The observation of a table that changed; `compared` is None where no row is looked at."""
    items, difference, fingerprint = compared or (None, None, now.fingerprint)
    return _observation(now, commits, items, difference, fingerprint, cost, note)


def whole(
    past: Past | None,
    now: TableVersion,
    commits: Sequence[Commit],
    rows: WholeTable | None,
    key: Sequence[str],
    place: str,
    cost: Cost,
    *,
    note: str = "",
) -> Observation:
    """The observation of a table that was read whole; `rows` is None where no row is looked at.

    Raises:
        QueryError: if two rows have one key.
    """
    if rows is None:
        return _observation(now, commits, None, None, now.fingerprint, cost, note)
    items, difference, fingerprint = rows.compared(past, key, place)
    return _observation(now, commits, items, difference, fingerprint, cost, note)


def _observation(
    now: TableVersion,
    commits: Sequence[Commit],
    items: Items | None,
    difference: Difference | None,
    fingerprint: str,
    cost: Cost,
    note: str,
) -> Observation:
    operations = _operations(now, commits, seen_rows=items is not None)
    seen = Observation(
        value=now.value if items is None else len(items),
        fingerprint=fingerprint,
        items=items,
        difference=difference,
        cost=cost,
        note="; ".join(filter(None, [operations, note])),
        version=now.told(commits),
        memo=now.to_memo(),
        columns=dict(now.columns),
        types=dict(now.types),
    )
    return replace(seen, state=_state(now, seen))


def without_rows(now: TableVersion, commits: Sequence[Commit], note: str = "") -> str:
    """The note of an observation of commits that changed no row."""
    told = f"{now.noun} {now.version}: {_names(commits)}, no row changed"
    return "; ".join(filter(None, [told, note]))


def has_other_columns(known: TableVersion, now: TableVersion) -> bool:
    """Whether a table's columns are not what they were."""
    return bool(columns_change(known.columns, now.columns))


@without_garbage_collection()
def rows_of(tables: "Iterable[pa.Table]", left: Callable[[], None]) -> Rows:
    """The rows of tables of Arrow in canonical form; `left` raises if nobody waits for them.

    Raises:
        SourceError: if a value is none that Python can hold.
    """
    rows: Rows = []
    for table in tables:
        left()
        rows += _rows(_columns(table))
    return rows


@without_garbage_collection()
def _few_rows(tables: "Iterable[pa.Table]", left: Callable[[], None]) -> Rows | None:
    """The rows of tables of Arrow in canonical form; None if they are many."""
    rows: Rows = []
    for table in tables:
        left()
        if len(rows) + len(table) > FEW_ROWS:
            return None
        rows += _rows(_columns(table))
    return rows


def _pieces(tables: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
    """Tables of Arrow in pieces, because as Python's values their rows take ten times the room."""
    for table in tables:
        for start in range(0, len(table), _PIECE_ROWS):
            yield table.slice(start, _PIECE_ROWS)


def _rows(columns: Mapping[str, Sequence[Json]]) -> Rows:
    names = [*columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _columns(table: "pa.Table") -> dict[str, list[Json]]:
    """The columns of a table of Arrow in canonical form.

    Raises:
        SourceError: if a value is none that Python can hold.
    """
    columns: dict[str, list[Json]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            values = column.to_pylist()
            # Most values are what they are; to ask of each would take half of the time.
            if str(column.type) not in _PLAIN:
                values = [*map(canonical, values)]
        except (ValueError, OverflowError, TypeError) as error:
            raise SourceError(
                f"Column {name!r} holds a value that can't be told: {type(error).__name__}",
                fix="Leave `key` away to watch the table's versions only",
            ) from error
        columns[name] = values
    return columns


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedRow:
    """One line of a feed of changes: a row as it was (`is_old`) or as it is since a version."""

    version: int
    is_old: bool
    row: dict[str, Json]


def netted(events: Iterable[FeedRow], key: Sequence[str], place: str) -> Candidates:
    """The rows of a feed as they were before its first version, and as they are after its last.

    Raises:
        QueryError: if in one version two rows have the same key.
    """
    seen: dict[str, dict[int, dict[bool, dict[str, Json]]]] = {}
    for event in events:
        name = dumps([event.row.get(column) for column in key])
        sides = seen.setdefault(name, {}).setdefault(event.version, {})
        if event.is_old in sides:
            raise _not_unique(name, key, event.version, place)
        sides[event.is_old] = event.row
    old, new = [], []
    for name, versions in seen.items():
        is_there = True in versions[min(versions)]
        for version, sides in sorted(versions.items()):
            if (True in sides) != is_there:
                raise _not_unique(name, key, version, place)
            is_there = False in sides
        if (before := versions[min(versions)].get(True)) is not None:
            old.append(before)
        if (after := versions[max(versions)].get(False)) is not None:
            new.append(after)
    return Candidates(old=old, new=new)


def _not_unique(name: str, key: Sequence[str], version: int, place: str) -> QueryError:
    return QueryError(
        f"Two rows have the key {name} ({', '.join(key)}) since version {version}",
        where=place,
        fix="Add the columns to `key` that tell them apart",
    )


def check_limit(rows: int | None, limit: int, place: str) -> None:
    """Raise the QueryError of a table with more rows than are to be read."""
    if rows is not None and rows > limit:
        raise QueryError(
            f"The table has more rows than the {limit:,} that are compared",
            where=f"{place}, row_limit in flowproject.toml",
            fix="Raise row_limit in [data]; or leave `key` away to watch the table's versions only",
        )


def is_large(rows: int | None, past: Past) -> bool:
    """Whether a table has grown so large that the journal is to keep its rows in another form."""
    return (rows or 0) > FEW_ROWS >= (past.total or 0)


def type_in_words(kind: "pa.DataType") -> str:
    """A type of Arrow in the words of DuckDB, by which the rows of a change become Arrow again.

    One for which there is none is text there.
    """
    import pyarrow.types as kinds

    if kinds.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if kinds.is_timestamp(kind):
        part = {"s": "_S", "ms": "_MS", "us": "", "ns": "_NS"}[kind.unit]
        return f"TIMESTAMP{part}{' WITH TIME ZONE' if kind.tz else ''}"
    if kinds.is_nested(kind):
        return _nested_in_words(kind)
    if kinds.is_fixed_size_binary(kind):
        return "BLOB"
    return _WORDS.get(str(kind), "VARCHAR")


def _nested_in_words(kind: Any) -> str:
    import pyarrow.types as kinds

    if kinds.is_map(kind):
        word = f"MAP({type_in_words(kind.key_type)}, {type_in_words(kind.item_type)})"
    elif kinds.is_struct(kind):
        fields = (f"{_quoted(one.name)} {type_in_words(one.type)}" for one in kind)
        word = f"STRUCT({', '.join(fields)})"
    else:
        word = f"{type_in_words(kind.value_type)}[]"
    # Bytes in there would be taken for DuckDB's own words of them.
    return "JSON" if "BLOB" in word else word


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def question(*parts: Json) -> str:
    """A digest of what is watched."""
    return digest("versioned 1", dumps([*parts]))


def _state(now: TableVersion, seen: Observation) -> str:
    # What has items is told by their number, as it is of every source.
    return "" if seen.items is not None else now.words


def _operations(now: TableVersion, commits: Sequence[Commit], *, seen_rows: bool) -> str:
    """What was done to the table; with the version, unless that is the state anyway."""
    many = f"{len(commits):,} commits, " if len(commits) > 1 else ""
    told = [f"{now.noun} {now.version}"] if seen_rows and now.version is not None else []
    return ": ".join([*told, *filter(None, [many + _names(commits)])])


def _names(commits: Sequence[Commit]) -> str:
    """What commits did, each word once."""
    names = [*dict.fromkeys(commit.operation for commit in commits)]
    return ", ".join(names[:_MOST_OPERATIONS]) + (", ..." if len(names) > _MOST_OPERATIONS else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
