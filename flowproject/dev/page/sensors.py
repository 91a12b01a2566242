"""Show sensors: the row of each, and the view of one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from typing import Final

from flowproject.changes.entry import Entry
from flowproject.config import Sensor
from flowproject.dev.messages import TickFinished
from flowproject.dev.page.changes import (
    NO_CHANGES,
    ChangeRow,
    ChangesPage,
    JournalEnd,
    Outcomes,
    change_rows,
)
from flowproject.dev.page.components import (
    ActionLink,
    Fact,
    Sparkline,
    action,
    address,
    change_address,
    run_address,
    sensor_address,
    sparkline,
)
from flowproject.dev.page.context import PageContext, can_force
from flowproject.wording import amount, value_text

__all__ = ["SensorRow", "SensorView", "Series", "TickRow", "sensor_row", "sensor_view", "tick_row"]

_TICKS: Final = 50


@dataclass(frozen=True, kw_only=True)
class SensorRow:
    """One sensor, as it is now. Moments are ISO texts with an offset, or empty."""

    name: str
    href: str
    source: str
    """The type of its source: `duckdb`, `files`, `s3`, ..."""
    event_name: str
    outcome: str
    """Of the newest tick, or else of the newest entry of the journal; empty before the first."""
    reason: str
    at: str
    """When that tick was."""
    next_at: str
    """When the next tick is due; empty if nobody knows, or the sensor is paused."""
    paused: bool
    looking: bool
    """Whether a run that looks at it is under way."""
    holds: str
    """What it has: `1,127 items`, or its value."""
    trail: Sparkline | None
    waiting: int
    """Changes that the bus has not taken."""
    trouble: str
    """What could not be delivered, or the error of a failed look; empty if all is well."""
    actions: tuple[ActionLink, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A step chart: seconds since 1970 and a number for each moment; both of the same length."""

    times: list[float]
    values: list[float]
    what: str
    """What is counted: `items`, or `value`."""


@dataclass(frozen=True, kw_only=True)
class TickRow:
    """One tick that the loop has seen."""

    sensor: str
    at: str
    outcome: str
    reason: str
    run: str
    run_href: str
    change_href: str
    """The change that it recorded; empty if none."""
    repeats: int = 0
    """How many ticks before it failed for the same reason, which are not listed."""
    since: str = ""
    """When the first of these was."""


@dataclass(frozen=True, kw_only=True)
class SensorView:
    """Everything about one sensor; lists are newest first."""

    row: SensorRow
    facts: tuple[Fact, ...]
    query: str
    """The SQL that it watches; empty for a source without."""
    series: Series | None
    changes: tuple[ChangeRow, ...]
    older: str
    """Address of the same view with older changes; empty if there are none."""
    newer: str
    ticks: tuple[TickRow, ...]


def sensor_row(context: PageContext, sensor: Sensor, newest: JournalEnd) -> SensorRow:
    """Show the sensor as its newest tick found it; before the first one, as its journal has it."""
    name, tick, entry = sensor.name, context.loop.latest(sensor.name), newest.entry
    # The loop's own tick is newer than any entry; after a restart the journal is all there is.
    outcome = tick.outcome if tick else entry.outcome if entry else ""
    due = context.next_look(name)
    return SensorRow(
        name=name,
        href=sensor_address(name),
        source=sensor.data.type,
        event_name=sensor.event_name,
        outcome=outcome,
        # The error of a look that failed is said once, as its trouble.
        reason=""
        if outcome == "failed"
        else tick.reason
        if tick
        else entry.reason
        if entry
        else "",
        at=tick.at.isoformat() if tick else entry.recorded_at if entry else "",
        next_at=due.isoformat() if due else "",
        paused=name in context.paused,
        looking=context.is_looking(name),
        holds=_holds(tick, entry),
        trail=sparkline([number for _, number in _trail(entry)], _what(entry)),
        waiting=newest.waiting,
        trouble="\n".join(dict.fromkeys(filter(None, (newest.trouble, _trouble(tick))))),
        actions=_actions(context, name),
    )


