"""What the module of a figure offers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from benchmarks.costs import Cost, Limit
from benchmarks.pairs import Comparison

__all__ = ["Figure", "Measure"]

Figure = Comparison | Cost | Limit


class Measure(Protocol):
    """The function `measure` of each module."""

    def __call__(self, folder: Path, *, quick: bool) -> Iterable[Figure]:
        """What was measured in an empty folder, as it comes."""
