"""One statement: bound by the server, run, and its result read to the end or to a limit."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows
from flowproject.sources.result import check_columns, folded
from flowproject.sources.snowflake.failures import explained
from flowproject.sources.snowflake.talk import Talk
from flowproject.sources.snowflake.values import converted, row_form
from flowproject.sql import Query, bind, parameters
from flowproject.tables.arrow import empty, joined

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

__all__ = ["Answer", "Question", "ask_plainly"]

_CHUNK_ROWS: Final = 10_000
# Nothing is tried twice: a ruler of dashes can be read as comments in very many ways.
_BEGINNING: Final = re.compile(r"(?:\s|\(|--[^\n]*+|//[^\n]*+|/\*.*?\*/)*+(?P<word>\w+)", re.DOTALL)
_LOOKING: Final = ("SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "DESC", "LIST", "EXPLAIN")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a query returned, and the id under which Snowflake remembers it."""

    rows: Rows
    query_id: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """A query with the values of its parameters, and what its result must be like.

    A result of more than `row_limit` rows is an error; of one that is not, `enough` rows are read.
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
            kinds = {folded(column[0]): column[1] for column in cursor.description}
            rows: Rows = []
            for chunk in _chunks(cursor, kinds, self.query.file):
                rows += chunk
                talk.check_staying()
                if len(rows) >= self.enough:
                    break
            else:
                self._check_whole(len(rows), cursor)
            return Answer(rows=rows[: self.enough], query_id=cursor.sfqid or "")

    def table(self, connection: "SnowflakeConnection", talk: Talk) -> Any:
        """The rows as a pyarrow.Table."""
        with self._asked(connection, talk) as cursor:
            kinds = {folded(column[0]): column[1] for column in cursor.description}
            batches = list(cursor.fetch_arrow_batches())
            table = joined(batches) if batches else empty(_types(cursor))
            self._check_whole(table.num_rows, cursor)
            return table.rename_columns(list(kinds))

    @contextmanager
    def _asked(self, connection: "SnowflakeConnection", talk: Talk) -> Iterator["SnowflakeCursor"]:
        """A cursor that has the result, before any of it was read."""
        found = parameters(self.query.text)
        text = bind(self.query, self.params, _question_mark)
        values = tuple(self.params[parameter.name] for parameter in found)
        with explained(self.query), connection.cursor() as cursor:
            talk.check_staying()
            cursor.execute(text, values or None)
            names = [folded(column[0]) for column in cursor.description]
            check_columns(names, self.key, self.query.file)
            if (announced := _announced(cursor) or 0) > self.row_limit:
                raise QueryError(
                    f"The result has {announced:,} rows, more than {self.row_limit:,}",
                    where=f"{self.query.file}, row_limit in flowproject.toml",
                    fix="Filter or aggregate in the query, or raise row_limit in [data]",
                )
            yield cursor

    def _check_whole(self, rows: int, cursor: "SnowflakeCursor") -> None:
        """Raise a SourceError if there are fewer rows than Snowflake has announced."""
        announced = _announced(cursor)
        if announced is not None and rows != announced:
            raise SourceError(
                f"The result broke off after {rows:,} of {announced:,} rows",
                where=f"{self.query.file}, query id {cursor.sfqid}",
            )


def _announced(cursor: "SnowflakeCursor") -> int | None:
    """How many rows Snowflake says that the result has; None if it doesn't, which is -1 in 5.x."""
    count = cursor.rowcount
    return None if count is None or count < 0 else count


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
        return cast("Sequence[Sequence[Any]]", cursor.fetchall())


# The connector's numbers for types of columns, and the Arrow type of a column without a value.
_ARROW: Final[dict[int, tuple[str, ...]]] = {
    0: ("int64",),
    1: ("float64",),
    3: ("date32",),
    4: ("timestamp", "ns"),
    6: ("timestamp", "ns", "UTC"),
    7: ("timestamp", "ns", "UTC"),
    8: ("timestamp", "ns"),
    11: ("binary",),
    12: ("time64", "ns"),
    13: ("bool_",),
}


def _types(cursor: "SnowflakeCursor") -> dict[str, tuple[Any, ...]]:
    """The Arrow types of the columns, for a result that has no row to tell them by."""
    types: dict[str, tuple[Any, ...]] = {}
    for name, kind, _, _, precision, scale, *_ in cursor.description:
        decimal = ("decimal128", precision, scale)
        types[folded(name)] = decimal if scale and kind == 0 else _ARROW.get(kind, ("string",))
    return types


def _chunks(cursor: "SnowflakeCursor", kinds: dict[str, int], file: str) -> Iterator[Rows]:
    """The result, chunk by chunk as it arrives."""
    from snowflake.connector import NotSupportedError

    try:
        batches = cursor.fetch_arrow_batches()
    except NotSupportedError:  # SHOW and DESCRIBE
        yield from _without_arrow(cursor, kinds)
        return
    for batch in batches:
        yield converted(batch, kinds, file)


def _without_arrow(cursor: "SnowflakeCursor", kinds: dict[str, int]) -> Iterator[Rows]:
    forms = [row_form(kind) for kind in kinds.values()]
    while rows := cursor.fetchmany(_CHUNK_ROWS):
        yield [
            {name: form(value) for name, form, value in zip(kinds, forms, row, strict=True)}
            for row in rows
        ]


def _question_mark(name: str) -> str:
    """The spelling of a parameter that the server binds by its place; as long as it was."""
    return "?".ljust(len(f":{name}"))
