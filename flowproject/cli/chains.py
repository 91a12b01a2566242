"""The chain of a change in lines for a person: what it was, how it was sent, and who took it."""

from collections.abc import Iterator

from flowproject.changes.canonical import dumps
from flowproject.journal import Sending
from flowproject.sensing import Chain, likely_causes

__all__ = ["chain_lines"]


def chain_lines(told: Chain) -> list[str]:
    """What there is to tell of a change, indented, each fact with its name."""
    return [f"  {name:<10}{text}" for name, text in _facts(told) if text]


def _facts(told: Chain) -> Iterator[tuple[str, str]]:
    entry = told.entry
    yield "reason", entry.reason
    yield "value", f"{dumps(entry.previous)} → {dumps(entry.value)}"
    yield "items", ", ".join(f"{count} {kind}" for kind, count in entry.counts.items())
    yield "id", entry.id
    yield "recorded", _at_by(entry.recorded_at, entry.run)
    if told.mark:
        yield "event", told.mark.event_name
    if told.carried_by:
        yield "", f"it was sent with change {told.carried_by}, whose id the event has"
    for sending in told.sendings:
        yield _sending(sending)
    for receipt in told.receipts:
        again = f", attempt {receipt.attempt}" if told.attempt > 1 else ""
        yield "taken", f"{_at_by(receipt.at, receipt.run)}{again}"
    yield "state", told.in_words
    if told.late_since:
        yield "", likely_causes(", ".join(told.missing))
    yield "", f"sent again if need be, or given up, after {told.due}" if told.due else ""
    if told.state == "undelivered":
        yield "", f"`flowproject replay {entry.sensor}/{entry.seq}` sends it anew"
    if told.state == "waiting":
        yield "", "the next tick with an event bus sends it"


def _sending(sending: Sending) -> tuple[str, str]:
    told = _at_by(sending.at, sending.run)
    if not sending.number:
        return "replayed", f"{told}: attempt {sending.attempt}"
    if sending.attempt > 1:
        return "sent", f"{told}: attempt {sending.attempt}, number {sending.number}"
    return "sent", told + (f": number {sending.number}" if sending.number > 1 else "")


def _at_by(at: str, by: str) -> str:
    return f"{at} by {by}" if by else at
