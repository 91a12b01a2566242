"""Asks a statement, within limits, and gives its result as an observation, rows or a table."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowproject.changes.observation import Cost, Memo, Observation, Past
from flowproject.config.data import SnowflakeData
from flowproject.dialect import check_syntax
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows, stopped
from flowproject.sources.connection_thread import ConnectionThread
from flowproject.sources.result import UNKEYED_LIMIT, check_columns, folded, keyed, unkeyed
from flowproject.sources.snowflake.connection import cancel_queries, connect, session
from flowproject.sources.snowflake.failures import explained, locked_out, overdue
from flowproject.sources.snowflake.gate import UNGATED, Gate, ask_gate, check_gateable
from flowproject.sources.snowflake.results import (
    announced,
    chunks,
    columns,
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

_PARSED: Final = ("SELECT", "WITH")  # sqlglot has no grammar for what else looks: SHOW, DESCRIBE
# Nothing is tried twice: a ruler of dashes can be read as comments in very many ways.
_BEGINNING: Final = re.compile(r"(?:\s|\(|--[^\n]*+|//[^\n]*+|/\*.*?\*/)*+(?P<word>\w+)", re.DOTALL)
# LIST tells what lies in a stage, SHOW and DESCRIBE what there is: they wake no warehouse.
_LOOKING: Final = ("SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "DESC", "LIST", "EXPLAIN")

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class _QueryResult:
    """What a query returned, its columns, and the id under which Snowflake remembers it."""

    rows: Rows
    query_id: str
    columns: Mapping[str, str] = field(default_factory=dict)


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
        with self._asked(connection, thread) as cursor:
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
            return _QueryResult(rows=found, query_id=cursor.sfqid or "", columns=types(cursor))

    def table(self, connection: "SnowflakeConnection", thread: "_Thread") -> Any:
        """The rows as a pyarrow.Table."""
        with self._asked(connection, thread) as cursor:
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
                read.append(typed(piece, columns(cursor), self.query.file))
                count += piece.num_rows
                self._check_limit(count, more=" or more")
            self._check_whole(count, cursor)
            return whole(read, self.query.file) if read else without_rows(cursor)

    @contextmanager
    def _asked(
        self, connection: "SnowflakeConnection", thread: "_Thread"
    ) -> Iterator["SnowflakeCursor"]:
        """A cursor that has the result, before any of it was read."""
        found = parameters(self.query.text)
        text = bind(self.query, self.params, _question_mark)
        values = tuple(self.params[parameter.name] for parameter in found)
        with explained(self.query), connection.cursor() as cursor:
            thread.check_not_left()
            cursor.execute(text, values or None)
            # Before a row is downloaded: names and number are known with the first answer.
            check_columns(columns(cursor), self.key, self.query.file)
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
    # EXPLAIN and the gate's tokens are a text and numbers: of these the connector loses nothing.
    with explained(query), connection.cursor() as cursor:
        thread.check_not_left()
        cursor.execute(sql, tuple(values) or None)
        return [row for rows in plain_rows(cursor, connection) for row in rows]


def _question_mark(name: str) -> str:
    """The spelling of a parameter that the server binds by its place."""
    # As long as it was, so that places in the server's errors are places in the file.
    return "?".ljust(len(f":{name}"))


@dataclass(frozen=True, kw_only=True)
class _GatedResult:
    result: _QueryResult
    gate: Gate
    requests: int


class SnowflakeSource:
    """A query, and the account that it is asked in."""

    def __init__(self, data: SnowflakeData, root: Path) -> None:
        self._data = data
        self._root = root.absolute()
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
        memo = past.memo if past and self._data.gate else {}
        look = self._held(query, partial(self._look, statement, memo))
        self._has_looked = True
        rows, gate = look.result.rows, look.gate
        cost = Cost(
            seconds=time.perf_counter() - started,
            requests=look.requests,
            rows=len(rows),
            query_id=look.result.query_id,
        )
        if past and gate.is_shut:
            return past.still(cost=cost, query=query.text, note=gate.reason)
        seen = keyed(rows, key, query.file) if key else unkeyed(rows, query.file)
        return replace(
            seen,
            cost=cost,
            query=query.text,
            note=gate.reason,
            memo=gate.memo,
            columns=look.result.columns,
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

    def cancel(self) -> None:
        """End a running query, on the server as well; returns after a second at most."""
        # In this order: whoever is about to start a thread looks at the flag after it is known.
        self._cancelled.set()
        if thread := self._thread:
            thread.leave()

    def _look(
        self,
        statement: _Statement,
        memo: Memo,
        connection: "SnowflakeConnection",
        thread: "_Thread",
    ) -> _GatedResult:
        """The result, unless a gate is shut, which is asked before and after."""
        # In one connection: to open another would cost as much as the query that is saved.
        if not self._data.gate:
            return _GatedResult(result=statement.rows(connection, thread), gate=UNGATED, requests=1)
        asked: list[str] = []

        def ask(sql: str, values: Sequence[str]) -> Sequence[Sequence[Any]]:
            asked.append(sql)
            return _ask_plainly(statement.query, sql, values, connection, thread)

        gate = ask_gate(ask, statement.query, self._data, session(connection), memo)
        if gate.is_shut:
            return _GatedResult(
                result=_QueryResult(rows=[], query_id=""), gate=gate, requests=len(asked)
            )
        result = statement.rows(connection, thread)
        gate = gate.after(ask)
        return _GatedResult(result=result, gate=gate, requests=len(asked) + 1)

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
