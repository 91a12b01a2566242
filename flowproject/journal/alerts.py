"""Keeps what a journal knows of its sensor's incidents, and who tells of them.

What is open stands in one object that is rewritten; that somebody is telling of it, in one that is
created once. Both are safe to lose: then an incident is told again, or a new one begins.
"""

import datetime as dt
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from flowproject.journal.layout import Layout, opened, sealed
from flowproject.journal.store import Store

__all__ = ["AlertNotes"]

_log = logging.getLogger(__name__)
# After it a tick that was telling has died, or nobody can say that it has not.
_GIVEN_UP: Final = dt.timedelta(minutes=10)


class AlertNotes:
    """The notes on incidents of one journal."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def read(self) -> Mapping[str, Any]:
        """What was noted last; nothing if that is lost or damaged."""
        content = self._store.get(self._layout.alerts_memo)
        try:
            return {} if content is None else opened(content)
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("The notes on incidents can't be read; they begin anew. %s", error)
            return {}

    def write(self, noted: Mapping[str, Any]) -> None:
        """Note it, in the place of what was there.

        Raises:
            JournalError: if it can't be written.
        """
        self._store.put(self._layout.alerts_memo, sealed(dict(noted)))

    def claim(self, what: str, now: dt.datetime) -> bool:
        """Whether it is this tick that tells it, and no other.

        Raises:
            JournalError: if nobody can say.
        """
        key, content = self._layout.alert_claim(what), json.dumps({"at": now.isoformat()}).encode()
        if self._store.create(key, content):
            return True
        known = self._store.get(key)
        if known is not None and now - _moment(known) < _GIVEN_UP:
            return False
        self._store.delete(key)
        return self._store.create(key, content)

    def release(self, what: str) -> None:
        """Let the next tick tell it."""
        self._store.delete(self._layout.alert_claim(what))


def _moment(content: bytes) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(json.loads(content)["at"])
    except (ValueError, TypeError, KeyError):
        return dt.datetime.min.replace(tzinfo=dt.UTC)
