"""Finds the change that a person names, and replays it or ends its turn."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowproject.changes.entry import Entry
from flowproject.config.model import Sensor
from flowproject.errors import DeliveryError, FlowprojectError, UsageError
from flowproject.events import bus_address
from flowproject.journal import Awaited, Journal, JournalIndex, Mark, Sendings, UnreadableError
from flowproject.sensing.chain import Chain, chain, patience_of
from flowproject.sensing.change_events import event_of, send
from flowproject.sensing.context import ProjectContext
from flowproject.sensing.orphans import context_of, orphans
from flowproject.sensing.turns import Turn, give_next_turn

__all__ = ["FoundChange", "Replay", "Skip", "find_change", "replay", "skip"]

_ID: Final = re.compile(r"[0-9a-f]{6,32}")
_NUMBERED: Final = re.compile(r"((?:[^/]+/)?[^/]+)/(\d+)")
_ALLOWED: Final = "A change is written as its id, at least 6 digits of it, or as sensor/number"
_LIST: Final = "`flowproject history` lists the changes"


@dataclass(frozen=True, kw_only=True)
class FoundChange:
    """Holds a change, its sensor and journal, and what became of it.

    `former` is how a command is told of the journal, if no sensor stands for it any more: then
    `sensor` is another.
    """

    sensor: Sensor
    journal: Journal
    chain: Chain
    former: str = ""

    def require_sensor(self) -> None:
        """Refuse a change whose journal no sensor stands for.

        Raises:
            UsageError: if none does.
        """
        if self.former:
            seq = self.chain.entry.seq
            raise UsageError(
                f"No sensor is called {self.former!r} any more, so nothing is done about its "
                f"change {seq}",
                where=self.journal.location,
                allowed="The sensor that it is now has to have its journal first",
                fix=f"`flowproject move {self.former} NEW-NAME`, and then NEW-NAME/{seq}; or give "
                f"up what is left: `flowproject reset {self.former}`",
            )


def find_change(context: ProjectContext, text: str) -> FoundChange:
    """Find the change that `text` means, on the branch of the context.

    Raises:
        UsageError: if it means none, or several.
        JournalError: if the journal can't be read.
    """
    if numbered := _NUMBERED.fullmatch(text):
        place, name = context_of(context, numbered[1])
        [sensor] = place.sensors([name])
        one = _numbered(place, sensor, int(numbered[2]))
        return one if place is context else replace(one, former=numbered[1])
    if not _ID.fullmatch(text):
        raise UsageError(f"{text!r} names no change", allowed=_ALLOWED, fix=_LIST)
    found = [one for sensor in context.sensors() for one in _with_id(context, sensor, text)]
    # Only then those of no sensor: that is a listing, and a survey of each journal.
    if not found:
        found = [
            replace(one, former=left.name)
            for left in orphans(context)
            for place, name in [context_of(context, left.name)]
            for one in _with_id(place, place.project.sensors[name], text)
        ]
    if not found:
        raise UsageError(
            f"There is no change {text!r}",
            where=f"Journals of branch {context.branch}",
            allowed="A journal keeps the newest 500 entries, and each branch has its own",
            fix=f"{_LIST}; another branch: `--branch` or `--production`",
        )
    if len(found) > 1:
        raise _ambiguous(text, found)
    return found[0]


def _numbered(context: ProjectContext, sensor: Sensor, seq: int) -> FoundChange:
    journal = context.journal(sensor.name)
    entry = journal.get(seq)
    if entry is None:
        index = journal.index()
        newest = index.numbers[0] if index.numbers else 0
        pruned = 0 < seq <= newest
        raise UsageError(
            f"Number {seq} of sensor {sensor.name!r} "
            + ("is not in the journal any more" if pruned else "was never recorded"),
            where=journal.location,
            allowed=f"Numbers {index.numbers[-1]} to {newest}" if newest else "It is empty",
            fix=f"`flowproject history {sensor.name}`",
        )
    return _found(context, sensor, journal, journal.index(), entry)


def _with_id(context: ProjectContext, sensor: Sensor, start: str) -> Iterator[FoundChange]:
    journal = context.journal(sensor.name)
    index = journal.index()
    for entry in _entries(journal, index, start):
        if entry.id.startswith(start):
            yield _found(context, sensor, journal, index, entry)


def _entries(journal: Journal, index: JournalIndex, start: str) -> Iterator[Entry]:
    """Read the entries whose id may be meant."""
    for seq in index.numbers:
        # Of what was sent the id stands in the name of its mark, and no entry need be read.
        if not index.ids.get(seq, start).startswith(start):
            continue
        try:
            entry = journal.get(seq)
        except UnreadableError:
            continue  # nobody can tell its id, and `history` shows that it is there
        if entry:
            yield entry


def _found(
    context: ProjectContext, sensor: Sensor, journal: Journal, index: JournalIndex, entry: Entry
) -> FoundChange:
    found = chain(index, entry, patience_of(sensor), context.clock())
    return FoundChange(sensor=sensor, journal=journal, chain=found)


def _ambiguous(text: str, found: Sequence[FoundChange]) -> UsageError:
    entries = [one.chain.entry for one in found]
    return UsageError(
        f"{text!r} is the beginning of {len(found)} ids",
        where=", ".join(f"{entry.sensor}/{entry.seq} ({entry.id})" for entry in entries),
        fix=f"Write more digits, or {entries[0].sensor}/{entries[0].seq}",
    )


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Says that an event was sent in an attempt; `awaited` are the flows known to listen.

    `later` are those of them that take changes in order and were not told: others have their turn.
    """

    mark: Mark
    attempt: int
    awaited: tuple[str, ...]
    later: tuple[str, ...] = ()


