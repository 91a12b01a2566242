"""Tells how a change was delivered and what to do next; runs `flowproject replay` and `skip`.

`replay` sends changes anew, so that flows may run for them again. `skip` lets the changes behind
one pass, with flows that take them in order.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flowproject import sensing
from flowproject.changes.canonical import dumps
from flowproject.changes.columns import ColumnsChange
from flowproject.cli.context import Branch, Production, local_bus, loops_folder, open_context
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.dev.records import known_here
from flowproject.errors import UsageError
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
    "replay",
    "resume_command",
    "skip",
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
    """Give the options of a command line that name the branch."""
    return (*(("--branch", branch) if branch else ()), *(("--production",) if production else ()))


def options_of_branch(branch: str) -> tuple[str, ...]:
    """Give the options for a branch with its prefix; `user.x` is that of whoever works here."""
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


# Greedy: the name of a sensor may not have a slash, and what stands before the last is a name.
_RANGE: Final = re.compile(r"(.+)/(\d+)-(\d+)")
# As many as a journal keeps.
_MOST: Final = 500


def replay(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="CHANGE...",
            help="Changes: an id, 6 or more digits of it, sensor/number, or sensor/first-last.",
        ),
    ],
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Send changes anew, each with its id, in this order.

    As a new attempt, for which flows that ran before run again; or, if a flow that listens has not
    run yet, for that one. Without a configured event bus it goes to the loop of this project and
    branch that runs on this machine.
    """
    context = open_context(branch, production=production)
    wanted = [one for text in changes for one in _each(text)]
    with working(f"Sending {', '.join(changes)}"):
        # All are found before one is sent, and what was sent as one event is sent once.
        found = [sensing.find_change(context, one) for one in wanted]
        # One event for changes that were sent as one: its id, and not theirs, is what runs took.
        events = {one.chain.mark.id if one.chain.mark else one.chain.entry.id: one for one in found}
        sent = [
            (
                one.chain,
                sensing.replay(context, one, by="flowproject replay", bus=local_bus(context)),
            )
            for one in events.values()
        ]
    if as_json:
        documents = [_document(one, done) for one, done in sent]
        print_json(documents[0] if len(documents) == 1 else documents)
        return 0
    # As they are before the event arrives: what is told of is why somebody replays.
    outcomes = read_outcomes(context.root, [one for one, _ in sent])
    options = options_of(branch, production=production)
    for (one, done), runs in zip(sent, outcomes, strict=True):
        resumes = {
            run.newest: resume_command(run.newest, context.root, options)
            for run in runs
            if run.is_over_and_failed
        }
        print_lines(_story(one, done, runs, resumes))
    return 0


def _each(text: str) -> list[str]:
    """The changes that an argument means: one, or those from `sensor/first-last`."""
    if not (several := _RANGE.fullmatch(text)):
        return [text]
    first, last = int(several[2]), int(several[3])
    if not 0 <= last - first < _MOST:
        raise UsageError(
            f"{text!r} is no range of changes",
            allowed=f"sensor/first-last, {_MOST} changes at most, as in {several[1]}/2-9",
            fix=f"`flowproject history {several[1]}` lists them",
        )
    return [f"{several[1]}/{seq}" for seq in range(first, last + 1)]


def _document(delivery: Chain, sent: sensing.Replay) -> dict[str, Any]:
    entry, mark = delivery.entry, sent.mark
    return {
        "v": 1,
        "sensor": entry.sensor,
        "seq": entry.seq,
        "id": entry.id,
        "attempt": sent.attempt,
        "event": {"seq": mark.seq, "id": mark.id, "name": mark.event_name},
        "first_seq": mark.first,
        "awaited": [*sent.awaited],
    }


def _story(
    delivery: Chain,
    sent: sensing.Replay,
    runs: Sequence[RunOutcome],
    resumes: Mapping[str, str],
) -> list[str]:
    entry, mark = delivery.entry, sent.mark
    lines = []
    if mark.first != mark.seq:
        lines.append(
            f"Changes {mark.first} to {mark.seq} of sensor {entry.sensor!r} were sent as one "
            "event, and so they are replayed."
        )
    if delivery.state == "delivered":
        lines.append(f"It had been {in_words(delivery, runs)}: the flows that took it run again.")
    for run, command in resumes.items():
        # Such a flow starts when all its sensors have something: one replayed change never starts
        # it.
        if run.partition("/")[0] in delivery.of_several:
            lines.append(
                f"{run} took changes of other sensors too, and its flow starts when all of them "
                f"have something for it. To go on with all that it took: {command}"
            )
    awaits = ", ".join(sent.awaited)
    return [
        *lines,
        f"{entry.sensor}: change {mark.seq}, id {mark.id}, was sent as attempt {sent.attempt}.",
        *(
            [f"{', '.join(delivery.missing)} had not started for it; who has started does nothing."]
            if delivery.missing
            else []
        ),
        *(
            f"{flow} takes changes in order, and is told of it when it is its turn."
            for flow in sent.later
        ),
        f"Ticks await the receipt of {awaits}, and send it again if need be."
        if awaits
        else "No flow is known to listen, so nobody's receipt is awaited.",
        f"`flowproject why {entry.sensor}/{entry.seq}` shows who takes it.",
    ]


_LATER: Final = (
    "The next one is told by a tick, when every turn before it is over: `flowproject history "
    "{sensor}` says which is not."
)


def skip(
    change: Annotated[
        str, typer.Argument(help="A change: its id, 6 or more digits of it, or sensor/number.")
    ],
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Let the next changes pass, with flows that take them in order.

    A flow with `@on_change(..., in_order=True)` has its next change when the run of the one before
    has succeeded. This ends the turn of a change whose run failed and is not to be run again; one
    whose turn has not come is passed over.
    """
    context = open_context(branch, production=production)
    with working(f"Skipping {change}"):
        found = sensing.find_change(context, change)
        skipped = sensing.skip(context, found, by="flowproject skip", bus=local_bus(context))
    entry = found.chain.entry
    if as_json:
        print_json(
            {
                "v": 1,
                "sensor": entry.sensor,
                "seq": skipped.seq,
                "id": entry.id,
                "flows": [*skipped.flows],
                "next": {turn.flow: turn.event.mark.seq for turn in skipped.next},
            }
        )
        return 0
    flows = ", ".join(skipped.flows)
    print_lines(
        [
            f"{entry.sensor}: {flows} waits for the end of change {skipped.seq} no more.",
            *(
                f"{turn.flow} was told of the next one, change {turn.event.mark.seq}."
                for turn in skipped.next
            ),
            *([] if skipped.next else [_LATER.format(sensor=entry.sensor)]),
            *([f"For now it could not be told: {skipped.problem}"] if skipped.problem else []),
        ]
    )
    return 0