def sensor_view(
    context: PageContext,
    sensor: Sensor,
    newest: JournalEnd,
    page: ChangesPage = NO_CHANGES,
    outcomes: Outcomes | None = None,
) -> SensorView:
    """Show the sensor, a page of its journal with what became of the runs, its newest ticks."""
    name, entry = sensor.name, newest.entry
    ticks = islice(_folded(reversed(context.loop.ticks.get(name, ()))), _TICKS)
    return SensorView(
        row=sensor_row(context, sensor, newest),
        facts=_facts(context, sensor),
        query=entry.query if entry else "",
        series=_series(entry, context.loop.latest(name)),
        changes=change_rows(page.chains, outcomes or {}),
        older=address("sensors", name, before=page.older) if page.older else "",
        newer=address("sensors", name, before=page.newer) if page.newer else "",
        ticks=tuple(ticks),
    )


def _folded(newest_first: Iterable[TickFinished]) -> Iterator[TickRow]:
    """Show ticks; of those in a row that failed for one reason the newest, with their number."""
    for (outcome, _), ticks in groupby(newest_first, key=lambda tick: (tick.outcome, tick.reason)):
        if outcome != "failed":
            yield from map(tick_row, ticks)
            continue
        newest, *before = ticks
        since = before[-1].at.isoformat() if before else ""
        yield replace(tick_row(newest), repeats=len(before), since=since)


def tick_row(tick: TickFinished) -> TickRow:
    """Show one tick, its run, and the change that it recorded."""
    # A look of the loop's own has no run.
    run = f"{tick.flow}/{tick.run_id}" if tick.run_id else ""
    return TickRow(
        sensor=tick.sensor,
        at=tick.at.isoformat(),
        outcome=tick.outcome,
        reason=tick.reason,
        run=run,
        run_href=run_address(run) if run else "",
        change_href=change_address(tick.sensor, tick.seq) if tick.seq else "",
    )


def _holds(tick: TickFinished | None, entry: Entry | None) -> str:
    if tick and tick.outcome != "failed":
        return amount(tick.total, "item") if tick.total is not None else value_text(tick.value)
    if entry is None:
        return ""
    return amount(entry.total, "item") if entry.total is not None else value_text(entry.value)


def _trouble(tick: TickFinished | None) -> str:
    if tick is None:
        return ""
    return tick.reason if tick.outcome == "failed" else tick.trouble


def _what(entry: Entry | None) -> str:
    return "value" if entry and entry.total is None else "items"


def _trail(entry: Entry | None) -> list[tuple[float, float]]:
    """Seconds since 1970 and number of each recorded look."""
    pairs = entry.trail if entry else []
    return [
        (datetime.fromisoformat(str(moment)).timestamp(), number)
        for moment, number in pairs
        # A value may be text or null: such a look has no height in a chart.
        if isinstance(number, int | float)
    ]


def _series(entry: Entry | None, tick: TickFinished | None) -> Series | None:
    """The recorded looks; and the newest one, if it found what was recorded last."""
    trail = _trail(entry)
    if not trail:
        return None
    # What was found unchanged is not recorded: without this the line would end at the last change.
    if tick and tick.outcome == "unchanged" and tick.at.timestamp() > trail[-1][0]:
        trail.append((tick.at.timestamp(), trail[-1][1]))
    return Series(
        times=[moment for moment, _ in trail],
        values=[number for _, number in trail],
        what=_what(entry),
    )


def _facts(context: PageContext, sensor: Sensor) -> tuple[Fact, ...]:
    flow = context.flow_of(sensor.name)
    started = context.loop.started
    schedule = started.schedules.get(flow.name, "") if started and flow else ""
    facts = {
        "source": sensor.data.type,
        "event": sensor.event_name,
        "payload key": sensor.payload_key,
        "looked at by": flow.name if flow else "",
        "which runs": schedule,
    }
    return tuple(Fact(name=name, text=text) for name, text in facts.items() if text)


def _actions(context: PageContext, name: str) -> tuple[ActionLink, ...]:
    flow = context.flow_of(name)
    # Only what would not be refused is offered.
    found = [action("tick", "Tick now", sensor=name)] if flow else []
    found.append(action("preview", "Preview", sensor=name))
    if flow and can_force(flow):
        found.append(action("force", "Force", sensor=name))
    paused = name in context.paused
    found.append(
        action("resume", "Resume", sensor=name) if paused else action("pause", "Pause", sensor=name)
    )
    return tuple(found)
