"""One event of one change: what it says, and putting it on the bus."""

from flowproject.changes.entry import Entry
from flowproject.changes.payload import payload
from flowproject.config.model import Sensor
from flowproject.errors import JournalError
from flowproject.events import full_name, publish, turn_event
from flowproject.journal import Journal, Mark

__all__ = ["event_of", "send"]


def send(
    sensor: Sensor,
    journal: Journal,
    event: Entry,
    *,
    first: int,
    attempt: int,
    turn_of: str = "",
    bus: str = "",
) -> str:
    """Put the event of a change on the bus, the configured one by default: its full name.

    With `turn_of` it is that by which this flow is told that it is its turn.

    Raises:
        DeliveryError: if the bus has not taken it.
    """
    name = full_name(sensor.event_name, project=journal.project, branch=journal.branch)
    name = turn_event(name, turn_of) if turn_of else name
    message = payload(
        event,
        payload_key=sensor.payload_key,
        location=journal.entry_key(event.seq),
        attempt=attempt,
        first_seq=first,
        turn_of=turn_of,
    )
    publish(name, message, bus=bus)
    return name


def event_of(journal: Journal, mark: Mark) -> Entry:
    """The entry that an event told of, as the event had it.

    Raises:
        JournalError: if the journal does not keep it any more.
    """
    last = journal.readable(mark.seq)
    if last is None:
        raise JournalError(
            f"Change {mark.seq} of sensor {journal.sensor!r} is not in the journal any more",
            where=journal.location,
            allowed="The journal keeps the newest entries only",
        )
    if mark.first == mark.seq:
        return last
    first = journal.readable(mark.first)
    decision = journal.outbox.combination(first) if first else None
    return decision.applied_to(last) if decision else last
