"""What the page shows of sensors: the row of each, and the view of one."""

from dataclasses import dataclass

from flowproject.dev.page.changes import ChangeRow
from flowproject.dev.page.parts import Action, Fact, Sparkline

__all__ = ["SensorRow", "SensorView"]


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
    symbol: str
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
    actions: tuple[Action, ...]


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

    at: str
    outcome: str
    symbol: str
    reason: str
    run: str
    run_href: str
    change_href: str
    """The change that it recorded; empty if none."""


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
