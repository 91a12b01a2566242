"""Asks a statement, within limits, and gives its result as an observation, rows or a table."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Item
from flowproject.changes.observation import Cost, Memo, Observation, Past, fingerprint_items
from flowproject.config.data import SnowflakeData
from flowproject.dialect import check_syntax, with_tables_at
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows, stopped, version_gone
from flowproject.sources.connection_thread import ConnectionThread
from flowproject.sources.result import UNKEYED_LIMIT, check_columns, folded, keyed, unkeyed
from flowproject.sources.snowflake.connection import cancel_queries, connect, session
from flowproject.sources.snowflake.digest import NOTED_AS, BucketDigests
from flowproject.sources.snowflake.failures import explained, locked_out, overdue
from flowproject.sources.snowflake.gate import UNGATED, Gate, ask_gate, check_gateable
from flowproject.sources.snowflake.results import (
    announced,
    chunks,
    columns,
    full_types,
    has_tables,
    plain_rows,
    tables,
    typed,
    types,
    whole,
    without_rows,
)
from flowproject.sql import Query, bind, find_query, find_sensor_query, parameters

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

    _Thread = ConnectionThread[SnowflakeConnection]

__all__ = ["SnowflakeSource"]

_NESTED: Final = ("SELECT", "WITH", "VALUES")  # what may stand in a query around it
_LOOKS: Final = 3  # of which each may see other data than the one before
_PARSED: Final = ("SELECT", "WITH")  # sqlglot has no grammar for what else looks: SHOW, DESCRIBE
# Nothing is tried twice: a ruler of dashes can be read as comments in very many ways.
_BEGINNING: Final = re.compile(r"(?:\s|\(|--[^\n]*+|//[^\n]*+|/\*.*?\*/)*+(?P<word>\w+)", re.DOTALL)
# LIST tells what lies in a stage, SHOW and DESCRIBE what there is: they wake no warehouse.
_LOOKING: Final = ("SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "DESC", "LIST", "EXPLAIN")

_QUERY_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _QueryResult:
    """What a query returned, its columns, and the id under which Snowflake remembers it.

    `unmoved` are the items of the past whose rows were not fetched, because they are as they were.
    If all are, `is_unmoved` says so. `digests` are those of the whole result, if it has any.
    """

    rows: Rows
    query_id: str
    columns: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    digests: BucketDigests | None = None
    unmoved: Sequence[Item] = ()
    is_unmoved: bool = False
    requests: int = 1


@dataclass(frozen=True, kw_only=True)
class _Statement:
    """A query with the values of its parameters, and what its result must be like.

    A result of more than `row_limit` rows is an error. No more than `enough` rows are looked at.
    """

    query: Query
    params: dict[str, Any]
    key: Sequence[str] = ()
    row_limit: int
    enough: int

    @property
    def word(self) -> str:
        """The word that the query begins with, in capitals; empty if there is none."""
        found = _BEGINNING.match(self.query.text)
        return found["word"].upper() if found else ""

    @property
    def is_digested(self) -> bool:
        """Whether digests of its rows can be asked for, and may save fetching them."""
        return bool(self.key) and self.word in _NESTED

    def check(self) -> None:
        """Raise a QueryError if the text does not begin like one that looks, or can't be bound."""
        # Nobody here knows all of Snowflake's SQL: what follows is for the server to parse.
        if self.word not in _LOOKING:
            found = _BEGINNING.match(self.query.text)
            raise self.query.error(
                "This does not only look at data",
                at=found.start("word") if found else 0,
                allowed=f"A query begins with {', '.join(_LOOKING)}",
            )
        bind(self.query, self.params, _question_mark)
        for parameter in parameters(self.query.text):
            value = self.params[parameter.name]
            if isinstance(value, list | tuple | set | dict):
                raise self.query.error(
                    f"Parameter :{parameter.name} is a {type(value).__name__}, and Snowflake binds "
                    "single values",
                    at=parameter.start,
                    fix=f"Pass json.dumps(...), and write PARSE_JSON(:{parameter.name})",
                )

    def rows(self, connection: "SnowflakeConnection", thread: "_Thread") -> _QueryResult:
        """The rows in the query's own order, in canonical form."""
        found = parameters(self.query.text)
        text = bind(self.query, self.params, _question_mark)
        values = [self.params[parameter.name] for parameter in found]
        return self._read(connection, thread, text, values)

    def moved_rows(
        self, connection: "SnowflakeConnection", thread: "_Thread", past: Past
    ) -> _QueryResult:
        """The rows of which a digest says that they may be others than in the past; or all."""
        with explained(self.query), connection.cursor() as cursor:
            thread.check_not_left()
            described = cursor.describe(self.query.text) or ()
        check_columns(columns(described), self.key, self.query.file)
        known = BucketDigests.expected(past, described, self.key)
        if known is not None:
            # What Snowflake can't digest it may still be able to give, and else says best why not.
            try:
                found = self._digested(connection, thread, past, known)
                return replace(found, columns=types(described), types=full_types(described))
            except QueryError as error:
                # Not its words, which may quote a value.
                _log.info("The result was not digested, so it is read: %s", type(error).__name__)
        return self.rows(connection, thread)

    def _digested(
        self,
        connection: "SnowflakeConnection",
        thread: "_Thread",
        past: Past,
        known: BucketDigests,
    ) -> _QueryResult:
        requests = 1
        # Each statement sees the data of its own moment. So the rows bring their digests, which
        # must be those that were told before: then all is of the moment of which these were told.
        for _ in range(_LOOKS if known.noted else 0):
            told, told_by = _ask_by_id(self.query, *known.told(self.query), connection, thread)
            now, requests = known.noting(told), requests + 1
            self._check_limit(now.rows)
            moved = known.moved(now)
            if not moved:
                return _QueryResult(
                    rows=[], query_id="", digests=known, is_unmoved=True, requests=requests
                )
            if 2 * len(moved) > known.buckets:
                break
            unmoved = known.unmoved_items(past.items.values() if past.items else (), moved)
            if unmoved is None:
                break
            found = self._read(connection, thread, *known.fetched(self.query, moved))
            fetched, is_sound = known.split(found.rows)
            requests += 1
            if not is_sound:
                break
            if not moved & now.moved(fetched):
                return replace(
                    found, query_id=told_by, digests=now, unmoved=unmoved, requests=requests
                )
        found = self._read(connection, thread, *known.fetched(self.query))
        digests, _ = known.split(found.rows)
        return replace(found, digests=digests, requests=requests + 1)

    def _read(
        self,
        connection: "SnowflakeConnection",
        thread: "_Thread",
        text: str,
        values: Sequence[object],
    ) -> _QueryResult:
        with self._asked(connection, thread, text, values) as cursor:
            rows: Rows = []
            for chunk in chunks(cursor, connection, self.query.file):
                # Between pieces, because nothing ends a download that nobody waits for any more.
                thread.check_not_left()
                rows += chunk
                self._check_limit(len(rows), more=" or more")
                if len(rows) >= self.enough:
                    break
            else:
                self._check_whole(len(rows), cursor)
            found = rows[: self.enough]
            return _QueryResult(
                rows=found,
                query_id=cursor.sfqid or "",
                columns=types(cursor.description),
                types=full_types(cursor.description),
            )

    def table(self, connection: "SnowflakeConnection", thread: "_Thread") -> Any:
        """The rows as a pyarrow.Table."""
        found = parameters(self.query.text)
        text = bind(self.query, self.params, _question_mark)
        values = [self.params[parameter.name] for parameter in found]
        with self._asked(connection, thread, text, values) as cursor:
            if not has_tables(cursor):
                raise QueryError(
                    "Snowflake gives the result of this statement as rows, and not as a table",
                    where=self.query.file,
                    allowed="That of a SELECT is a table",
                    fix="Ask with `query`, which returns rows",
                )
            read, count = [], 0
            for piece in tables(cursor, connection):
                thread.check_not_left()
                read.append(typed(piece, columns(cursor.description), self.query.file))
                count += piece.num_rows
                self._check_limit(count, more=" or more")
            self._check_whole(count, cursor)
            return whole(read, self.query.file) if read else without_rows(cursor)

    @contextmanager
    def _asked(
        self,
        connection: "SnowflakeConnection",
        thread: "_Thread",
        text: str,
        values: Sequence[object],
    ) -> Iterator["SnowflakeCursor"]:
        """A cursor that has the result, before any of it was read."""
        with explained(self.query), connection.cursor() as cursor:
            thread.check_not_left()
            cursor.execute(text, tuple(values) or None)
            # Before a row is downloaded: names and number are known with the first answer.
            check_columns(columns(cursor.description), self.key, self.query.file)
            self._check_limit(announced(cursor) or 0)
            yield cursor

    def _check_limit(self, rows: int, *, more: str = "") -> None:
        if rows > self.row_limit:
            raise QueryError(
                f"The result has {rows:,}{more} rows, more than {self.row_limit:,}",
                where=f"{self.query.file}, row_limit in flowproject.toml",
                fix="Filter or aggregate in the query, or raise row_limit in [data]",
            )

    def _check_whole(self, rows: int, cursor: "SnowflakeCursor") -> None:
        """Raise a SourceError if there are fewer rows than Snowflake has announced."""
        # A piece that ends early is a shorter Arrow stream, which nobody can tell from a whole one:
        # what is missing would count as removed.
        all_rows = announced(cursor)
        if all_rows is not None and rows != all_rows:
            raise SourceError(
                f"The result broke off after {rows:,} of {all_rows:,} rows",
                where=f"{self.query.file}, query id {cursor.sfqid}",
            )


