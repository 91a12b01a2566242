"""Observes Delta tables through delta-rs: only what moved since the version that was known.

Nothing moved is known from the log's listing alone, without delta-rs.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import DeltaData
from flowproject.errors import SourceError
from flowproject.sources import version_gone
from flowproject.sources.result import check_columns
from flowproject.sources.versioned.delta_log import (
    DeltaCommit,
    DeltaLog,
    LogFile,
    UnfinishedError,
    files_moved,
    no_table,
)
from flowproject.sources.versioned.locations import TableLocation
from flowproject.sources.versioned.table_source import PinnedQuery, TableLook, TableSource
from flowproject.sources.versioned.versions import (
    Candidates,
    Commit,
    FeedRow,
    GoneError,
    TableVersion,
    WholeTable,
    changed,
    check_limit,
    has_other_columns,
    known_version,
    netted,
    question,
    rows_of,
    type_in_words,
    unmoved,
    whole,
    without_rows,
)
from flowproject.tables.row_table import FEW_ROWS

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

__all__ = ["DeltaSource"]

_NOUN: Final = "version"
_FEED: Final = "delta.enableChangeDataFeed"
_OF_FEED: Final = ("_change_type", "_commit_version", "_commit_timestamp")
_OLD: Final = {"delete": True, "update_preimage": True, "insert": False, "update_postimage": False}
_GONE: Final = (
    "not found",
    "No such file",
    "Invalid table version",
    "LogSegment end version",
    "No files in log segment",
    "status code: 404",
    "NoSuchKey",
)
"""What delta-rs says of a file or a version that is not there."""

_PATIENCE: Final = dt.timedelta(minutes=10)
"""How long a log file that ends in the middle is taken for one that is being written."""


@dataclass(frozen=True, kw_only=True)
class _News:
    """What the log has that was not known: commits, and a word on one that is not finished."""

    commits: Sequence[DeltaCommit]
    newest: LogFile
    note: str = ""


class _NotTheSameError(Exception):
    """What was known is not what the log says now; its text says what is another."""


class DeltaSource(TableSource[DeltaData]):
    """Observes and queries one Delta table."""

    def __init__(
        self, data: DeltaData, root: Path, version: Mapping[str, Json] | None = None
    ) -> None:
        super().__init__(data, root, version)
        self._location = TableLocation.parse(data.table, data, root)

    def _look(self) -> TableLook:
        return _DeltaLook(self._data, self._location)


class _DeltaLook(TableLook):
    """One look at a table."""

    def __init__(self, data: DeltaData, location: TableLocation) -> None:
        super().__init__(data, str(location))
        self._data = data
        self._location = location
        self._log = DeltaLog(location)
        self._question = question("delta", str(location), location.kind, [*data.key])

    @property
    def requests(self) -> int:
        """How often the store was asked for the log and for files; not what delta-rs asks."""
        return self._log.requests

    def observe(self, past: Past | None) -> Observation:
        """The newest whole version of the table, and what happened since the known one."""
        known = known_version(past, _NOUN, self._question)
        if past is None or known is None or known.version is None:
            return self._whole(past, known, "")
        try:
            return self._since(past, known, known.version)
        except (_NotTheSameError, GoneError) as reason:
            # Not a first look: everything is compared with what the journal has.
            return self._whole(past, known, f"{reason}: compared as a whole")

    def query(self, asked: PinnedQuery) -> Any:
        """What a query gives, as a table of Arrow.

        Raises:
            SourceError: if the table can't be read, or the version is gone.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        number = self._number(asked.version)
        try:
            with _explained(self._location, reading_past=True):
                table = self._opened(number)
                _check_table(table, asked.version)
                found = QueryBuilder().register("t", table).execute("SELECT * FROM t")
                rows = pa.RecordBatchReader.from_stream(found).read_all()
        except GoneError as gone:
            raise version_gone(
                f"Version {number} of the Delta table can't be read any more: {gone}", self.place
            ) from gone
        name = self._location.path.rpartition("/")[2]
        return asked.answer(name, rows, self._data.row_limit)

    def _number(self, version: Mapping[str, Json] | None) -> int:
        """The version to query: what a change told, or the newest."""
        if version is not None:
            if not isinstance(number := version.get("version"), int):
                raise version_gone(f"No version of the Delta table is {number!r}", self.place)
            return number
        if not (files := self._log.files()):
            raise no_table(self._location)
        return self._newest(files)[0].version

    def _since(self, past: Past, known: TableVersion, version: int) -> Observation:
        try:
            news = self._news(known, version)
        except UnfinishedError as unfinished:
            # What was known is being written again: nothing else is known until that is done.
            return unmoved(past, known, self.cost, str(unfinished))
        now = replace(known, version=news.newest.version, details=self._details(known, news))
        if not news.commits:
            return unmoved(past, now, self.cost, news.note)
        commits = [commit.told() for commit in news.commits]
        tables = {commit.table for commit in news.commits} - {None, known.table}
        if tables:
            raise _NotTheSameError("the table was made anew")
        moves = any(one.changes_rows or one.changes_partitions for one in news.commits)
        if not moves and not any(one.of("metaData") for one in news.commits):
            return unmoved(past, now, self.cost, without_rows(now, commits, news.note))
        table = self._open(news.newest.version)
        now = self._described(table, now)
        if self._data.key and has_other_columns(known, now):
            return self._read(past, table, now, commits, news.note)
        if not moves:
            return unmoved(past, now, self.cost, without_rows(now, commits, news.note))
        if not self._data.key:
            return changed(now, commits, None, self.cost, note=news.note)
        return self.compared(
            past,
            now,
            commits,
            lambda: self._moved(table, known, news.commits),
            lambda: self._read(past, table, now, commits, news.note),
            news.note,
        )

    def _news(self, known: TableVersion, version: int) -> _News:
        """What the log has since a version.

        Raises:
            _NotTheSameError: if it is not the log that was known.
            UnfinishedError: if what was known is being written again.
        """
        files = self._log.files(version)
        at = files.get(version)
        if at is None:
            raise _NotTheSameError(f"version {version} is not in the table's log")
        if {**at.to_json()} != {name: known.details.get(name) for name in at.to_json()}:
            # Written again, or copied: what it says decides.
            [content] = self._log.read([version])
            try:
                is_known = DeltaCommit.parse(version, content).digest == known.details.get("digest")
            except UnfinishedError:
                raise UnfinishedError(self._unfinished(files, at)) from None
            if not is_known:
                raise _NotTheSameError(f"version {version} is not the one that was known")
        versions = range(version + 1, max(files) + 1)
        missing = next((number for number in versions if number not in files), None)
        if missing is not None:
            raise _NotTheSameError(f"version {missing} is not in the table's log")
        contents = self._log.read(versions) if versions else []
        commits: list[DeltaCommit] = []
        note = ""
        for number, content in zip(versions, contents, strict=True):
            try:
                commits.append(DeltaCommit.parse(number, content))
            except UnfinishedError:
                note = self._unfinished(files, files[number])
                break
        return _News(commits=commits, newest=files[version + len(commits)], note=note)

    def _newest(self, files: Mapping[int, LogFile]) -> tuple[DeltaCommit, str]:
        """The newest commit that is whole, and a word on one behind it that is not.

        Raises:
            SourceError: if there is none, or an unfinished one can't be finished any more.
        """
        note = ""
        # Of the two newest: that an older one ends in the middle is damage.
        for version in sorted(files, reverse=True)[:2]:
            [content] = self._log.read([version])
            try:
                return DeltaCommit.parse(version, content), note
            except UnfinishedError:
                note = self._unfinished(files, files[version])
        raise no_table(self._location)

    def _unfinished(self, files: Mapping[int, LogFile], file: LogFile) -> str:
        """Say that a log file is being written.

        Raises:
            SourceError: if it can't be: it is old, or another one follows.
        """
        age = dt.datetime.now(dt.UTC) - file.modified
        if max(files) > file.version or age > _PATIENCE:
            raise SourceError(
                f"The log entry of version {file.version} is damaged: it ends in the middle",
                where=f"{self.place}/_delta_log/{file.version:020d}.json",
                allowed="Nothing is read beyond it, and what is recorded stays as it is",
                fix="Copy it again from where the table was written, or repair the table",
            )
        return f"version {file.version} is being written"

    def _whole(self, past: Past | None, known: TableVersion | None, note: str) -> Observation:
        """Read the newest whole version, all of it if there is a key."""
        if not (files := self._log.files()):
            raise no_table(self._location)
        commit, unfinished = self._newest(files)
        table = self._open(commit.version)
        news = _News(commits=[commit], newest=files[commit.version])
        now = TableVersion(
            noun=_NOUN,
            table=str(table.metadata().id),
            version=commit.version,
            rows=None,
            columns={},
            question=self._question,
        )
        now = self._described(table, replace(now, details=self._details(now, news)))
        if note and known and known.table != now.table:
            note = "the table was made anew: compared as a whole"
        note = "; ".join(filter(None, [note, unfinished]))
        return self._read(past, table, now, (), note)

    def _read(
        self,
        past: Past | None,
        table: "DeltaTable",
        now: TableVersion,
        commits: Sequence[Commit],
        note: str,
    ) -> Observation:
        """Observe a version by itself: all its rows, if there is a key."""
        rows = None
        if self._data.key:
            check_columns([*now.columns], self._data.key, self.place)
            check_limit(now.rows, self._data.row_limit, self.place)
            try:
                rows = self._read_all(table)
            except GoneError as gone:
                raise SourceError(
                    f"Version {now.version} of the Delta table has files that are not there",
                    where=self.place,
                    allowed="A vacuum may have removed them while they were read",
                    fix="The next tick looks again; if it says the same, repair the table "
                    "(`DeltaTable.repair()` of deltalake)",
                ) from gone
        return whole(past, now, commits, rows, self._data.key, self.place, self.cost, note=note)

    def _open(self, version: int) -> "DeltaTable":
        """The table at this version.

        Raises:
            SourceError: if it can't be opened.
        """
        with _explained(self._location):
            return self._opened(version)

    def _opened(self, version: int) -> "DeltaTable":
        from deltalake import DeltaTable

        # At a version, because what a new handle finds newest may be younger than the listing.
        return DeltaTable(
            self._location.uri, version=version, storage_options=self._location.options()
        )

    def _described(self, table: "DeltaTable", now: TableVersion) -> TableVersion:
        """The version with what only the opened table tells: columns, rows, the feed's state."""
        import pyarrow as pa

        configuration = table.metadata().configuration
        features = {*(table.protocol().reader_features or ())}
        mapped = configuration.get("delta.columnMapping.mode", "none") != "none"
        if self._data.key and (
            odd := sorted(
                (features & {"deletionVectors", "columnMapping"})
                | ({"columnMapping"} if mapped else set())
            )
        ):
            raise SourceError(
                f"The Delta table uses {' and '.join(odd)}, and its rows can't be compared",
                where=self.place,
                allowed="Without `key` its versions can be watched",
                fix="Leave `key` away, or write the table without it",
            )
        schema = pa.schema(table.schema().to_arrow())
        with _explained(self._location):
            files = pa.table(table.get_add_actions(flatten=True))
        counts = files["num_records"].to_pylist() if "num_records" in files.column_names else [None]
        rows = None if None in counts and len(files) else sum(filter(None, counts))
        return replace(
            now,
            # With deletion vectors a file has rows that are none of the table's.
            rows=None if "deletionVectors" in features else rows,
            columns={field.name: str(field.type) for field in schema},
            types={field.name: type_in_words(field.type) for field in schema},
            details={**now.details, "feed": configuration.get(_FEED, "").lower() == "true"},
        )

    def _moved(
        self,
        table: "DeltaTable",
        known: TableVersion,
        commits: Sequence[DeltaCommit],
    ) -> Candidates | None:
        """The rows that may have changed: those of the feed, or else of the files that moved.

        They are None if they are many.

        Raises:
            GoneError: if a file that was removed is no longer there.
        """
        import pyarrow as pa

        # delta-rs gives the feed of a range in which it was off, too, and then it is wrong.
        was_on = known.details.get("feed") is True and all(
            configuration.get(_FEED, "").lower() == "true"
            for commit in commits
            for configuration in commit.configurations
        )
        # Of OPTIMIZE there is no feed, also where it changed rows.
        if was_on and not any(commit.changes_partitions for commit in commits):
            try:
                feed = self._from_feed(table, commits[0].version, commits[-1].version)
                if feed is not None:
                    return feed
            except GoneError:
                pass  # vacuumed; the files themselves may still be there
        gone, came = files_moved(commits)
        return Candidates.of_files(
            self._tables(table, gone.values()) if gone else None,
            self._tables(table, came.values()) if came else None,
            pa.schema(table.schema().to_arrow()),
            self.check_not_left,
        )

    def _from_feed(self, table: "DeltaTable", first: int, last: int) -> Candidates | None:
        """The rows of the feed of some versions; None if they are many."""
        import pyarrow as pa

        # By versions: the time of a commit is its writer's, and may be wrong.
        with _explained(self._location, reading_past=True):
            found = table.load_cdf(starting_version=first, ending_version=last)
            batches, count = [], 0
            for batch in pa.RecordBatchReader.from_stream(found):
                self.check_not_left()
                batches.append(batch)
                count += batch.num_rows
                # Of an update to equal values it has every row of a file, twice.
                if count > 2 * FEW_ROWS:
                    return None
        self.rows_read += count
        if not batches:
            return Candidates(old=[], new=[])
        feed = pa.Table.from_batches(batches)
        kinds = feed["_change_type"].to_pylist()
        versions = feed["_commit_version"].to_pylist()
        rows = rows_of([feed.drop_columns([*_OF_FEED])], self.check_not_left)
        events = (
            FeedRow(version=version, is_old=_OLD[kind], row=row)
            for version, kind, row in zip(versions, kinds, rows, strict=True)
        )
        return netted(events, self._data.key, self.place)

    def _read_all(self, table: "DeltaTable") -> WholeTable:
        """The rows of the table.

        Raises:
            GoneError: if a file that it names is not there.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        # Of its readers the one that tells '' from null in a partition's column, as the feed does;
        # and where delta-rs lists the files, even it does not.
        with _explained(self._location, reading_past=True):
            found = QueryBuilder().register("t", table).execute("SELECT * FROM t")
            batches = pa.RecordBatchReader.from_stream(found)
            tables = (pa.Table.from_batches([batch]) for batch in batches)
            rows = WholeTable.gather(
                tables, self._data.key, self._data.row_limit, self.place, self.check_not_left
            )
        self.rows_read += rows.count
        return rows

    def _tables(
        self, table: "DeltaTable", files: Iterable[Mapping[str, Any]]
    ) -> "Iterator[pa.Table]":
        """The content of files, read by ourselves.

        delta-rs reads whole tables only; and of its readers each takes '' and null for something
        else where they stand in a partition's column.
        """
        import pyarrow as pa

        schema = pa.schema(table.schema().to_arrow())
        partitions = {*table.metadata().partition_columns}
        for action in files:
            with _explained(self._location, reading_past=True):
                content = self._content(action["path"], {*schema.names} - partitions)
                values = action.get("partitionValues") or {}
                columns = [
                    _repeated(values.get(field.name), field.type, len(content))
                    if field.name in partitions
                    else content[field.name].cast(field.type)
                    if field.name in content.column_names
                    else pa.nulls(len(content), field.type)
                    for field in schema
                ]
            self.rows_read += len(content)
            self.check_not_left()
            yield pa.Table.from_arrays(columns, schema=schema)

    def _content(self, path: str, names: set[str]) -> "pa.Table":
        """What a file has in these columns; one without any of them still has its rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        # Not through delta-rs: its file system holds Python's lock while it waits for a server.
        parquet = pq.ParquetFile(pa.BufferReader(self._log.content(unquote(path))))
        return parquet.read(columns=[n for n in parquet.schema_arrow.names if n in names])

    def _details(self, known: TableVersion, news: _News) -> dict[str, Any]:
        last = news.commits[-1] if news.commits else None
        return {
            **known.details,
            **news.newest.to_json(),
            **({"digest": last.digest} if last else {}),
        }


