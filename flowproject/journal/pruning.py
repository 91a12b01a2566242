"""Forgetting old entries, and the tables and marks that only they need."""

import logging
from collections.abc import Sequence
from typing import Final

from flowproject.journal.failures import DamagedTableError
from flowproject.journal.heads import Head
from flowproject.journal.journal import Journal
from flowproject.journal.layout import entry_numbers, leading_numbers
from flowproject.journal.snapshots import MANIFEST, ROWS, TABLE, read_manifest
from flowproject.journal.store import Store

__all__ = ["KEPT_ENTRIES", "PRUNE_EVERY", "prune"]

KEPT_ENTRIES: Final = 500
"""Entries that stay: enough for weeks of `history`, and few enough to list in one request."""

PRUNE_EVERY: Final = 50
"""Recorded entries between two prunings: a listing is dearer than all else that a tick does."""

_SNAPSHOTS_KEPT: Final = 2
_log = logging.getLogger(__name__)


def prune(store: Store, journal: Journal, head: Head, *, keep: int = KEPT_ENTRIES) -> int:
    """Forget all but the newest `keep` entries: how many objects went.

    Entries for which something may be left to do stay, with everything after them. Of the snapshots
    of all items, which only the next comparison needs, the newest two stay, with every segment
    that they name: a slow tick may still be reading the older one.
    """
    oldest_kept = min([head.seq - keep + 1, *head.unsettled])
    newest_spare = head.seq - _SNAPSHOTS_KEPT
    keys = store.keys(journal.location)
    doomed = [
        key
        for key in keys
        if _is_spare(key.removeprefix(journal.location), oldest_kept, newest_spare)
    ]
    doomed += _spare_segments(store, keys, newest_spare)
    for key in doomed:
        store.delete(key)
    return len(doomed)


def _is_spare(path: str, oldest_kept: int, newest_spare: int) -> bool:
    if path.endswith(ROWS):
        return False
    if path.startswith("/entries/"):
        return any(seq < oldest_kept for seq in entry_numbers([path]))
    if path.endswith((TABLE, MANIFEST)):
        return _is_of_spare_snapshot(path, newest_spare)
    return any(seq < oldest_kept for seq in leading_numbers([path]))


def _is_of_spare_snapshot(path: str, newest_spare: int) -> bool:
    return any(seq <= newest_spare for seq in leading_numbers([path]))


def _spare_segments(store: Store, keys: Sequence[str], newest_spare: int) -> list[str]:
    """The old segments that no manifest names which stays; none if one of these can't be read."""
    old = [key for key in keys if key.endswith(ROWS) and _is_of_spare_snapshot(key, newest_spare)]
    if not old:
        return []
    manifests = [
        key
        for key in keys
        if key.endswith(MANIFEST) and not _is_of_spare_snapshot(key, newest_spare)
    ]
    try:
        named = {name for key in manifests for name in read_manifest(store, key).segments}
    except DamagedTableError as damage:
        _log.warning("No segment of the items was removed: it might be needed. %s", damage)
        return []
    return [key for key in old if key not in named]
