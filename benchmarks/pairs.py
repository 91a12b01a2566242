"""Timing things in turn, so that whatever else the machine does hits all of them alike."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeVar

__all__ = ["Comparison", "Timed", "in_turn"]

T = TypeVar("T")

Timed = Callable[[], T]
"""Does something once, and says what it took: the seconds that count, or more than that."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Seconds of ours and of its peer, pair by pair, and the ratio that we want to stay under."""

    ours_is: str
    peer_is: str
    fair_because: str
    ours: Sequence[float]
    peer: Sequence[float]
    goal: float | None = None
    """None for a ratio that is shown to be honest and has no goal."""

    @property
    def ratios(self) -> list[float]:
        """Ours over its peer, for each pair."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios: a moment of load in one pair does not move it."""
        return median(self.ratios)

    @property
    def middle_half(self) -> tuple[float, float]:
        """The quartiles of the ratios: how sure the median is."""
        if len(self.ratios) == 1:
            return self.ratio, self.ratio
        first, _, third = quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    @property
    def is_met(self) -> bool:
        """Whether the ratio is within its goal."""
        return self.goal is None or self.ratio <= self.goal


def in_turn(*timed: Timed[T], rounds: int, quick: bool) -> list[list[T]]:
    """What each took, round by round (A B A B ...), after a round that does not count.

    A quick one only shows that everything runs: one round, cold.
    """
    if quick:
        return [[each()] for each in timed]
    counted = []
    for number in range(rounds + 1):
        counted.append([each() for each in timed])
        _progress(f"  {number} of {rounds}")
    _progress("")
    return [list(taken) for taken in zip(*counted[1:], strict=True)]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
