"""Runs `flowproject preview`: one tick that writes nothing and sends nothing."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from flowproject.cli.context import (
    Branch,
    Production,
    complete_sensor,
    journal_of,
    open_context,
    place_of,
)
from flowproject.cli.output import AsJson, plain, print_json, print_table, working
from flowproject.sensing import Tick
from flowproject.sensing import preview as preview_ticks

__all__ = ["preview"]


def preview(
    sensors: Annotated[
        list[str] | None,
        typer.Argument(help="Sensors (default: all).", autocompletion=complete_sensor),
    ] = None,
    branch: Branch = "",
    production: Production = False,
    as_json: AsJson = False,
) -> int:
    """Look at every source; write and send nothing.

    Says what a tick would do, and why.
    """
    context = open_context(branch, production=production)
    # The names are checked before the first source is asked.
    names = [sensor.name for sensor in context.sensors(sensors or ())]
    with working(f"Looking at {', '.join(names)}") as report:
        ticks = preview_ticks(replace(context, report=report), names)
    if as_json:
        # A name by itself says nothing of the datastore that it was looked up in.
        print_json(
            [{**tick.to_json(), "journal": journal_of(context, tick.sensor)} for tick in ticks]
        )
    else:
        columns = ["sensor", "outcome", "reason", "seconds", "waiting"]
        if any(tick.cost.get("query_id") for tick in ticks):
            columns.append("query id")
        print_table(
            columns,
            [_row(tick)[: len(columns)] for tick in ticks],
            title=place_of(context),
        )
    for tick in ticks:
        if tick.abandoned:
            print(plain(tick.abandoned), file=sys.stderr)
    return max(tick.exit_code for tick in ticks)


def _row(tick: Tick) -> list[str]:
    seconds = f"{tick.cost['seconds']:.3f}" if tick.cost else ""
    query_id = str(tick.cost.get("query_id", ""))
    return [tick.sensor, tick.outcome, tick.reason, seconds, str(tick.pending or ""), query_id]
