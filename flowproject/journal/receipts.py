"""Keeps receipts, which say that a run of a flow took a change.

Each is created once, and so it is the claim as well.

A run that finds another's receipt does nothing; what that means for a flow is decided there.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Final

from flowproject.changes.canonical import Json
from flowproject.errors import JournalError
from flowproject.journal.layout import Layout, opened, sealed
from flowproject.journal.store import Store

__all__ = ["Receipt", "Receipts", "attempts_from"]

_FORMAT: Final = 1
_NAME: Final = re.compile(r"/(\d{10})-([0-9a-f]+)/([1-9]\d*)-([^/]+)\.json$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that a run of `flow` took one attempt to deliver a change.

    `run` is `Flow/id` of the run that took it, the first one if it was resumed; `at` says when, in
    UTC, by the clock of the machine that it ran on.
    """

    id: str
    seq: int
    attempt: int
    flow: str
    run: str
    at: str

    def to_json(self) -> dict[str, Json]:
        """The receipt as JSON, with its format."""
        return {"v": _FORMAT, **asdict(self)}


class Receipts:
    """The receipts of one journal, each created once."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def claim(self, receipt: Receipt) -> Receipt:
        """Create the receipt, and return the one that stands: that of the run which was first.

        Raises:
            JournalError: if it can't be told which stands, or the one that stands is damaged.
        """
        key = self._layout.receipt(receipt.seq, receipt.id, receipt.attempt, receipt.flow)
        content = sealed(asdict(receipt))
        try:
            if self._store.create(key, content):
                return receipt
        except JournalError:
            # A store may report an error for a write that did happen.
            standing = self._store.get(key)
            if standing is None:
                raise
        else:
            standing = self._store.get(key)
        return _parsed(key, receipt.id, standing)

    def receivers(self, seq: int, change_id: str) -> frozenset[tuple[int, str]]:
        """Attempt and flow of each receipt for a change: one request."""
        # By the names alone: which run it was is asked for less often than whether there was one.
        names = map(_NAME.search, self._store.keys(self._layout.receipts(seq, change_id)))
        return frozenset((int(name[3]), name[4]) for name in names if name)

    def receivers_from(self, seq: int) -> dict[tuple[int, str], set[tuple[int, str]]]:
        """Attempt and flow of each receipt, by number and id of each change from this number on."""
        return attempts_from(self._store, self._layout.all_receipts, seq)

    def read(
        self, seq: int, change_id: str, receivers: Collection[tuple[int, str]] | None = None
    ) -> tuple[Receipt, ...]:
        """The receipts for a change, by attempt and flow; a damaged one is told in the log.

        `receivers` are those whose receipts are known to be there, which spares a listing.
        """
        found = []
        known = self.receivers(seq, change_id) if receivers is None else receivers
        for attempt, flow in sorted(known):
            key = self._layout.receipt(seq, change_id, attempt, flow)
            try:
                found.append(_parsed(key, change_id, self._store.get(key)))
            except JournalError as error:
                # The others are worth telling; that there is one, `receivers` knows by its name.
                _log.warning("%s", error)
        return tuple(found)


def attempts_from(
    store: Store, folder: str, seq: int
) -> dict[tuple[int, str], set[tuple[int, str]]]:
    """Attempt and flow of each object in a folder, by number and id of its change: one request.

    From this number on.
    """
    found: defaultdict[tuple[int, str], set[tuple[int, str]]] = defaultdict(set)
    # Names begin with the number, so a listing can leave out all that is older.
    for name in map(_NAME.search, store.keys(folder, f"{folder}/{seq:010d}")):
        if name:
            found[int(name[1]), name[2]].add((int(name[3]), name[4]))
    return found


def _parsed(key: str, change_id: str, content: bytes | None) -> Receipt:
    try:
        # No guess is made: a run that took a damaged receipt for its own might do the work twice.
        return Receipt(**opened(content or b""))
    except (ValueError, TypeError) as error:
        raise JournalError(
            f"A receipt for change {change_id} can't be read, so which run took it is not known: "
            f"{error if content else 'it is empty or gone'}",
            where=f"Object {key!r} of the journal",
            allowed="No run of this flow takes this attempt, so that none does it twice",
            fix=f"Look whether a run did it; if none did, `flowproject replay {change_id}`",
        ) from error
