"""When scheduled flows are due: cron with time zones, fixed intervals, and a clock to wait on.

The clock is passed in, so that tests do not wait.
"""

import asyncio
import re
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from flowproject.errors import FlowError, UsageError
from flowproject.flowfiles import Cron

__all__ = ["Clock", "Rule", "SystemClock", "Timetable", "cron_rule", "duration", "every_rule"]

Key = TypeVar("Key", bound=Hashable)
Rule = Callable[[datetime], datetime]
"""The first due time after a given one."""

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_NTH_DAY: Final = re.compile(r"#|\dL")
_LONGEST_SLEEP: Final = 60.0


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
        while (left := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LONGEST_SLEEP))


class Timetable(Generic[Key]):
    """The next due time of each entry."""

    def __init__(self, rules: Mapping[Key, Rule], now: datetime) -> None:
        self._rules = dict(rules)
        self._due = {key: rule(now) for key, rule in self._rules.items()}

    @property
    def due(self) -> Mapping[Key, datetime]:
        """Entry -> when it is due next."""
        return self._due

    def next_time(self) -> datetime | None:
        """The earliest due time of all, or nothing if there are no entries."""
        return min(self._due.values(), default=None)

    def take(self, now: datetime) -> list[Key]:
        """The entries due by now. What was due several times while nobody looked is due once."""
        keys = [key for key, when in self._due.items() if when <= now]
        for key in keys:
            self._due[key] = self._rules[key](now)
        return keys


def cron_rule(cron: Cron, *, where: str) -> Rule:
    """The times of a cron expression. Raises `FlowError` for what a cluster would refuse."""
    zone = _zone(cron.timezone, where)
    expression = _NICKNAMES.get(cron.expression, cron.expression).replace("?", "*")
    if expression.startswith("@every "):
        return every_rule(duration(expression.removeprefix("@every ")))
    _check(expression, cron.expression, where)

    def following(after: datetime) -> datetime:
        return next(CronSim(expression, after.astimezone(zone)))

    return following


def every_rule(seconds: float) -> Rule:
    """Times at a fixed distance."""
    step = timedelta(seconds=seconds)
    return lambda after: after + step


def duration(text: str) -> float:
    """The seconds in a text such as `10s`, `1m30s` or `2h`."""
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text.strip():
        raise UsageError(f"{text!r} is not a duration", allowed="Write 10s, 1m30s or 2h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if seconds <= 0:
        raise UsageError(f"{text!r} is no time at all", allowed="A duration is longer than zero")
    return seconds


def _zone(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise FlowError(
            f"The schedule's timezone {name!r} is unknown",
            where=where,
            allowed="It is an IANA name such as 'Europe/Zurich'",
        ) from error


def _check(expression: str, written: str, where: str) -> None:
    try:
        CronSim(expression, datetime.now(UTC))
        problem = _refused_by_argo(expression.upper().split())
    except CronSimError as error:
        problem = str(error)
    if problem:
        raise FlowError(
            f"The schedule {written!r} is not a cron expression ({problem})",
            where=where,
            allowed="Five fields: minute, hour, day of month, month, day of week (0-6 or SUN-SAT)",
        )


def _refused_by_argo(fields: list[str]) -> str:
    """Why Argo would refuse what our library understands."""
    if len(fields) != 5:  # noqa: PLR2004  # cron has five fields
        return "Wrong number of fields"
    if "L" in fields[2] or "W" in fields[2] or _NTH_DAY.search(fields[4]):
        return "Argo does not understand L, W and #"
    if any("7" in part.partition("/")[0] for part in fields[4].split(",")):
        return "Argo counts the days of the week from 0 to 6"
    return ""
