"""Tells the whole chain of one change: recorded by a tick, sent by events, taken by runs.

Read-only and for people: what ticks do about a change is decided in `delivery`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from flowproject.changes.canonical import Json
from flowproject.changes.entry import Entry
from flowproject.changes.retries import RetryPolicy, in_ranges, next_step, wait_after
from flowproject.config.model import Sensor
from flowproject.journal import JournalIndex, Mark, Receipt, Sending

__all__ = ["Chain", "State", "chain", "likely_causes", "patience_of"]

State = Literal["", "waiting", "sent", "undelivered", "delivered", "skipped", "no listener"]
"""Where a change is: nothing to be sent; not on the bus yet; sent, and receipts are awaited; sent
as often as allowed, and receipts lack; every listener has its receipt; nobody was known to listen.
"""

_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Holds one change, and what became of it.

    `mark` says with which event it was sent first, `attempt` is the newest, which a replay may
    have opened. `missing` are the flows whose receipts are awaited in it, and `due` is when it is
    sent again or, after the last sending, given up; empty where the next tick sends it. `waiting`
    are those of the missing that wait for other sensors too, and may rightly not have started, and
    `gone` flows that it was sent to, that did not take it and do not listen any more. `in_order`
    are the flows that take changes in order and whose turn to take this one is not over: those that
    wait for theirs are in `behind`, with the change before it whose turn it is. `holds` are the
    changes that wait until the turn of this one is over. `skipped` are those whose turn was ended,
    by hand or because the change can't be read, before they took it. `of_several` are the flows
    that took it and wait for other sensors too: a run of theirs took changes of those as well.
    `late_since` is when it was sent first, if a run should have started by now and none has.
    """

    entry: Entry
    state: State = ""
    mark: Mark | None = None
    attempt: int = 1
    sendings: tuple[Sending, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    missing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    in_order: tuple[str, ...] = ()
    behind: Mapping[str, int] = field(default_factory=dict)
    holds: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()
    of_several: tuple[str, ...] = ()
    due: str = ""
    late_since: str = ""

    @property
    def carried_by(self) -> int:
        """The number of the newer change whose event told of this one; 0 if it was its own."""
        return self.mark.seq if self.mark and self.mark.seq != self.entry.seq else 0

    @property
    def in_words(self) -> str:
        """The state in a few words."""
        flows = ", ".join(map(self._named, self.missing))
        sent = f"sent, awaits {flows}" if flows else "sent by the next tick"
        if self.late_since:
            others = {*self.waiting, *self.in_order}
            late = ", ".join(flow for flow in self.missing if flow not in others)
            since = f"{dt.datetime.fromisoformat(self.late_since):%Y-%m-%d %H:%M %Z}"
            sent = f"sent, no run of {late} has started since {since}"
        gone = f"{', '.join(self.gone)} does not listen any more" if self.gone else ""
        lacks = f"{flows} has not started" if flows else ""
        words = {
            "sent": sent,
            "undelivered": f"undelivered, {' and '.join(filter(None, (lacks, gone)))}",
            "skipped": f"skipped, so that {', '.join(self.skipped)} does not take it",
        }.get(self.state, self.state)
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        together = f", sent with change {self.carried_by}" if self.carried_by else ""
        waits = "waits" if len(self.holds) == 1 else "wait"
        holds = f", {in_ranges(self.holds)} {waits} for its end" if self.holds else ""
        return words + attempt + together + holds

    def _named(self, flow: str) -> str:
        """A flow that is missing, and what it waits for."""
        if flow in self.waiting:
            return f"{flow} (which waits for others too)"
        if flow in self.behind:
            return f"{flow} (in its turn, behind change {self.behind[flow]})"
        return f"{flow} (whose turn it is)" if flow in self.in_order else flow

    def to_json(self) -> dict[str, Json]:
        """What became of the change as plain JSON; the change itself is `entry`'s to tell."""
        return {
            "v": _FORMAT,
            "state": self.state,
            "in_words": self.in_words,
            "event": {"seq": self.mark.seq, "id": self.mark.id, "name": self.mark.event_name}
            if self.mark
            else None,
            "first_seq": self.mark.first if self.mark else None,
            "listeners": [*self.mark.listeners] if self.mark else [],
            "attempt": self.attempt,
            "sendings": [asdict(sending) for sending in self.sendings],
            "receipts": [receipt.to_json() for receipt in self.receipts],
            "missing": [*self.missing],
            "waiting": [*self.waiting],
            "gone": [*self.gone],
            "in_order": [*self.in_order],
            "behind": {**self.behind},
            "holds": [*self.holds],
            "skipped": [*self.skipped],
            "of_several": [*self.of_several],
            "due": self.due,
            "late_since": self.late_since,
        }


def chain(index: JournalIndex, entry: Entry, patience: RetryPolicy, now: dt.datetime) -> Chain:
    """Tell the chain of an entry.

    One request, and one for each receipt and each further sending; none if it was not sent.

    Raises:
        JournalError: if what is noted of it is damaged or can't be read.
    """
    if not entry.is_published:
        return Chain(entry=entry)
    mark = index.mark(entry)
    if mark is None:
        return Chain(entry=entry, state="waiting")
    sendings = index.sendings(mark)
    attempt = max(sending.attempt for sending in sendings)
    # `number` 0 stands where a replay opened the attempt, and nothing was sent yet.
    current = [sending for sending in sendings if sending.attempt == attempt and sending.number]
    to = sendings[-1].to or mark.listeners
    receivers = {flow for number, flow in index.receivers(mark) if number == attempt}
    missing, gone = _missing(index, entry, sendings[-1], to, receivers)
    # A run ends only what it took. What is over since an earlier attempt may still be replayed.
    skipped = tuple(
        flow
        for flow in sorted({*to} & index.in_order)
        if flow not in receivers and index.is_ended(mark, flow, attempt)
    )
    missing = tuple(flow for flow in missing if flow not in skipped)
    receipts = index.receipts(mark)
    waiting = tuple(flow for flow in missing if flow in index.waits)
    in_order = tuple(
        flow
        for flow in sorted({*to} & index.in_order)
        if (flow in missing or flow in receivers) and not index.is_over(mark, flow, attempt)
    )
    lines = {flow: index.line(flow) for flow in in_order}
    # The first of a line is the one whose turn it is; ticks remember the line, so no entry is read.
    behind = {flow: line[0].seq for flow, line in lines.items() if line and line[0].seq < mark.seq}
    # Of flows in order only those are overdue whose turn it is: the others rightly wait.
    by_turn = tuple(flow for flow in missing if flow in in_order)
    others = tuple(flow for flow in missing if flow not in in_order)
    # Whether a flow of several sensors is overdue only a tick knows: it asks the other journals.
    given_up = index.given_up(mark) if waiting else frozenset()
    state, due = _state(
        current,
        missing=others,
        waiting=waiting,
        taken=bool(receivers),
        patience=patience,
        now=now,
    )
    # What other flows lack comes first: that is sent again whoever's turn it is.
    if by_turn and not others:
        state, due = _turn_state(index, mark, attempt, {*by_turn} - {*behind}, patience, now)
    # Nobody took it, but somebody was to: that is not the same as nobody listening.
    if state == "no listener" and skipped:
        state = "skipped"
    if (gone and not missing) or given_up & {*missing}:
        state, due = "undelivered", ""
    is_late = current and others != waiting and _is_late(current[0], patience, now)
    return Chain(
        entry=entry,
        state=state,
        mark=mark,
        attempt=attempt,
        sendings=sendings,
        receipts=receipts,
        missing=missing,
        waiting=waiting,
        gone=gone,
        in_order=in_order,
        behind=behind,
        holds=_held_by(mark, lines),
        skipped=skipped,
        of_several=tuple(sorted(receivers & index.waits.keys())),
        due=due,
        late_since=current[0].at if is_late else "",
    )


def patience_of(sensor: Sensor) -> RetryPolicy:
    """Say how long a sensor awaits receipts, and how often it sends an event."""
    return RetryPolicy(receipt_timeout=sensor.receipt_timeout, max_attempts=sensor.max_attempts)


def likely_causes(flows: str) -> str:
    """Say why no run may have started although the bus has the event, and where to see that."""
    return (
        f"Likely {flows} is not deployed here, or nothing listens (`flowproject deploy --plan`; "
        "on a laptop `flowproject dev` must run); or its Sensor is down (`kubectl get "
        "sensors,pods`); or its Workflow stands still without a status, is suspended, or failed "
        "before its first step (`kubectl get workflows`)"
    )


def _is_late(first: Sending, patience: RetryPolicy, now: dt.datetime) -> bool:
    waited = now - dt.datetime.fromisoformat(first.at)
    return waited >= dt.timedelta(seconds=patience.receipt_timeout)


def _missing(
    index: JournalIndex, entry: Entry, last: Sending, to: Iterable[str], receivers: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the flows that are awaited, and those that nobody awaits because they are gone."""
    lacking = {*to} - receivers
    awaited = lacking & index.listeners
    if last.attempt == 1 and not last.to and index.is_settled(entry):
        # Before anyone replayed it nothing was left to do, whoever listens now.
        awaited = set()
    return tuple(sorted(awaited)), tuple(sorted(lacking - index.listeners))


def _held_by(mark: Mark, lines: Mapping[str, list[Mark]]) -> tuple[int, ...]:
    """Find the changes that wait until a flow's turn to take this event is over."""
    # An event may tell of several changes, and all of them wait.
    held = {
        seq
        for line in lines.values()
        if line and line[0].id == mark.id
        for one in line[1:]
        for seq in range(one.first, one.seq + 1)
    }
    return tuple(sorted(held))


def _turn_state(
    index: JournalIndex,
    mark: Mark,
    attempt: int,
    flows: Iterable[str],
    patience: RetryPolicy,
    now: dt.datetime,
) -> tuple[State, str]:
    """The state of what only flows lack that take it in order; `flows` are those whose turn it is.

    And when the first of them is told of it again.
    """
    due = []
    for notices in (index.notices(mark, flow, attempt) for flow in flows):
        if notices.last is None:
            # A run may have died between the end of a turn and telling the next: a tick does it.
            continue
        if next_step(notices.count, notices.last, patience, now) == "give up":
            return "undelivered", ""
        due.append((notices.last + wait_after(notices.count, patience)).isoformat())
    return "sent", min(due, default="")


def _state(
    sendings: list[Sending],
    *,
    missing: tuple[str, ...],
    waiting: tuple[str, ...],
    taken: bool,
    patience: RetryPolicy,
    now: dt.datetime,
) -> tuple[State, str]:
    if not sendings:
        return "sent", ""
    if not missing:
        return ("delivered" if taken else "no listener"), ""
    if waiting == missing and len(sendings) == 1:
        # It is sent again when what else they wait for has been sent; when that is nobody can say.
        return "sent", ""
    last = dt.datetime.fromisoformat(sendings[-1].at)
    if next_step(len(sendings), last, patience, now) == "give up":
        return "undelivered", ""
    return "sent", (last + wait_after(len(sendings), patience)).isoformat()
