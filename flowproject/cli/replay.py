"""Runs `flowproject replay`: sends changes anew, so that flows may run for them again."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from flowproject import sensing
from flowproject.cli.context import Branch, Production, local_bus, open_context
from flowproject.cli.delivery import options_of, read_outcomes, resume_command
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.errors import UsageError
from flowproject.runs import RunOutcome, in_words

__all__ = ["replay"]

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


def _document(delivery: sensing.Chain, sent: sensing.Replay) -> dict[str, Any]:
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
    delivery: sensing.Chain,
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
