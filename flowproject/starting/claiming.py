"""Claims the changes that a run was told of, and notes that its turn to take one is over.

Apart from `taking`, because the journal takes a tenth of a second to import, and a step that has
nothing to claim need not wait for it.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from flowproject.change import journal_of
from flowproject.changes.entry import Entry
from flowproject.changes.payload import facts
from flowproject.config import Sensor
from flowproject.events import bus_address
from flowproject.journal import (
    DamagedEntryError,
    DamagedTableError,
    Head,
    Journal,
    JournalIndex,
    Receipt,
    Store,
)
from flowproject.sensing.change_events import combined
from flowproject.sensing.turns import Turn, give_next_turn
from flowproject.starting.run_start import RunStart

__all__ = ["Claim", "Taken", "claim", "note_end", "tell_next"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Says which run has a change of `sensor`: the receipt that stands."""

    sensor: str
    receipt: Receipt

    @property
    def in_words(self) -> str:
        """Who has the change, and how to run it again."""
        receipt = self.receipt
        return (
            f"change {receipt.seq} of sensor {self.sensor!r} was taken by run {receipt.run} at "
            f"{receipt.at} (to run it again: `flowproject replay {receipt.id}`)"
        )


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Says what a run has: the changes that it goes on with, and those that another run has.

    `nothing_because` says why it does nothing; empty if it goes on.
    """

    changes: list[dict[str, Any]]
    others: tuple[Claim, ...] = ()
    nothing_because: str = ""


def claim(start: RunStart, *, flow: str, store: Store) -> Taken:
    """Claim for a run what no other run of its flow has: what it has then.

    Of one sensor that is the change that it was told of. A run that was told of several sensors has
    all that each of them recorded since the last run of its flow, whichever of their events arrived
    last; and nothing, if that is not so of all of them.

    Raises:
        JournalError: if it can't be told which run has a change.
    """
    if len({change["sensor"] for change in start.changes}) > 1:
        return _claim_of_all(start, flow=flow, store=store)
    claims = [
        Claim(
            sensor=change["sensor"],
            receipt=_claimed(journal_of(change, store), _wanted(change, flow=flow, run=start.run)),
        )
        for change in start.changes
    ]
    others = tuple(one for one in claims if one.receipt.run != start.run)
    reasons = " ".join(one.in_words for one in others) if len(others) == len(claims) else ""
    return Taken(changes=start.changes, others=others, nothing_because=reasons)


def _claimed(journal: Journal, wanted: Receipt) -> Receipt:
    """Claim a change: the receipt that stands."""
    standing = journal.receipts.claim(wanted)
    if standing.run == wanted.run and (elsewhere := journal.moved_to()):
        # The sensor was renamed while its event was on the way: who has the change is noted there.
        return _claimed(elsewhere, wanted)
    # Who has a replayed change has the attempts before it, too: an event of theirs may still be on
    # its way, and would find nobody to have them.
    if standing.run == wanted.run:
        earlier = [replace(wanted, attempt=attempt) for attempt in range(1, wanted.attempt)]
        journal.concurrently([partial(journal.receipts.claim, one) for one in earlier])
    return standing


def _wanted(change: Mapping[str, Any], *, flow: str, run: str) -> Receipt:
    return Receipt(
        seq=int(change["seq"]),
        id=str(change["id"]),
        attempt=_attempt(change),
        flow=flow,
        run=run,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def _attempt(change: Mapping[str, Any]) -> int:
    return int(change.get("attempt", 1))


def note_end(
    change: Mapping[str, Any],
    how: Literal["succeeded", "failed"],
    store: Store,
    *,
    flow: str,
    run: str,
) -> None:
    """Note that the turn of a flow to take a change is over, wherever the journal is by now.

    Raises:
        JournalError: if it can't be noted.
    """
    journal: Journal | None = journal_of(change, store)
    while journal:
        journal.turns.end(
            int(change["seq"]),
            str(change["id"]),
            attempt=int(change.get("attempt", 1)),
            flow=flow,
            how=how,
            by=run,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        journal = journal.moved_to()  # The sensor may have been renamed while this run went on.


def tell_next(
    change: Mapping[str, Any],
    sensors: Mapping[str, Sensor],
    store: Store,
    *,
    flow: str,
    run: str,
    now: dt.datetime,
) -> list[Turn]:
    """Tell a flow the next turns, because its turn to take this change is over: which.

    None without a bus, or under a name that no sensor has any more: the next tick tells them.

    Raises:
        DeliveryError: if the bus has not taken it.
        JournalError: if the journal can't be read or written.
    """
    # Under a name that no sensor has any more the journal was moved, and its memo says nothing.
    sensor = sensors.get(str(change["sensor"]))
    if sensor is None or not bus_address():
        return []
    return give_next_turn(sensor, journal_of(change, store), [flow], now=now, run=run)


# ----------------------------------------------------------------------------- of several sensors


def _claim_of_all(start: RunStart, *, flow: str, store: Store) -> Taken:
    """Claim all that each sensor recorded since the flow's last run."""
    # Sorted by name, so that runs which start side by side for different events agree on the gate.
    changes = sorted(start.changes, key=lambda change: change["sensor"])
    sensors = store.concurrently(
        [partial(_Unseen, change, journal_of(change, store), flow, start.run) for change in changes]
    )
    # Who has a receipt goes on, whatever others took while it was dead: nobody else has that.
    if not any(sensor.is_begun for sensor in sensors):
        for sensor in sensors:
            if not sensor.entries:
                return Taken(changes=start.changes, nothing_because=sensor.nothing_new)
        # The oldest change of the first sensor is the gate: of runs that start side by side the one
        # that has it is to have everything, and the other nothing.
        gate = sensors[0].claim_first()
        if gate.receipt.run != start.run:
            return Taken(changes=start.changes, others=(gate,), nothing_because=gate.in_words)
    others = [other for sensor in sensors for other in sensor.claim_the_rest()]
    told = {sensor.name: sensor.told() for sensor in sensors if sensor.entries}
    return Taken(
        changes=[told[one["sensor"]] for one in start.changes if one["sensor"] in told],
        others=tuple(others),
    )


