"""The kinds of value that say when: schedules and time zones."""

from dataclasses import dataclass
from typing import Any

from flowproject.config.kinds import RefusedError, text_of
from flowproject.cron import CronError, parse, zone_of

__all__ = ["CronFields", "Zone"]


@dataclass(frozen=True, kw_only=True)
class CronFields:
    """A schedule of five fields that both the local loop and Argo Workflows understand."""

    words: str = "cron schedule of five fields"

    def read(self, value: object) -> str:
        """The schedule, its fields separated by single spaces."""
        text = " ".join(text_of(value).split())
        try:
            parse(text, nicknames=False)
        except CronError as error:
            raise RefusedError(f"is not a cron schedule: {error}.") from None
        return text

    def schema(self) -> dict[str, Any]:
        """Text of five fields."""
        return {"type": "string", "pattern": r"^(\s*\S+(\s+\S+){4}\s*)?$"}


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A time zone by its name."""

    words: str = 'time zone such as `"Europe/Helsinki"`'

    def read(self, value: object) -> str:
        """The name of the zone."""
        name = text_of(value)
        try:
            zone_of(name)
        except CronError as error:
            raise RefusedError(str(error).removeprefix(f"{name!r} ")) from None
        return name

    def schema(self) -> dict[str, Any]:
        """Any text: the names differ between machines."""
        return {"type": "string"}
