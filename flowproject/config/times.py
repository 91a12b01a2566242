"""The kinds of value that say when: schedules and time zones."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from flowproject.config.kinds import RefusedError, text_of
from flowproject.errors import closest

__all__ = ["Cron", "Zone"]

_CRON_FIELDS: Final = "minute, hour, day of month, month, day of week"


@dataclass(frozen=True, kw_only=True)
class Cron:
    """A schedule of five fields that both the local loop and Argo Workflows understand."""

    words: str = "cron schedule of five fields"

    def read(self, value: object) -> str:
        """The schedule, its fields separated by single spaces."""
        parts = text_of(value).split()
        if len(parts) != _CRON_FIELDS.count(",") + 1:
            count = "1 field" if len(parts) == 1 else f"{len(parts)} fields"
            raise RefusedError(f"has {count}. Use five: {_CRON_FIELDS}, for example '*/5 * * * *'.")
        if wrong := _cron_fault(parts):
            raise RefusedError(f"is not a cron schedule: {wrong}. The fields are {_CRON_FIELDS}.")
        return " ".join(parts)

    def schema(self) -> dict[str, Any]:
        """Text of five fields."""
        return {"type": "string", "pattern": r"^(\s*\S+(\s+\S+){4}\s*)?$"}


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A time zone by its name."""

    words: str = 'time zone such as `"Europe/Helsinki"`'

    def read(self, value: object) -> str:
        """The name of the zone."""
        from zoneinfo import ZoneInfo, available_timezones

        name = text_of(value)
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            zones = available_timezones()
            hint = closest(name, sorted(zones)) if zones else "Install the package tzdata."
            raise RefusedError(
                f"is not a time zone. Use a name such as 'Europe/Helsinki'. {hint}".rstrip()
            ) from None
        return name

    def schema(self) -> dict[str, Any]:
        """Any text: the names differ between machines."""
        return {"type": "string"}


def _cron_fault(parts: list[str]) -> str:
    """What is wrong with the five fields, or an empty string.

    The local loop's parser knows more than the one of Argo Workflows: `L` (last), `#` (nth) and 7
    for Sunday would work on a laptop and fail when deployed, so they are refused at once.
    """
    from cronsim import CronSim, CronSimError

    weekday = parts[4].upper()
    if re.search(r"(?<![0-9/])0*7", weekday):
        return "Sunday is 0 here, not 7"
    if "#" in weekday or re.search(r"[0-9]L", weekday) or "L" in parts[2].upper():
        return "'L' and '#' are not known to Argo Workflows"
    try:
        CronSim(" ".join(parts), datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return str(error).lower()
    except ValueError:
        return "a number is far too long"
    return ""