class _Unseen:
    """Finds the changes of one sensor that no other run of a flow has had, oldest first.

    `is_begun`: the run has a receipt for one of them already, from before it was tried again.
    """

    def __init__(self, told: Mapping[str, Any], journal: Journal, flow: str, run: str) -> None:
        self.name = str(told["sensor"])
        self._told = told
        self._journal = journal
        self._flow = flow
        self._run = run
        self._last: Receipt | None = None
        self.is_begun = False
        self.entries = self._replayed() if _attempt(told) > 1 else self._since_last_run()

    @property
    def nothing_new(self) -> str:
        """Say why a run that waits for this sensor has nothing to do."""
        last = self._last
        since = f"since run {last.run} took change {last.seq} at {last.at}" if last else ""
        return (
            f"sensor {self.name!r} has not changed {since}, and this flow waits until all of its "
            "sensors have".replace("  ", " ")
        )

    def claim_first(self) -> Claim:
        """Claim the oldest of them: who has it."""
        return self._claim(self.entries[0])

    def claim_the_rest(self) -> list[Claim]:
        """Claim all of them: what others have after all, and the entries are then without."""
        claims = self._journal.concurrently([partial(self._claim, one) for one in self.entries])
        others = [one for one in claims if one.receipt.run != self._run]
        lost = {one.receipt.seq for one in others}
        self.entries = [entry for entry in self.entries if entry.seq not in lost]
        return others

    def told(self) -> dict[str, Any]:
        """Make what the run is told of them: what they come to together."""
        first, last = self.entries[0], self.entries[-1]
        # What the event says is right as it is if the run has just that.
        told = (self._told.get("first_seq", self._told["seq"]), self._told["seq"])
        if (first.seq, last.seq) == told:
            return {**self._told}
        try:
            entry = combined(self._journal, self.entries)[0].applied_to(last)
        except DamagedTableError as damage:
            # The facts of the newest are right, and whoever asks for the items is told this again.
            entry = replace(last, reason=f"{last.reason} ({damage})")
        return facts(
            entry,
            location=self._journal.entry_key(last.seq),
            attempt=_attempt(self._told),
            first_seq=first.seq,
        )

    def _claim(self, entry: Entry) -> Claim:
        change = {"seq": entry.seq, "id": entry.id, "attempt": _attempt(self._told)}
        wanted = _wanted(change, flow=self._flow, run=self._run)
        return Claim(sensor=self.name, receipt=_claimed(self._journal, wanted))

    def _replayed(self) -> list[Entry]:
        """Find the change that is replayed, if no other run has this attempt."""
        seq, name = int(self._told["seq"]), str(self._told["id"])
        receipts = self._journal.receipts.read(seq, name)
        taken = [(one.attempt, one.flow) for one in receipts if one.run != self._run]
        self._last = next((one for one in receipts if one.run != self._run), None)
        self.is_begun = any(one.run == self._run for one in receipts)
        entry = self._journal.get(seq)
        return [entry] if entry and (_attempt(self._told), self._flow) not in taken else []

    def _since_last_run(self) -> list[Entry]:
        """Find those up to the event's change, or to the newest that was sent if that was taken."""
        index = self._journal.index()
        found = self._up_to(int(self._told["seq"]), index)
        return found or self._up_to(max(index.ids, default=0), index)

    def _up_to(self, newest: int, index: JournalIndex) -> list[Entry]:
        """Find the changes after the last that another run of the flow has, up to this number."""
        taken = index.taken_by(self._flow)
        for seq in sorted((seq for seq in taken if seq <= newest), reverse=True):
            receipt = self._receipt(seq, taken[seq])
            if receipt is None or receipt.run != self._run:
                self._last = receipt
                return self._changes(index, after=seq, newest=newest)
            # Its own receipt, from before the step was tried again: it goes on behind that.
            self.is_begun = True
        entries = self._changes(index, after=0, newest=newest)
        marks = self._journal.concurrently([partial(index.mark, entry) for entry in entries])
        # Before its first run: those that were sent when the flow was known to listen.
        strange = [
            number
            for number, mark in enumerate(marks)
            if mark and self._flow not in mark.listeners and entries[number].seq not in taken
        ]
        # A flow that nobody has recorded is told of the newest.
        return entries[max(strange, default=-1) + 1 :] or entries[-1:]

    def _receipt(self, seq: int, name: str) -> Receipt | None:
        """Read the flow's receipt for the first attempt; None if it is damaged."""
        receipts = self._journal.receipts.read(seq, name)
        return next((one for one in receipts if (one.attempt, one.flow) == (1, self._flow)), None)

    def _changes(self, index: JournalIndex, *, after: int, newest: int) -> list[Entry]:
        numbers = [seq for seq in reversed(index.numbers) if after < seq <= newest]
        found = self._journal.concurrently([partial(self._readable, seq) for seq in numbers])
        return [entry for entry in found if entry and entry.is_published]

    def _readable(self, seq: int) -> Entry | None:
        try:
            return self._journal.at(Head(), seq)
        except DamagedEntryError:
            return None
