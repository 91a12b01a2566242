"""Tells when a schedule is due, by the rules of the cron library that Argo uses.

robfig/cron 3.0.1 differs from every cron for Python in what it takes, in which days it means, and
on the days when clocks change; ADR 0027 says where, and why its rules are told here once more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import floor
from typing import Final, Protocol
from zoneinfo import ZoneInfo, available_timezones

from flowproject.errors import closest

__all__ = ["DEADLINE", "FIELDS", "CronError", "CronSchedule", "parse", "warnings_about", "zone_of"]

FIELDS: Final = "minute, hour, day of month, month, day of week"
DEADLINE: Final = timedelta(seconds=3540)
"""How late a missed run may still start: what Metaflow writes as `startingDeadlineSeconds`."""

# Those of the library, which has no others.
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# Without a star: Metaflow drops each one of the messages that it prints.
_EXAMPLE: Final = "For example '0 6 1-31 1-12 1-5': at six from Monday to Friday"

_EVERY: Final = re.compile(r"@every ((?:[0-9]+(?:ns|us|µs|ms|s|m|h))+)")
_LENGTH: Final = re.compile(r"([0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
# A longer number would overflow in Go, where it is refused as well.
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
# All that the definition of a CronWorkflow lets into a field since Argo Workflows 4.
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9*,/?-]+")

# In cron itself 7 is Sunday too; in the library it is out of range.
_SUNDAY: Final = "7"
_DAY: Final = 86_400
_HOURS: Final = 24
# How far the library looks ahead before it takes a schedule for one that is never due.
_YEARS: Final = 5


class CronError(ValueError):
    """A schedule that Argo would not run: what is wrong, and what to write instead."""


class CronSchedule(Protocol):
    """The times of a schedule."""

    def following(self, after: datetime) -> datetime | None:
        """The first time that is due after a moment; None if there is none for years."""


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One of the five fields: its numbers, and the names that some of them have."""

    called: str
    """With its article."""
    least: int
    most: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """The number that a text stands for."""
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.least
        if not _NUMBER.fullmatch(text):
            raise CronError(f"{text!r} is not {self.called}. {self._allowed(text)}")
        if not self.least <= int(text) <= self.most:
            raise CronError(self._out_of_range(text))
        return int(text)

    def written(self, number: int, like: str) -> str:
        """The number as the user writes: by name if `like` is one."""
        return str(number) if like.isdigit() else self.names[number - self.least]

    def _out_of_range(self, text: str) -> str:
        fix = (
            ". Write 0 or SUN for Sunday" if self.names[:1] == ("SUN",) and text == _SUNDAY else ""
        )
        return f"{text!r} is not {self.called}: they go {self._span()}{fix}"

    def _allowed(self, text: str) -> str:
        if re.search(r"[LW]", text, re.IGNORECASE) and text[:3].upper() not in self.names:
            return f"Argo knows no L and no W. Name the days, {self._span()}"
        near = closest(text.upper(), self.names)
        return f"Use a number {self._span()}, '*' or '?'. {near}".rstrip()

    def _span(self) -> str:
        names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"from {self.least} to {self.most}{names}"


_MONTHS: Final = (
    "JAN",
    "FEB",
    "MAR",
    "APR",
    "MAY",
    "JUN",
    "JUL",
    "AUG",
    "SEP",
    "OCT",
    "NOV",
    "DEC",
)
_WEEK: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: Final = (
    _Field(called="a minute", least=0, most=59),
    _Field(called="an hour", least=0, most=23),
    _Field(called="a day of the month", least=1, most=31),
    _Field(called="a month", least=1, most=12, names=_MONTHS),
    _Field(called="a day of the week", least=0, most=6, names=_WEEK),
)


