"""The source: what is asked, and within which limits."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flowproject.changes.observation import Cost, Memo, Observation, Past
from flowproject.config.data import SnowflakeData
from flowproject.dialect import check_syntax
from flowproject.sources import Rows, stopped
from flowproject.sources.result import UNKEYED_LIMIT, folded, keyed, unkeyed
from flowproject.sources.snowflake.asking import Answer, Question, ask_plainly
from flowproject.sources.snowflake.connect import connect, session
from flowproject.sources.snowflake.failures import locked_out, overdue
from flowproject.sources.snowflake.gate import UNGATED, Gate, ask_gate, check_gateable
from flowproject.sources.snowflake.talk import Talk
from flowproject.sql import Query, find_query, find_sensor_query

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

__all__ = ["SnowflakeSource"]

_PARSED: Final = ("SELECT", "WITH")  # sqlglot has no grammar for what else looks: SHOW, DESCRIBE
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class _Look:
    answer: Answer
    gate: Gate
    requests: int


class SnowflakeSource:
    """A query, and the account that it is asked in."""

    def __init__(self, data: SnowflakeData, root: Path) -> None:
        self._data = data
        self._root = root.absolute()
        self._cancelled = Event()
        self._talk: Talk | None = None
        self._has_looked = False

    def check(self) -> None:
        """Raise a QueryError if the sensor's query is missing, does not parse or does not look.

        Nothing is connected to.
        """
        question = self._sensor_question()
        question.check()
        if question.word in _PARSED:
            check_syntax(question.query, "snowflake")
        if self._data.gate:
            check_gateable(question.query, self._data.tables)

    def observe(self, past: Past | None = None) -> Observation:
        """The result of the sensor's query; the past if a gate knows that it is still the same.

        Raises:
            QueryError: if the query or its result can't be used.
            SourceError: if Snowflake can't be reached, or has not what is asked for.
        """
        started = time.perf_counter()
        question = self._sensor_question()
        query, key = question.query, question.key
        question.check()
        memo = past.memo if past and self._data.gate else {}
        look = self._held(query, partial(self._look, question, memo))
        self._has_looked = True
        rows, gate = look.answer.rows, look.gate
        cost = Cost(
            seconds=time.perf_counter() - started,
            requests=look.requests,
            rows=len(rows),
            query_id=look.answer.query_id,
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
            columns=look.answer.columns,
        )

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

    def _look(
        self, question: Question, memo: Memo, connection: "SnowflakeConnection", talk: Talk
    ) -> _Look:
        """The answer, unless a gate is shut, which is asked before and after."""
        if not self._data.gate:
            return _Look(answer=question.rows(connection, talk), gate=UNGATED, requests=1)
        asked: list[str] = []

        def ask(sql: str, values: Sequence[str]) -> Sequence[Sequence[Any]]:
            asked.append(sql)
            return ask_plainly(question.query, sql, values, connection, talk)

        gate = ask_gate(ask, question.query, self._data, session(connection), memo)
        if gate.is_shut:
            return _Look(answer=Answer(rows=[], query_id=""), gate=gate, requests=len(asked))
        answer = question.rows(connection, talk)
        gate = gate.after(ask)
        return _Look(answer=answer, gate=gate, requests=len(asked) + 1)

    def _sensor_question(self) -> Question:
        # In capitals or not, the name of a column that was not quoted is the same name.
        key, limit = tuple(folded(column) for column in self._data.key), self._data.row_limit
        return Question(
            query=find_sensor_query(self._root, self._data.query),
            params={},
            key=key,
            row_limit=limit,
            enough=(limit if key else min(limit, UNKEYED_LIMIT)) + 1,
        )

    def _question(self, name: str, params: Mapping[str, Any]) -> Question:
        query, limit = find_query(self._root, name), self._data.row_limit
        question = Question(query=query, params=dict(params), row_limit=limit, enough=limit + 1)
        question.check()
        return question

    def _held(self, query: Query, work: Callable[["SnowflakeConnection", Talk], _T]) -> _T:
        """What the work returns, within the time that a query may take."""
        # Who looks twice wants to know whether the result is the same, not what it was.
        talk = self._talk = Talk(partial(connect, self._data, anew=self._has_looked))
        if self._cancelled.is_set():
            raise stopped()
        try:
            return talk.held(lambda connection: work(connection, talk), self._data.timeout)
        except TimeoutError:
            limit = self._data.timeout
            raise (overdue(query, limit) if talk.is_in else locked_out(self._data)) from None