def replay(context: ProjectContext, found: FoundChange, by: str, *, bus: str = "") -> Replay:
    """Send a change anew; from now on ticks await its receipts, and send it again if need be.

    If a listener has not started in the newest attempt, or is gone, that one is sent once more, to
    whoever listens now: who has started does nothing. Otherwise a new attempt is opened. A flow
    that takes changes in order is told if it is its turn to take this one, or was and is over. It
    goes to `bus` if no bus is configured.

    Raises:
        UsageError: if the change is none to be sent, waits for its first sending, or has no bus.
        DeliveryError: if the bus has not taken it.
        JournalError: if the journal does not keep the change any more, or can't be written.
    """
    found.require_sensor()
    mark = _sent(found)
    # The configured one first: in a pod of a cluster a loop of this laptop means nothing.
    bus = bus_address() or bus
    if not bus:
        raise UsageError(
            f"Change {found.chain.entry.id} can't be sent: no event bus is configured",
            where="METAFLOW_ARGO_EVENTS_WEBHOOK_URL is empty",
            allowed="A cluster has a bus, and so has a loop, which is found by itself: none of "
            f"this project runs here for branch {context.branch!r}",
            fix="Start `flowproject dev` in another terminal, and replay again",
        )
    journal = found.journal
    event = event_of(journal, mark)
    attempt, number = _attempt(context, found, mark, by)
    # Noted for the ticks before it is sent: whatever fails on the way, the next replay or tick goes
    # on from there.
    journal.put_back(mark)
    now = context.clock()
    at = now.isoformat()
    listeners = journal.outbox.listeners()
    # To whoever listens now, which the note keeps: the mark has those of the first sending.
    listening = sorted(listeners.flows)
    journal.outbox.note_sending(mark, attempt=attempt, number=number, at=at, run=by, to=listening)
    try:
        send(found.sensor, journal, event, first=mark.first, attempt=attempt, bus=bus)
    except DeliveryError:
        journal.outbox.forget_sending(mark, attempt=attempt, number=number)
        raise
    sendings = Sendings(attempt=attempt, count=number, last=now, to=tuple(listening))
    turns = give_next_turn(
        found.sensor,
        journal,
        listeners.in_order,
        now=now,
        run=by,
        bus=bus,
        also=Awaited(mark=mark, sendings=sendings),
    )
    given = {turn.flow for turn in turns if turn.event.mark.id == mark.id}
    later = tuple(flow for flow in found.chain.behind if flow not in given)
    return Replay(mark=mark, attempt=attempt, awaited=tuple(listening), later=later)


