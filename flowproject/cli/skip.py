"""Runs `flowproject skip`: lets the changes behind one pass, with flows that take them in order."""

from typing import Annotated, Final

import typer

from flowproject import sensing
from flowproject.cli.context import Branch, Production, local_bus, open_context
from flowproject.cli.output import AsJson, print_json, print_lines, working

__all__ = ["skip"]

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
