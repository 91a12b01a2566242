"""Brings what is recorded to the flows that listen: sends, sees who started, sends again.

A change is sent until the bus has it, and once more each time that its receipts are overdue. When
that is, is decided in `changes.retries`; what is noted of it, in the journal's outbox.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Any, Final

from flowproject.changes.caching import cached_property
from flowproject.changes.entry import Entry
from flowproject.changes.retries import (
    NextStep,
    as_arguments,
    heard_from,
    in_ranges,
    next_step,
    room_at,
)
from flowproject.config.model import Sensor
from flowproject.errors import DeliveryError, JournalError
from flowproject.events import bus_address
from flowproject.journal import (
    Awaited,
    Combination,
    DamagedTableError,
    Head,
    Journal,
    Listeners,
    Mark,
    Sendings,
)
from flowproject.sensing.chain import likely_causes, patience_of
from flowproject.sensing.change_events import event_of, send, together
from flowproject.sensing.context import ProjectContext
from flowproject.sensing.turns import Attempts, Turn, TurnQueue

__all__ = ["Backlog", "deliver", "has_bus"]

_READ: Final = 50
"""Sent changes of which one pass reads what is noted; then the memo remembers it."""

_SENT_TOGETHER: Final = 25
"""Events whose marks are written together: as many are sent again if a tick dies before them."""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Says what is left after a delivery, and what is then known of the end of the journal.

    `waiting` is how many changes the bus lacks (at least: it is not counted on), `held` why they
    are held back, `late` what it has and no run has started for in time, `queued` what waits for
    its turn with flows that take changes in order, `reason` what failed, `abandoned` what nobody
    delivers any more, and `given_up` the changes that were sent as often as is allowed.
    """

    head: Head
    waiting: int = 0
    held: str = ""
    late: str = ""
    queued: str = ""
    reason: str = ""
    abandoned: str = ""
    given_up: tuple[int, ...] = ()


def deliver(
    context: ProjectContext,
    sensor: Sensor,
    journal: Journal,
    head: Head,
    *,
    most: int | None = None,
) -> Backlog:
    """Do everything for a sensor's changes that can be done now: what is left after it.

    With nothing unresolved it costs no request. `most` limits how many changes are sent for the
    first time, for a caller who has other things to do (None: all).

    Raises:
        DamagedEntryError: at an entry that can't be read and is not noted.
        JournalError: if the journal can't be read or written.
    """
    if not head.unresolved:
        return Backlog(head=head)
    try:
        bus = bus_address()
    except DeliveryError as error:
        # An address that can't be right is told by the sensor, and stops no look.
        return Backlog(head=head, waiting=1, reason=str(error))
    if not bus:
        # Changes are sent in order, so the newest alone tells whether any waits.
        unsent = sum(seq > head.sent for seq in head.unresolved)
        return Backlog(head=head, waiting=unsent if journal.is_waiting(head) else 0)
    return _Delivery(context, sensor, journal, head).work(most)


def has_bus() -> bool:
    """Whether a bus is configured, at an address that can be right."""
    try:
        return bool(bus_address())
    except DeliveryError:
        return False