def _sent(found: FoundChange) -> Mark:
    """Give the mark of a change, which must have been sent before."""
    entry, mark = found.chain.entry, found.chain.mark
    where = f"Number {entry.seq} of sensor {entry.sensor!r}"
    if not entry.is_published:
        raise UsageError(
            f"{entry.id} is a {entry.outcome}, and that is never sent",
            where=where,
            allowed="Changes are replayed: entries that are 'changed' or 'forced'",
            fix=f"`flowproject history {entry.sensor}` lists them",
        )
    if mark is None:
        raise UsageError(
            f"Change {entry.id} was not sent yet, so there is nothing to replay",
            where=where,
            allowed="It waits, and the next tick with an event bus sends it",
            fix="Run SensorFlow, or `flowproject dev`",
        )
    return mark


def _attempt(context: ProjectContext, found: FoundChange, mark: Mark, by: str) -> tuple[int, int]:
    """Choose the attempt to send, and count the sendings of it with this one."""
    known = found.journal.outbox.sendings(mark)
    missing = found.chain.missing
    lacking = {flow for flow in missing if not _waits_rightly(context, found, flow)}
    # A run that holds the next changes back has taken this attempt, and a replay is to end that.
    held = {*found.chain.in_order} - {*missing}
    # An attempt that was opened and never sent is used before another is opened.
    if ((lacking or found.chain.gone) and not held) or not known.count:
        return known.attempt, known.count + 1
    return found.journal.outbox.open_attempt(mark, at=context.clock().isoformat(), by=by), 1


def _waits_rightly(context: ProjectContext, found: FoundChange, flow: str) -> bool:
    """Whether a flow has not started because another of its sensors has nothing new for it."""
    if flow not in found.chain.waiting:
        return False
    sensors = found.journal.outbox.listeners().waits.get(flow, ())
    others = [context.journal(name) for name in sensors if name != found.sensor.name]
    return not all(_lacks(other, flow) for other in others)


def _lacks(journal: Journal, flow: str) -> bool:
    """Whether the newest event of a sensor was for a flow, which has not taken it."""
    index = journal.index()
    newest = max(index.ids, default=0)
    entry = journal.readable(newest) if newest else None
    mark = index.mark(entry) if entry else None
    if mark is None or flow not in mark.listeners:
        return False
    return flow not in {name for _, name in index.receivers(mark)}


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Says that turns of flows to take a change are over, and which have another now."""

    seq: int
    flows: tuple[str, ...]
    next: tuple[Turn, ...]
    problem: str = ""


def skip(context: ProjectContext, found: FoundChange, by: str, *, bus: str = "") -> Skip:
    """End the turns of all flows that take a change in order: what follows from it.

    Raises:
        UsageError: if no flow takes it in order, or has its turn still to end.
        JournalError: if the journal can't be read or written.
    """
    found.require_sensor()
    known, journal = found.chain, found.journal
    entry, mark = known.entry, known.mark
    flows = known.in_order
    if mark is None or not flows:
        raise UsageError(
            f"No flow has a turn for change {entry.seq} of sensor {entry.sensor!r} that is to end",
            where=f"State: {known.in_words or entry.outcome}",
            allowed="Flows with `@on_change(..., in_order=True)` have turns, one for each change",
            fix=f"`flowproject history {entry.sensor}` says what waits",
        )
    now = context.clock()
    # First what is over, then what follows: whoever dies in between leaves the rest to a tick.
    for flow in flows:
        journal.turns.end(
            mark.seq,
            mark.id,
            attempt=known.attempt,
            flow=flow,
            how="skipped",
            by=by,
            at=now.isoformat(timespec="seconds"),
        )
    bus = bus_address() or bus
    try:
        turns = (
            give_next_turn(found.sensor, journal, flows, now=now, run=by, bus=bus) if bus else []
        )
    except FlowprojectError as error:
        return Skip(seq=mark.seq, flows=flows, next=(), problem=str(error))
    return Skip(seq=mark.seq, flows=flows, next=tuple(turns))
