"""The first view: every sensor, the timeline, the flows, and the news."""

from dataclasses import dataclass

from flowproject.dev.page.parts import Action, Link
from flowproject.dev.page.runs import RunRow
from flowproject.dev.page.sensors import SensorRow
from flowproject.dev.page.timeline import Timeline

__all__ = ["FlowRow", "News", "Overview"]


@dataclass(frozen=True, kw_only=True)
class FlowRow:
    """One flow file."""

    name: str
    starts: str
    """What starts it, in words: `every 10 s`, `waits for weather_changed`."""
    next_at: str
    latest: RunRow | None
    actions: tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class News:
    """One thing that happened, as the terminal tells it."""

    at: str
    kind: str
    """`tick`, `event`, `run`, `dropped`, `waiting`, `warning`, `skipped`, `action`, ..."""
    subject: Link
    text: str
    bad: bool


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All of it; `news` is newest first, at most 50."""

    sensors: tuple[SensorRow, ...]
    timeline: Timeline
    flows: tuple[FlowRow, ...]
    news: tuple[News, ...]