class _Delivery:
    """Goes once over all that is unresolved: what the bus has, then what it lacks, oldest first."""

    def __init__(
        self, context: ProjectContext, sensor: Sensor, journal: Journal, head: Head
    ) -> None:
        self._context = context
        self._sensor = sensor
        self._journal = journal
        self._outbox = journal.outbox
        self._before = head
        self._head = head
        self._now = context.clock()
        self._is_proven = False
        self._done: set[int] = set()
        self._resolved: list[Awaited] = []
        self._late: list[tuple[Awaited, frozenset[str]]] = []
        self._given_up: list[tuple[Awaited, frozenset[str], frozenset[str]]] = []
        self._problems: list[str] = []
        self._abandoned: defaultdict[str, list[Mark]] = defaultdict(list)
        self._waiting: dict[tuple[str, str], dt.datetime | None] = {}
        self._looked_at: list[Awaited] = []
        self._receivers: Attempts = {}
        self._endings: Attempts = {}
        self._queued: list[str] = []
        self._turns_late: list[str] = []

    def work(self, most: int | None) -> Backlog:
        """Go over all of it, and send `most` changes or so for the first time: what is left."""
        try:
            return self._work(most)
        finally:
            self._outbox.end_trial()

    def _work(self, most: int | None) -> Backlog:
        # What the memo knows of comes first: one listing of receipts tells of all of it at once.
        known = self._before.awaited
        if known:
            self._check_receipts(known)
        unknown = [
            seq
            for seq in self._before.unresolved
            if not any(awaited.tells_of(seq) for awaited in known)
        ]
        # What was sent and is not remembered: the next ticks come to the others.
        sent = [seq for seq in unknown if seq <= self._before.sent][:_READ]
        self._process(sent)
        unsent = [seq for seq in unknown if seq > self._before.sent]
        waiting, held = self._send_all(unsent, most)
        self._note_resolved()
        # Before turns are given: a run that ends one meanwhile reads this memo, and tells the next
        # if this tick does not yet see that end. So one of the two does.
        if self._head != self._before:
            self._journal.memos.write_head(self._head)
        # A bus that has just refused an event is not asked again for turns.
        if self._head.awaited and not self._problems:
            self._give_turns()
        if self._given_up:
            self._problems += _undelivered(self._sensor, self._given_up, self._listeners)
        reason = "\n".join(self._problems)
        late = "; ".join(filter(None, (_late_in_words(self._late), *self._turns_late)))
        return Backlog(
            head=self._head,
            waiting=waiting,
            held=held,
            late=late,
            queued="; ".join(self._queued),
            reason=reason,
            given_up=tuple(_numbers_of(one.mark for one, _, _ in self._given_up)),
            abandoned="\n".join(
                _gone_in_words(self._sensor, flows, marks, self._listeners)
                for flows, marks in self._abandoned.items()
            ),
        )

    @cached_property
    def _listeners(self) -> Listeners:
        return self._outbox.listeners()

    def _send_all(self, numbers: Sequence[int], most: int | None) -> tuple[int, str]:
        """Send these, oldest first: how many still wait, and why they are held back if they are."""
        # The first by itself: a bus that is down is asked once, however much waits.
        start, end = 0, 1
        while start < len(numbers):
            few = [seq for seq in numbers[start:end] if seq not in self._done]
            is_over, held = self._process(few)
            if is_over:
                return sum(seq not in self._done for seq in numbers), held
            if most is not None and len(self._done) >= most:
                return sum(seq not in self._done for seq in numbers), ""
            start, end = end, end + _SENT_TOGETHER
        return 0, ""

    def _process(self, numbers: Sequence[int]) -> tuple[bool, str]:
        """Await those that are marked and send the others: whether no more can be sent, and why."""
        entries = self._journal.all_at(self._before, numbers)
        self._forget({*numbers}.difference(entry.seq for entry in entries))
        ask = self._journal.concurrently
        marks = self._marks(entries)
        marked = {mark.id: mark for mark in marks if mark}
        if marked:
            found = ask([partial(self._outbox.sendings, mark) for mark in marked.values()])
            events = zip(marked.values(), found, strict=True)
            self._check_receipts(
                [Awaited(mark=mark, sendings=sendings) for mark, sendings in events]
            )
        pairs = [*zip(entries, marks, strict=True)]
        self._done.update(entry.seq for entry, mark in pairs if mark)
        for entry, _ in takewhile(itemgetter(1), pairs):
            self._head = replace(self._head, sent=max(self._head.sent, entry.seq))
        return self._publish([entry for entry, mark in pairs if mark is None])

    def _marks(self, entries: Sequence[Entry]) -> list[Mark | None]:
        """Read the marks of these, all at once."""

        def ask(some: Sequence[Entry]) -> dict[int, Mark | None]:
            found = self._journal.concurrently([partial(self._outbox.mark, one) for one in some])
            return dict(zip([one.seq for one in some], found, strict=True))

        # The oldest change of an event is marked last. So one that lacks its mark after another
        # that has one may have been asked for too early, and be no beginning of an event: such are
        # asked for again, until no more marks are found. Without this the model in
        # tests/model/coalescing.py sends a change in two different events.
        marks = ask(entries)
        found = {seq for seq, mark in marks.items() if mark}
        while found:
            oldest = min(seq for seq, mark in marks.items() if mark)
            again = ask([one for one in entries if one.seq > oldest and not marks[one.seq]])
            marks |= again
            found = {seq for seq, mark in again.items() if mark}
        return [marks[one.seq] for one in entries]

    def _forget(self, numbers: Collection[int]) -> None:
        """Forget numbers for which there is nothing to do: of no change, or of one that is lost."""
        self._done.update(numbers)
        self._head = self._head.resolved(numbers).taken(dict.fromkeys(numbers, ()))

    # ------------------------------------------------------------------- what the bus does not have

    def _held_back(self) -> str:
        """Say why nothing more may be sent now, if that is so."""
        most = self._sensor.max_events_per_hour
        room = room_at(self._recent(), most, self._now)
        if room <= self._now:
            return ""
        return (
            f"{most} events within an hour are all that max_events_per_hour of sensor "
            f"{self._sensor.name!r} allows; there is room for the next one at {room:%H:%M:%S %Z}"
        )

    def _publish(self, entries: Sequence[Entry]) -> tuple[bool, str]:
        """Send these: whether nothing more can be sent after them, and why it is held back."""
        decisions = self._journal.concurrently(
            [partial(self._outbox.combination, entry) for entry in entries]
        )
        sent: list[tuple[Sequence[Entry], Mark]] = []
        try:
            for entry, decision in zip(entries, decisions, strict=True):
                if entry.seq in self._done:
                    continue
                if held := self._held_back():
                    return True, held
                self._require_writable(entry)
                group, event = self._group(entry, decision)
                name = send(self._sensor, self._journal, event, first=entry.seq, attempt=1)
                sent.append((group, self._mark(entry, event, name)))
                self._count_sent(group)
        except DeliveryError as error:
            self._problems.append(str(error))
            return True, ""
        finally:
            # The marks are written together, after all of them are sent: one round trip for 25
            # events. Whoever dies in between repeats some of them, under the same ids and in the
            # same order; a mark before its event would lose the change.
            self._mark_sent(sent)
        return False, ""

    def _require_writable(self, entry: Entry) -> None:
        """Refuse to send what can't be noted: it would be sent anew by every tick.

        Raises:
            JournalError: if it can't.
        """
        # Once in a pass: after it, the marks themselves tell.
        if self._is_proven:
            return
        try:
            self._outbox.prove_writable(entry.seq)
        except JournalError as error:
            raise JournalError(
                f"Change {entry.seq} and those after it are not sent, because that could not be "
                f"noted, and each tick would send them again: {error}",
                where=self._journal.location,
                allowed="What is recorded stays, and is sent when the journal can be written",
                fix="Give this run leave to write there, or make room",
            ) from error
        self._is_proven = True

    def _mark(self, first: Entry, event: Entry, name: str) -> Mark:
        return Mark(
            seq=event.seq,
            id=event.id,
            first=first.seq,
            event_name=name,
            listeners=self._listeners.flows,
            in_order=self._listeners.in_order,
            published_at=self._now.isoformat(),
            run=self._context.run,
        )

    def _count_sent(self, group: Sequence[Entry]) -> None:
        self._done.update(entry.seq for entry in group)
        most = self._sensor.max_events_per_hour
        moments = [*self._recent(), self._now][-most:] if most else []
        self._head = replace(self._head, recent=tuple(one.isoformat() for one in moments))

    def _mark_sent(self, sent: Sequence[tuple[Sequence[Entry], Mark]]) -> None:
        if not sent:
            return
        self._outbox.mark_published(sent)
        sendings = Sendings(attempt=1, count=1, last=self._now)
        new = [Awaited(mark=mark, sendings=sendings) for _, mark in sent]
        if not self._listeners.flows:
            self._resolved += [one for one in new if not self._forgotten_by(one)]
            new = [one for one in new if self._forgotten_by(one)]
        self._head = replace(
            self._head,
            sent=max(self._head.sent, sent[-1][0][-1].seq),
            awaited=(*self._head.awaited, *new),
        )

    def _recent(self) -> list[dt.datetime]:
        return [dt.datetime.fromisoformat(moment) for moment in self._head.recent]

    def _group(self, first: Entry, decision: Combination | None) -> tuple[Sequence[Entry], Entry]:
        """Find the entries that one event tells of, and the entry as that event has it."""
        # A decision that was made stands, also if `coalesce` is switched off meanwhile: its event
        # may be on the bus already.
        if decision is None:
            if not self._sensor.coalesce:
                return (first,), first
            decision = self._decide(first)
        group = self._journal.all_at(self._before, range(first.seq, decision.last + 1))
        return group, decision.applied_to(group[-1])

    def _decide(self, first: Entry) -> Combination:
        """Decide what is sent together with this one."""
        # Before it is sent, and once for all: otherwise a bus that took an event and did not say so
        # would be told of a change by two different events.
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

    def _check_receipts(self, events: Sequence[Awaited]) -> None:
        """See whether every listener has started for these; those that are overdue, send again."""
        # Receipts lie in folders named by number, so that one listing from the oldest on has all.
        self._looked_at = sorted(events, key=lambda one: one.mark.seq)
        oldest = self._looked_at[0].mark.seq
        questions: list[Callable[[], Any]] = [
            partial(self._journal.receipts.receivers_from, oldest),
            lambda: self._listeners,
        ]
        receivers, _ = self._journal.concurrently(questions)
        self._receivers = {**self._receivers, **receivers}
        if self._listeners.in_order:
            self._endings = {**self._endings, **self._journal.turns.ended_from(oldest)}
        left = [
            self._follow_up(one, self._receivers.get((one.mark.seq, one.mark.id), ()))
            for one in self._looked_at
        ]
        others = [one for one in self._head.awaited if one not in events]
        self._head = replace(
            self._head,
            awaited=tuple(
                sorted(
                    {one.mark.id: one for one in (*others, *filter(None, left))}.values(),
                    key=lambda one: one.mark.seq,
                )
            ),
        )

    def _follow_up(self, one: Awaited, receivers: Collection[tuple[int, str]]) -> Awaited | None:
        """Do what is to be done about an event now: what there is to wait for, None if nothing."""
        awaited = frozenset(one.listeners) & frozenset(self._listeners.flows)
        if not one.sendings.count:
            # A replay opened this attempt and died, or was refused, before its first sending.
            again = self._send_again(one)
            if again.sendings.count and not awaited:
                self._resolved.append(again)
                return None
            return again
        taken = {flow for number, flow in receivers if number == one.sendings.attempt}
        missing = awaited - taken - self._in_order(one)
        unheard = self._forgotten_by(one) - taken
        if not missing and not unheard:
            return self._taken(one, gone=frozenset(one.listeners) - awaited - taken)
        if any(self._is_forgotten(one, flow) for flow in missing | unheard):
            return self._send_again(one)
        moves = {flow: self._move(one, flow) for flow in missing}
        given_up = frozenset(flow for flow, move in moves.items() if move == "give up")
        one = replace(one, given_up=tuple(sorted(given_up & self._listeners.waits.keys())))
        late = frozenset(flow for flow in missing if self._has_all(flow))
        is_sent = "send" in moves.values()
        if is_sent:
            one = self._send_again(one)
        if given_up:
            gone = frozenset(one.listeners) - awaited - taken
            self._given_up.append((one, given_up, gone))
        elif late and (is_sent or one.sendings.count > 1):
            self._late.append((one, late))
        return one

    def _taken(self, one: Awaited, *, gone: frozenset[str]) -> Awaited | None:
        """See what is left of an event that all have taken who still listen."""
        if any(not self._queue.is_done(one, flow) for flow in self._in_order(one)):
            return one  # Who takes it in order is told of it by an event of its own.
        if gone and self._is_fresh(one):
            return one  # A run of it may have begun before it was gone.
        if gone and self._listeners.flows and self._is_given_up(one):
            # That it was given up is not over because its listener has another name now: who is
            # told once only, and misses it, would never hear of it again.
            self._given_up.append((one, frozenset(), gone))
            return one
        if gone:
            self._abandoned[", ".join(sorted(gone))].append(one.mark)
        self._resolved.append(one)
        return None

    def _in_order(self, one: Awaited) -> frozenset[str]:
        """Find the flows that are to take an event when it is their turn."""
        return frozenset(one.listeners) & frozenset(self._listeners.in_order)

    def _is_fresh(self, one: Awaited) -> bool:
        return self._next_move(one) == "wait"

    def _is_given_up(self, one: Awaited) -> bool:
        return self._next_move(one) == "give up"

    def _next_move(self, one: Awaited) -> NextStep:
        patience = patience_of(self._sensor)
        return next_step(one.sendings.count, one.sendings.last, patience, self._now)

    def _move(self, one: Awaited, flow: str) -> NextStep:
        """Decide what to do for a flow that lacks an event."""
        patience = patience_of(self._sensor)
        if flow not in self._listeners.waits:
            return self._next_move(one)
        since = self._complete_since(flow)
        if since is None:
            return "wait"
        # A run has all since the last one, so what it lacks is sent again by the newest event: an
        # older one would be held by the bus beside it, and start the flow a second time.
        newest = self._missed_by(flow)[-1]
        last = max(newest.sendings.last, since)
        move = next_step(newest.sendings.count, last, patience, self._now)
        return move if one.mark.id == newest.mark.id or move == "give up" else "wait"

    def _has_all(self, flow: str) -> bool:
        """Whether a flow has been sent all that it waits for, so that a run should have started."""
        return flow not in self._listeners.waits or self._complete_since(flow) is not None

    def _complete_since(self, flow: str) -> dt.datetime | None:
        """Find since when a flow that waits for several sensors has all; None if it lacks some."""
        # The events that it has not taken may have been lost, or a loop that held one has ended.
        # They are sent again by the sensor that was first to send one, then by the next: the others
        # are still held, as a rule, and would start the flow a second time.
        mine = _sent_first(self._missed_by(flow)[0])
        names = [name for name in self._listeners.waits[flow] if name != self._sensor.name]
        others = [self._waiting_since(name, flow) for name in names]
        moments = [moment for moment in others if moment]
        if len(moments) < len(others):
            return None
        ahead = sum(moment < mine for moment in moments)
        wait = ahead * dt.timedelta(seconds=self._sensor.receipt_timeout)
        return max([mine, *moments]) + wait

    def _missed_by(self, flow: str) -> list[Awaited]:
        """Find the events under way that a flow has not taken, oldest first."""
        return _lacking(self._looked_at, self._receivers, flow)

    def _waiting_since(self, sensor: str, flow: str) -> dt.datetime | None:
        """Find since when an event of another sensor waits for a flow; None if none does."""
        if (sensor, flow) not in self._waiting:
            journal = self._context.journal(sensor)
            events = [one for one in journal.memos.awaited() if flow in one.listeners]
            receivers = journal.receipts.receivers_from(events[0].mark.seq) if events else {}
            lacking = _lacking(events, receivers, flow)
            self._waiting[sensor, flow] = _sent_first(lacking[0]) if lacking else None
        return self._waiting[sensor, flow]

    def _forgotten_by(self, one: Awaited) -> frozenset[str]:
        """Find the flows that wait for events of others too, and for which this was forgotten."""
        # When they should start nobody can say, so no receipt of theirs is awaited. But Argo makes
        # the Sensor anew with each deployment, and what waited in the old one is gone.
        published = dt.datetime.fromisoformat(one.mark.published_at)
        return frozenset(
            flow
            for flow, since in self._listeners.together.items()
            if since <= published
            and (heard := self._heard_from(flow))
            and one.sendings.last < heard
        )

    def _is_forgotten(self, one: Awaited, flow: str) -> bool:
        """Whether the bus forgot the event for this flow, which hears again."""
        heard = self._heard_from(flow)
        if heard is None or not one.sendings.last < heard <= self._now:
            return False
        # Of a flow that waits for others too the newest event alone had waited.
        waits = flow in self._listeners.waits
        return not waits or one.mark.id == self._missed_by(flow)[-1].mark.id

    def _heard_from(self, flow: str) -> dt.datetime | None:
        deployed = self._listeners.deployed.get(flow)
        return heard_from(deployed, patience_of(self._sensor)) if deployed else None

    def _send_again(self, one: Awaited) -> Awaited:
        """Send an event once more, unless the bus refuses: what is known of it then."""
        # It is noted first: an event whose sendings can't be noted would be sent without an end.
        # A death in between uses up one of `max_attempts`, which is the lesser evil.
        mark, known = one.mark, one.sendings
        attempt, number = known.attempt, known.count + 1
        event = event_of(self._journal, mark)
        if not self._outbox.note_sending(
            mark,
            attempt=attempt,
            number=number,
            at=self._now.isoformat(),
            run=self._context.run,
            to=known.to,
        ):
            # Another tick does it, or has done it and what was remembered was older.
            return replace(one, sendings=self._outbox.sendings(mark))
        try:
            send(self._sensor, self._journal, event, first=mark.first, attempt=attempt)
        except DeliveryError as error:
            self._outbox.forget_sending(mark, attempt=attempt, number=number)
            self._problems.append(str(error))
            return one
        return replace(one, sendings=replace(known, count=number, last=self._now))

    @property
    def _queue(self) -> TurnQueue:
        """Tell what flows are to take in order, as far as it is known now."""
        return TurnQueue(
            self._sensor,
            self._journal,
            self._listeners,
            receivers=self._receivers,
            endings=self._endings,
            now=self._now,
            run=self._context.run,
        )

    def _give_turns(self) -> None:
        """Tell the flows that take changes in order what their turn is, and see what waits."""
        if not self._listeners.in_order:
            return
        oldest = self._head.awaited[0].mark.seq
        self._receivers = {**self._receivers, **self._journal.receipts.receivers_from(oldest)}
        self._endings = {**self._endings, **self._journal.turns.ended_from(oldest)}
        queue = self._queue
        for flow in self._listeners.in_order:
            for turn in queue.turns(flow, self._head):
                try:
                    told = queue.tell(turn) if turn.move == "send" else turn
                except DeliveryError as error:
                    self._problems.append(str(error))
                    return
                self._report_turn(queue, told)

    def _report_turn(self, queue: TurnQueue, turn: Turn) -> None:
        self._queued += filter(None, [queue.in_words(turn)])
        if turn.move == "give up" and turn.notices.last:
            sendings = replace(
                turn.event.sendings, count=turn.notices.count, last=turn.notices.last
            )
            event = replace(turn.event, sendings=sendings)
            self._given_up.append((event, frozenset({turn.flow}), frozenset()))
        else:
            self._turns_late += filter(None, [queue.too_late(turn)])

    def _note_resolved(self) -> None:
        """Note for which events nothing is left to do, and the runs that took them."""
        if not self._resolved:
            return
        ask = self._journal.concurrently
        alone = [one.mark for one in self._resolved if one.mark.first == one.mark.seq]
        grouped = [
            seq
            for one in self._resolved
            if one.mark.first != one.mark.seq
            for seq in self._numbers(one.mark)
        ]
        members = self._journal.all_at(self._before, grouped)
        done = [(one.seq, one.id) for one in alone] + [(one.seq, one.id) for one in members]
        # For people only: `history` and cards say who took it, long after nobody asks any more.
        questions: list[Callable[[], Any]] = [
            *(partial(self._runs, one.mark) for one in self._resolved),
            *(partial(self._outbox.resolve, seq, name) for seq, name in done),
        ]
        runs: list[tuple[str, ...]] = ask(questions)[: len(self._resolved)]
        takers: dict[int, tuple[str, ...]] = {}
        untaken: dict[int, str] = {}
        for one, who in zip(self._resolved, runs, strict=True):
            numbers = self._numbers(one.mark)
            takers |= dict.fromkeys(numbers, who)
            # Without a receipt it was skipped, or its listener is gone: not the same as nobody.
            if one.listeners and not who:
                untaken |= dict.fromkeys(numbers, self._why_nobody(one))
        self._head = self._head.resolved(takers).taken(takers, untaken)

    def _why_nobody(self, one: Awaited) -> str:
        """Say why an event is resolved although no listener has taken it."""
        in_order = self._in_order(one)
        is_skipped = in_order and all(self._queue.is_done(one, flow) for flow in in_order)
        return "skipped" if is_skipped else "undelivered"

    def _numbers(self, mark: Mark) -> list[int]:
        """Find the changes that an event told of and that are not resolved yet."""
        return [seq for seq in self._before.unresolved if mark.first <= seq <= mark.seq]

    def _runs(self, mark: Mark) -> tuple[str, ...]:
        """Find the runs that took an event; without a request if nobody was to."""
        receipts = self._journal.receipts.read(mark.seq, mark.id) if mark.listeners else ()
        return tuple(dict.fromkeys(receipt.run for receipt in receipts))


