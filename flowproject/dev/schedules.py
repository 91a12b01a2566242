"""When the flows of a project are due, and the same in words."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from flowproject.dev.scheduler import Rule, Timetable, cron_rule, every_rule
from flowproject.dev.settings import Settings
from flowproject.flowfiles import FlowFile

__all__ = ["Entry", "due_times", "in_words", "last_times", "rules_of"]

Entry = tuple[Literal["run", "reset"], Path]
"""What is due: a run of the flow in a file, or that it forgets the events that wait for others."""


def rules_of(flows: tuple[FlowFile, ...], settings: Settings) -> dict[Entry, Rule]:
    """What is due, and by which rule. Raises `FlowError` for a schedule a cluster would refuse."""
    rules: dict[Entry, Rule] = {}
    for flow in flows:
        if flow.reset:
            rules["reset", flow.path] = cron_rule(flow.reset, where=flow.path.name, nicknames=False)
        if flow.schedule:
            rule = cron_rule(flow.schedule, where=flow.path.name)
            every = settings.every
            rules["run", flow.path] = every_rule(every) if every else rule
    return rules


def due_times(flows: tuple[FlowFile, ...], timetable: Timetable[Entry]) -> dict[str, datetime]:
    """Flow -> when its next scheduled run is due."""
    due: Mapping[Entry, datetime] = timetable.due
    return {flow.name: due["run", flow.path] for flow in flows if ("run", flow.path) in due}


def last_times(flows: tuple[FlowFile, ...], timetable: Timetable[Entry]) -> dict[str, datetime]:
    """Flow -> when its scheduled run was due last."""
    last: Mapping[Entry, datetime] = timetable.last
    return {flow.name: last["run", flow.path] for flow in flows if ("run", flow.path) in last}


def in_words(flow: FlowFile, due: datetime | None, settings: Settings) -> str:
    """When the flow runs."""
    if settings.until_idle:
        return "once"
    if settings.every:
        return f"every {_length(settings.every)}"
    cron = flow.schedule.expression if flow.schedule else ""
    return f"by {cron!r}, " + (f"next at {due.astimezone():%Y-%m-%d %H:%M}" if due else "never")


def _length(seconds: float) -> str:
    """The time in the largest unit that divides it: `10 s`, `5 min`, `1 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if not seconds % size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
