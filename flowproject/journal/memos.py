"""What a source notes between two entries: one object beside them, rewritten and safe to lose."""

import json
import logging
from typing import Final

from flowproject.changes.canonical import Json, digest_value
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Memo
from flowproject.errors import JournalError
from flowproject.journal.layout import Layout
from flowproject.journal.store import Store

__all__ = ["Memos"]

_FORMAT: Final = 1
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
            document = json.loads(content) if content is not None else {}
            if document == _document(entry, document.get("memo")):
                return dict(document["memo"])
        except (JournalError, ValueError, TypeError, AttributeError) as error:
            _log.warning("The memo of the source was not read; it is not needed. %s", error)
        return entry.memo

    def write(self, entry: Entry, memo: Memo) -> None:
        """Note this of the state that `entry` recorded, in the place of whatever was noted."""
        content = json.dumps(_document(entry, memo)).encode("ascii")
        try:
            self._store.put(self._layout.source_memo, content)
        except JournalError as error:
            # Nothing depends on it: without a memo the next look is slower.
            _log.warning("The memo of the source was not written. %s", error)


def _document(entry: Entry, memo: Json) -> dict[str, Json]:
    """What the object says. The digest of the whole entry tells it from that of any other."""
    body: dict[str, Json] = {"v": _FORMAT, "entry": entry.to_json()["digest"], "memo": memo}
    return {**body, "digest": digest_value(body)}