def _late_in_words(late: Sequence[tuple[Awaited, frozenset[str]]]) -> str:
    """Say what was sent again because no run has started for it; empty if nothing was."""
    if not late:
        return ""
    oldest, missing = late[0]
    flows = ", ".join(sorted(missing))
    since = dt.datetime.fromisoformat(oldest.mark.published_at)
    others = f", nor for {len(late) - 1} more that were sent later" if len(late) > 1 else ""
    return (
        f"no run of {flows} has started for change {oldest.mark.seq}, which was sent at "
        f"{since:%Y-%m-%d %H:%M %Z} and again since{others}. {likely_causes(flows)}"
    )


def _lacking(events: Sequence[Awaited], receivers: Attempts, flow: str) -> list[Awaited]:
    """Find the events that were for a flow, and that it has not taken."""
    return [
        one
        for one in events
        if flow in one.listeners
        and (one.sendings.attempt, flow) not in receivers.get((one.mark.seq, one.mark.id), ())
    ]


def _sent_first(one: Awaited) -> dt.datetime:
    return dt.datetime.fromisoformat(one.mark.published_at)


def _gone_in_words(sensor: Sensor, flows: str, marks: Sequence[Mark], listeners: Listeners) -> str:
    """Say what was sent to flows that have not taken it and do not listen any more."""
    now = ", ".join(sorted(listeners.flows))
    numbers = _numbers_of(marks)
    is_one = len(numbers) == 1
    replay = f"`flowproject replay {as_arguments(sensor.name, numbers)}`"
    return str(
        DeliveryError(
            f"{'Change' if is_one else 'Changes'} {in_ranges(numbers)} "
            f"{'was' if is_one else 'were'} sent to {flows}, which did not take "
            f"{'it' if is_one else 'them'} and does not listen any more: renamed, or removed",
            where=f"Sensor {sensor.name!r}, event {marks[0].event_name!r}",
            allowed="This is said once; `flowproject history` goes on to show it",
            fix=f"{replay} {_hands_over(now, is_one=is_one)}"
            if now
            else f"Deploy a flow that listens, then {replay}",
        )
    )


