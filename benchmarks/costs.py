"""What a method costs in all: its seconds, processors, memory and requests, and their limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Cost", "Limit", "Taken"]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One go: seconds of the clock and of all processors, the most memory, and what came of it."""

    wall: float
    cpu: float
    peak_mb: float
    requests: int
    objects: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method took, each time that it was tried in this setting."""

    method: str
    setting: str
    taken: Sequence[Taken]

    @property
    def wall(self) -> float:
        """The median of the seconds."""
        return median(each.wall for each in self.taken)

    @property
    def cpu(self) -> float:
        """The median of the processors' seconds."""
        return median(each.cpu for each in self.taken)

    @property
    def peak_mb(self) -> float:
        """The most memory of any time."""
        return max(each.peak_mb for each in self.taken)

    @property
    def requests(self) -> int:
        """The most requests of any time."""
        return max(each.requests for each in self.taken)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """An amount that has to stay within a limit, whatever the machine."""

    what: str
    amount: float
    most: float
    unit: str

    @property
    def is_met(self) -> bool:
        """Whether the amount is within the limit."""
        return self.amount <= self.most
