"""Asks DuckDB a statement, within limits; its result is an observation, rows or a table."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowproject.changes.difference import Item
from flowproject.changes.observation import Cost, Observation, Past
from flowproject.config.data import DuckDBData
from flowproject.dialect import macros, translate
from flowproject.errors import QueryError, SourceError, closest
from flowproject.sources import Rows, WatchedFiles, stopped
from flowproject.sources.duckdb.failures import (
    check_plan,
    check_statement,
    explained,
    summary,
    with_extensions,
)
from flowproject.sources.duckdb.files import (
    QueriedFiles,
    files_of_pattern,
    local_patterns,
    newest_file,
)
from flowproject.sources.duckdb.reading import ResultAnswer, ResultLook, look_at_many
from flowproject.sources.duckdb.references import References
from flowproject.sources.duckdb.values import casts, converted, described
from flowproject.sources.result import check_columns, folded
from flowproject.sql import Query, bind, dollar, find_query, find_sensor_query, statement
from flowproject.tables.arrow import table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["DuckDBSource"]

_T = TypeVar("_T")

_CHUNK_ROWS: Final = 10_000
_CANCEL_SECONDS: Final = 1.0
_CANCEL_AGAIN_SECONDS: Final = 0.01


class DuckDBSource:
    """A query, and the database or the files that it reads."""

    def __init__(self, data: DuckDBData, root: Path) -> None:
        self._data = data
        self._root = root.absolute()
        self._cancelled = Event()
        self._done = Event()
        self._connection: DuckDBPyConnection | None = None

    def check(self) -> None:
        """Raise a QueryError if the sensor's query is missing, does not parse or does not look.

        No data is read and no database opened, unless the query is translated: whether that has
        the same meaning depends on the types of what it reads. Then it is planned, and not run,
        where the database is there.
        """
        query = find_sensor_query(self._root, self._data.query)
        ran = self._translated(query)
        if self._data.dialect and (self._root / self._data.database).exists():
            with self._connected() as connection, explained(query, ran):
                self._checked(connection, query, ran, {})
                self._teach(connection, query, ran, {})
            return
        with (
            _memory(str(self._root), os.getpid()).cursor() as connection,
            explained(query, ran),
        ):
            self._checked(connection, query, ran, {})

    def observe(self, past: Past | None = None) -> Observation:
        """The result of the sensor's query; the past if a digest tells that it is still the same.

        Raises:
            QueryError: if the query or its result can't be used.
            SourceError: if the database or a file that it reads can't be.
        """
        query = find_sensor_query(self._root, self._data.query)
        ran = self._translated(query)
        with look_at_many(past, self._cancelled):
            return self._observed(query, ran, past)

    def _observed(self, query: Query, ran: Query, past: Past | None) -> Observation:
        started = time.perf_counter()
        key, limit = self._names(self._data.key), self._data.row_limit

        def look(
            connection: "DuckDBPyConnection", files: QueriedFiles
        ) -> tuple[ResultAnswer, dict[str, str], str]:
            kinds, uneven = self._kinds(connection, files, query, ran, {}, key)
            columns = described(kinds)
            looked = ResultLook(
                connection=connection,
                query=query,
                ran=ran,
                kinds=kinds,
                key=key,
                limit=limit,
                past=past,
                cancelled=self._cancelled,
                files=files.state,
            )

            def around(text: str) -> AbstractContextManager[None]:
                return explained(query, ran, files.file_at_fault, around=text)

            return looked.answer(around), columns, uneven

        (answer, columns, uneven), written = self._looked(query, ran, {}, look)
        # Of rows that are as they were, too: the limit may have been lowered since.
        self._check_limit(answer.count, query)
        seen = answer.observation(past, key, query.file)
        cost = Cost(
            seconds=time.perf_counter() - started, requests=answer.requests, rows=answer.count
        )
        return replace(
            seen,
            cost=cost,
            query=query.text,
            note="; ".join(filter(None, [self._note, uneven])),
            columns=columns,
            written=written,
        )

    def watched_files(self) -> list[WatchedFiles]:
        """The files that the sensor's query reads, and its database.

        Raises:
            QueryError: if the query can't be used.
            SourceError: if the database can't be.
        """
        query = find_sensor_query(self._root, self._data.query)
        ran = self._translated(query)
        found: list[WatchedFiles] = []
        if self._data.database:
            found.append(files_of_pattern(self._root, self._data.database))
        with self._connected() as connection, explained(query, ran):
            patterns = self._checked(connection, query, ran, {}).patterns
        return found + [files_of_pattern(self._root, one) for one in local_patterns(patterns)]

    def progress(self) -> None:
        """Return None: a query does not say how far it is."""

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql` in the query's own order, values in canonical form.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the database or a file that it reads can't be.
        """
        query = find_query(self._root, name)
        ran = self._bound(query, params)

        def look(connection: "DuckDBPyConnection", files: QueriedFiles) -> Rows:
            kinds, _ = self._kinds(connection, files, query, ran, dict(params), ())
            return self._plain(
                connection, query, ran, params, kinds, files, limit=self._data.row_limit
            )

        rows, _ = self._looked(query, ran, params, look)
        self._check_limit(len(rows), query)
        return rows

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table with DuckDB's own types.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the database or a file that it reads can't be.
        """
        query = find_query(self._root, name)
        ran = self._bound(query, params)

        # The engine's own types, so nothing is cast before it is fetched.
        def look(connection: "DuckDBPyConnection", _: QueriedFiles) -> Any:
            # Not `execute`: what a cursor holds would be copied once more.
            result = with_extensions(
                connection, lambda: connection.sql(ran.text, params=dict(params) or None)
            )
            check_columns(self._names(result.columns), (), query.file)
            reader = result.to_arrow_reader(_CHUNK_ROWS)
            batches: list[Any] = []
            count = 0
            for batch in reader:
                batches.append(batch)
                count += batch.num_rows
                self._check_limit(count, query)
            return table(batches, reader.schema).rename_columns(self._names(result.columns))

        return self._looked(query, ran, params, look)[0]

    def cancel(self) -> None:
        """End a running query; returns when it has ended, or after a second."""
        from duckdb import Error as DuckDBError

        self._cancelled.set()
        deadline = time.monotonic() + _CANCEL_SECONDS
        # Repeated, because DuckDB forgets an interruption that comes before the query has begun.
        while (connection := self._connection) and time.monotonic() < deadline:
            with suppress(DuckDBError):  # it may have been closed since
                connection.interrupt()
            self._done.wait(_CANCEL_AGAIN_SECONDS)

    def _bound(self, query: Query, params: Mapping[str, Any]) -> Query:
        """The query as DuckDB gets it, with its own spelling of the parameters."""
        bind(query, params, dollar)  # what is wrong with them is told where it stands in the file
        ran = self._translated(query)
        return replace(ran, text=bind(ran, params, dollar))

    def _translated(self, query: Query) -> Query:
        """The query in DuckDB's words: the very same, unless it is written in other ones."""
        dialect = self._data.dialect
        return translate(query, read=dialect, write="duckdb") if dialect else query

    def _teach(
        self,
        connection: "DuckDBPyConnection",
        query: Query,
        ran: Query,
        params: Mapping[str, Any],
    ) -> None:
        """Give the connection what a translation needs; refuse one that would answer otherwise."""
        # Made for this connection: a database that is open for reading takes temporary macros only.
        if self._data.dialect:
            connection.execute(macros(ran.text))
            check_plan(connection, query, ran.text, params)

    def _names(self, columns: Sequence[str]) -> list[str]:
        """The columns' names as rows have them: those of a translation are as Snowflake's are."""
        return [folded(column) if self._data.dialect else column for column in columns]

    @property
    def _note(self) -> str:
        return f"translated from {self._data.dialect}'s SQL" if self._data.dialect else ""

    def _plain(
        self,
        connection: "DuckDBPyConnection",
        query: Query,
        ran: Query,
        params: Mapping[str, Any],
        kinds: "Mapping[str, DuckDBPyType]",
        files: QueriedFiles,
        limit: int,
    ) -> Rows:
        """The result as canonical rows, of which at most one is over the limit."""
        text, around = ran.text, ""
        if projection := casts(kinds):
            around = f"SELECT {projection} FROM ("  # noqa: S608  # SQL is the input
            text = f"{around}{statement(ran.text)}\n)"
        with explained(query, ran, files.file_at_fault, around=around):
            connection.execute(text, dict(params) or None)
            return self._fetched(connection, kinds, limit)

    def _kinds(
        self,
        connection: "DuckDBPyConnection",
        files: QueriedFiles,
        query: Query,
        ran: Query,
        params: dict[str, Any],
        key: Sequence[str],
    ) -> "tuple[dict[str, DuckDBPyType], str]":
        """The columns of a result and their types, and what is wrong with them, if anything is.

        The query is not run.
        """
        names, types = with_extensions(
            connection, lambda: self._columns(connection, ran.text, params)
        )
        uneven = files.uneven_line(names)
        check_columns(names, key, query.file, uneven)
        return dict(zip(names, types, strict=True)), uneven

    def _columns(
        self, connection: "DuckDBPyConnection", text: str, params: dict[str, Any]
    ) -> "tuple[list[str], list[DuckDBPyType]]":
        """The names and types of a result, which decide how it is fetched; the query is not run."""
        import duckdb

        try:
            bound = connection.sql(text, params=params or None)
        except duckdb.Error:
            connection.execute(text, params or None)  # which says as well where in the text
            raise
        return self._names(bound.columns), bound.types

    def _looked(
        self,
        query: Query,
        ran: Query,
        params: Mapping[str, Any],
        look: "Callable[[DuckDBPyConnection, QueriedFiles], _T]",
    ) -> tuple[_T, Item]:
        """What a look at the query's files returns while none of them changed.

        And which of them was written last.
        """
        with self._connected() as connection:
            with explained(query, ran):
                references = self._checked(connection, query, ran, params)
                self._teach(connection, query, ran, params)
            database = str(self._root / self._data.database) if self._data.database else ""
            files = QueriedFiles(
                connection, references, params, database=database, cancelled=self._cancelled
            )

            def look_once() -> _T:
                with explained(query, ran, files.file_at_fault):
                    return look(connection, files)

            found, states = files.read_unchanged(query, look_once)
            return found, newest_file(states)

    def _checked(
        self,
        connection: "DuckDBPyConnection",
        query: Query,
        ran: Query,
        params: Mapping[str, Any],
    ) -> References:
        """What the query reaches, after a QueryError unless it is one that only looks."""
        check_statement(connection, query, ran.text, params)
        references = References(connection, ran.text, in_database=bool(self._data.database))
        references.check(query)
        return references

    def _fetched(
        self,
        connection: "DuckDBPyConnection",
        kinds: Mapping[str, "DuckDBPyType"],
        limit: int,
    ) -> Rows:
        """The rows that are left."""
        rows: Rows = []
        while chunk := connection.fetchmany(min(_CHUNK_ROWS, limit + 1 - len(rows))):
            rows += converted(chunk, kinds)
            if self._cancelled.is_set():
                raise stopped()
        return rows

    def _check_limit(self, rows: int, query: Query) -> None:
        limit = self._data.row_limit
        if rows > limit:
            raise QueryError(
                f"The result has more than {limit:,} rows",
                where=f"{query.file}, row_limit in flowproject.toml",
                fix="Filter or aggregate in the query, or raise row_limit in [data]",
            )

    @contextmanager
    def _connected(self) -> Iterator["DuckDBPyConnection"]:
        with self._connect() as connection:
            self._done.clear()
            self._connection = connection
            try:
                if self._cancelled.is_set():
                    raise stopped()
                yield connection
            finally:
                self._connection = None
                self._done.set()

    def _connect(self) -> "DuckDBPyConnection":
        import duckdb

        if not self._data.database:
            return _memory(str(self._root), os.getpid()).cursor()
        path = self._root / self._data.database
        if not path.is_file():
            raise _missing(path)
        try:
            return _locked(duckdb.connect(path, read_only=True, config=_config(self._root)))
        except duckdb.Error as error:
            raise SourceError(
                f"Database {str(path)!r} can't be opened: {' '.join(summary(str(error)))}",
                fix="If another program writes to it, let that one close the file first: DuckDB "
                "lets one process write or several read",
            ) from error