def _check_table(table: "DeltaTable", version: Mapping[str, Json] | None) -> None:
    if version and str(table.metadata().id) != version.get("table"):
        raise GoneError("the table was made anew")


def _repeated(value: Any, kind: "pa.DataType", count: int) -> "pa.Array":
    """A partition's value for each row of a file; text as the log has it, or a typed one."""
    import pyarrow as pa

    scalar = pa.scalar(value)
    if pa.types.is_timestamp(kind) and kind.tz and isinstance(value, str):
        # Without a zone it is UTC, and Arrow would refuse it.
        zoned = value if value.endswith("Z") or "+" in value else f"{value}Z"
        scalar = pa.scalar(zoned)
    return pa.repeat(scalar.cast(kind), count)


@contextmanager
def _explained(place: TableLocation, *, reading_past: bool = False) -> Iterator[None]:
    """Turn what delta-rs raises into a SourceError, or a GoneError while the past is read."""
    import pyarrow as pa
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        yield
    except (DeltaError, pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        # That the past is gone has many names: a file's, a version's, even the table's.
        missing = isinstance(error, FileNotFoundError | TableNotFoundError) or any(
            sign in text for sign in _GONE
        )
        if missing and reading_past:
            raise GoneError("files of the version that was known are gone") from error
        if isinstance(error, TableNotFoundError):
            raise no_table(place) from error
        raise SourceError(
            f"The Delta table could not be read: {text[:300] or type(error).__name__}",
            where=str(place),
            fix="Check the table, the address and the credentials; the next tick looks again",
        ) from error
