"""Keeps the durable record of a sensor: what was recorded and published, which runs took it.

Entries are created once and never overwritten, so two ticks at once can't both record. What is
rewritable here (memos) is never the truth. What a change is, is decided elsewhere.
"""

from flowproject.journal.datastore import datastore_root, open_store
from flowproject.journal.errors import (
    ClosedJournalError,
    DamagedEntryError,
    DamagedTableError,
    NewerObjectError,
    Superseded,
    UnreadableError,
)
from flowproject.journal.index import JournalIndex
from flowproject.journal.journal import PRUNE_EVERY, Journal, check_branch, prune
from flowproject.journal.layout import entry_numbers
from flowproject.journal.memos import Head
from flowproject.journal.moving import Moved, move
from flowproject.journal.outbox import Awaited, Combination, Listeners, Mark, Sending, Sendings
from flowproject.journal.receipts import Receipt
from flowproject.journal.store import ReadOnlyStore, Store, prove_atomic
from flowproject.journal.turns import TurnNotices

__all__ = [
    "PRUNE_EVERY",
    "Awaited",
    "ClosedJournalError",
    "Combination",
    "DamagedEntryError",
    "DamagedTableError",
    "Head",
    "Journal",
    "JournalIndex",
    "Listeners",
    "Mark",
    "Moved",
    "NewerObjectError",
    "ReadOnlyStore",
    "Receipt",
    "Sending",
    "Sendings",
    "Store",
    "Superseded",
    "TurnNotices",
    "UnreadableError",
    "check_branch",
    "datastore_root",
    "entry_numbers",
    "move",
    "open_store",
    "prove_atomic",
    "prune",
]