@cache
def _memory(root: str, process: int) -> "DuckDBPyConnection":
    """The database in memory that all queries of this process share; each has its own cursor."""
    # To open one takes 30 ms, a cursor takes none. A fork must not use its parent's, whose threads
    # it does not have.
    import duckdb

    del process
    return _locked(duckdb.connect(config=_config(Path(root))))


def _locked(connection: "DuckDBPyConnection") -> "DuckDBPyConnection":
    """The connection, after which no query changes a setting, such as what is logged and where."""
    # Of the extensions that were installed by hand we load what only reads, when a query needs it.
    from duckdb import InvalidInputException

    # Connections of this process to one database share their settings: another may be done already.
    with suppress(InvalidInputException):
        # Not among the settings to connect with, which name some that an extension must know.
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET lock_configuration = true")
    return connection


def _config(root: Path) -> dict[str, str | bool | int | float | list[str]]:
    """Settings with which a query gives the same result on every machine."""
    if "," in str(root):
        raise SourceError(
            f"DuckDB can't find files below {str(root)!r}: its search path has no word for a comma",
            fix="Move the project to a folder without a comma in its path",
        )
    return {
        "file_search_path": str(root),
        "TimeZone": "UTC",
        # Threads add floats in the order in which they finish: a sum would change by itself.
        "threads": 1,
        # A tick must not download code.
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        # A name that is no table must not find a variable of ours.
        "python_enable_replacements": False,
        # The cache goes by modification times, which an overwritten file can share with the old.
        "enable_external_file_cache": False,
        "errors_as_json": True,
        # The default is a folder in the current directory: it would show up in the checkout.
        "temp_directory": str(Path(tempfile.gettempdir(), f"flowproject-duckdb-{os.getpid()}")),
    }


def _missing(path: Path) -> SourceError:
    there = [name.name for name in path.parent.iterdir()] if path.parent.is_dir() else []
    return SourceError(
        f"There is no database {path.name!r}",
        where=f"Looked for {str(path)!r}",
        allowed=closest(path.name, there),
        fix='Correct `database` in flowproject.toml; "" is a database in memory',
    )
