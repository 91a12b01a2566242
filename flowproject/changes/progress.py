"""Word of how far a long look is."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Report", "say_nothing"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a look is: items seen, and about how many there are (0: nobody knows)."""

    seen: int
    expected: int = 0


Report = Callable[[str, Progress], None]
"""Told how far the look of a sensor is, about twice a second while it lasts."""


def say_nothing(sensor: str, progress: Progress) -> None:
    """The report of a look that nobody watches."""
