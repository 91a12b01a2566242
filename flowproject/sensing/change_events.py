"""Makes the event of a change, or of several that are told together, and sends it to the bus."""

from collections.abc import Sequence
from dataclasses import replace

from flowproject.changes.canonical import Json
from flowproject.changes.columns import ColumnsChange, columns_before, columns_change
from flowproject.changes.difference import Difference, combine
from flowproject.changes.entry import Entry
from flowproject.changes.payload import payload
from flowproject.config.model import Sensor
from flowproject.errors import JournalError
from flowproject.events import full_name, publish, turn_event
from flowproject.journal import Combination, Journal, Mark
from flowproject.sensing.tick import sample

__all__ = ["combined", "event_of", "send", "together"]


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
    # A turn is told by an event of the flow's own: other flows of the sensor wait for nobody.
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
    """Read the entry that an event told of, as the event had it.

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
    # Not combined anew: what an event told of was decided once, whatever is configured now.
    decision = journal.outbox.combination(first) if first else None
    return decision.applied_to(last) if decision else last


def together(journal: Journal, group: Sequence[Entry]) -> Combination:
    """Combine some entries in a row, and write their difference; one stays as it is.

    Raises:
        DamagedTableError: if the table of one of them is gone or can't be read.
    """
    # One change by itself keeps the table that its entry names: nothing is written twice.
    if len(group) == 1:
        return _alone(group[0])
    combination, difference = combined(journal, group)
    if not any(entry.difference for entry in group):
        return combination
    return replace(
        combination, difference=journal.snapshots.write_difference(group[-1].seq, difference)
    )


def combined(journal: Journal, group: Sequence[Entry]) -> tuple[Combination, Difference]:
    """Combine some entries in a row, and give their difference; nothing is written.

    Raises:
        DamagedTableError: if the table of one of them is gone or can't be read.
    """
    first, last = group[0], group[-1]
    difference = combine([journal.snapshots.difference(entry) for entry in group])
    if len(group) == 1:
        return _alone(first), difference
    combination = Combination(
        first=first.seq,
        last=last.seq,
        reason=f"{len(group)} changes at once; the last: {last.reason}",
        previous=first.previous,
        counts=difference.counts,
        sample=sample(difference),
        difference="",
        columns_change=_columns_change(first, last),
    )
    return combination, difference


def _columns_change(first: Entry, last: Entry) -> dict[str, Json]:
    """Tell what happened to the columns from before the first entry to the last."""
    before = columns_before(first.columns, ColumnsChange.from_json(first.columns_change))
    return columns_change(before, last.columns).to_json()


def _alone(entry: Entry) -> Combination:
    return Combination(
        first=entry.seq,
        last=entry.seq,
        reason=entry.reason,
        previous=entry.previous,
        counts=entry.counts,
        sample=entry.sample,
        difference=entry.difference,
        columns_change=entry.columns_change,
    )
