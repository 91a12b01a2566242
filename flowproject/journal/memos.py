"""Keeps the memos of a journal: what is rewritten beside its entries, and safe to lose.

One leads to the end of the journal in one request, the other holds what a source noted last.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Self

from flowproject.changes.canonical import Json
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Memo
from flowproject.errors import JournalError
from flowproject.journal.layout import Layout, opened, sealed
from flowproject.journal.outbox import Awaited
from flowproject.journal.store import Store

__all__ = ["Head", "Memos"]

_TOLD: Final = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a journal: its newest number (0: it is empty), and the newest readable entry.

    `unresolved` are the numbers, in order, for which there may be something left to do: to send
    them, or to see who has started for them. All up to `sent` are known to have their mark.
    `awaited` is what is known of the events among them whose receipts are awaited, which nobody
    need read again for it. `recent` is when events were sent lately. `takers` are the runs that
    took the changes which were resolved last, by the changes' numbers: for people, and gone with
    the memo; `untaken` says why of those that nobody took, although somebody was to. `is_proven`:
    the store has shown that it creates atomically. `held` are items that have to wait, each with
    the moment at which a tick first saw that. `no_orphans_of` is the digest of the names of sensors
    beside which a tick found no journal of others with something to deliver; ticks look again until
    `orphans_until`.
    """

    seq: int = 0
    entry: Entry | None = None
    unresolved: tuple[int, ...] = ()
    sent: int = 0
    awaited: tuple[Awaited, ...] = ()
    recent: tuple[str, ...] = ()
    takers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    untaken: Mapping[int, str] = field(default_factory=dict)
    is_proven: bool = False
    held: Mapping[str, str] = field(default_factory=dict)
    no_orphans_of: str = ""
    orphans_until: str = ""

    def resolved(self, numbers: Iterable[int]) -> Self:
        """The head with nothing left to do for these."""
        done = frozenset(numbers)
        left = tuple(seq for seq in self.unresolved if seq not in done)
        awaited = tuple(one for one in self.awaited if any(map(one.tells_of, left)))
        return replace(self, unresolved=left, awaited=awaited)

    def taken(
        self, takers: Mapping[int, tuple[str, ...]], untaken: Mapping[int, str] | None = None
    ) -> Self:
        """The head with the runs that took these changes; those of old ones are forgotten."""
        newest = dict(islice(sorted({**self.takers, **takers}.items(), reverse=True), _TOLD))
        why = {seq: word for seq, word in self.untaken.items() if seq not in takers}
        why = {seq: word for seq, word in {**why, **(untaken or {})}.items() if seq in newest}
        return replace(self, takers=newest, untaken=why)

    def without_last(self) -> Self:
        """The head before its newest number, which was not recorded."""
        left = tuple(seq for seq in self.unresolved if seq < self.seq)
        return replace(self, seq=self.seq - 1, unresolved=left)

    def followed_by(self, entry: Entry) -> Self:
        """The end of the journal after `entry` was recorded."""
        # A baseline is nobody's event, so nothing is left to do for it.
        added = (entry.seq,) if entry.is_published else ()
        return replace(self, seq=entry.seq, entry=entry, unresolved=(*self.unresolved, *added))


class Memos:
    """The memos of one journal: of its end, which need not be looked for, and of its source.

    It may be old, because ticks write it side by side, and it may be lost: then it is found anew.
    It is sound when it is old. A number is left out only by who saw that nothing is left to do
    for it, and numbers that came later are found by asking for them.
    """

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def head(self) -> Head | None:
        """Read what was known last of the end, without its entry; None if lost or damaged."""
        content = self._store.get(self._layout.head_memo)
        try:
            # A memo of a later version is one that can't be read, and no failure: the names of the
            # objects say the same in two listings.
            return None if content is None else _head(opened(content))
        except (ValueError, TypeError, KeyError) as error:
            _log.info("The memo of the journal can't be read; it is not needed. %s", error)
        return None

    def awaited(self) -> tuple[Awaited, ...]:
        """The events whose receipts a tick was awaiting when it last said so: one request."""
        known = self.head()
        return known.awaited if known else ()

    def write_head(self, head: Head) -> None:
        """Write what is known of the end, in the place of whatever was noted."""
        content = sealed(
            {
                "seq": head.seq,
                "sent": head.sent,
                "unsettled": [*head.unresolved],
                "awaited": [one.to_json() for one in head.awaited],
                "recent": [*head.recent],
                "proven": head.is_proven,
                **({"held": {**head.held}} if head.held else {}),
                "no_orphans": [head.no_orphans_of, head.orphans_until],
                "takers": [[seq, *runs] for seq, runs in head.takers.items()],
                **(
                    {"untaken": [[seq, word] for seq, word in head.untaken.items()]}
                    if head.untaken
                    else {}
                ),
            }
        )
        try:
            self._store.put(self._layout.head_memo, content)
        except JournalError as error:
            # What it says is in the journal, and that is what counts: the next tick is slower.
            _log.warning("The memo of the journal was not written. %s", error)

    def source(self, entry: Entry) -> Memo:
        """Read what a source noted last of the state that `entry` recorded, with it or later."""
        try:
            content = self._store.get(self._layout.source_memo)
            noted = opened(content) if content is not None else {}
            # A memo is a claim about one entry. A slow tick may leave one for an entry that is not
            # the newest any more, and after a reset numbers and ids may come again.
            if noted.get("entry") == _digest(entry):
                return dict(noted["memo"])
        except (JournalError, ValueError, TypeError, KeyError) as error:
            _log.warning("The memo of the source was not read; it is not needed. %s", error)
        return entry.memo

    def write_source(self, entry: Entry, memo: Memo) -> None:
        """Write what a source noted of the state that `entry` recorded, over the last."""
        content = sealed({"entry": _digest(entry), "memo": memo})
        try:
            self._store.put(self._layout.source_memo, content)
        except JournalError as error:
            # Nothing depends on it: without a memo the next look is slower.
            _log.warning("The memo of the source was not written. %s", error)


def _head(noted: Mapping[str, Any]) -> Head:
    no_orphans_of, orphans_until = noted.get("no_orphans", ("", ""))
    return Head(
        seq=int(noted["seq"]),
        sent=int(noted["sent"]),
        unresolved=tuple(map(int, noted["unsettled"])),
        # What later versions added is read with a default: memos of earlier ones have none.
        awaited=tuple(Awaited.from_json(one) for one in noted.get("awaited", ())),
        recent=tuple(map(str, noted["recent"])),
        is_proven=bool(noted.get("proven", False)),
        held={str(key): str(moment) for key, moment in noted.get("held", {}).items()},
        takers={int(seq): tuple(map(str, runs)) for seq, *runs in noted.get("takers", ())},
        untaken={int(seq): str(word) for seq, word in noted.get("untaken", ())},
        no_orphans_of=str(no_orphans_of),
        orphans_until=str(orphans_until),
    )


def _digest(entry: Entry) -> Json:
    """What tells the whole entry from any other."""
    return entry.to_json()["digest"]
