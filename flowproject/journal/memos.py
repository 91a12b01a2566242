"""What a source notes between two entries: one object beside them, rewritten and safe to lose."""

import logging

from flowproject.changes.canonical import Json
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Memo
from flowproject.errors import JournalError
from flowproject.journal.documents import opened, sealed
from flowproject.journal.layout import Layout
from flowproject.journal.store import Store

__all__ = ["Memos"]

_log = logging.getLogger(__name__)


class Memos:
    """The memo of a source in one journal.

    It belongs to one entry and says so: that of another, or one that is damaged, is no memo.
    """

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def read(self, entry: Entry) -> Memo:
        """What was noted last of the state that `entry` recorded, by a later look or with it."""
        try:
            content = self._store.get(self._layout.source_memo)
            noted = opened(content) if content is not None else {}
            if noted.get("entry") == _digest(entry):
                return dict(noted["memo"])
        except (JournalError, ValueError, TypeError, KeyError) as error:
            _log.warning("The memo of the source was not read; it is not needed. %s", error)
        return entry.memo

    def write(self, entry: Entry, memo: Memo) -> None:
        """Note this of the state that `entry` recorded, in the place of whatever was noted."""
        content = sealed({"entry": _digest(entry), "memo": memo})
        try:
            self._store.put(self._layout.source_memo, content)
        except JournalError as error:
            # Nothing depends on it: without a memo the next look is slower.
            _log.warning("The memo of the source was not written. %s", error)


def _digest(entry: Entry) -> Json:
    """What tells the whole entry from any other."""
    return entry.to_json()["digest"]