def _hands_over(now: str, *, is_one: bool) -> str:
    it = "it" if is_one else "them"
    return f"sends {it} to {now}; a flow that has run for {it} already does not run again"


def _numbers_of(marks: Iterable[Mark]) -> list[int]:
    """List the changes that these events told of."""
    return [seq for mark in marks for seq in range(mark.first, mark.seq + 1)]


def _undelivered(
    sensor: Sensor,
    given_up: Sequence[tuple[Awaited, frozenset[str], frozenset[str]]],
    listeners: Listeners,
) -> Iterator[str]:
    """Say what was sent as often as is allowed, in one message for the same flows."""
    by_flows: defaultdict[tuple[str, str], list[Awaited]] = defaultdict(list)
    # One sentence for many: 52 changes of a flow that never starts are one problem.
    for one, missing, gone in given_up:
        by_flows[", ".join(sorted(missing)), ", ".join(sorted(gone))].append(one)
    for (flows, gone_flows), events in by_flows.items():
        yield _undelivered_to(sensor, flows, gone_flows, events, listeners)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _undelivered_to(
    sensor: Sensor, flows: str, gone: str, events: Sequence[Awaited], listeners: Listeners
) -> str:
    last = max(one.sendings.last for one in events)
    numbers = _numbers_of(one.mark for one in events)
    one, is_one = events[0], len(numbers) == 1
    it = "it" if is_one else "them"
    what = (
        f"Change {one.mark.seq} was sent {_times(one.sendings.count)}"
        if is_one
        else f"{len(numbers)} changes ({in_ranges(numbers)}) were sent as often as "
        "max_attempts allows"
    )
    who = f"{flows} has not started for {it}"
    if not flows:
        who = f"{gone}, which does not listen any more, has not started for {it}"
    elif gone:
        who += f"; nor has {gone}, which does not listen any more"
    named = one.mark.id if is_one else as_arguments(sensor.name, numbers)
    replay = f"`flowproject replay {named}`"
    now = ", ".join(sorted(listeners.flows))
    return str(
        DeliveryError(
            f"{what}, the last time at {last:%Y-%m-%d %H:%M %Z}, and {who}",
            where=f"Sensor {sensor.name!r}, event {one.mark.event_name!r}",
            allowed="What is recorded stays, and ticks fail until it is delivered",
            fix=f"{likely_causes(flows)}. When that is mended: {replay}"
            if flows
            else f"{replay} {_hands_over(now, is_one=is_one)}",
        )
    )
