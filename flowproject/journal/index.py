"""Indexes what a journal holds of all its changes by one listing of its names.

For whoever shows many changes: one request in place of several for each of them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from flowproject.changes.caching import cached_property
from flowproject.changes.entry import Entry
from flowproject.journal.layout import entry_numbers
from flowproject.journal.memos import Head
from flowproject.journal.outbox import Awaited, Listeners, Mark, Outbox, Sending
from flowproject.journal.receipts import Receipt, Receipts
from flowproject.journal.turns import TurnNotices, Turns

__all__ = ["JournalIndex"]

_NAME: Final = re.compile(
    r"/(published|delivered|sent|receipts|ended)/(\d{10})-([0-9a-f]+)(?:/(\d+)-([^/]+))?\.json$"
)
_Named = tuple[int, str]
"""Number and id of a change."""


class JournalIndex:
    """What the names of a journal's objects tell, at the moment of the listing.

    `numbers` are those of the entries, newest first, and `ids` the id of each that was sent.
    `listeners` are the flows that are expected to take changes; `waits` and `in_order`: see
    `Listeners`. `remembered` is asked for what ticks await, once, and only for flows in order and
    for those that wait for several sensors.
    """

    def __init__(
        self,
        keys: Iterable[str],
        known: Listeners,
        outbox: Outbox,
        receipts: Receipts,
        turns: Turns,
        remembered: Callable[[], Head | None],
    ) -> None:
        # Gone through twice, for the numbers and for the rest.
        keys = list(keys)
        self._turns = turns
        self._remembered = remembered
        self._outbox = outbox
        self._receipts = receipts
        self._inside: dict[str, dict[_Named, list[tuple[int, str]]]] = {
            kind: defaultdict(list)
            for kind in ("published", "delivered", "sent", "receipts", "ended")
        }
        for found in filter(None, map(_NAME.search, keys)):
            kind, seq, name, attempt, rest = found.groups()
            self._inside[kind][int(seq), name].append((int(attempt or 0), rest or ""))
        self.numbers = tuple(sorted(entry_numbers(keys), reverse=True))
        self.ids = dict(self._inside["published"].keys())
        self.listeners, self.waits = frozenset(known.flows), known.waits
        self.in_order = frozenset(known.in_order)
        self._read: dict[_Named, tuple[tuple[Sending, ...], tuple[Receipt, ...]]] = {}

    def mark(self, entry: Entry) -> Mark | None:
        """How the bus took this entry; None, without a request, if it is not known to have it."""
        known = (entry.seq, entry.id) in self._inside["published"]
        return self._outbox.mark(entry) if known else None

    def is_settled(self, entry: Entry) -> bool:
        """Whether nothing was left to do for this entry, before anyone replayed it."""
        return (entry.seq, entry.id) in self._inside["delivered"]

    def receivers(self, mark: Mark) -> frozenset[tuple[int, str]]:
        """Attempt and flow of each receipt for the event of a mark; no request."""
        return frozenset(self._inside["receipts"].get((mark.seq, mark.id), ()))

    def is_over(self, mark: Mark, flow: str, attempt: int) -> bool:
        """Whether the turn of a flow that takes changes in order is over; no request.

        As ticks have it: what was sent before the flow did so is over when it is taken.
        """
        # In whatever attempt: a replay that ended it ended the turn.
        if any(one == flow for _, one in self._inside["ended"].get((mark.seq, mark.id), ())):
            return True
        return flow not in mark.in_order and (attempt, flow) in self.receivers(mark)

    def is_ended(self, mark: Mark, flow: str, attempt: int) -> bool:
        """Whether the turn of a flow was ended in this very attempt; no request."""
        return (attempt, flow) in self._inside["ended"].get((mark.seq, mark.id), ())

    def line(self, flow: str) -> list[Mark]:
        """The events that a flow is to take in order, the one whose turn it is first.

        As ticks remember them; empty if nobody remembers any.
        """
        return [
            one.mark
            for one in self._awaited
            if flow in one.listeners and not self.is_over(one.mark, flow, one.sendings.attempt)
        ]

    def given_up(self, mark: Mark) -> frozenset[str]:
        """The flows that wait for several sensors and are not sent this event any more.

        As ticks have it, which know what the other sensors have sent.
        """
        found = (one.given_up for one in self._awaited if one.mark.id == mark.id)
        return frozenset(flow for flows in found for flow in flows)

    def notices(self, mark: Mark, flow: str, attempt: int) -> TurnNotices:
        """How often a flow was told that it is its turn, and when last."""
        return self._turns.notices(mark.seq, mark.id, attempt=attempt, flow=flow)

    @cached_property
    def _awaited(self) -> tuple[Awaited, ...]:
        # Only for flows in order and of several sensors: others pay no request for it.
        known = self._remembered() if self.in_order or self.waits else None
        return known.awaited if known else ()

    def taken_by(self, flow: str) -> dict[int, str]:
        """Number and id of each change of whose first attempt this flow has a receipt."""
        return {
            seq: name
            for (seq, name), receivers in self._inside["receipts"].items()
            if (1, flow) in receivers
        }

    def sendings(self, mark: Mark) -> tuple[Sending, ...]:
        """All sendings of the event of a mark, in order; `number` 0 where an attempt was opened."""
        return self._of(mark)[0]

    def receipts(self, mark: Mark) -> tuple[Receipt, ...]:
        """The receipts for the event of a mark; a damaged one is told in the log."""
        return self._of(mark)[1]

    def _of(self, mark: Mark) -> tuple[tuple[Sending, ...], tuple[Receipt, ...]]:
        """What is known of an event, read once for all the changes that it told of."""
        named = (mark.seq, mark.id)
        if named not in self._read:
            numbers = [
                (attempt, int(number)) for attempt, number in self._inside["sent"].get(named, ())
            ]
            self._read[named] = (
                self._outbox.all_sendings(mark, numbers),
                self._receipts.read(*named, self.receivers(mark)),
            )
        return self._read[named]
