"""Gives turns: a flow that takes changes in order is told of the next when the last is over.

Its events are its own, so that other flows wait for nobody. It is told of a change only by who saw
that its turn before is over, of every older change; and that is never taken back.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowproject.changes.retries import NextStep, RetryPolicy, heard_from, in_ranges, next_step
from flowproject.config.model import Sensor
from flowproject.errors import DeliveryError
from flowproject.journal import Awaited, Head, Journal, Listeners, TurnNotices
from flowproject.sensing.chain import likely_causes, patience_of
from flowproject.sensing.change_events import event_of, send
from flowproject.sensing.context import ProjectContext

__all__ = [
    "Attempts",
    "Turn",
    "TurnQueue",
    "give_next_turn",
    "waiting_in_order",
]

Attempts = Mapping[tuple[int, str], Collection[tuple[int, str]]]
"""By number and id of an event: attempt and flow of each receipt, or of each turn that is over."""

_NONE: Final[frozenset[tuple[int, str]]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Is an event whose turn it is for a flow, how often the flow was told, and what is next.

    `is_taken`: a run of the flow has it, and has not ended. `behind` are the numbers of the changes
    that wait until it has.
    """

    flow: str
    event: Awaited
    is_taken: bool
    notices: TurnNotices
    move: NextStep
    behind: tuple[int, ...]


class TurnQueue:
    """Knows what flows are to take in order of one sensor's changes, at one moment.

    `receivers` and `endings` are what the journal has of receipts and of turns that are over, from
    the oldest on that is awaited.
    """

    # All of it may be old: what is over stays so, and so an old queue tells nobody too early.

    def __init__(
        self,
        sensor: Sensor,
        journal: Journal,
        listeners: Listeners,
        *,
        receivers: Attempts,
        endings: Attempts,
        now: dt.datetime,
        run: str,
        bus: str = "",
    ) -> None:
        self._sensor = sensor
        self._journal = journal
        self._listeners = listeners
        self._receivers = receivers
        self._endings = endings
        self._now = now
        self._run = run
        self._bus = bus

    def is_done(self, event: Awaited, flow: str) -> bool:
        """Whether nothing is left to wait for: the flow has the event, and its turn is over."""
        # What a person replays after its turn was over holds nobody back: its receipt is enough.
        mine = (event.sendings.attempt, flow)
        return mine in self._of(self._endings, event) or (
            self._is_taken(event, flow) and self._is_over(event, flow)
        )

    def turns(self, flow: str, head: Head) -> Iterator[Turn]:
        """Find the events whose turn it is: the oldest that is not over, and those replayed."""
        # A person who replays what was over wants it now: that waits for no other.
        mine = [one for one in head.awaited if flow in one.listeners]
        yield from (
            self._turn(one, flow, ())
            for one in mine
            if self._is_over(one, flow) and not self.is_done(one, flow)
        )
        line = [one for one in self._known_in_full(head, mine) if not self._is_over(one, flow)]
        if line:
            behind = [seq for one in line[1:] for seq in range(one.mark.first, one.mark.seq + 1)]
            yield self._turn(line[0], flow, tuple(behind))

    def tell(self, turn: Turn) -> Turn:
        """Tell a flow of its turn, unless somebody else is about to: what is known of it then.

        Raises:
            DeliveryError: if the bus has not taken it.
            DamagedEntryError: if the change can't be read and nobody has noted it.
        """
        event, flow, turns = turn.event, turn.flow, self._journal.turns
        mark, attempt, number = event.mark, event.sendings.attempt, turn.notices.count + 1
        # What can't be read any more, which a tick has said, would hold the next ones for ever.
        if self._journal.readable(mark.seq) is None:
            at = self._now.isoformat(timespec="seconds")
            by = f"{self._run}, which could not read the change"
            turns.end(mark.seq, mark.id, attempt=attempt, flow=flow, how="skipped", by=by, at=at)
            return replace(turn, move="wait")
        known = event_of(self._journal, mark)
        # It is noted first: what can't be noted would be told without an end.
        if not turns.record_notice(
            mark.seq,
            mark.id,
            attempt=attempt,
            number=number,
            flow=flow,
            at=self._now.isoformat(),
            run=self._run,
        ):
            return replace(turn, move="wait")
        try:
            send(
                self._sensor,
                self._journal,
                known,
                first=mark.first,
                attempt=attempt,
                turn_of=flow,
                bus=self._bus,
            )
        except DeliveryError:
            turns.withdraw_notice(mark.seq, mark.id, attempt=attempt, number=number, flow=flow)
            raise
        return replace(turn, notices=TurnNotices(count=number, last=self._now))

    def in_words(self, turn: Turn) -> str:
        """Say what waits behind a turn, and what lets it go on; empty if nothing does."""
        if not turn.behind:
            return ""
        mark, sensor = turn.event.mark, self._sensor.name
        many = "change" if len(turn.behind) == 1 else "changes"
        waits = "waits" if len(turn.behind) == 1 else "wait"
        start = (
            f"{turn.flow} takes changes in order, and {many} {in_ranges(turn.behind)} {waits} "
            f"behind change {mark.seq}"
        )
        if not turn.is_taken:
            return f"{start}, for which it is to start"
        receipts = self._journal.receipts.read(mark.seq, mark.id)
        runs = [one.run for one in receipts if one.flow == turn.flow]
        return (
            f"{start}, which {runs[-1] if runs else 'a run'} took and has not ended. If that run "
            f"failed, resume it, or `flowproject replay {sensor}/{mark.seq}`, or let the next ones "
            f"pass: `flowproject skip {sensor}/{mark.seq}`"
        )

    def too_late(self, turn: Turn) -> str:
        """Say that no run has started for a turn in time; empty if there is time."""
        late = turn.notices.count > 1 and not turn.is_taken
        if not late or turn.notices.last is None:
            return ""
        mark = turn.event.mark
        return (
            f"no run of {turn.flow} has started for change {mark.seq}, although it was told "
            f"{turn.notices.count} times that it is its turn, the last time at "
            f"{turn.notices.last:%Y-%m-%d %H:%M %Z}. {likely_causes(turn.flow)}"
        )

    # ------------------------------------------------------------------------------ what is known

    def _turn(self, event: Awaited, flow: str, behind: tuple[int, ...]) -> Turn:
        mark, attempt = event.mark, event.sendings.attempt
        if self._is_taken(event, flow):
            notices = TurnNotices()
            return Turn(
                flow=flow, event=event, is_taken=True, notices=notices, move="wait", behind=behind
            )
        notices = self._journal.turns.notices(mark.seq, mark.id, attempt=attempt, flow=flow)
        move = self._move(notices, flow, patience_of(self._sensor))
        return Turn(
            flow=flow, event=event, is_taken=False, notices=notices, move=move, behind=behind
        )

    def _move(self, notices: TurnNotices, flow: str, patience: RetryPolicy) -> NextStep:
        if notices.last is None:
            return "send"
        deployed = self._listeners.deployed.get(flow)
        if deployed and notices.last < heard_from(deployed, patience) <= self._now:
            # A Sensor that is made anew hears nothing before it has subscribed.
            return "send"
        return next_step(notices.count, notices.last, patience, self._now)

    def _known_in_full(self, head: Head, events: Sequence[Awaited]) -> list[Awaited]:
        """Keep those before the first change of which it is not known who is to take it."""
        # What a replay put back nobody remembers until a tick has read it: it may be an older one.
        unknown = (
            seq for seq in head.unresolved if not any(one.tells_of(seq) for one in head.awaited)
        )
        end = min(unknown, default=None)
        return [one for one in events if end is None or one.mark.seq < end]

    def _is_over(self, event: Awaited, flow: str) -> bool:
        """Whether the flow's turn is over: those after it need not wait for it any more."""
        if any(one == flow for _, one in self._of(self._endings, event)):
            return True
        # What was sent before the flow took changes in order is over when it is taken: the run may
        # be of a flow file that knew nothing of turns, and would never end one.
        return flow not in event.mark.in_order and self._is_taken(event, flow)

    def _is_taken(self, event: Awaited, flow: str) -> bool:
        return (event.sendings.attempt, flow) in self._of(self._receivers, event)

    def _of(self, found: Attempts, event: Awaited) -> Collection[tuple[int, str]]:
        return found.get((event.mark.seq, event.mark.id), _NONE)


