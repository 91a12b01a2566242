"""Replaying a change: its event is sent once more, in an attempt that each flow may take anew."""

from dataclasses import dataclass

from flowproject.errors import DeliveryError, UsageError
from flowproject.events import bus_address
from flowproject.journal import Awaited, Journal, Mark, Sendings
from flowproject.sensing.finding import Found
from flowproject.sensing.scene import Scene
from flowproject.sensing.sending import event_of, send
from flowproject.sensing.turns import give_next_turn

__all__ = ["Replay", "replay"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """That the event of a mark was sent in an attempt; `awaited` are the flows known to listen.

    `later` are those of them that take changes in order and were not told: others have their turn.
    """

    mark: Mark
    attempt: int
    awaited: tuple[str, ...]
    later: tuple[str, ...] = ()


def replay(scene: Scene, found: Found, by: str, *, bus: str = "") -> Replay:
    """A change sent anew; from now on ticks await its receipts, and send it again if need be.

    If a listener has not started in the newest attempt, or is gone, that one is sent once more, to
    whoever listens now: who has started does nothing. Otherwise a new attempt is opened, and noted
    for the ticks before it is sent. One that was never sent is used before another is opened:
    whatever fails on the way, the next replay or tick goes on from there. A flow that takes changes
    in order is told if it is its turn to take this one, or was and is over. It goes to `bus` if no
    bus is configured.

    Raises:
        UsageError: if the change is none to be sent, waits for its first sending, or has no bus.
        DeliveryError: if the bus has not taken it.
        JournalError: if the journal does not keep the change any more, or can't be written.
    """
    found.require_sensor()
    mark = _sent(found)
    bus = bus_address() or bus
    if not bus:
        raise UsageError(
            f"Change {found.chain.entry.id} can't be sent: no event bus is configured",
            where="METAFLOW_ARGO_EVENTS_WEBHOOK_URL is empty",
            allowed="A cluster has a bus, and so has a loop, which is found by itself: none of "
            f"this project runs here for branch {scene.branch!r}",
            fix="Start `flowproject dev` in another terminal, and replay again",
        )
    journal = found.journal
    event = event_of(journal, mark)
    attempt, number = _attempt(scene, found, mark, by)
    journal.put_back(mark)
    now = scene.clock()
    at = now.isoformat()
    listeners = journal.outbox.listeners()
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
    told = {turn.flow for turn in turns if turn.event.mark.id == mark.id}
    later = tuple(flow for flow in found.chain.behind if flow not in told)
    return Replay(mark=mark, attempt=attempt, awaited=tuple(listening), later=later)


def _sent(found: Found) -> Mark:
    """The mark of a change that was sent before."""
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


def _attempt(scene: Scene, found: Found, mark: Mark, by: str) -> tuple[int, int]:
    """The attempt to send, and the how many-eth sending of it this is."""
    known = found.journal.outbox.sendings(mark)
    missing = found.chain.missing
    lacking = {flow for flow in missing if not _waits_rightly(scene, found, flow)}
    # A run that holds the next changes back has taken this attempt, and a replay is to end that.
    held = {*found.chain.in_order} - {*missing}
    if ((lacking or found.chain.gone) and not held) or not known.count:
        return known.attempt, known.count + 1
    return found.journal.outbox.open_attempt(mark, at=scene.clock().isoformat(), by=by), 1


def _waits_rightly(scene: Scene, found: Found, flow: str) -> bool:
    """Whether a flow has not started because another of its sensors has nothing new for it."""
    if flow not in found.chain.waiting:
        return False
    sensors = found.journal.outbox.listeners().waits.get(flow, ())
    others = [scene.journal(name) for name in sensors if name != found.sensor.name]
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
