"""Looks at a table that knows its version, in a thread that can be left, and answers its queries.

The same for each format: what a look asks its library for stands with the format.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, Generic, Self, TypeVar

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Cost, Observation, Past, Progress
from flowproject.config.data import VersionedData
from flowproject.errors import QueryError
from flowproject.sources import Rows
from flowproject.sources.connection_thread import ConnectionThread
from flowproject.sources.result import without_garbage_collection
from flowproject.sources.versioned.versions import (
    Candidates,
    Commit,
    TableVersion,
    changed,
    check_limit,
    is_large,
    rows_of,
    unmoved,
    without_rows,
)
from flowproject.sql import Query, bind, dollar, find_query
from flowproject.tables.arrow import queried

__all__ = ["PinnedQuery", "TableLook", "TableSource"]

_Data = TypeVar("_Data", bound=VersionedData)


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


class TableLook(ABC):
    """One look at a table, or one query of it; `place` is where it is, in words."""

    def __init__(self, data: VersionedData, place: str) -> None:
        self.place = place
        self.rows_read = 0
        self.check_not_left: Callable[[], None] = lambda: None
        self._keys = data
        self._started = time.perf_counter()

    @abstractmethod
    def observe(self, past: Past | None) -> Observation:
        """The newest version, and what happened since the one that was known."""

    @abstractmethod
    def query(self, asked: PinnedQuery) -> Any:
        """What a query gives, as a table of Arrow."""

    @property
    @abstractmethod
    def requests(self) -> int:
        """How often a server was asked, as far as that is known."""

    def close(self) -> None:  # noqa: B027  # a look may have something to close
        """Close what is open between two requests: nothing, of most formats."""

    @property
    def cost(self) -> Cost:
        """What it has cost until now."""
        seconds = time.perf_counter() - self._started
        return Cost(seconds=seconds, requests=self.requests, rows=self.rows_read)

    def compared(
        self,
        past: Past,
        now: TableVersion,
        commits: Sequence[Commit],
        moved: Callable[[], Candidates | None],
        whole: Callable[[], Observation],
        note: str = "",
    ) -> Observation:
        """Compare the rows that may have changed; `whole` compares all, if these are many.

        Raises:
            GoneError: if they can't be told from what was known.
            QueryError: if the table has too many rows, or two with one key.
        """
        check_limit(now.rows, self._keys.row_limit, self.place)
        with without_garbage_collection():
            found = None if is_large(now.rows, past) else moved()
            compared = found.compared(past, self._keys.key, self.place) if found else None
        if compared is None:
            return whole()
        if not any(compared[1].counts.values()):
            return unmoved(past, now, self.cost, without_rows(now, commits, note))
        return changed(now, commits, compared, self.cost, note=note)


class TableSource(ABC, Generic[_Data]):
    """Observes and queries one table; queries may be asked of a `version` of it."""

    def __init__(self, data: _Data, root: Path, version: Mapping[str, Json] | None = None) -> None:
        self._data = data
        self._root = root
        self._version = version
        # Nothing runs on a server that would have to be ended when the thread is left.
        self._thread = ConnectionThread(self._look, lambda _: None, name=data.type)

    @abstractmethod
    def _look(self) -> TableLook:
        """What looks at the table once."""

    def check(self) -> None:
        """Do nothing: what could be wrong with a table shows only there."""

    def observe(self, past: Past | None = None) -> Observation:
        """The table's newest version, and what happened since the one that was known.

        Raises:
            SourceError: if there is no such table, or it can't be read.
            QueryError: if `key` is no key of it, or it has more rows than `row_limit`.
        """

        def observed(look: TableLook) -> Observation:
            look.check_not_left = self._thread.check_not_left
            return look.observe(past)

        return self._thread.run(observed, TIMEOUT_MAX)

    def at(self, version: Mapping[str, Json]) -> Self:
        """The table as it was at a version that a change told; to be queried."""
        return type(self)(self._data, self._root, version)

    def query(self, name: str, params: Mapping[str, Any]) -> Rows:
        """The rows of `sql/<name>.sql`, in which the table has the last part of its name.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the table can't be read, or the version is gone.
        """
        return rows_of([self.query_arrow(name, params)], self._thread.check_not_left)

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The rows that `query` gives, as a pyarrow.Table; DuckDB runs the query.

        Raises:
            QueryError: if the query or its parameters can't be used.
            SourceError: if the table can't be read, or the version is gone.
        """
        asked = PinnedQuery.find(self._root, name, params, self._version)
        return self._thread.run(lambda look: look.query(asked), TIMEOUT_MAX)

    def progress(self) -> Progress | None:
        """Return None: a table does not say how far it is read."""
        return None

    def cancel(self) -> None:
        """Stop waiting for a running `observe`."""
        self._thread.leave()
