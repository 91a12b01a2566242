"""Moves a journal to another name: it is copied whole, closed, and then goes on there.

Each step can be done again, so whoever finds a move half done does it anew. Which journal may be
moved, and who is asked before, is decided elsewhere.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, UnknownFormatError, change_id
from flowproject.errors import JournalError
from flowproject.journal.errors import ClosedJournalError, DamagedEntryError, Superseded
from flowproject.journal.journal import Journal
from flowproject.journal.layout import Layout, opened, sealed
from flowproject.journal.memos import Head
from flowproject.journal.snapshots import DIFFERENCE, MANIFEST, read_manifest
from flowproject.journal.store import Store

__all__ = ["Moved", "move"]

_COPIED: Final = (
    *("published", "sent", "combined", "delivered", "receipts", "turns", "ended", "damaged"),
)
"""Folders of which every object is copied as it is, but for the names of tables."""

# Tables are larger than memory at times; what fits goes without a disk.
_IN_MEMORY: Final = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The result of a move: the number under which the journal goes on, and what is unresolved.

    `is_news`: it was not complete before.
    """

    seq: int
    unresolved: tuple[int, ...]
    is_news: bool


def move(store: Store, old: Journal, new: Journal, *, at: str) -> Moved:
    """Move the journal `old` to `new`: its changes, marks, receipts and what it knew.

    `new` may have had looks, and must not have recorded a change. Ticks of it fail from the first
    step to the last, and ticks of `old` from the moment on at which it is closed. Whatever ends
    this in the middle leaves `old` as it was, or closed and whole, and it can be done again.

    Raises:
        JournalError: if `new` has changes, if either was moved elsewhere, or if the store fails.
    """
    return _Move(store, old, new, at).work()


