"""One sensor's journal: entries by sequence number, their items, and their published marks."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Item
from flowproject.errors import JournalError
from flowproject.journal import tables
from flowproject.journal.store import Store

__all__ = ["DamagedEntryError", "Journal", "Superseded", "entry_seq", "leading_seq"]

_Table = TypeVar("_Table")
_TOP: Final = 10**10
_PROBES: Final = 16


class Superseded(Exception):  # noqa: N818  # an outcome of a tick, not an error
    """Another tick recorded under this sequence number first."""


class DamagedEntryError(JournalError):
    """An entry, or a table that it names, can't be read."""

    def __init__(self, key: str, seq: int, reason: str) -> None:
        self.key = key
        self.seq = seq
        super().__init__(
            f"The journal entry {key!r} is damaged: {reason}",
            allowed="It is set aside, and the next tick compares with the entry before it",
        )


class Journal:
    """The journal of one sensor on one branch.

    Reading the newest entry takes the same few requests after ten changes and after a million.
    Layout below `flowproject/<project>/<branch>/<sensor>/`:

        head.json                       a memo of the newest sequence number; safe to lose
        entries/<10^10 - seq>.json      one entry, newest first by name; created, never overwritten
        tables/<seq>-<token>-*.parquet  the items an entry knows, and the difference it records
        published/<seq>-<id>.json       a mark: the bus has this change
        damaged/...                     what could not be read, set aside
    """

    def __init__(self, store: Store, *, project: str, branch: str, sensor: str) -> None:
        self.project = project
        self.branch = branch
        self.sensor = sensor
        self.location = f"flowproject/{project}/{branch}/{sensor}"
        self._store = store

    def head(self) -> Entry | None:
        """The newest entry, or None if there has never been one.

        Raises:
            DamagedEntryError: if the newest entry can't be read.
            JournalError: if there are no entries but damaged ones, which is no first look.
        """
        newest = self._newest()
        if newest:
            return newest
        if self._store.keys(f"{self.location}/damaged"):
            raise JournalError(
                f"Every entry of sensor {self.sensor!r} is damaged",
                where=f"{self.location}/damaged",
                allowed="This is not taken for a first look, because changes would be missed",
                fix=f"Look at what changed, then `flowproject reset {self.sensor}`",
            )
        return None

    def get(self, seq: int) -> Entry | None:
        """The entry with this sequence number, or None if it was pruned or never was.

        Raises:
            DamagedEntryError: if it can't be read.
        """
        key = self.entry_key(seq)
        content = self._store.get(key)
        if content is None:
            return None
        try:
            return Entry.from_json(json.loads(content))
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedEntryError(key, seq, str(error)) from error

    def entry_key(self, seq: int) -> str:
        """Where the entry with this sequence number lies, below the root of the datastore."""
        return f"{self.location}/entries/{_TOP - seq:010d}.json"

    def record(
        self, entry: Entry, items: Mapping[str, Item] | None, difference: Difference
    ) -> Entry:
        """Record `entry` under its sequence number, tables first: the entry as it was recorded.

        Raises:
            Superseded: if another tick has recorded under this number; nothing is left behind.
        """
        entry = self._with_tables(entry, items, difference)
        if not self._create(entry):
            for key in filter(None, (entry.snapshot, entry.difference)):
                self._store.delete(key)
            raise Superseded
        self._store.put(f"{self.location}/head.json", _to_bytes({"seq": entry.seq}))
        return entry

    def items(self, entry: Entry) -> dict[str, Item]:
        """The items that the source had when `entry` was recorded; empty if it has no items.

        Raises:
            DamagedEntryError: if their table is gone or can't be read.
        """
        return self._table(entry, entry.snapshot, tables.read_items) if entry.snapshot else {}

    def difference(self, entry: Entry) -> Difference:
        """What happened to the items with `entry`; empty if the source has no items.

        Raises:
            DamagedEntryError: if the table is gone or can't be read.
        """
        if not entry.difference:
            return Difference()
        return self._table(entry, entry.difference, tables.read_difference)

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
        return self._store.exists(self._mark_key(entry))

    def mark_published(self, entry: Entry, details: Mapping[str, Json]) -> None:
        """Note that the bus has taken this entry."""
        self._store.create(self._mark_key(entry), _to_bytes({"v": 1, "id": entry.id, **details}))

    def back_from(self, head: Entry | None) -> Iterator[Entry]:
        """`head` and the entries before it, as far as they are kept.

        Raises:
            DamagedEntryError: at an entry that can't be read.
        """
        if head is None:
            return
        yield head
        for seq in range(head.seq - 1, 0, -1):
            entry = self.get(seq)
            if entry is None:
                yield from self._kept_before(seq)
                return
            yield entry

    def set_aside(self, damage: DamagedEntryError) -> None:
        """Move a damaged entry out of the way; what it said is kept under `damaged/`."""
        key = self.entry_key(damage.seq)
        content = self._store.get(key)
        if content is None:
            return
        name = f"{damage.seq:010d}-{secrets.token_hex(4)}.json"
        self._store.put(f"{self.location}/damaged/{name}", content)
        self._store.delete(key)

    def next_seq(self) -> int:
        """The sequence number that follows everything recorded or set aside, by its names."""
        entries = self._store.keys(f"{self.location}/entries")
        damaged = self._store.keys(f"{self.location}/damaged")
        return 1 + max([0, *map(entry_seq, entries), *map(leading_seq, damaged)])

    def _newest(self) -> Entry | None:
        seq = self._memo()
        for _ in range(_PROBES):
            if not seq or not self._store.exists(self.entry_key(seq + 1)):
                break
            seq += 1
        else:
            seq = 0
        # Without a memo that leads to the newest entry, the names tell: the newest comes first.
        return (self.get(seq) if seq else None) or next(self._kept_before(_TOP), None)

    def _kept_before(self, seq: int) -> Iterator[Entry]:
        for key in self._store.keys(f"{self.location}/entries"):
            kept = entry_seq(key)
            entry = self.get(kept) if kept < seq else None
            if entry:
                yield entry

    def _memo(self) -> int:
        content = self._store.get(f"{self.location}/head.json")
        try:
            seq = json.loads(content or b"{}").get("seq", 0)
        except (ValueError, AttributeError):
            return 0
        return seq if isinstance(seq, int) and 0 < seq < _TOP else 0

    def _create(self, entry: Entry) -> bool:
        content = _to_bytes(entry.to_json())
        if self._store.create(self.entry_key(entry.seq), content):
            return True
        # A store may report a conflict for a write of ours that did happen, after its own retry.
        return self._store.get(self.entry_key(entry.seq)) == content

    def _with_tables(
        self, entry: Entry, items: Mapping[str, Item] | None, difference: Difference
    ) -> Entry:
        if items is None and not any(difference.counts.values()):
            return entry
        stem = f"{self.location}/tables/{entry.seq:010d}-{secrets.token_hex(6)}"
        entry = replace(entry, difference=f"{stem}-difference.parquet")
        self._store.put(entry.difference, tables.write_difference(difference))
        if items is not None:
            entry = replace(entry, snapshot=f"{stem}-items.parquet")
            self._store.put(entry.snapshot, tables.write_items(items))
        return entry

    def _table(self, entry: Entry, key: str, read: Callable[[bytes], _Table]) -> _Table:
        content = self._store.get(key)
        place = self.entry_key(entry.seq)
        if content is None:
            raise DamagedEntryError(place, entry.seq, f"its table {key!r} is gone")
        try:
            return read(content)
        except ValueError as error:
            raise DamagedEntryError(place, entry.seq, f"its table {key!r}: {error}") from error

    def _mark_key(self, entry: Entry) -> str:
        return f"{self.location}/published/{entry.seq:010d}-{entry.id}.json"


def leading_seq(key: str) -> int:
    """The sequence number that the name of a mark, a table or a damaged entry starts with."""
    return int(key.rpartition("/")[2].partition("-")[0])


def entry_seq(key: str) -> int:
    """The sequence number of the entry at `key`."""
    return _TOP - int(key.rpartition("/")[2].removesuffix(".json"))


def _to_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode("ascii")
