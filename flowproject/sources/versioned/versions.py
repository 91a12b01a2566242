"""Makes observations of tables that know their version, whichever format they are in.

How a version is asked and a file read stands with the format; here commits and rows are there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

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
    check_columns,
    keyed,
    keys_and_texts,
    not_unique,
    without_garbage_collection,
)
from flowproject.sql import Query, bind, dollar, find_query
from flowproject.tables.arrow import queried
from flowproject.tables.row_comparison import compare_all_rows, compare_some_rows
from flowproject.tables.row_table import FEW_ROWS, RowTable, RowWriter

__all__ = [
    "Candidates",
    "Commit",
    "FeedRow",
    "GoneError",
    "PatchedItems",
    "PinnedQuery",
    "TableVersion",
    "WholeTable",
    "changed",
    "check_limit",
    "has_other_columns",
    "is_large",
    "known_version",
    "netted",
    "question",
    "rows_of",
    "unmoved",
    "whole",
]

_FORMAT: Final = 1
_MOST_COMMITS: Final = 20
_MOST_OPERATIONS: Final = 5
_PIECE_ROWS: Final = 10_000


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


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """One version of a table: which table, which version, and what its log says of it.

    `rows` is None if the log does not say how many there are. `details` is what its format wants to
    know of it at the next look. `question` is a digest of what is watched: a version that was known
    to another question says nothing of this one.
    """

    noun: str
    table: str
    version: int | None
    rows: int | None
    columns: Mapping[str, str]
    question: str
    details: Mapping[str, Json] = field(default_factory=dict)

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

    def __len__(self) -> int:
        return max(len(self.old), len(self.new))

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
        changed_rows = [*difference.arrived]
        writer = RowWriter()
        writer.add([one.key for one in changed_rows], [dumps(one.data) for one in changed_rows])
        before = [
            *(one.key for one, _ in difference.modified),
            *(one.key for one in difference.removed),
        ]
        gone = known.places(before)
        if gone.bit_count() != len(before):
            raise GoneError("the journal has other rows than the table had")
        found = compare_some_rows(known, writer, gone, lambda name: not_unique(name, key, place))
        return found.items, found.difference, found.fingerprint


@dataclass(frozen=True, kw_only=True)
class WholeTable:
    """All rows of a table: few of them as they are, many in a file."""

    count: int
    rows: Rows
    writer: RowWriter | None

    @classmethod
    def gather(
        cls, tables: Iterable[Any], key: Sequence[str], place: str, left: Callable[[], None]
    ) -> "WholeTable":
        """Take the rows of tables of Arrow; `left` raises if nobody waits for them."""
        count, few, writer = 0, list[dict[str, Json]](), None
        for table in tables:
            rows = rows_of([table], left)
            count += len(rows)
            few += rows
            if writer is None and count <= FEW_ROWS:
                continue
            writer = writer or RowWriter()
            for start in range(0, len(few), _PIECE_ROWS):
                writer.add(*keys_and_texts(few[start : start + _PIECE_ROWS], key, place))
            few = []
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
    return replace(seen, memo=now.to_memo(), state=_state(now, seen), columns=dict(now.columns))


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
        QueryError: if two rows have one key, or the key is no column.
    """
    if rows is None:
        return _observation(now, commits, None, None, now.fingerprint, cost, note)
    check_columns([*now.columns], key, place)
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
    )
    return replace(seen, state=_state(now, seen))


def has_other_columns(known: TableVersion, now: TableVersion) -> bool:
    """Whether a table's columns are not what they were."""
    return bool(columns_change(known.columns, now.columns))


@without_garbage_collection()
def rows_of(tables: Iterable[Any], left: Callable[[], None]) -> Rows:
    """The rows of tables of Arrow in canonical form; `left` raises if nobody waits for them.

    Raises:
        SourceError: if a value is none that Python can hold.
    """
    rows: Rows = []
    for table in tables:
        left()
        columns: dict[str, list[Json]] = {}
        for name in table.column_names:
            try:
                columns[name] = [canonical(value) for value in table[name].to_pylist()]
            except (ValueError, OverflowError, TypeError) as error:
                raise SourceError(
                    f"Column {name!r} holds a value that can't be told: {type(error).__name__}",
                    fix="Leave `key` away to watch the table's versions only",
                ) from error
        names = [*columns]
        rows += [
            dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
    return rows


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
            f"The table has {rows:,} rows, more than the {limit:,} that are compared",
            where=f"{place}, row_limit in flowproject.toml",
            fix="Raise row_limit in [data]; or leave `key` away to watch the table's versions only",
        )


def is_large(rows: int | None, past: Past) -> bool:
    """Whether a table has grown so large that the journal is to keep its rows in another form."""
    return (rows or 0) > FEW_ROWS >= (past.total or 0)


def question(*parts: Json) -> str:
    """A digest of what is watched."""
    return digest("versioned 1", dumps([*parts]))


@dataclass(frozen=True, kw_only=True)
class PinnedQuery:
    """A query of the project's, and the version that it is asked of: None is the newest."""

    query: Query
    params: Mapping[str, Any]
    version: Mapping[str, Json] | None

    @classmethod
    def find(
        cls, root: Path, name: str, params: Mapping[str, Any], version: Mapping[str, Json] | None
    ) -> "PinnedQuery":
        """The query of this name.

        Raises:
            QueryError: if there is none, or its parameters are others.
        """
        query = find_query(root, name)
        bind(query, params, dollar)  # what is wrong with them is told before anything is read
        return cls(query=query, params=params, version=version)

    def answer(self, table: str, rows: Any, limit: int) -> Any:
        """The table of Arrow that it gives over the rows of a table.

        Raises:
            QueryError: if it can't be run, or gives more than `limit` rows.
        """
        text = bind(self.query, self.params, dollar)
        found = queried(table, rows, text, self.params, self.query.file)
        if len(found) > limit:
            raise QueryError(
                f"The result has more than {limit:,} rows",
                where=f"{self.query.file}, row_limit in flowproject.toml",
                fix="Filter or aggregate in the query, or raise row_limit in [data]",
            )
        return found


def _state(now: TableVersion, seen: Observation) -> str:
    # What has items is told by their number, as it is of every source.
    return "" if seen.items is not None else now.words


def _operations(now: TableVersion, commits: Sequence[Commit], *, seen_rows: bool) -> str:
    """What was done to the table; with the version, unless that is the state anyway."""
    names = [*dict.fromkeys(commit.operation for commit in commits)]
    shown = ", ".join(names[:_MOST_OPERATIONS]) + (", ..." if len(names) > _MOST_OPERATIONS else "")
    many = f"{len(commits):,} commits, " if len(commits) > 1 else ""
    told = [f"{now.noun} {now.version}"] if seen_rows and now.version is not None else []
    return ": ".join([*told, *filter(None, [many + shown])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
