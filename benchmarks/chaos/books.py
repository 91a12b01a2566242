"""What a round, or all of them, came to: numbers that can be added."""

from collections import Counter
from dataclasses import dataclass, field, fields

__all__ = ["Books"]


@dataclass(kw_only=True)
class Books:
    """The numbers of some rounds, and in words what was wrong.

    `unrecorded` are changes that were made and are in no entry, `lost` pairs of a recorded change
    and a flow that listens and never worked for it (or changes that the bus never took, where
    nobody listens), `unseen` those of them that no later run made up for, and `twice` pairs that
    more than one run worked for. `misordered` are events that first came before an older one,
    `overtaken` changes that a flow which takes them in order worked for before an older one was
    over, `renamed` changes that were sent under more than one id, `unnoted` events that were sent
    while nobody could write to the journal, `unfinished` files that were told before their delivery
    was complete, `unnamed` changes that a flow did not take and that no tick, no `history` or no
    exit code names, `unsettled` sensors that are not at rest although everything is done, and
    `errors` exceptions that nobody expected.
    """

    rounds: int = 0
    ticks: int = 0
    made: int = 0
    recorded: int = 0
    delivered: int = 0
    receipts: int = 0
    sendings: int = 0
    runs: int = 0
    suppressed: int = 0
    repeated: int = 0
    resumed: int = 0
    replayed: int = 0
    unrecorded: int = 0
    lost: int = 0
    unseen: int = 0
    twice: int = 0
    misordered: int = 0
    overtaken: int = 0
    renamed: int = 0
    unnoted: int = 0
    unfinished: int = 0
    unnamed: int = 0
    unsettled: int = 0
    errors: int = 0
    seconds: float = 0
    faults: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, run twice or otherwise wrong."""
        return not self.problems

    def wrong(self, name: str, where: str) -> None:
        """Count one more of what must not be."""
        setattr(self, name, getattr(self, name) + 1)
        self.problems.append(f"{name}: {where}")

    def add(self, other: "Books") -> None:
        """Add what another round came to."""
        for each in fields(self):
            if each.name == "faults":
                self.faults.update(other.faults)
            else:
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
