"""The chain of a change in lines for a person: what it was, how it was sent, and who took it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from functools import cache
from pathlib import Path

from flowproject.changes.canonical import dumps
from flowproject.changes.columns import ColumnsChange
from flowproject.cli.place import loops_folder
from flowproject.dev.records import known_here
from flowproject.flowfiles import file_of
from flowproject.journal import Sending
from flowproject.runs import RunOutcome, in_words, outcomes_of
from flowproject.sensing import Chain, likely_causes

__all__ = ["chain_lines", "options_of", "read_outcomes", "ways_on"]


def read_outcomes(root: Path, chains: Sequence[Chain]) -> list[list[RunOutcome]]:
    """What became of the runs that took each of the changes, for the project in this folder."""

    @cache
    def here() -> Mapping[str, str]:
        return known_here(loops_folder(root))

    # Metaflow looks for local runs in the current folder and above.
    with chdir(root):
        return [outcomes_of(told, here) for told in chains]


def options_of(branch: str, *, production: bool) -> tuple[str, ...]:
    """The branch as command lines take it."""
    return (*(("--branch", branch) if branch else ()), *(("--production",) if production else ()))


def ways_on(
    told: Chain, outcomes: Sequence[RunOutcome], root: Path, options: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What goes on with a change whose run did not do its work: what it does, and the command."""
    bad = [one for one in outcomes if one.is_over_and_failed]
    for one in bad:
        flow, _, run_id = one.newest.partition("/")
        resume = ["python", file_of(root, flow), *options, "resume", "--origin-run-id", run_id]
        yield f"to go on with {one.newest}", shlex.join(resume)
    if bad:
        change = f"{told.entry.sensor}/{told.entry.seq}"
        yield "to begin anew", shlex.join(["flowproject", "replay", *options, change])
        if told.in_order:
            skip = shlex.join(["flowproject", "skip", *options, change])
            yield "to let the next ones pass", skip


def chain_lines(told: Chain, outcomes: Sequence[RunOutcome] = ()) -> list[str]:
    """What there is to tell of a change, indented, each fact with its name."""
    return [f"  {name:<10}{text}" for name, text in _facts(told, outcomes) if text]


def _facts(told: Chain, outcomes: Sequence[RunOutcome]) -> Iterator[tuple[str, str]]:
    entry = told.entry
    yield "reason", entry.reason
    yield "value", f"{dumps(entry.previous)} → {dumps(entry.value)}"
    yield "items", ", ".join(f"{count} {kind}" for kind, count in entry.counts.items())
    yield "columns", ColumnsChange.from_json(entry.columns_change).in_words
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
    for one in outcomes:
        if one.resumed_by:
            yield "resumed", f"{one.run} by {one.resumed_by}"
    yield "state", in_words(told, outcomes)
    if told.late_since:
        yield "", likely_causes(", ".join(told.missing))
    yield from _turns(told)
    yield "", f"sent again if need be, or given up, after {told.due}" if told.due else ""
    if told.state == "undelivered":
        yield "", f"`flowproject replay {entry.sensor}/{entry.seq}` sends it anew"
    if told.state == "waiting":
        yield "", "the next tick with an event bus sends it"


def _turns(told: Chain) -> Iterator[tuple[str, str]]:
    for flow, seq in told.behind.items():
        before = f"{told.entry.sensor}/{seq}"
        yield (
            "turn",
            f"{flow} takes changes in order, and is at change {seq} (`flowproject why {before}`)",
        )


def _sending(sending: Sending) -> tuple[str, str]:
    told = _at_by(sending.at, sending.run)
    if not sending.number:
        return "replayed", f"{told}: attempt {sending.attempt}"
    if sending.attempt > 1:
        return "sent", f"{told}: attempt {sending.attempt}, number {sending.number}"
    return "sent", told + (f": number {sending.number}" if sending.number > 1 else "")


def _at_by(at: str, by: str) -> str:
    return f"{at} by {by}" if by else at
