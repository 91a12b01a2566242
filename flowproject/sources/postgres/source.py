"""Asks a query within limits; its result is an observation, rows or a table."""

import datetime as dt
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final, TypeVar
from uuid import UUID

from flowproject.changes.canonical import digest, dumps
from flowproject.changes.observation import Cost, Memo, Observation, Past
from flowproject.config.data import PostgresData
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Rows, stopped
from flowproject.sources.connection_thread import ConnectionThread
from flowproject.sources.postgres.columns import (
    columns_of,
    converted,
    listed,
    typed,
    typed_listed,
)
from flowproject.sources.postgres.connection import (
    Session,
    array_text,
    connect,
    explained,
    locked_out,
    overdue,
)
from flowproject.sources.postgres.gate import Moment, begin, plan_of
from flowproject.sources.postgres.rows import KeyedRows, QueryResult, gathered_rows, moved_rows
from flowproject.sources.result import UNKEYED_LIMIT, check_columns, unkeyed
from flowproject.sql import Query, bind, find_query, find_sensor_query, parameters, statement
from flowproject.tables.row_table import FEW_ROWS, Marks, RowTable

__all__ = ["PostgresSource", "described"]

_FORMAT: Final = 1
_BEGINNING: Final = re.compile(r"(?:\s|\(|--[^\n]*+|/\*.*?\*/)*+(?P<word>\w+)", re.DOTALL)
_LOOKING: Final = ("SELECT", "WITH", "VALUES", "TABLE")
# All statements of a look see one state; of a query that a flow asks only one sees any.
_ONE_SNAPSHOT: Final = "REPEATABLE READ"
_LATEST: Final = "READ COMMITTED"
_MOST_LOOKS: Final = 5
_SEED_BITS: Final = 62