def parse(expression: str, timezone: str = "", *, nicknames: bool = True) -> CronSchedule:
    """The times of an expression in a zone (empty: UTC). `nicknames` are `@daily` and the like.

    Raises:
        CronError: if Argo would refuse it, or take it and never run it.
    """
    zone = zone_of(timezone)
    if "TZ=" in expression.partition(" ")[0]:
        raise CronError(
            "the time zone stands in front of it, which Argo Workflows 4 refuses. Write it as "
            "`timezone`, apart from the schedule"
        )
    if expression.startswith("@"):
        if not nicknames:
            raise CronError(f"{expression!r} is not known here. Use five fields: {FIELDS}")
        if every := _EVERY.fullmatch(expression):
            return _interval(every[1])
        expression = _nickname(expression)
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise CronError(f"it has {count}. Use five: {FIELDS}. {_EXAMPLE}")
    sets = [_numbers(text, field) for text, field in zip(fields, _FIELDS, strict=True)]
    (minutes, _), (hours, _), (days, star_of_days), (months, _), (weekdays, star_of_week) = sets
    return _Times(
        zone=zone,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        both_days=star_of_days or star_of_week,
    )


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; UTC if it is empty.

    Raises:
        CronError: if there is none.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (LookupError, ValueError, OSError):
        zones = available_timezones()
        hint = closest(name, sorted(zones)) if zones else "Install the package tzdata."
        raise CronError(
            f"{name!r} is not a time zone. Use a name such as 'Europe/Helsinki'. {hint}".rstrip()
        ) from None


def warnings_about(schedule: CronSchedule, now: datetime) -> list[str]:
    """What the author of a schedule that Argo takes may not expect, in the year from now on."""
    if not isinstance(schedule, _Times):
        return []
    if schedule.following(now) is None:
        return ["is never due: no year has such a day. Change the day, the month or the weekday"]
    odd = [_odd_day(schedule, day) for day in _days_of_change(schedule, now)]
    told = [words for words in odd if words]
    if not told:
        return []
    fix = (
        "Choose an hour in which no clock changes, or leave the time zone out: UTC has no such days"
    )
    return [f"{' and '.join(told)}, when the clocks of {schedule.zone.key} change. {fix}"]


def _odd_day(schedule: "_Times", day: date) -> str:
    """How often a schedule is due on a day with a clock change, if that is not as on others."""
    usual = len(schedule.minutes) * len(schedule.hours)
    if len(schedule.hours) == _HOURS:
        # As often as there are hours is what it says; only a day that is passed by is odd.
        return "" if any(_due_on(schedule, day)) else f"is not due on {day}"
    due = sum(1 for _ in _due_on(schedule, day))
    if due == usual:
        return ""
    many = {0: "is not due", 2: "is due twice"}.get(due, f"is due {due} times, not {usual},")
    return f"{many} on {day}"


def _nickname(text: str) -> str:
    try:
        return _NICKNAMES[text]
    except KeyError:
        known = [*_NICKNAMES, "@every 1h30m"]
        if text.startswith("@every"):
            raise CronError(
                f"{text!r} has no length that Argo knows. Write whole numbers with h, m or s, and "
                "nothing between them: '@every 1h30m'; a day is 24h"
            ) from None
        raise CronError(
            f"{text!r} is not known. Use five fields, or one of: {', '.join(known)}. "
            f"{closest(text, known)}".rstrip()
        ) from None


def _numbers(text: str, field: _Field) -> tuple[frozenset[int], bool]:
    """The numbers of one field, and whether it has a star that counts."""
    # It does not with a step above 1: `*/2` is a list of days like any other.
    if "#" in text:
        raise CronError(f"{text!r}: Argo knows no '#'. Name the days of the month that it may be")
    if wrong := _CHARACTERS.sub("", text):
        raise CronError(f"{text!r} is not {field.called}: {wrong[0]!r} is not allowed in it")
    numbers: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        start, stop, step, has_star = _range(part, field)
        numbers.update(range(start, stop + 1, step))
        star = star or (has_star and step == 1)
    return frozenset(numbers), star


