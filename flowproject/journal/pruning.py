"""Forgetting old entries, and the tables and marks that only they need."""

from typing import Final

from flowproject.changes.entry import Entry
from flowproject.journal.journal import Journal, entry_numbers, leading_numbers
from flowproject.journal.store import Store

__all__ = ["KEPT_ENTRIES", "PRUNE_EVERY", "prune"]

KEPT_ENTRIES: Final = 500
"""Entries that stay: enough for weeks of `history`, and few enough to list in one request."""

PRUNE_EVERY: Final = 50
"""Recorded entries between two prunings: a listing is dearer than all else that a tick does."""

_SNAPSHOTS_KEPT: Final = 2


def prune(store: Store, journal: Journal, head: Entry, *, keep: int = KEPT_ENTRIES) -> int:
    """Forget all but the newest `keep` entries: how many objects went.

    Entries that are still to be published stay, with everything after them. Of the snapshots
    of all items, which only the next comparison needs, the newest two stay: a slow tick may
    still be reading the older one.
    """
    pending = [entry.seq for entry in journal.pending(head)]
    oldest_kept = min([head.seq - keep + 1, *pending])
    newest_spare = head.seq - _SNAPSHOTS_KEPT
    doomed = [
        key
        for key in store.keys(journal.location)
        if _is_spare(key.removeprefix(journal.location), oldest_kept, newest_spare)
    ]
    for key in doomed:
        store.delete(key)
    return len(doomed)


def _is_spare(path: str, oldest_kept: int, newest_spare: int) -> bool:
    if path.startswith("/entries/"):
        return any(seq < oldest_kept for seq in entry_numbers([path]))
    if path.endswith("-items.parquet"):
        return any(seq <= newest_spare for seq in leading_numbers([path]))
    return any(seq < oldest_kept for seq in leading_numbers([path]))
