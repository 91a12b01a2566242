"""Tells a person how a change was delivered: how it was sent, who took it, what to do next."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import cache
from pathlib import Path

from flowproject.changes.canonical import dumps
from flowproject.changes.columns import ColumnsChange
from flowproject.cli.context import loops_folder
from flowproject.dev.records import known_here
from flowproject.flowfiles import file_of
from flowproject.journal import Sending
from flowproject.runs import RunOutcome, in_words, outcomes_of
from flowproject.sensing import Chain, likely_causes

__all__ = [
    "delivery_lines",
    "known_runs",
    "next_commands",
    "options_of",
    "options_of_branch",
    "read_outcomes",
    "resume_command",
]


def read_outcomes(root: Path, chains: Sequence[Chain]) -> list[list[RunOutcome]]:
    """What became of the runs that took each of the changes, for the project in this folder."""
    # Metaflow looks for local runs in the current folder and above.
    known = known_runs(root)
    with chdir(root):
        return [outcomes_of(delivery, known) for delivery in chains]


def known_runs(root: Path) -> Callable[[], Mapping[str, str]]:
    """What this machine knows of unfinished runs of the project in this folder, read once."""
    # Read when first asked for, and once: records of runs are a file each.
    return cache(lambda: known_here(loops_folder(root)))


def options_of(branch: str, *, production: bool) -> tuple[str, ...]:
    """The branch as command lines take it."""
    return (*(("--branch", branch) if branch else ()), *(("--production",) if production else ()))


def options_of_branch(branch: str) -> tuple[str, ...]:
    """The same of a branch with its prefix; `user.x` is the branch of whoever works here."""
    # Metaflow puts the prefix before what --branch says, and --production is its own option.
    kind, _, name = branch.partition(".")
    return options_of(name if kind in ("test", "prod") else "", production=kind == "prod")


def resume_command(run: str, root: Path, options: Sequence[str]) -> str:
    """The command that goes on with a run, written `Flow/id`."""
    flow, _, run_id = run.partition("/")
    return shlex.join(
        ["python", file_of(root, flow), *options, "resume", "--origin-run-id", run_id]
    )


def next_commands(
    delivery: Chain, outcomes: Sequence[RunOutcome], root: Path, options: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What goes on with a change whose run did not do its work: what it does, and the command."""
    bad = [one for one in outcomes if one.is_over_and_failed]
    for one in bad:
        yield f"to go on with {one.newest}", resume_command(one.newest, root, options)
    change = f"{delivery.entry.sensor}/{delivery.entry.seq}"
    # A flow that waits for several sensors starts when all of them have something for it: what is
    # replayed of one starts nothing, and the resumption has all that the run had.
    if any(one.run.partition("/")[0] not in delivery.of_several for one in bad):
        yield "to begin anew", shlex.join(["flowproject", "replay", *options, change])
    if bad and delivery.in_order:
        skip = shlex.join(["flowproject", "skip", *options, change])
        yield "to let the next ones pass", skip


def delivery_lines(delivery: Chain, outcomes: Sequence[RunOutcome] = ()) -> list[str]:
    """What there is to tell of a change, indented, each fact with its name."""
    return [f"  {name:<10}{text}" for name, text in _facts(delivery, outcomes) if text]


def _facts(delivery: Chain, outcomes: Sequence[RunOutcome]) -> Iterator[tuple[str, str]]:
    entry = delivery.entry
    yield "reason", entry.reason
    yield "value", f"{dumps(entry.previous)} → {dumps(entry.value)}"
    yield "items", ", ".join(f"{count} {kind}" for kind, count in entry.counts.items())
    yield "columns", ColumnsChange.from_json(entry.columns_change).in_words
    yield "id", entry.id
    yield "recorded", _at_by(entry.recorded_at, entry.run)
    if delivery.mark:
        yield "event", delivery.mark.event_name
    if delivery.carried_by:
        yield "", f"it was sent with change {delivery.carried_by}, whose id the event has"
    for sending in delivery.sendings:
        yield _sending(sending)
    for receipt in delivery.receipts:
        again = f", attempt {receipt.attempt}" if delivery.attempt > 1 else ""
        yield "taken", f"{_at_by(receipt.at, receipt.run)}{again}"
    for one in outcomes:
        if one.resumed_by:
            yield "resumed", f"{one.run} by {one.resumed_by}"
    yield "state", in_words(delivery, outcomes)
    if delivery.late_since:
        yield "", likely_causes(", ".join(delivery.missing))
    yield from _turns(delivery)
    yield "", f"sent again if need be, or given up, after {delivery.due}" if delivery.due else ""
    if delivery.state == "undelivered":
        yield "", f"`flowproject replay {entry.sensor}/{entry.seq}` sends it anew"
    if delivery.state == "waiting":
        # On a laptop without a loop there is none, and then a change is right to wait.
        yield "", "the next tick with an event bus sends it"


def _turns(delivery: Chain) -> Iterator[tuple[str, str]]:
    for flow, seq in delivery.behind.items():
        before = f"{delivery.entry.sensor}/{seq}"
        yield (
            "turn",
            f"{flow} takes changes in order, and is at change {seq} (`flowproject why {before}`)",
        )


def _sending(sending: Sending) -> tuple[str, str]:
    delivery = _at_by(sending.at, sending.run)
    if not sending.number:
        return "replayed", f"{delivery}: attempt {sending.attempt}"
    if sending.attempt > 1:
        return "sent", f"{delivery}: attempt {sending.attempt}, number {sending.number}"
    return "sent", delivery + (f": number {sending.number}" if sending.number > 1 else "")


def _at_by(at: str, by: str) -> str:
    return f"{at} by {by}" if by else at