def _range(part: str, field: _Field) -> tuple[int, int, int, bool]:
    """First, last, step, and whether it is a star: of `*`, `5` or `5-10`, and `/2` behind it."""
    span, *steps = part.split("/")
    low, *high = span.split("-")
    step = _step(part, steps)
    if low in {"*", "?"}:
        return field.least, field.most, step, True
    if len(high) > 1:
        raise CronError(f"{part!r} has more than one hyphen")
    start = field.number(low)
    if not high:
        return start, field.most if steps else start, step, False
    if field.names[:1] == ("SUN",) and high[0] == _SUNDAY:
        saturday = field.written(field.most, low)
        raise CronError(
            f"{high[0]!r} is not a day of the week: they go from 0 (SUN) to 6 (SAT). "
            f"Write '{low}-{saturday},{field.written(0, low)}'"
        )
    stop = field.number(high[0])
    if start > stop:
        rest = field.written(field.least, high[0])
        rest = high[0] if stop == field.least else f"{rest}-{high[0]}"
        raise CronError(
            f"{span!r} ends before it begins, and Argo's ranges do not go round. "
            f"Write '{low}-{field.written(field.most, low)},{rest}'"
        )
    return start, stop, step, False


def _step(part: str, steps: list[str]) -> int:
    if not steps:
        return 1
    if len(steps) > 1 or not _NUMBER.fullmatch(steps[0]) or not int(steps[0]):
        raise CronError(f"{part!r} has no step that is a whole number above 0. Write '*/5'")
    return int(steps[0])


@dataclass(frozen=True, kw_only=True)
class _Interval:
    """Times at a fixed distance: `@every`. It is counted from when Argo last looked."""

    seconds: int

    def following(self, after: datetime) -> datetime:
        """The time one interval later, in whole seconds."""
        return (after + timedelta(seconds=self.seconds)).replace(microsecond=0)


def _interval(length: str) -> _Interval:
    seconds = sum(int(many) * _UNITS[unit] for many, unit in _LENGTH.findall(length))
    return _Interval(seconds=max(1, floor(seconds)))