_PARAMETERS: Final = """
SELECT pg_catalog.format('%I.%I', n.nspname, t.typname) AS type, t.typname IN ('json', 'jsonb')
    AS is_json
FROM pg_catalog.pg_prepared_statements AS s,
    pg_catalog.unnest(s.parameter_types) WITH ORDINALITY AS p(type, place)
JOIN pg_catalog.pg_type AS t ON t.oid = p.type
JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
WHERE s.name = 'flowproject' ORDER BY p.place
"""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a look found: its rows, or None for those of the past, of which there are `count`."""

    found: KeyedRows | None
    count: int
    reason: str = ""
    memo: Memo = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


class PostgresSource:
    """A query, and the database that it is asked in."""

    def __init__(self, data: PostgresData, root: Path) -> None:
        self._data = data
        self._root = root.absolute()
        self._cancelled = Event()
        self._thread: ConnectionThread[Session] | None = None

    def check(self) -> None:
        """Raise a QueryError if the sensor's query is missing, or does not only look at data.

        Nothing is connected to.
        """
        _check_looking(find_sensor_query(self._root, self._data.query))

    def observe(self, past: Past | None = None) -> Observation:
        """The result of the sensor's query; the past if the server knows that it is still the same.

        Raises:
            QueryError: if the query or its result can't be used.
            SourceError: if the server can't be reached, or has not what is asked for.
        """
        started = time.perf_counter()
        query, key = find_sensor_query(self._root, self._data.query), self._data.key
        _check_looking(query)
        look, requests = self._held(query, partial(self._look, query, past))
        cost = Cost(seconds=time.perf_counter() - started, requests=requests, rows=look.count)
        if past and look.found is None:
            seen = past.still(cost=cost, query=query.text, note=look.reason)
        elif key and look.found:
            seen = look.found.observation(past, key, query.file)
        else:
            seen = unkeyed((look.found.rows if look.found else None) or [], query.file)
        return replace(
            seen,
            cost=cost,
            query=query.text,
            note=look.reason,
            memo={**look.memo, "v": _FORMAT, "fingerprint": seen.fingerprint},
            columns=look.columns,
        )

    def progress(self) -> None:
        """Return None: a query does not say how far it is."""

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql` in the query's own order, values in canonical form.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the server can't be reached, or has not what is asked for.
        """
        query = find_query(self._root, name)

        def work(session: Session) -> Rows:
            with session.transaction(_LATEST):
                begin(session, self._data, query)
                result = described(session, query, params)
                return self._read(query, result, self._data.row_limit + 1)

        return self._held(query, work)

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table with the types that Arrow has for them.

        Raises:
            QueryError: if the query or its parameters can't be used, or Arrow has no word for a
                value.
            SourceError: if the server can't be reached, or has not what is asked for.
        """
        query = find_query(self._root, name)

        def work(session: Session) -> Any:
            with session.transaction(_LATEST):
                begin(session, self._data, query)
                result = described(session, query, params)
                limit = self._data.row_limit + 1
                table = result.table(typed_listed(result.columns), limit=limit)
                self._check_limit(len(table), query)
                return typed(table, result.columns, query.file)

        return self._held(query, work)

    def cancel(self) -> None:
        """End a running query, on the server as well; returns after a second at most."""
        # In this order: whoever is about to start a thread looks at the flag after it is known.
        self._cancelled.set()
        if thread := self._thread:
            thread.leave()

    def _look(self, query: Query, past: Past | None, session: Session) -> tuple[_Look, int]:
        """What a look finds, and how many statements it needed."""
        had_rows = bool(past and past.total)
        for number in range(_MOST_LOOKS):
            with session.transaction(_ONE_SNAPSHOT):
                look = self._look_once(query, past, session)
            # A table that is emptied, rewritten or swapped after the snapshot was taken reads as
            # empty in it: that all is gone is believed to a second snapshot only.
            is_all_gone = look is not None and not look.count and had_rows
            if look is not None and not (is_all_gone and number == 0):
                return look, session.requests
        raise SourceError(
            f"The tables of the query were emptied or rewritten during each of {_MOST_LOOKS} looks",
            where=query.file,
            allowed="The next tick looks again",
        )

    def _look_once(self, query: Query, past: Past | None, session: Session) -> _Look | None:
        """What a look finds in one snapshot; None if that has not all that there was."""
        moment = begin(session, self._data, query)
        memo = past.memo if past else {}
        if not past or (memo.get("v"), memo.get("fingerprint")) != (_FORMAT, past.fingerprint):
            memo = {}
        if past and self._data.gate and moment.is_of(memo):
            reason = "nothing was committed in the server, the query did not run"
            count = 0 if past.total is None else past.total
            return _Look(found=None, count=count, reason=reason, memo=memo)
        result = described(session, query, {})
        check_columns([column.name for column in result.columns], self._data.key, query.file)
        plan = plan_of(session, query, result.text)
        if plan.is_beneath:
            return None
        look = self._compared(query, result, moment, past, memo)
        doubt = moment.doubt or plan.doubt
        gated = moment.memo() if self._data.gate and not doubt else {}
        reason = f"runs every time: {doubt}" if self._data.gate and doubt else ""
        return replace(
            look,
            reason="; ".join(filter(None, [look.reason, reason])),
            memo={**look.memo, **gated},
            columns={column.name: column.kind for column in result.columns},
        )

    def _compared(
        self, query: Query, result: QueryResult, moment: Moment, past: Past | None, memo: Memo
    ) -> _Look:
        """The rows, or None if their digest is that of the past."""
        # How the server hashes may differ in its next major version, and in another database: an
        # enum is hashed by a number of its own there.
        columns: list[Any] = [[column.name, column.kind] for column in result.columns]
        rule = digest(str(_FORMAT), moment.place, dumps(columns))
        seed, total = _seed(memo), (past.total or 0) if past else 0
        if not self._data.key:
            enough = min(self._data.row_limit, UNKEYED_LIMIT) + 1
            rows = self._read(query, result, enough)
            return _Look(found=KeyedRows(count=len(rows), rows=rows), count=len(rows))
        # Of few rows the digest would cost as much as they do.
        digested = result.digest(seed) if total > UNKEYED_LIMIT else ""
        kept: Memo = {"rule": rule, "seed": seed, "digest": digested}
        if digested:
            count = int(digested.partition(" ")[0])
            self._check_limit(count, query)
            if kept == {name: memo.get(name) for name in kept}:
                reason = "the server's digest of the result is the same, no row was read"
                return _Look(found=None, count=count, reason=reason, memo=kept)
        found = self._found(query, result, past, Marks(rule=rule, salt=str(seed)), memo)
        if found.count <= UNKEYED_LIMIT:
            return _Look(found=found, count=found.count)
        kept["digest"] = digested or result.digest(seed)
        return _Look(found=found, count=found.count, memo=kept)

    def _found(
        self, query: Query, result: QueryResult, past: Past | None, marks: Marks, memo: Memo
    ) -> KeyedRows:
        """The rows that moved, if the past has marks that can be compared; else all rows."""
        key, file = self._data.key, query.file

        def check(rows: int) -> None:
            if thread := self._thread:
                thread.check_not_left()
            self._check_limit(rows, query)

        known = past.items if past and (past.total or 0) > FEW_ROWS else None
        if isinstance(known, RowTable) and known.manifest.marks == marks:
            moved = moved_rows(result, known, key, file, check)
            if moved is not None:
                return moved
        # Where the columns are others, rows are compared in those that stayed: by who asked.
        is_other = bool(past) and memo.get("rule", marks.rule) != marks.rule
        return gathered_rows(
            result, None if is_other else marks, key, file, check, self._data.row_limit
        )

    def _read(self, query: Query, result: QueryResult, enough: int) -> Rows:
        """The rows of a result in canonical form; no more than are enough."""
        rows: Rows = []
        for batch in result.batches(listed(result.columns), limit=enough):
            if thread := self._thread:
                thread.check_not_left()
            rows += converted(batch, result.columns, query.file)
        self._check_limit(len(rows), query)
        return rows

    def _check_limit(self, rows: int, query: Query) -> None:
        if rows > self._data.row_limit:
            raise QueryError(
                f"The result has {rows:,} rows or more, and row_limit is {self._data.row_limit:,}",
                where=f"{query.file}, row_limit in flowproject.toml",
                fix="Filter or aggregate in the query, or raise row_limit in [data]",
            )

    def _held(self, query: Query, work: Callable[[Session], _T]) -> _T:
        """What the work returns, within the time that a query may take."""

        def in_words(session: Session) -> _T:
            with explained(query):
                return work(session)

        thread = self._thread = ConnectionThread(
            partial(connect, self._data), Session.cancel, name="postgres"
        )
        if self._cancelled.is_set():
            raise stopped()
        limit = self._data.timeout
        try:
            return thread.run(in_words, limit)
        except TimeoutError:
            raise (overdue(query, limit) if thread.is_open else locked_out(self._data)) from None


def _check_looking(query: Query) -> None:
    """Raise a QueryError if the text does not begin like one that looks."""
    # What follows is for the server to parse: a transaction that reads lets nothing else through.
    found = _BEGINNING.match(query.text)
    if not found or found["word"].upper() not in _LOOKING:
        raise query.error(
            "This does not only look at data",
            at=found.start("word") if found else 0,
            allowed=f"A query begins with {', '.join(_LOOKING)}",
        )


def described(session: Session, query: Query, params: Mapping[str, Any]) -> QueryResult:
    """The result of a query with its columns, after the server has parsed it.

    Raises:
        QueryError: if it can't be parsed, or the values don't fit its parameters.
    """
    names = [*dict.fromkeys(parameter.name for parameter in parameters(query.text))]

    # As long as it was, so that places in the server's errors are places in the file.
    def numbered(name: str) -> str:
        return f"${names.index(name) + 1}".ljust(len(name) + 1)

    _check_looking(query)
    text = bind(query, params, numbered)
    with explained(query, is_whole=True):
        schema = session.described(f"{text}\n")
    if not len(schema):
        raise QueryError("The result has no columns", where=query.file)
    check_columns(schema.names, (), query.file)
    values: tuple[str | None, ...] = ()
    if names:
        types = _parameter_types(session, text)
        values = tuple(_value(query, name, params[name], types[n]) for n, name in enumerate(names))
        # A text, cast by the server: so any type of its own can be bound, infinity included.
        text = bind(query, params, lambda name: _cast(names.index(name), types))
    text = statement(text)
    return QueryResult(
        session=session, text=text, columns=columns_of(session, text, schema, values), values=values
    )


def _parameter_types(session: Session, text: str) -> list[dict[str, Any]]:
    """The types that the server infers for the parameters, from where they stand."""
    session.run(f"PREPARE flowproject AS {statement(text)}\n")
    return session.rows(_PARAMETERS)


def _cast(place: int, types: Sequence[Mapping[str, Any]]) -> str:
    return f"CAST(${place + 1}::text AS {types[place]['type']})"


def _value(query: Query, name: str, value: Any, kind: Mapping[str, Any]) -> str | None:
    """The text of a value, as the server reads it."""
    if kind["is_json"] and isinstance(value, dict | list | tuple):
        return json.dumps(value)
    try:
        return _text(value)
    except TypeError:
        [parameter, *_] = [one for one in parameters(query.text) if one.name == name]
        raise query.error(
            f"Parameter :{name} is a {type(value).__name__}, for which PostgreSQL has no value",
            at=parameter.start,
            allowed="Texts, numbers, dates, times, bytes, UUIDs, lists of these; for json also "
            "dicts",
            fix="Pass one of these",
        ) from None


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float() | Decimal() | UUID():
            return str(value)
        case dt.date() | dt.time():  # a datetime is a date
            return value.isoformat()
        case dt.timedelta():
            return f"{value // dt.timedelta(microseconds=1)} microseconds"
        case bytes() | bytearray():
            return f"\\x{bytes(value).hex()}"
        case list() | tuple():
            return array_text(value, _text)
        case _:
            raise TypeError


def _seed(memo: Memo) -> int:
    """The seed of the past, or a new one, by chance.

    Whoever writes rows does not know it, and so can't make two that have one hash.
    """
    known = memo.get("seed")
    return known if type(known) is int else secrets.randbits(_SEED_BITS)