def _ask_plainly(
    query: Query,
    sql: str,
    values: Sequence[str],
    connection: "SnowflakeConnection",
    thread: "_Thread",
) -> Sequence[Sequence[Any]]:
    """The rows of a statement of our own about a query, as the connector gives them."""
    return _ask_by_id(query, sql, values, connection, thread)[0]


def _ask_by_id(
    query: Query,
    sql: str,
    values: Sequence[str],
    connection: "SnowflakeConnection",
    thread: "_Thread",
) -> tuple[Sequence[Sequence[Any]], str]:
    """The same, and the id under which Snowflake remembers the statement."""
    # EXPLAIN, the gate's tokens and digests are a text and numbers: of these nothing is lost.
    with explained(query), connection.cursor() as cursor:
        thread.check_not_left()
        cursor.execute(sql, tuple(values) or None)
        found = [row for rows in plain_rows(cursor, connection) for row in rows]
        return found, cursor.sfqid or ""


def _at_statement(query: Query, statement: str) -> Query:
    """The query of which every table is read as it was for a statement: Snowflake's time travel."""
    # What stands there came with an event, and becomes a part of the text.
    if not _QUERY_ID.fullmatch(statement):
        raise version_gone("No statement is known that saw this version", query.file)
    return with_tables_at(query, f"AT(STATEMENT => '{statement}')", "snowflake")