@dataclass(frozen=True, kw_only=True)
class _Times:
    """Times given by five fields, found as the library finds them.

    Which times match is told in a line. But the library walks to them, field by field, and where
    clocks change a walk can pass a day by or leave it: so the walk is the rule.
    """

    zone: ZoneInfo
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool
    """Both fields of days must match, since one of them has a star; otherwise one is enough."""

    def following(self, after: datetime) -> datetime | None:
        """The first time that is due after a moment; None if there is none within five years."""
        if not all((self.minutes, self.hours, self.days | self.weekdays, self.months)):
            return None
        # The library looks from the next whole second on.
        walk = _Walk(zone=self.zone, moment=floor(after.timestamp()) + 1)
        last_year = walk.wall.year + _YEARS
        while walk.wall.year <= last_year:
            if self._reaches(walk):
                return datetime.fromtimestamp(walk.moment, after.tzinfo)
        return None

    def on(self, day: date) -> bool:
        """Whether a day matches."""
        in_days, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_days and in_week) if self.both_days else (in_days or in_week)

    def _reaches(self, walk: "_Walk") -> bool:
        """Whether the walk, from where it is, comes to a time before a larger field moves on."""
        return (
            self._to_month(walk)
            and self._to_day(walk)
            and self._to_hour(walk)
            and self._to_minute(walk)
            and self._is_whole_minute(walk)
        )

    def _to_month(self, walk: "_Walk") -> bool:
        while walk.wall.month not in self.months:
            walk.begin(day=1)
            walk.turn(months=1)
            if walk.wall.month == 1:
                return False
        return True

    def _to_day(self, walk: "_Walk") -> bool:
        while not self.on(walk.wall):
            walk.begin()
            before = walk.moment
            walk.turn(days=1)
            if hour := walk.wall.hour:
                # There is no midnight: the clock shows an hour that is late, or still yesterday's.
                walk.go(3600 * (_HOURS - hour if hour > _HOURS // 2 else -hour))
            if walk.moment <= before:
                # A walk that made no headway goes on a day, so that every search comes to an end.
                walk.go_to(before + _DAY)
            if walk.wall.day == 1:
                return False
        return True

    def _to_hour(self, walk: "_Walk") -> bool:
        while walk.wall.hour not in self.hours:
            walk.begin(hour=walk.wall.hour)
            walk.go(3600)
            if not walk.wall.hour:
                return False
        return True

    def _to_minute(self, walk: "_Walk") -> bool:
        while walk.wall.minute not in self.minutes:
            walk.under_way = True
            walk.go(60 - walk.moment % 60)
            if not walk.wall.minute:
                return False
        return True

    def _is_whole_minute(self, walk: "_Walk") -> bool:
        """Whether it is; if not, the walk goes on to the next one, and all fields count again."""
        if not walk.wall.second:
            return True
        walk.under_way = True
        walk.go(60 - walk.moment % 60)
        return False


class _Walk:
    """A moment that moves on, and what a clock on the wall shows then."""

    def __init__(self, *, zone: ZoneInfo, moment: int) -> None:
        self._zone = zone
        self.under_way = False
        """Whether it has moved: until then, what is smaller than the field that moves counts."""
        self.go_to(moment)

    def go_to(self, moment: int) -> None:
        """Be at this moment, in seconds since 1970."""
        self.moment = moment
        self.wall = datetime.fromtimestamp(moment, self._zone)

    def go(self, seconds: int) -> None:
        """Let this time pass."""
        self.go_to(self.moment + seconds)

    def begin(self, *, day: int = 0, hour: int = 0) -> None:
        """Before the first move, go back to where this hour begins, or to midnight of a day."""
        if self.under_way:
            return
        self.under_way = True
        self._show(self.wall.replace(tzinfo=UTC, minute=0, second=0, hour=hour), day or None)

    def turn(self, *, months: int = 0, days: int = 0) -> None:
        """Turn the leaves of the calendar; the clock shows the same if it can."""
        shown = self.wall.replace(tzinfo=UTC)
        if months:
            first = shown.replace(day=1)
            later = (first + timedelta(days=31)).replace(day=1)
            shown = later + timedelta(days=shown.day - 1)
        self._show(shown + timedelta(days=days))

    def _show(self, shown: datetime, day: int | None = None) -> None:
        """Be where the wall shows this. Of two such moments, or none, Go's choice is taken."""
        # What a wall shows is taken for UTC first, and then moved by the zone's offset twice,
        # because the offset may be another before than after a change of clocks: as Go's
        # `time.Date` does.
        reading = int((shown.replace(day=day) if day else shown).timestamp())
        self.go_to(reading - self._offset(reading - self._offset(reading)))

    def _offset(self, moment: int) -> int:
        offset = datetime.fromtimestamp(moment, self._zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0


def _days_of_change(schedule: _Times, now: datetime) -> list[date]:
    """The days that match and on which clocks change, in the year from now on."""
    changes = _clock_changes(schedule.zone, floor(now.timestamp()))
    moments = (moment for change in changes for moment in (change - 1, change))
    days = {datetime.fromtimestamp(moment, schedule.zone).date() for moment in moments}
    return sorted(day for day in days if day.month in schedule.months and schedule.on(day))


def _due_on(schedule: _Times, day: date) -> Iterator[datetime]:
    """When a schedule is due on a day, if it is followed from some days before."""
    # Some days before, so that the walk reaches the day as it would in a cluster.
    start = datetime.combine(day, datetime.min.time(), UTC) - timedelta(days=3)
    when = schedule.following(start)
    while when and (shown := when.astimezone(schedule.zone).date()) <= day:
        if shown == day:
            yield when
        when = schedule.following(when)


def _clock_changes(zone: ZoneInfo, start: int) -> Iterator[int]:
    """The moments within a year at which clocks change."""

    def offset(moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, zone).utcoffset()

    for before in range(start, start + 366 * _DAY, _DAY):
        low, high = before, before + _DAY
        if offset(low) == offset(high):
            continue
        # The second at which the offset changes, found by halves.
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        yield high