class _Move:
    """Carries out one move, in steps that can each be done again."""

    def __init__(self, store: Store, old: Journal, new: Journal, at: str) -> None:
        self._store = store
        self._old, self._from = old, Layout(old.location)
        self._new, self._to = new, Layout(new.location)
        self._at = at

    def work(self) -> Moved:
        """Move everything that is not there yet, and close the old journal."""
        # Looked for first, because a move that was killed is done again from where it stands.
        closing = self._closing()
        is_news = not (closing and self._has_arrived(closing))
        if closing is None or is_news:
            closing = self._go_over(closing)
        self._leave(closing)
        return Moved(seq=closing.seq, unresolved=_numbers(_unresolved(self._new)), is_news=is_news)

    def _go_over(self, closing: Entry | None) -> Entry:
        """Copy all to the new journal, close the old one, and return the entry that closed it."""
        own, is_reserved = self._own()
        # Before anything is written: whatever is refused leaves both as they were.
        self._check(own, closing.seq if closing else self._old.next_seq())
        if not is_reserved:
            self._reserve(own + 1, own)
        # Before the closing, because that may take long, and meanwhile ticks of the old name go on;
        # what they add is copied by the second pass.
        self._copy_objects()
        closing = closing or self._close()
        # Read after the closing: no tick writes it any more.
        known = self._old.memos.head() or Head()
        self._old.note_moved(self._new)
        # Whoever claimed before that note is copied now; who claims later finds it.
        self._copy_objects()
        self._reserve(closing.seq, own)
        self._arrive(closing, own, known)
        return closing

    # ------------------------------------------------------------------------------ what is there

    def _closing(self) -> Entry | None:
        """The entry that closed the old journal, if this move was begun before."""
        newest = _readable(self._old, self._old.next_seq() - 1)
        if newest is None or not newest.is_closed:
            return None
        # It says where it went, so that nobody takes the closing of another move for that of this
        # one.
        if newest.value != self._named(self._new):
            raise ClosedJournalError(
                f"The journal of sensor {self._old.sensor!r} is closed: {newest.reason}",
                where=self._old.location,
            )
        return newest

    def _has_arrived(self, closing: Entry) -> bool:
        there = self._new.get(closing.seq)
        return there is not None and there.id == self._id_of(closing)

    def _own(self) -> tuple[int, bool]:
        """The newest number that the new journal had before, and whether this move was begun.

        Raises:
            JournalError: if there is a change among them, or it was moved away.
        """
        if elsewhere := self._new.moved_to():
            raise JournalError(
                f"Sensor {self._new.sensor!r} can't have another journal: its own was moved to "
                f"{elsewhere.project}/{elsewhere.sensor}, where runs that come late look for it",
                where=self._new.location,
                fix="Choose another name for the sensor",
            )
        numbers = self._new.numbers()
        newest = _readable(self._new, numbers[-1]) if numbers else None
        if newest and newest.is_closed and isinstance(newest.value, dict):
            if newest.value.items() >= self._named(self._old).items():
                return int(cast("int", newest.value["own"])), True
            raise ClosedJournalError(
                f"The journal of sensor {self._new.sensor!r} is closed: {newest.reason}",
                where=self._new.location,
            )
        for seq in reversed(numbers):
            entry = _readable(self._new, seq)
            if entry and entry.is_published:
                raise JournalError(
                    f"Sensor {self._new.sensor!r} has recorded changes of its own, the newest with "
                    f"number {entry.seq}, so it can't have another journal",
                    where=self._new.location,
                    fix="Give the sensor its old name again until what waits there is delivered, "
                    f"or give that up: `flowproject reset {self._said(self._old)}`",
                )
        return max(numbers, default=0), False

    def _check(self, own: int, end: int) -> None:
        """Refuse to move what would have to lie where the new journal has something."""
        in_the_way = [one for one in _unresolved(self._old) if one.seq <= own]
        if in_the_way or end <= own + 1:
            raise JournalError(
                f"The journal of sensor {self._new.sensor!r} has {own} entries, where those of "
                f"{self._said(self._old)!r} would have to lie",
                where=self._new.location,
                fix="Give the sensor its old name again until what waits there is delivered",
            )

    # ------------------------------------------------------------------------------- closing both

    def _reserve(self, seq: int, own: int) -> None:
        """Keep ticks of the new name off: with this entry its journal ends until all is there."""
        command = f"flowproject move {self._said(self._old)} {self._new.sensor}"
        value = {**self._named(self._old), "own": own}
        entry = self._closed(
            self._new,
            seq,
            f"that of {self._said(self._old)!r} is being moved here. If nobody does that any more, "
            f"`{command}` goes on with it",
            value,
        )
        try:
            self._new.record(entry, None, Difference())
        except Superseded:
            # Two people may move at the same moment: if the reservation says the same, it is as
            # good.
            there = _readable(self._new, seq)
            if there is None or there.value != value:
                raise JournalError(
                    f"A tick of {self._new.sensor!r} recorded at the same moment", fix="Try again"
                ) from None

    def _close(self) -> Entry:
        """End the old journal: whatever a tick recorded until then goes along."""
        # A tick may record between the look for the last number and the closing; then the next
        # number is tried.
        while True:
            entry = self._closed(
                self._old,
                self._old.next_seq(),
                f"it was moved to {self._said(self._new)!r}. A sensor that is to have this name "
                f"anew begins with `flowproject reset {self._old.sensor}`",
                self._named(self._new),
            )
            try:
                return self._old.record(entry, None, Difference())
            except Superseded:
                if closing := self._closing():
                    return closing

    def _closed(self, journal: Journal, seq: int, reason: str, value: dict[str, Any]) -> Entry:
        newest = _newest(journal, below=seq)
        return Entry(
            seq=seq,
            id=change_id(
                project=journal.project,
                branch=journal.branch,
                sensor=journal.sensor,
                seq=seq,
                previous="",
                fingerprint="closed",
            ),
            project=journal.project,
            branch=journal.branch,
            sensor=journal.sensor,
            outcome="closed",
            reason=reason,
            value=value,
            earlier=newest.recent if newest else [],
            recorded_at=self._at,
        )

    # ------------------------------------------------------------------------------------ copying

    def _copy_objects(self) -> None:
        """Copy what lies beside the entries, as far as it is not there yet."""
        # One listing in place of a question for each object, most of which are there on the second
        # pass.
        there = {*self._store.keys(self._new.location)}
        self._store.concurrently(
            [
                partial(self._copy, key)
                for key in self._store.keys(self._old.location)
                if self._goes_along(key) and self._renamed(key) not in there
            ]
        )

    def _goes_along(self, key: str) -> bool:
        path = key.removeprefix(f"{self._old.location}/")
        # Snapshots are copied by name with the last state: of older ones nobody has any need.
        if path.startswith("tables/"):
            return path.endswith(DIFFERENCE)
        return path == "listeners.json" or (path.startswith(_COPIED) and "-trial-" not in path)

    def _copy(self, key: str) -> None:
        if key.endswith(DIFFERENCE):
            self._copy_table(key)
            return
        content = self._store.get(key)
        if content is None:
            return  # it was pruned, or taken back
        if key.startswith((f"{self._old.location}/combined/", f"{self._old.location}/delivered/")):
            content = self._document(content)
        if content is not None:
            self._store.create(self._renamed(key), content)

    def _document(self, content: bytes) -> bytes | None:
        """What it says of the new journal; None if it says that it was left to that."""
        try:
            facts = opened(content)
        except ValueError:
            return content  # it is damaged, and stays so
        # An entry that was left to the new journal is open there.
        if facts.get("moved"):
            return None
        if "difference" in facts:
            return sealed({**facts, "difference": self._renamed(facts["difference"])})
        return content

    def _copy_table(self, key: str) -> None:
        source = self._store.open(key)
        if source is None:
            return  # it was pruned
        with source, SpooledTemporaryFile(_IN_MEMORY) as spool:
            file = cast("BinaryIO", spool)
            shutil.copyfileobj(source, file)
            self._store.put_file(self._renamed(key), file)

    def _copy_items(self, state: Entry) -> None:
        """Copy the table of all items: the next look compares with it."""
        if not state.snapshot.endswith(MANIFEST):
            if state.snapshot:
                self._copy_table(state.snapshot)
            return
        # The segments before the manifest that names them.
        manifest = read_manifest(self._store, state.snapshot)
        self._store.concurrently([partial(self._copy_table, key) for key in manifest.segments])
        renamed = replace(manifest, segments=tuple(map(self._renamed, manifest.segments)))
        content = json.dumps(renamed.to_json()).encode("ascii")
        self._store.put(self._renamed(state.snapshot), content)

    def _copy_entry(self, seq: int, write: Callable[[str, bytes], object]) -> None:
        content = self._store.get(self._from.entry(seq))
        if content is None:
            return  # it was pruned
        try:
            entry = Entry.from_json(json.loads(content))
        except (ValueError, TypeError, AttributeError, UnknownFormatError):
            pass  # it is damaged, and stays so
        else:
            content = _to_bytes(self._renamed_entry(entry))
        # Its id stays: runs and receipts know the change by it.
        write(self._to.entry(seq), content)

    # ----------------------------------------------------------------------------------- the switch

    def _arrive(self, closing: Entry, own: int, known: Head) -> None:
        """Write the entries, and in the place of the last reservation what was known.

        The lowest come last: until then a tick that remembers where the new journal ended finds
        the reservation behind it, and one that lists the entries finds that at their end.
        """
        first, end = own + 1, closing.seq
        create = self._store.create
        rest = [seq for seq in self._old.numbers() if first + 1 < seq < end]
        self._store.concurrently([partial(self._copy_entry, seq, create) for seq in rest])
        if first + 1 < end:
            self._copy_entry(first + 1, create)
        last = _newest(self._old, below=end)
        arrived = self._arrived(closing, last)
        if last:
            self._copy_items(last)
        # Reservations are ours: nobody goes on from one, and so nobody misses it.
        self._copy_entry(first, self._store.put)
        self._store.put(self._to.entry(end), _to_bytes(arrived))
        self._remember(arrived, known)

    def _arrived(self, closing: Entry, last: Entry | None) -> Entry:
        """What the new journal knows at first: the last state of the old one, if there is one."""
        told = f"moved here from {self._said(self._old)!r}"
        # Without a state the next tick is a first look.
        if last is None or not last.is_state:
            entry = replace(closing, outcome="reset", value=None)
        else:
            entry = replace(
                self._renamed_entry(last),
                outcome="moved",
                previous=None,
                previous_fingerprint=last.fingerprint,
                counts={},
                sample={},
                columns_change={},
                difference="",
                # Into the entry: the memo beside it is bound to an entry that is not this one.
                memo=self._old.memos.source(last),
            )
        return replace(
            entry,
            seq=closing.seq,
            id=self._id_of(closing),
            project=self._new.project,
            sensor=self._new.sensor,
            reason=told,
            earlier=last.recent if last else [],
            recorded_at=closing.recorded_at,
            run="",
        )

    def _remember(self, arrived: Entry, known: Head) -> None:
        """Write the memo of the head, with what that of the old journal said."""
        unresolved = _numbers(_unresolved(self._new))
        awaited = tuple(one for one in known.awaited if any(map(one.tells_of, unresolved)))
        self._new.memos.write_head(
            replace(known, seq=arrived.seq, entry=arrived, unresolved=unresolved, awaited=awaited)
        )

    def _leave(self, closing: Entry) -> None:
        """Leave nothing to do in the old journal: a new sensor of its name is not to send that."""
        resolve = self._old.outbox.resolve
        left = _unresolved(self._old)
        self._store.concurrently([partial(resolve, one.seq, one.id, moved=True) for one in left])
        # So that ticks of the old name find its end at once, with nothing left to do.
        self._old.memos.write_head(Head(seq=closing.seq, entry=closing))

    # --------------------------------------------------------------------------------------- names

    def _renamed(self, key: str) -> str:
        """Where an object lies in the new journal; empty stays empty."""
        return key.replace(f"{self._old.location}/", f"{self._new.location}/", 1)

    def _renamed_entry(self, entry: Entry) -> Entry:
        return replace(
            entry,
            project=self._new.project,
            sensor=self._new.sensor,
            snapshot=self._renamed(entry.snapshot),
            difference=self._renamed(entry.difference),
        )

    def _id_of(self, closing: Entry) -> str:
        return change_id(
            project=self._new.project,
            branch=self._new.branch,
            sensor=self._new.sensor,
            seq=closing.seq,
            previous=closing.id,
            fingerprint="moved",
        )

    def _said(self, journal: Journal) -> str:
        """How a person calls a journal: with its project, if that is another."""
        is_here = self._old.project == self._new.project
        return journal.sensor if is_here else f"{journal.project}/{journal.sensor}"

    @staticmethod
    def _named(journal: Journal) -> dict[str, Any]:
        return {"project": journal.project, "sensor": journal.sensor}


def _readable(journal: Journal, seq: int) -> Entry | None:
    """The entry with this number; None if it is damaged, or was pruned."""
    try:
        return journal.readable(seq)
    except DamagedEntryError:
        return None


def _newest(journal: Journal, *, below: int) -> Entry | None:
    """The newest entry that can be read and has a lower number."""
    numbers = (seq for seq in reversed(journal.numbers()) if seq < below)
    return next(filter(None, (_readable(journal, seq) for seq in numbers)), None)


def _unresolved(journal: Journal) -> list[Entry]:
    """The changes that can be read and for which something is left to do."""
    resolved = journal.outbox.resolved_numbers()
    numbers = [seq for seq in journal.numbers() if seq not in resolved]
    found = journal.concurrently([partial(_readable, journal, seq) for seq in numbers])
    return [entry for entry in found if entry and entry.is_published]


def _numbers(entries: Iterable[Entry]) -> tuple[int, ...]:
    return tuple(entry.seq for entry in entries)


def _to_bytes(entry: Entry) -> bytes:
    return json.dumps(entry.to_json(), indent=1).encode("ascii")
