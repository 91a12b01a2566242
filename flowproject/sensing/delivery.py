"""Bringing what is recorded to the flows that listen: send, see who started, send again.

A change is sent until the bus has it, and once more each time that its receipts are overdue. When
that is, is decided in `changes.delivery`; what is noted of it, in the journal's outbox.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowproject.changes.delivery import next_move, room_at
from flowproject.changes.entry import Entry
from flowproject.config.model import Sensor
from flowproject.errors import DeliveryError
from flowproject.events import bus_address
from flowproject.journal import Combination, DamagedTableError, Head, Journal, Mark, Sendings
from flowproject.sensing.chain import patience_of
from flowproject.sensing.once import once
from flowproject.sensing.scene import Scene
from flowproject.sensing.sending import event_of, send
from flowproject.sensing.together import together

__all__ = ["Backlog", "deliver"]

_AWAITED: Final = 50
"""Sent events whose receipts one tick looks for: each costs a few requests."""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is left after a delivery, and the end of the journal as it is then known.

    `waiting` is how many changes the bus lacks (at least: it is not counted on), `held` why they
    are held back, and `reason` what failed.
    """

    head: Head
    waiting: int = 0
    held: str = ""
    reason: str = ""


def deliver(scene: Scene, sensor: Sensor, journal: Journal, head: Head) -> Backlog:
    """What is left after everything was done that can be done now; nothing is raised for the bus.

    With nothing unsettled it costs no request.

    Raises:
        DamagedEntryError: at an entry that can't be read and is not noted.
        JournalError: if the journal can't be read or written.
    """
    if not head.unsettled:
        return Backlog(head=head)
    try:
        bus = bus_address()
    except DeliveryError as error:
        return Backlog(head=head, waiting=1, reason=str(error))
    if not bus:
        unsent = sum(seq > head.sent for seq in head.unsettled)
        return Backlog(head=head, waiting=unsent if journal.is_waiting(head) else 0)
    return _Delivery(scene, sensor, journal, head).work()


