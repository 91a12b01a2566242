"""What really was done, kept where no code under test can reach it."""

from collections import defaultdict
from dataclasses import dataclass

__all__ = ["Effect", "Ledger"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A run did its work for a change. `origin` is the run that it goes on with, or itself."""

    flow: str
    change: str
    attempt: int
    run: str
    origin: str


class Ledger:
    """Effects, in the order in which they happened."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def note(self, effect: Effect) -> None:
        """Keep it."""
        self.effects.append(effect)

    def runs(self) -> dict[tuple[str, str, int], set[str]]:
        """The runs that worked for each flow, change and attempt; one and its retries are one."""
        found: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
        for each in self.effects:
            found[each.flow, each.change, each.attempt].add(each.origin)
        return found