def give_next_turn(
    sensor: Sensor,
    journal: Journal,
    flows: Collection[str],
    *,
    now: dt.datetime,
    run: str,
    bus: str = "",
    also: Awaited | None = None,
) -> list[Turn]:
    """Tell these flows whose turn it is, for whoever ends a turn, or replays: the turns.

    `also` is an event that is put back, and that nobody remembers therefore.

    Raises:
        DeliveryError: if the bus has not taken it.
        JournalError: if the journal can't be read or written.
    """
    # By what a tick last remembered, which costs one request: a run is not to read the journal for
    # it. What is newer, or was forgotten, waits for the next tick.
    head = journal.memos.head()
    if head is None:
        return []
    if also:
        others = (one for one in head.awaited if one.mark.id != also.mark.id)
        known = tuple(sorted((*others, also), key=lambda one: one.mark.seq))
        unresolved = tuple(sorted({*head.unresolved, also.mark.seq}))
        head = replace(head, awaited=known, unresolved=unresolved)
    if not head.awaited:
        return []
    listeners = journal.outbox.listeners()
    queue = _queue(sensor, journal, listeners, head, now=now, run=run, bus=bus)
    found = [turn for flow in sorted(flows) for turn in queue.turns(flow, head)]
    # What a person replays is told whatever it was told before.
    return [
        queue.tell(turn)
        for turn in found
        if not turn.is_taken
        and (turn.move == "send" or (also and turn.event.mark.id == also.mark.id))
    ]


def waiting_in_order(context: ProjectContext) -> list[str]:
    """Say for each sensor what waits behind a turn, and what lets it go on.

    Raises:
        JournalError: if a journal can't be read.
    """
    return [
        f"Sensor {sensor.name!r}: {words}"
        for sensor in context.sensors()
        for words in _waiting_at(context, sensor)
    ]


def _waiting_at(context: ProjectContext, sensor: Sensor) -> Iterator[str]:
    journal = context.journal(sensor.name)
    head = journal.memos.head()
    listeners = journal.outbox.listeners() if head and head.awaited else Listeners()
    if not head or not listeners.in_order:
        return
    queue = _queue(sensor, journal, listeners, head, now=context.clock(), run=context.run)
    for flow in listeners.in_order:
        yield from filter(None, [queue.in_words(turn) for turn in queue.turns(flow, head)])


def _queue(
    sensor: Sensor,
    journal: Journal,
    listeners: Listeners,
    head: Head,
    *,
    now: dt.datetime,
    run: str,
    bus: str = "",
) -> TurnQueue:
    """Make the queue of what a head awaits."""
    oldest = head.awaited[0].mark.seq
    return TurnQueue(
        sensor,
        journal,
        listeners,
        receivers=journal.receipts.receivers_from(oldest),
        endings=journal.turns.ended_from(oldest),
        now=now,
        run=run,
        bus=bus,
    )
