"""One statement: bound by the server, run, and its result read to the end or to a limit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows
from flowproject.sources.result import check_columns
from flowproject.sources.snowflake.failures import explained
from flowproject.sources.snowflake.fetching import (
    announced,
    chunks,
    columns,
    has_tables,
    plain_rows,
    tables,
    types,
    without_rows,
)
from flowproject.sources.snowflake.talk import Talk
from flowproject.sources.snowflake.values import typed
from flowproject.sql import Query, bind, parameters
from flowproject.tables.arrow import joined

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

__all__ = ["Answer", "Question", "ask_plainly"]

# Nothing is tried twice: a ruler of dashes can be read as comments in very many ways.
_BEGINNING: Final = re.compile(r"(?:\s|\(|--[^\n]*+|//[^\n]*+|/\*.*?\*/)*+(?P<word>\w+)", re.DOTALL)
_LOOKING: Final = ("SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "DESC", "LIST", "EXPLAIN")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a query returned, its columns, and the id under which Snowflake remembers it."""

    rows: Rows
    query_id: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Question:
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
        """Raise a QueryError if the text does not begin like one that looks, or can't be bound.

        Nobody here knows all of Snowflake's SQL: what follows is for the server to parse.
        """
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

    def rows(self, connection: "SnowflakeConnection", talk: Talk) -> Answer:
        """The rows in the query's own order, in canonical form."""
        with self._asked(connection, talk) as cursor:
            rows: Rows = []
            for chunk in chunks(cursor, connection, self.query.file):
                talk.check_staying()
                rows += chunk
                self._check_limit(len(rows), more=" or more")
                if len(rows) >= self.enough:
                    break
            else:
                self._check_whole(len(rows), cursor)
            found = rows[: self.enough]
            return Answer(rows=found, query_id=cursor.sfqid or "", columns=types(cursor))

    def table(self, connection: "SnowflakeConnection", talk: Talk) -> Any:
        """The rows as a pyarrow.Table."""
        with self._asked(connection, talk) as cursor:
            if not has_tables(cursor):
                raise QueryError(
                    "Snowflake gives the result of this statement as rows, and not as a table",
                    where=self.query.file,
                    allowed="That of a SELECT is a table",
                    fix="Ask with `query`, which returns rows",
                )
            read, count = [], 0
            for piece in tables(cursor, connection):
                talk.check_staying()
                read.append(typed(piece, columns(cursor), self.query.file))
                count += piece.num_rows
                self._check_limit(count, more=" or more")
            self._check_whole(count, cursor)
            return joined(read) if read else without_rows(cursor)

    @contextmanager
    def _asked(self, connection: "SnowflakeConnection", talk: Talk) -> Iterator["SnowflakeCursor"]:
        """A cursor that has the result, before any of it was read."""
        found = parameters(self.query.text)
        text = bind(self.query, self.params, _question_mark)
        values = tuple(self.params[parameter.name] for parameter in found)
        with explained(self.query), connection.cursor() as cursor:
            talk.check_staying()
            cursor.execute(text, values or None)
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
        all_rows = announced(cursor)
        if all_rows is not None and rows != all_rows:
            raise SourceError(
                f"The result broke off after {rows:,} of {all_rows:,} rows",
                where=f"{self.query.file}, query id {cursor.sfqid}",
            )


def ask_plainly(
    query: Query,
    sql: str,
    values: Sequence[str],
    connection: "SnowflakeConnection",
    talk: Talk,
) -> Sequence[Sequence[Any]]:
    """The rows of a statement of our own about a query, as the connector gives them."""
    with explained(query), connection.cursor() as cursor:
        talk.check_staying()
        cursor.execute(sql, tuple(values) or None)
        return [row for rows in plain_rows(cursor, connection) for row in rows]


def _question_mark(name: str) -> str:
    """The spelling of a parameter that the server binds by its place; as long as it was."""
    return "?".ljust(len(f":{name}"))
