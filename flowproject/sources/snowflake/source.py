"""The source: what is asked, and within which limits."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from flowproject.changes.observation import Cost, Observation, Past
from flowproject.config.data import SnowflakeData
from flowproject.dialect import check_syntax
from flowproject.sources import Rows, stopped
from flowproject.sources.result import UNKEYED_LIMIT, keyed, unkeyed
from flowproject.sources.snowflake.asking import Question
from flowproject.sources.snowflake.connect import connect
from flowproject.sources.snowflake.failures import overdue
from flowproject.sources.snowflake.talk import Talk
from flowproject.sql import Query, find_query, folded, parameters

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

__all__ = ["SnowflakeSource"]

_T = TypeVar("_T")


class SnowflakeSource:
    """A query, and the account that it is asked in."""

    def __init__(self, data: SnowflakeData, root: Path) -> None:
        self._data = data
        self._root = root.absolute()
        self._cancelled = Event()
        self._talk: Talk | None = None

    def check(self) -> None:
        """Raise a QueryError if the sensor's query is missing, does not parse or does not look.

        Nothing is connected to.
        """
        check_syntax(self._sensor_query(), "snowflake")

    def observe(self, past: Past | None = None) -> Observation:
        """The result of the sensor's query; the past is of no use to it.

        Raises:
            QueryError: if the query or its result can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        del past
        started = time.perf_counter()
        # In capitals or not, the name of a column that was not quoted is the same name.
        query, key = self._sensor_query(), tuple(folded(column) for column in self._data.key)
        enough = self._data.row_limit if key else UNKEYED_LIMIT + 1
        question = Question(
            query=query, params={}, key=key, row_limit=self._data.row_limit, enough=enough
        )
        question.check()
        answer = self._held(query, question.rows)
        seen = keyed(answer.rows, key, query.file) if key else unkeyed(answer.rows, query.file)
        cost = Cost(
            seconds=time.perf_counter() - started,
            requests=1,
            rows=len(answer.rows),
            query_id=answer.query_id,
        )
        return replace(seen, cost=cost, query=query.text)

    def progress(self) -> None:
        """Nothing: a query does not say how far it is."""

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql` in the query's own order, values in canonical form.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        question = self._question(name, params)
        return self._held(question.query, question.rows).rows

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The same result as a pyarrow.Table, with Snowflake's own types.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        question = self._question(name, params)
        return self._held(question.query, question.table)

    def cancel(self) -> None:
        """End a running query, on the server as well; returns after a second at most."""
        self._cancelled.set()
        if talk := self._talk:
            talk.leave()

    def _sensor_query(self) -> Query:
        query = find_query(self._root, self._data.query)
        for parameter in parameters(query.text):
            raise query.error(
                f"A sensor's query has no parameters, and this one has :{parameter.name}",
                at=parameter.start,
                fix="Put the value into the query",
            )
        return query

    def _question(self, name: str, params: Mapping[str, Any]) -> Question:
        limit = self._data.row_limit
        question = Question(
            query=find_query(self._root, name), params=dict(params), row_limit=limit, enough=limit
        )
        question.check()
        return question

    def _held(self, query: Query, work: Callable[["SnowflakeConnection", Talk], _T]) -> _T:
        """What the work returns, within the time that a query may take."""
        talk = self._talk = Talk(partial(connect, self._data))
        if self._cancelled.is_set():
            raise stopped()
        try:
            return talk.held(lambda connection: work(connection, talk), self._data.timeout)
        except TimeoutError:
            raise overdue(query, self._data.timeout) from None
