"""Several differences in a row as one: from the oldest state to the newest."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Generic, TypeVar

from flowproject.changes.difference import Difference
from flowproject.changes.item import Item

__all__ = ["combine"]

_T = TypeVar("_T")
_Step = tuple[str, int, Item | None, Item | None]
"""What one difference says of one item: its key, the number of the difference, before, after."""


def combine(differences: Sequence[Difference]) -> Difference:
    """What the differences come to, if each leads on from the state that the one before led to.

    An item that came and went is in none of its collections, and neither is one that is again what
    it was. They are read side by side when they are iterated, and not held in memory.
    """
    if len(differences) == 1:
        return differences[0]

    def folded() -> Iterator[tuple[Item | None, Item | None]]:
        rows = (_steps(number, one) for number, one in enumerate(differences))
        steps = merge(*rows, key=itemgetter(0, 1))
        for _, same_key in groupby(steps, key=itemgetter(0)):
            few = list(same_key)
            yield few[0][2], few[-1][3]

    return Difference(
        added=_Folded(lambda: (new for old, new in folded() if old is None and new is not None)),
        modified=_Folded(
            lambda: (
                (old, new)
                for old, new in folded()
                if old is not None and new is not None and old.version != new.version
            )
        ),
        removed=_Folded(lambda: (old for old, new in folded() if old is not None and new is None)),
    )


@dataclass(frozen=True)
class _Folded(Collection[_T], Generic[_T]):
    """Rows that are worked out each time they are iterated."""

    rows: Callable[[], Iterator[_T]]

    def __iter__(self) -> Iterator[_T]:
        return self.rows()

    def __contains__(self, wanted: object) -> bool:
        return any(row == wanted for row in self.rows())

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return sum(1 for _ in self.rows())


def _steps(number: int, difference: Difference) -> Iterator[_Step]:
    """The items of one difference by key; each kind is in that order already."""
    added: Iterator[_Step] = ((one.key, number, None, one) for one in difference.added)
    modified: Iterator[_Step] = ((new.key, number, old, new) for old, new in difference.modified)
    removed: Iterator[_Step] = ((one.key, number, one, None) for one in difference.removed)
    return merge(added, modified, removed, key=itemgetter(0))