def _question_mark(name: str) -> str:
    """The spelling of a parameter that the server binds by its place."""
    # As long as it was, so that places in the server's errors are places in the file.
    return "?".ljust(len(f":{name}"))


def _with_unmoved(seen: Observation, unmoved: Sequence[Item]) -> Observation:
    """The observation of the rows that moved, with the items of those that have not."""
    if not unmoved or seen.items is None:
        return seen
    items = {item.key: item for item in chain(unmoved, seen.items.values())}
    return replace(
        seen, items=items, value=len(items), fingerprint=fingerprint_items(items.values())
    )


def _version(result: _QueryResult) -> dict[str, Json]:
    """The statement that saw this, for time travel; none of a result that is no query's."""
    return {"statement": result.query_id} if result.query_id else {}


@dataclass(frozen=True, kw_only=True)
class _GatedResult:
    result: _QueryResult
    gate: Gate
    requests: int


class SnowflakeSource:
    """A query, and the account that it is asked in."""

    def __init__(
        self, data: SnowflakeData, root: Path, *, version: Mapping[str, Json] | None = None
    ) -> None:
        self._data = data
        self._root = root.absolute()
        self._version = version
        self._cancelled = Event()
        self._thread: _Thread | None = None
        self._has_looked = False

    def check(self) -> None:
        """Raise a QueryError if the sensor's query is missing, does not parse or does not look.

        Nothing is connected to.
        """
        statement = self._sensor_statement()
        statement.check()
        if statement.word in _PARSED:
            check_syntax(statement.query, "snowflake")
        if self._data.gate:
            check_gateable(statement.query, self._data.tables)

    def observe(self, past: Past | None = None) -> Observation:
        """The result of the sensor's query; the past if a gate knows that it is still the same.

        Raises:
            QueryError: if the query or its result can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        started = time.perf_counter()
        statement = self._sensor_statement()
        query, key = statement.query, statement.key
        statement.check()
        look = self._held(query, partial(self._look, statement, past))
        self._has_looked = True
        rows, gate, digests = look.result.rows, look.gate, look.result.digests
        cost = Cost(
            seconds=time.perf_counter() - started,
            requests=look.requests,
            rows=len(rows),
            query_id=look.result.query_id,
        )
        if past and gate.is_shut:
            return past.still(cost=cost, query=query.text, note=gate.reason)
        if past and look.result.is_unmoved:
            seen = past.still(cost=cost, query=query.text, note=gate.reason)
        else:
            seen = keyed(rows, key, query.file) if key else unkeyed(rows, query.file)
            seen = _with_unmoved(seen, look.result.unmoved)
        noted: Memo = {NOTED_AS: digests.memo(seen.fingerprint)} if digests else {}
        return replace(
            seen,
            cost=cost,
            query=query.text,
            note=gate.reason,
            memo=gate.memo | noted,
            columns=look.result.columns,
            types=look.result.types,
            version=_version(look.result),
        )

    def progress(self) -> None:
        """Return None: a query does not say how far it is."""

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql` in the query's own order, values in canonical form.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        statement = self._statement(name, params)
        return self._held(statement.query, statement.rows).rows

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table with Snowflake's own types.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        statement = self._statement(name, params)
        return self._held(statement.query, statement.table)

    def at(self, version: Mapping[str, Json]) -> "SnowflakeSource":
        """The source whose queries read every table as it was for the statement of this version."""
        return SnowflakeSource(self._data, self._root, version=version)

    def cancel(self) -> None:
        """End a running query, on the server as well; returns after a second at most."""
        # In this order: whoever is about to start a thread looks at the flag after it is known.
        self._cancelled.set()
        if thread := self._thread:
            thread.leave()

    def _look(
        self,
        statement: _Statement,
        past: Past | None,
        connection: "SnowflakeConnection",
        thread: "_Thread",
    ) -> _GatedResult:
        """The result, unless a gate is shut, which is asked before and after."""

        def look() -> _QueryResult:
            # Of few rows it takes longer to ask for their digest than to fetch them.
            if past and (past.total or 0) > UNKEYED_LIMIT and statement.is_digested:
                return statement.moved_rows(connection, thread, past)
            return statement.rows(connection, thread)

        # In one connection: to open another would cost as much as the query that is saved.
        if not self._data.gate:
            result = look()
            return _GatedResult(result=result, gate=UNGATED, requests=result.requests)
        asked: list[str] = []

        def ask(sql: str, values: Sequence[str]) -> Sequence[Sequence[Any]]:
            asked.append(sql)
            return _ask_plainly(statement.query, sql, values, connection, thread)

        memo = {
            name: value for name, value in (past.memo if past else {}).items() if name != NOTED_AS
        }
        gate = ask_gate(ask, statement.query, self._data, session(connection), memo)
        if gate.is_shut:
            return _GatedResult(
                result=_QueryResult(rows=[], query_id=""), gate=gate, requests=len(asked)
            )
        result = look()
        gate = gate.after(ask)
        return _GatedResult(result=result, gate=gate, requests=len(asked) + result.requests)

    def _sensor_statement(self) -> _Statement:
        # In capitals or not, the name of a column that was not quoted is the same name.
        key, limit = tuple(folded(column) for column in self._data.key), self._data.row_limit
        return _Statement(
            query=find_sensor_query(self._root, self._data.query),
            params={},
            key=key,
            row_limit=limit,
            enough=(limit if key else min(limit, UNKEYED_LIMIT)) + 1,
        )

    def _statement(self, name: str, params: Mapping[str, Any]) -> _Statement:
        query, limit = find_query(self._root, name), self._data.row_limit
        if self._version is not None:
            query = _at_statement(query, str(self._version.get("statement")))
        statement = _Statement(query=query, params=dict(params), row_limit=limit, enough=limit + 1)
        statement.check()
        return statement

    def _held(self, query: Query, work: Callable[["SnowflakeConnection", "_Thread"], _T]) -> _T:
        """What the work returns, within the time that a query may take."""
        # Who looks twice wants to know whether the result is the same, not what it was.
        thread = self._thread = ConnectionThread(
            partial(connect, self._data, anew=self._has_looked), cancel_queries, name="snowflake"
        )
        if self._cancelled.is_set():
            raise stopped()
        try:
            return thread.run(lambda connection: work(connection, thread), self._data.timeout)
        except TimeoutError:
            limit = self._data.timeout
            raise (overdue(query, limit) if thread.is_open else locked_out(self._data)) from None
