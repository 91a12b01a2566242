"""Work out when flows are due: cron with time zones, fixed intervals, a clock to wait on.

The clock is passed in, so that tests do not wait.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Generic, Literal, Protocol, TypeVar

from flowproject.cron import DEADLINE, CronError, parse
from flowproject.errors import FlowError
from flowproject.flowfiles import Cron, FlowFile

__all__ = [
    "Clock",
    "Entry",
    "Rule",
    "SystemClock",
    "Timetable",
    "cron_rule",
    "due_times",
    "every_rule",
    "last_times",
    "rules_of",
    "schedule_in_words",
]

Key = TypeVar("Key", bound=Hashable)
Rule = Callable[[datetime], datetime | None]
"""The first due time after a given one; None if there is none."""

# Seconds: so long after a laptop wakes up, its schedule is late at most.
_LONGEST_SLEEP: Final = 60.0
Entry = tuple[Literal["run", "reset"], Path]
"""What is due: a run of the flow in a file, or that it forgets the events that wait for others."""


class Clock(Protocol):
    """The time of day, and waiting for one."""

    def now(self) -> datetime:
        """The present moment, with its offset."""

    async def sleep_until(self, when: datetime) -> None:
        """Return when it is that time or later."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The present moment in the machine's zone."""
        return datetime.now(UTC).astimezone()

    async def sleep_until(self, when: datetime) -> None:
        """Return when the clock on the wall shows that time.

        In slices: the timer stands still while a laptop sleeps, and the wall clock does not.
        """
        # A wall clock has no event to wait for.
        # In slices: the timer of asyncio stands still while a laptop sleeps, and the clock on the
        # wall does not.
        while (left := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LONGEST_SLEEP))


class Timetable(Generic[Key]):
    """The next due time of each entry, and the last."""

    def __init__(self, rules: Mapping[Key, Rule], now: datetime) -> None:
        self._rules = dict(rules)
        self._due: dict[Key, datetime] = {}
        self._last: dict[Key, datetime] = {}
        for key in self._rules:
            self._move_on(key, now)

    @property
    def due(self) -> Mapping[Key, datetime]:
        """Entry -> when it is due next; without those that never are."""
        return self._due

    @property
    def last(self) -> Mapping[Key, datetime]:
        """Entry -> when it was due last; without those that were not yet."""
        return self._last

    def next_time(self) -> datetime | None:
        """The earliest due time of all, or nothing if there are no entries."""
        return min(self._due.values(), default=None)

    def take(self, now: datetime) -> dict[Key, datetime]:
        """The entries due by now, each with its time.

        What was due several times while nobody looked is due once, at the last of them; at the
        first, if all are longer ago than Argo would make up for.
        """
        taken = {key: self._latest(key, now) for key, when in self._due.items() if when <= now}
        for key in taken:
            self._move_on(key, now)
        self._last.update(taken)
        return taken

    def _latest(self, key: Key, now: datetime) -> datetime:
        latest = self._due[key]
        # Jump to the last hour first: after a weekend asleep a schedule of every minute has
        # thousands of times behind it, and Argo makes up for the last one only.
        following = self._rules[key](max(latest, now - DEADLINE))
        while following and following <= now:
            latest = following
            following = self._rules[key](latest)
        return latest

    def _move_on(self, key: Key, now: datetime) -> None:
        self._due.pop(key, None)
        if following := self._rules[key](now):
            self._due[key] = following


def cron_rule(cron: Cron, *, where: str, nicknames: bool = True) -> Rule:
    """Give the times of a cron expression. Raises `FlowError` for what Argo would not run."""
    try:
        return parse(cron.expression, cron.timezone, nicknames=nicknames).following
    except CronError as error:
        raise FlowError(
            f"The schedule {cron.expression!r} is none that Argo would run: {error}", where=where
        ) from error


def every_rule(seconds: float) -> Rule:
    """Give times at a fixed distance."""
    step = timedelta(seconds=seconds)
    return lambda after: after + step


def rules_of(flows: tuple[FlowFile, ...], every: float) -> dict[Entry, Rule]:
    """Give each flow its rules. Raises `FlowError` for a schedule that a cluster would refuse."""
    rules: dict[Entry, Rule] = {}
    for flow in flows:
        if flow.reset:
            # Argo Events reads resets with the library that Argo Workflows has for schedules, but
            # told to take five fields and nothing else.
            rules["reset", flow.path] = cron_rule(flow.reset, where=flow.path.name, nicknames=False)
        if flow.schedule:
            # Read even where `--every` takes its place, so that a schedule that a cluster would
            # refuse is refused here, too.
            rule = cron_rule(flow.schedule, where=flow.path.name)
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


def schedule_in_words(
    flow: FlowFile, due: datetime | None, *, every: float, until_idle: bool
) -> str:
    """Say in words when the flow runs."""
    if until_idle:
        return "once"
    if every:
        return f"every {_length(every)}"
    cron = flow.schedule.expression if flow.schedule else ""
    return f"by {cron!r}, " + (f"next at {due.astimezone():%Y-%m-%d %H:%M}" if due else "never")


def _length(seconds: float) -> str:
    """The time in the largest unit that divides it: `10 s`, `5 min`, `1 h`."""
    for unit, size in (("h", 3600), ("min", 60)):
        if not seconds % size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
