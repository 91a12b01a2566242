"""One sensor's journal: entries by sequence number, their items, and their published marks."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, UnknownFormatError
from flowproject.changes.observation import Items, Memo
from flowproject.errors import JournalError
from flowproject.journal.failures import DamagedEntryError, Superseded
from flowproject.journal.layout import TOP, Layout, entry_numbers
from flowproject.journal.memos import Memos
from flowproject.journal.receipts import Receipt, Receipts
from flowproject.journal.snapshots import Snapshots
from flowproject.journal.store import Store

__all__ = ["Head", "Journal", "entry_numbers"]

_PROBES: Final = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a journal: its newest number (0: it is empty), and the newest readable entry."""

    seq: int = 0
    entry: Entry | None = None


class Journal:
    """The journal of one sensor on one branch, below `flowproject/<project>/<branch>/<sensor>/`.

    Reading the newest entry takes the same few requests after ten changes and after a million.
    """

    def __init__(self, store: Store, *, project: str, branch: str, sensor: str) -> None:
        self.project = project
        self.branch = branch
        self.sensor = sensor
        self.location = f"flowproject/{project}/{branch}/{sensor}"
        self._layout = Layout(self.location)
        self._snapshots = Snapshots(store, self._layout)
        self._memos = Memos(store, self._layout)
        self._receipts = Receipts(store, self._layout)
        self._store = store

    def head(self) -> Head:
        """The newest number, and the newest entry that can be read.

        Raises:
            DamagedEntryError: if the newest entry can't be read and no tick has noted it yet.
            JournalError: if there are entries and none can be read, which is no first look.
        """
        newest, content = self._newest()
        for seq in range(newest, 0, -1):
            content = content if seq == newest else self._store.get(self.entry_key(seq))
            if content is None:
                break
            entry = self._readable(seq, content)
            if entry:
                return Head(seq=newest, entry=entry)
        if newest:
            raise JournalError(
                f"No entry of sensor {self.sensor!r} can be read",
                where=self._layout.entries,
                allowed="This is not taken for a first look, because changes would be missed",
                fix=f"Look at what changed, then `flowproject reset {self.sensor}`",
            )
        return Head()

    def get(self, seq: int) -> Entry | None:
        """The entry with this sequence number, or None if it was pruned or never was.

        Raises:
            DamagedEntryError: if it can't be read.
            JournalError: if a newer flowproject wrote it.
        """
        content = self._store.get(self.entry_key(seq))
        return None if content is None else self._parsed(seq, content)

    def entry_key(self, seq: int) -> str:
        """Where the entry with this sequence number lies, below the root of the datastore."""
        return self._layout.entry(seq)

    def record(self, entry: Entry, items: Items | None, difference: Difference) -> Entry:
        """Record `entry` under its sequence number, tables first: the entry as it was recorded.

        Raises:
            Superseded: if another tick has recorded under this number; nothing is left behind.
        """
        entry = self._snapshots.write(entry, items, difference)
        if not self._create(entry):
            self._snapshots.discard(entry)
            raise Superseded
        self._remember(entry.seq)
        return entry

    def items(self, entry: Entry) -> Items:
        """The items that the source had when `entry` was recorded; empty if it has no items.

        Raises:
            DamagedTableError: if their table is gone or can't be read. Of very many items that may
                show only when they are read.
        """
        return self._snapshots.items(entry)

    def remember_items(self, entry: Entry, known: Items | None, seen: Items | None) -> None:
        """Keep what an unchanged look learned of `known`, the items of `entry`, besides them."""
        self._snapshots.remember(entry, known, seen)

    def memo(self, entry: Entry) -> Memo:
        """What the source noted last of the state that `entry` recorded; empty if nothing is."""
        return self._memos.read(entry)

    def remember(self, entry: Entry, memo: Memo) -> None:
        """Keep what a source noted that found the state of `entry` unchanged."""
        self._memos.write(entry, memo)

    def difference(self, entry: Entry) -> Difference:
        """What happened to the items with `entry`; empty if the source has no items.

        Raises:
            DamagedTableError: if the table is gone or can't be read.
        """
        return self._snapshots.difference(entry)

    def is_waiting(self, head: Entry | None) -> bool:
        """Whether the bus lacks a change: the newest tells, for they are published in order."""
        newest = next((entry for entry in self.back_from(head) if entry.is_published), None)
        return newest is not None and not self.is_marked(newest)

    def pending(self, head: Entry | None) -> list[Entry]:
        """The entries up to `head` that the bus has not taken yet, oldest first.

        They are published in order, so the search goes back from `head` and ends at the first
        that has its mark: one request if nothing is outstanding.
        """
        found: list[Entry] = []
        for entry in self.back_from(head):
            if not entry.is_published:
                continue
            if self.is_marked(entry):
                break
            found.append(entry)
        return found[::-1]

    def is_marked(self, entry: Entry) -> bool:
        """Whether the bus is known to have taken this entry."""
        return self._store.exists(self._layout.mark(entry))

    def mark_published(self, entry: Entry, details: Mapping[str, Json]) -> None:
        """Note that the bus has taken this entry."""
        self._store.create(self._layout.mark(entry), _to_bytes({"v": 1, "id": entry.id, **details}))

    def claim(self, *, seq: int, id: str, attempt: int, flow: str, run: str, at: str) -> Receipt:  # noqa: A002
        """The receipt that stands for this attempt: the run's, or that of the run before it.

        Raises:
            JournalError: if it can't be told which stands, or the one that stands is damaged.
        """
        return self._receipts.claim(
            Receipt(id=id, seq=seq, attempt=attempt, flow=flow, run=run, at=at)
        )

    def receivers(self, seq: int, id: str) -> frozenset[tuple[int, str]]:  # noqa: A002
        """Attempt and flow of each receipt for this change: one request."""
        return self._receipts.receivers(seq, id)

    def receipts(self, seq: int, id: str) -> tuple[Receipt, ...]:  # noqa: A002
        """The receipts for this change, by attempt and flow; a damaged one is told in the log."""
        return self._receipts.read(seq, id)

    def back_from(self, head: Entry | None) -> Iterator[Entry]:
        """`head` and the entries before it, as far as they are kept; noted damage is passed over.

        Raises:
            DamagedEntryError: at an entry that can't be read and is not noted.
        """
        if head is None:
            return
        yield head
        for seq in range(head.seq - 1, 0, -1):
            content = self._store.get(self.entry_key(seq))
            if content is None:
                return
            entry = self._readable(seq, content)
            if entry:
                yield entry

    def note_damage(self, damage: DamagedEntryError) -> None:
        """Note that an entry can't be read, so that it is passed over from now on.

        Nothing is moved or removed: its number stays taken, and what is left of it stays there.
        """
        self._store.create(self._layout.note(damage.seq), _to_bytes({"v": 1, "said": str(damage)}))

    def next_seq(self) -> int:
        """The sequence number that follows everything recorded, readable or not."""
        return self._newest()[0] + 1

    def _newest(self) -> tuple[int, bytes | None]:
        """The newest number and what is there; the memo leads to it, or else the names."""
        seq = self._memo()
        for _ in range(_PROBES):
            if not seq or not self._store.exists(self.entry_key(seq + 1)):
                break
            seq += 1
        else:
            seq = 0
        content = self._store.get(self.entry_key(seq)) if seq else None
        if content is None:
            seq = max(entry_numbers(self._store.keys(self._layout.entries)), default=0)
            content = self._store.get(self.entry_key(seq)) if seq else None
        return seq, content

    def _readable(self, seq: int, content: bytes) -> Entry | None:
        """The entry, or None if it is damaged and that is noted."""
        try:
            return self._parsed(seq, content)
        except DamagedEntryError:
            if self._store.exists(self._layout.note(seq)):
                return None
            raise

    def _parsed(self, seq: int, content: bytes) -> Entry:
        try:
            return Entry.from_json(json.loads(content))
        except UnknownFormatError as error:
            raise JournalError(
                f"The journal entry {self.entry_key(seq)!r} can't be read: {error}",
                fix="Use the version of flowproject that wrote it, or a newer one",
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedEntryError(self.entry_key(seq), seq, str(error)) from error

    def _memo(self) -> int:
        content = self._store.get(self._layout.head_memo)
        try:
            seq = json.loads(content or b"{}").get("seq", 0)
        except (ValueError, AttributeError):
            return 0
        return seq if isinstance(seq, int) and 0 < seq < TOP else 0

    def _remember(self, seq: int) -> None:
        try:
            self._store.put(self._layout.head_memo, _to_bytes({"seq": seq}))
        except JournalError as error:
            # The entry is there, and that is what counts: without a memo the next tick is slower.
            _log.warning("The memo of the journal was not written. %s", error)

    def _create(self, entry: Entry) -> bool:
        content = _to_bytes(entry.to_json())
        if self._store.create(self.entry_key(entry.seq), content):
            return True
        # A store may report a conflict for a write of ours that did happen, after its own retry.
        return self._store.get(self.entry_key(entry.seq)) == content


def _to_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode("ascii")
