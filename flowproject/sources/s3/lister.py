"""The table of all objects below a prefix, listed by many workers at once.

What was recorded is a list of spans, with digests of what the server sent. A span whose rows are
byte for byte the same is kept unread; all others are parsed and compared. If the server turns out
not to list in the order of keys, everything is listed once more, one page after the other.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from flowproject.sources.s3.asking import Asker, Pages, UnorderedError, outside, unreadable
from flowproject.sources.s3.crew import Crew
from flowproject.sources.s3.judge import Judge
from flowproject.sources.s3.pace import Pace
from flowproject.sources.s3.scope import Columns, Scope
from flowproject.sources.s3.units import Units
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.table import ObjectTable

__all__ = ["Lister"]

_TRIES: Final = 2
"""Objects that come and go between two questions can look like disorder, but hardly twice."""


class Lister:
    """Lists what is in scope and compares it with the past; or lists only what comes `after` a key.

    If the server keeps its order, that takes at most a request for each page that the keys fill,
    and besides one in twenty or three for each worker, whichever is more.
    """

    def __init__(
        self,
        pages: Pages,
        scope: Scope,
        past: ObjectTable | None = None,
        *,
        after: bytes | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._scope = scope
        self._past = past
        self._after = after
        self._pace = pace or Pace()
        self._ask = Asker(pages, scope.prefix, self._pace.page_size)
        self._seen: Callable[[], int] = lambda: 0

    @property
    def seen(self) -> int:
        """How many keys were listed so far."""
        return self._seen()

    def run(self) -> Built:
        """The table of what is there now, and how it differs from the past.

        Raises:
            SourceError: if a page can't be had or read; the first such error ends everything.
            UnorderedError: if keys have no order, so that nothing can be said to come after one.
        """
        for _ in range(_TRIES if self._past is None or self._past.manifest.ordered else 0):
            with suppress(UnorderedError):
                return self._list_at_once()
        if self._after is not None:
            raise UnorderedError
        return self._list_in_turn()

    def _list_at_once(self) -> Built:
        builder = self._builder()
        known = None if self._past is None else self._past.manifest
        pace, after = self._pace, self._after
        with Judge(builder, self._scope, pace, known=known, after=after) as judge:
            self._seen = lambda: judge.seen
            units = Units(
                judge.regions(), at_once=pace.at_once, page_size=pace.page_size, after=after
            )
            Crew(units, self._ask, judge).run(pace.at_once)
        return builder.finish()

    def _list_in_turn(self) -> Built:
        """The same from a server that lists in an order of its own, page by page."""
        columns = Columns()
        self._seen = lambda: len(columns.keys)
        try:
            for page in self._ask.in_turn():
                columns.add(page.rows, encoded=page.encoded)
            if stray := [key for key in columns.keys if not key.startswith(self._scope.prefix)]:
                raise outside(stray[0], self._scope.prefix)
            rows = self._scope.rows(columns)
        except ValueError as error:
            raise unreadable(error) from error
        builder = self._builder()
        builder.put_all(rows, listed=len(set(columns.keys)), ordered=False)
        return builder.finish()

    def _builder(self) -> TableBuilder:
        return TableBuilder(self._past, view=self._scope.view, identity=self._scope.identity)
