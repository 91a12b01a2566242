"""Reads, writes and prunes the journal of one sensor: its entries, by sequence number.

What lies beside the entries is a part of its own: snapshots, memos, outbox, receipts, turns.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, UnknownFormatError
from flowproject.changes.observation import Items
from flowproject.errors import JournalError, UsageError
from flowproject.journal.alerts import AlertNotes
from flowproject.journal.errors import (
    ClosedJournalError,
    DamagedEntryError,
    DamagedTableError,
    NewerObjectError,
    Superseded,
)
from flowproject.journal.index import JournalIndex
from flowproject.journal.layout import Layout, entry_numbers, leading_numbers, opened, sealed
from flowproject.journal.memos import Head, Memos
from flowproject.journal.outbox import Mark, Outbox
from flowproject.journal.receipts import Receipts
from flowproject.journal.snapshots import MANIFEST, ROWS, TABLE, Snapshots, read_manifest
from flowproject.journal.store import ReadAhead, Store, prove_atomic
from flowproject.journal.turns import Turns

__all__ = ["KEPT_ENTRIES", "PRUNE_EVERY", "Journal", "check_branch", "prune"]

KEPT_ENTRIES: Final = 500
"""Entries that stay: enough for weeks of `history`, and few enough to list in one request."""

PRUNE_EVERY: Final = 50
"""Recorded entries between two prunings: a listing is dearer than all else that a tick does."""

_SNAPSHOTS_KEPT: Final = 2

_LONGEST: Final = 100
# Beyond so many numbers a listing is cheaper than asking for one after the other.
_PROBES: Final = 16
_READ_AT_ONCE: Final = 32
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def check_branch(branch: str) -> None:
    """Refuse a branch that can't be a folder of the datastore.

    Metaflow lets `--branch` be nothing else, but takes a user's name as it is.

    Raises:
        UsageError: if it can't.
    """
    if not branch.isprintable() or set("/\\") & set(branch):
        raise UsageError(
            f"{branch[:_LONGEST]!r} is no branch that journals can be kept under",
            where="Metaflow makes the branch user.NAME of the user's name",
            allowed="It has no slash, no backslash, and nothing that can't be printed",
            fix="Set METAFLOW_USER to another name, or name a branch with --branch",
        )


class Journal:
    """The journal of one sensor on one branch, below `flowproject/<project>/<branch>/<sensor>/`.

    Reading the newest entry takes the same few requests after ten changes and after a million.
    """

    def __init__(self, store: Store, *, project: str, branch: str, sensor: str) -> None:
        check_branch(branch)
        self.project = project
        self.branch = branch
        self.sensor = sensor
        self.location = f"flowproject/{project}/{branch}/{sensor}"
        self._layout = Layout(self.location)
        self._store = store
        self.snapshots = Snapshots(store, self._layout)
        self.memos = Memos(store, self._layout)
        self.receipts = Receipts(store, self._layout)
        self.outbox = Outbox(store, self._layout)
        self.turns = Turns(store, self._layout)
        self.alerts = AlertNotes(store, self._layout)

    def head(self) -> Head:
        """The newest number, the newest entry that can be read, and what may be left to do.

        Raises:
            DamagedEntryError: if the newest entry can't be read and no tick has noted it yet.
            ClosedJournalError: if it was moved away, or another is being moved here.
            JournalError: if there are entries and none can be read, which is no first look.
        """
        end, content = self._newest()
        entry = self._last_readable(end, content)
        if entry and entry.is_closed and (listed := self._listed()).seq > end.seq:
            # While a journal is moved here, numbers behind the first reservation are missing: what
            # the memo leads to is not the end.
            end, entry = (
                listed,
                self._last_readable(listed, self._store.get(self.entry_key(listed.seq))),
            )
        if entry and entry.is_closed:
            raise ClosedJournalError(
                f"The journal of sensor {self.sensor!r} is closed: {entry.reason}",
                where=self.location,
            )
        if entry:
            return replace(end, entry=entry)
        if end.seq:
            raise JournalError(
                f"No entry of sensor {self.sensor!r} can be read",
                where=self._layout.entries,
                allowed="This is not taken for a first look, because changes would be missed",
                fix=f"Look at what changed, then `flowproject reset {self.sensor}`",
            )
        return Head()

    def _last_readable(self, end: Head, content: bytes | None) -> Entry | None:
        """The newest entry that can be read, of which the very newest has this content."""
        for seq in range(end.seq, 0, -1):
            content = content if seq == end.seq else self._store.get(self.entry_key(seq))
            if content is None:
                break
            if entry := self._readable(seq, content):
                return entry
        return None

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

    def readable(self, seq: int) -> Entry | None:
        """The entry with this number; None if it was pruned, or is damaged and that is noted.

        Raises:
            DamagedEntryError: if it is damaged and nobody has noted it.
        """
        content = self._store.get(self.entry_key(seq))
        return None if content is None else self._readable(seq, content)

    def record(
        self,
        entry: Entry,
        items: Items | None,
        difference: Difference,
        head: Head | None = None,
    ) -> Entry:
        """Record `entry` under its sequence number, tables first: the entry as it was recorded.

        `head` is the end of the journal that it follows; without it the end is looked for.

        Raises:
            Superseded: if another tick has recorded under this number; nothing is left behind.
        """
        # The tables first: whoever finds an entry finds all that it names. A death in between
        # leaves tables that nobody names, and pruning removes them.
        entry = self.snapshots.write(entry, items, difference)
        # Beside the entry: who reads a memo that names a number which is not there looks for the
        # one before. In it something is left to do for that number, whoever may record it.
        steps: list[Callable[[], Any]] = [partial(self._create, entry)]
        if head and entry.is_published:
            steps.append(partial(self.memos.write_head, head.followed_by(entry)))
        is_recorded, *remembered = self.concurrently(steps)
        if not is_recorded:
            self.snapshots.discard(entry)
            raise Superseded
        if not remembered:
            # After the entry: that nothing is left to do is known of what is recorded, and not of
            # what another may have recorded in its place.
            end = head.followed_by(entry) if head else self._newest()[0]
            self.memos.write_head(end if entry.is_published else end.resolved([entry.seq]))
        return entry

    def proven(self, head: Head) -> Head:
        """Prove that the store creates atomically, and return a head that remembers it.

        Raises:
            JournalError: if it does not.
        """
        if head.is_proven:
            return head
        prove_atomic(self._store, self.location)
        head = replace(head, is_proven=True)
        if head.seq:
            # Of an empty journal it is written with the first entry.
            self.memos.write_head(head)
        return head

    def put_back(self, mark: Mark) -> None:
        """Let ticks look after an event again that may be resolved, and read its notes anew."""
        head = self.head()
        # What the memo knew of it is of the attempt before.
        awaited = tuple(one for one in head.awaited if one.mark.id != mark.id)
        unresolved = tuple(sorted({*head.unresolved, mark.seq}))
        self.memos.write_head(replace(head, unresolved=unresolved, awaited=awaited))

    def at(self, head: Head, seq: int) -> Entry | None:
        """Read the entry with this number as `readable` does; the newest is at hand in `head`."""
        return head.entry if head.entry and head.entry.seq == seq else self.readable(seq)

    def all_at(self, head: Head, numbers: Sequence[int]) -> list[Entry]:
        """Read those of the entries with these numbers that are changes and can be read."""
        found = self.concurrently([partial(self.at, head, seq) for seq in numbers])
        return [entry for entry in found if entry and entry.is_published]

    def concurrently(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        """Ask questions about this journal side by side, and give the answers in their order."""
        return self._store.concurrently(questions)

    def before_sending(self, seq: int, change_id: str) -> "Journal":
        """This journal, for whoever is to send a change: what that reads is asked for at once.

        So is whether it could be noted, of which `Outbox.end_trial` removes the trace.
        """
        ahead = ReadAhead(self._store)
        journal = Journal(ahead, project=self.project, branch=self.branch, sensor=self.sensor)
        keys = self._layout
        ask = partial(
            ahead.ask,
            ("get", keys.head_memo),
            ("get", keys.entry(seq)),
            ("exists", keys.entry(seq + 1)),
            ("get", keys.mark(seq, change_id)),
            ("get", keys.combination(seq, change_id)),
            ("get", keys.listeners),
        )
        self.concurrently([ask, partial(journal.outbox.try_writing, seq)])
        return journal

    def index(self) -> JournalIndex:
        """What the journal holds of all its changes: one listing, and the listeners."""
        questions: list[Callable[[], Any]] = [
            partial(self._store.keys, self.location),
            self.outbox.listeners,
        ]
        keys, listeners = self.concurrently(questions)
        return JournalIndex(
            keys, listeners, self.outbox, self.receipts, self.turns, self.memos.head
        )

    def waiting(self, head: Head) -> Iterator[Entry]:
        """The entries that the bus is not known to have, oldest first; read when needed.

        Raises:
            DamagedEntryError: at an entry that can't be read and is not noted.
        """
        # Read some at a time: after days without a bus, thousands wait.
        unsent = [seq for seq in head.unresolved if seq > head.sent]
        for start in range(0, len(unsent), _READ_AT_ONCE):
            entries = self.all_at(head, unsent[start : start + _READ_AT_ONCE])
            marked = self.concurrently([partial(self.outbox.is_marked, one) for one in entries])
            yield from (
                one for one, is_marked in zip(entries, marked, strict=True) if not is_marked
            )

    def is_waiting(self, head: Head) -> bool:
        """Whether the bus lacks a change: the newest tells, for they are sent in order."""
        # One question in place of one for each: an unchanged tick must cost the same however much
        # waits.
        found = (self.at(head, seq) for seq in reversed(head.unresolved))
        newest = next((entry for entry in found if entry and entry.is_published), None)
        return newest is not None and not self.outbox.is_marked(newest)

    def note_damage(self, damage: DamagedEntryError) -> None:
        """Note that an entry can't be read, so that it is passed over from now on.

        Nothing is moved or removed: its number stays taken, and what is left of it stays there.
        """
        self._store.create(self._layout.note(damage.seq), _to_bytes({"v": 1, "said": str(damage)}))

    def moved_to(self) -> "Journal | None":
        """The journal that this one was moved to, if it was: one request.

        Raises:
            JournalError: if that can't be read.
        """
        content = self._store.get(self._layout.moved)
        if content is None:
            return None
        try:
            noted = opened(content)
            project, sensor = str(noted["project"]), str(noted["sensor"])
        except (ValueError, KeyError) as error:
            raise JournalError(
                f"Where the journal of sensor {self.sensor!r} was moved to can't be read: {error}",
                where=self._layout.moved,
            ) from error
        return Journal(self._store, project=project, branch=self.branch, sensor=sensor)

    def note_moved(self, to: "Journal") -> None:
        """Note where this journal goes on, for runs that are still told of this one."""
        facts: dict[str, Any] = {"project": to.project, "sensor": to.sensor}
        self._store.create(self._layout.moved, sealed(facts))

    def is_at_rest(self) -> bool:
        """Whether surely nothing is left to deliver, or it was moved: two or three requests."""
        known = self.memos.head()
        if known is None:
            return False
        # A memo may name a number whose entry was never written: see `record`.
        if known.unresolved == (known.seq,) and not self._store.exists(self.entry_key(known.seq)):
            return True
        # Something is left to do, unless the journal goes on under another name.
        if known.unresolved:
            return self._store.exists(self._layout.moved)
        return not self._store.exists(self.entry_key(known.seq + 1))

    def numbers(self) -> list[int]:
        """The numbers of all entries, in order, by their names."""
        return sorted(entry_numbers(self._store.keys(self._layout.entries)))

    def next_seq(self) -> int:
        """The sequence number that follows everything recorded, readable or not."""
        return self._newest()[0].seq + 1

    def _newest(self) -> tuple[Head, bytes | None]:
        """The end of the journal and what is there; the memo leads to it, or else the names."""
        # A slow tick may have written an old memo over a newer one, so numbers behind it are asked
        # for.
        known = self.memos.head()
        end, content = self._probed(known) if known else (None, None)
        if end is None or content is None:
            end = self._listed()
            content = self._store.get(self.entry_key(end.seq)) if end.seq else None
        return end, content

    def _probed(self, known: Head) -> tuple[Head | None, bytes | None]:
        """The end near where it is known to be, and what is there; None if it is far behind."""

        def is_there(seq: int) -> bool:
            return self._store.exists(self.entry_key(seq))

        def read(seq: int) -> bytes | None:
            return self._store.get(self.entry_key(seq))

        # Side by side, because nearly always there is nothing behind what the memo knows.
        answers: list[Any] = self.concurrently(
            [partial(is_there, known.seq + 1), partial(read, known.seq)]
        )
        goes_on, content = answers
        if goes_on:
            behind = range(known.seq + 2, known.seq + 1 + _PROBES)
            end = next((seq - 1 for seq in behind if not is_there(seq)), None)
            if end is None:
                return None, None
            new = range(known.seq + 1, end + 1)
            return replace(known, seq=end, unresolved=(*known.unresolved, *new)), read(end)
        if content is None and known.seq > 1:
            # A memo is written beside the entry that it ends with, and who writes both may die
            # between them.
            known = known.without_last()
            content = read(known.seq)
        return known, content

    def _listed(self) -> Head:
        """The end of the journal by the names of its objects."""
        numbers = self.numbers()
        if not numbers:
            return Head()
        # Without a memo all that is not known to be resolved counts as open: that makes work, and
        # hides nothing.
        resolved = self.outbox.resolved_numbers()
        return Head(
            seq=numbers[-1], unresolved=tuple(seq for seq in numbers if seq not in resolved)
        )

    def _readable(self, seq: int, content: bytes) -> Entry | None:
        """The entry, or None if it is damaged and that is noted."""
        try:
            return self._parsed(seq, content)
        except DamagedEntryError:
            # The first tick that meets it fails and names it; once it is noted, the entry before it
            # counts.
            if self._store.exists(self._layout.note(seq)):
                return None
            raise

    def _parsed(self, seq: int, content: bytes) -> Entry:
        try:
            return Entry.from_json(json.loads(content))
        except UnknownFormatError as error:
            raise NewerObjectError(self.entry_key(seq), str(error)) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedEntryError(self.entry_key(seq), seq, str(error)) from error

    def _create(self, entry: Entry) -> bool:
        content = _to_bytes(entry.to_json())
        if self._store.create(self.entry_key(entry.seq), content):
            return True
        # A store may report a conflict for a write of ours that did happen, after its own retry.
        return self._store.get(self.entry_key(entry.seq)) == content


def _to_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode("ascii")


def prune(store: Store, journal: Journal, head: Head, *, keep: int = KEPT_ENTRIES) -> int:
    """Forget all but the newest `keep` entries: how many objects went.

    Entries for which something may be left to do stay, with everything after them. Of the snapshots
    of all items, which only the next comparison needs, the newest two stay, with every segment
    that they name: a slow tick may still be reading the older one.
    """
    # Whoever sends or awaits a change again needs its entry, and those behind it to tell its place.
    oldest_kept = min([head.seq - keep + 1, *head.unresolved])
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
    # Segments are looked at apart: newer manifests may name those of very old entries.
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
    # No manifest is read as long as there is no old segment, which is nearly always.
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
