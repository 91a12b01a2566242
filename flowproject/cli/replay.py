"""`flowproject replay`: send a change anew, so that each flow that listens may run for it again."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from flowproject import sensing
from flowproject.cli.chains import options_of, read_outcomes, resume_command
from flowproject.cli.output import AsJson, print_json, print_lines, working
from flowproject.cli.place import Branch, Production, bus_here, open_scene
from flowproject.runs import RunOutcome, in_words

__all__ = ["replay"]


def replay(
    change: Annotated[
        str, typer.Argument(help="A change: its id, 6 or more digits of it, or sensor/number.")
    ],
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Send a change anew, with its id.

    As a new attempt, for which flows that ran before run again; or, if a flow that listens has not
    run yet, for that one. Without a configured event bus it goes to the loop of this project and
    branch that runs on this machine.
    """
    scene = open_scene(branch, production=production)
    with working(f"Sending {change}"):
        found = sensing.find_change(scene, change)
        sent = sensing.replay(scene, found, by="flowproject replay", bus=bus_here(scene))
    entry, mark = found.chain.entry, sent.mark
    if as_json:
        event = {"seq": mark.seq, "id": mark.id, "name": mark.event_name}
        print_json(
            {
                "v": 1,
                "sensor": entry.sensor,
                "seq": entry.seq,
                "id": entry.id,
                "attempt": sent.attempt,
                "event": event,
                "first_seq": mark.first,
                "awaited": [*sent.awaited],
            }
        )
        return 0
    [runs] = read_outcomes(scene.root, [found.chain])
    resumes = {
        one.newest: resume_command(
            one.newest, scene.root, options_of(branch, production=production)
        )
        for one in runs
        if one.is_over_and_failed
    }
    print_lines(_story(found.chain, sent, runs, resumes))
    return 0


def _story(
    told: sensing.Chain,
    sent: sensing.Replay,
    runs: Sequence[RunOutcome],
    resumes: Mapping[str, str],
) -> list[str]:
    entry, mark = told.entry, sent.mark
    lines = []
    if mark.first != mark.seq:
        lines.append(
            f"Changes {mark.first} to {mark.seq} of sensor {entry.sensor!r} were sent as one "
            "event, and so they are replayed."
        )
    if told.state == "delivered":
        lines.append(f"It had been {in_words(told, runs)}: the flows that took it run again.")
    for run, command in resumes.items():
        if run.partition("/")[0] in told.of_several:
            lines.append(
                f"{run} took changes of other sensors too, and its flow starts when all of them "
                f"have something for it. To go on with all that it took: {command}"
            )
    awaits = ", ".join(sent.awaited)
    return [
        *lines,
        f"{entry.sensor}: change {mark.seq}, id {mark.id}, was sent as attempt {sent.attempt}.",
        *(
            [f"{', '.join(told.missing)} had not started for it; who has started does nothing."]
            if told.missing
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