class _Delivery:
    """One pass over all that is unsettled, oldest first."""

    def __init__(self, scene: Scene, sensor: Sensor, journal: Journal, head: Head) -> None:
        self._scene = scene
        self._sensor = sensor
        self._journal = journal
        self._outbox = journal.outbox
        self._before = head
        self._head = head
        self._now = scene.clock()
        self._open: dict[str, bool] = {}
        self._done: set[int] = set()
        self._takers: dict[int, tuple[str, ...]] = {}
        self._problems: list[str] = []

    def work(self) -> Backlog:
        """What is left after the pass."""
        waiting, held = 0, ""
        for index, seq in enumerate(self._before.unsettled):
            if seq in self._done or self._is_enough(seq):
                continue
            entry = self._journal.at(self._before, seq)
            if entry is None or not entry.is_published:
                self._takers[seq] = ()
            elif mark := self._outbox.mark(entry):
                self._head = replace(self._head, sent=max(self._head.sent, seq))
                self._await_receipts(entry, mark)
            elif (held := self._held_back()) or not self._publish(entry):
                waiting = len(self._before.unsettled) - index
                break
        self._head = self._head.settled(self._takers).taken(self._takers)
        if self._head != self._before:
            self._journal.remember_head(self._head)
        reason = "\n".join(self._problems)
        return Backlog(head=self._head, waiting=waiting, held=held, reason=reason)

    @once
    def _listeners(self) -> tuple[str, ...]:
        return self._outbox.listeners()

    def _is_enough(self, seq: int) -> bool:
        """Whether this one was sent, and the pass has looked for the receipts of enough others."""
        return seq <= self._before.sent and len(self._open) >= _AWAITED

    def _settle(self, entries: Iterable[Entry], takers: tuple[str, ...]) -> None:
        for entry in entries:
            self._outbox.settle(entry)
            self._takers[entry.seq] = takers

    # ------------------------------------------------------------------- what the bus does not have

    def _held_back(self) -> str:
        """Why nothing more may be sent now, if that is so."""
        most = self._sensor.max_events_per_hour
        room = room_at(self._recent(), most, self._now)
        if room <= self._now:
            return ""
        return (
            f"{most} events within an hour are all that max_events_per_hour of sensor "
            f"{self._sensor.name!r} allows; there is room for the next one at {room:%H:%M:%S %Z}"
        )

    def _publish(self, entry: Entry) -> bool:
        """Whether the bus has taken this entry, and those that are sent together with it."""
        group, event = self._group(entry)
        try:
            name = send(self._sensor, self._journal, event, first=entry.seq, attempt=1)
        except DeliveryError as error:
            self._problems.append(str(error))
            return False
        mark = Mark(
            seq=event.seq,
            id=event.id,
            first=entry.seq,
            event_name=name,
            listeners=self._listeners,
            published_at=self._now.isoformat(),
            run=self._scene.run,
        )
        self._outbox.mark_published(group, mark)
        self._note_sent(group)
        if not self._listeners:
            self._settle(group, takers=())
        return True

    def _note_sent(self, group: Sequence[Entry]) -> None:
        self._done.update(entry.seq for entry in group)
        most = self._sensor.max_events_per_hour
        moments = [*self._recent(), self._now][-most:] if most else []
        self._head = replace(
            self._head,
            sent=max(self._head.sent, group[-1].seq),
            recent=tuple(moment.isoformat() for moment in moments),
        )

    def _recent(self) -> list[dt.datetime]:
        return [dt.datetime.fromisoformat(moment) for moment in self._head.recent]

    def _group(self, first: Entry) -> tuple[Sequence[Entry], Entry]:
        """The entries that one event tells of, and the entry as that event has it.

        A decision that was made stands, also if `coalesce` is switched off meanwhile.
        """
        decision = self._outbox.combination(first)
        if decision is None:
            if not self._sensor.coalesce:
                return (first,), first
            decision = self._decide(first)
        numbers = range(first.seq, decision.last + 1)
        found = [self._journal.at(self._before, seq) for seq in numbers]
        group = [entry for entry in found if entry and entry.is_published]
        return group, decision.applied_to(group[-1])

    def _decide(self, first: Entry) -> Combination:
        """What is sent together with this one: decided before it is sent, and once for all.

        Otherwise a bus that took an event and did not say so would be told of a change twice.
        """
        waiting = self._journal.waiting(self._before)
        # With the first in any case: another tick may send it now, and then its decision stands.
        group = [first, *(entry for entry in waiting if entry.seq > first.seq)]
        try:
            decision = together(self._journal, group)
        except DamagedTableError:
            # What they come to together is not known any more; each by itself still says so.
            decision = together(self._journal, [first])
        if self._outbox.decide(first, decision):
            return decision
        return self._outbox.combination(first) or decision

    # ---------------------------------------------------------------------------- what the bus has

    def _await_receipts(self, entry: Entry, mark: Mark) -> None:
        """See whether every listener has started; if they are overdue, send once more."""
        if mark.id not in self._open:
            self._open[mark.id] = self._is_left_open(mark)
        if not self._open[mark.id]:
            receipts = self._journal.receipts(mark.seq, mark.id)
            runs = dict.fromkeys(receipt.run for receipt in receipts)
            self._settle([entry], takers=tuple(runs))

    def _is_left_open(self, mark: Mark) -> bool:
        """Whether there is more to do for an event, after what there was to do about it now."""
        awaited = frozenset(mark.listeners) & frozenset(self._listeners)
        sendings = self._outbox.sendings(mark)
        if not sendings.count:
            # A replay opened this attempt and came no further.
            return not self._send_again(mark, sendings) or bool(awaited)
        if not awaited:
            return False
        receivers = self._journal.receivers(mark.seq, mark.id)
        missing = awaited - {flow for number, flow in receivers if number == sendings.attempt}
        if missing:
            self._urge(mark, sendings, missing)
        return bool(missing)

    def _urge(self, mark: Mark, sendings: Sendings, missing: frozenset[str]) -> None:
        patience = patience_of(self._sensor)
        move = next_move(sendings.count, sendings.last, patience, self._now)
        if move == "send":
            self._send_again(mark, sendings)
        elif move == "give up":
            self._problems.append(_undelivered(self._sensor, mark, sendings, missing))

    def _send_again(self, mark: Mark, sendings: Sendings) -> bool:
        """Whether the bus took the event once more."""
        event = event_of(self._journal, mark)
        try:
            send(self._sensor, self._journal, event, first=mark.first, attempt=sendings.attempt)
        except DeliveryError as error:
            self._problems.append(str(error))
            return False
        self._outbox.note_sending(
            mark,
            attempt=sendings.attempt,
            number=sendings.count + 1,
            at=self._now.isoformat(),
            run=self._scene.run,
        )
        return True


def _undelivered(sensor: Sensor, mark: Mark, sendings: Sendings, missing: Collection[str]) -> str:
    flows = ", ".join(sorted(missing))
    return str(
        DeliveryError(
            f"Change {mark.seq} was sent {sendings.count} times, the last time at "
            f"{sendings.last:%Y-%m-%d %H:%M %Z}, and {flows} has not started for it",
            where=f"Sensor {sensor.name!r}, event {mark.event_name!r}",
            allowed="The change stays recorded, and ticks fail until it is delivered",
            fix=f"See why {flows} does not start, then `flowproject replay {mark.id}`",
        )
    )
