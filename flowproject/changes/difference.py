"""The difference between two tables of items, whatever source they came from."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Self

from flowproject.changes.canonical import Json
from flowproject.changes.item import Item

__all__ = ["Difference", "diff", "edit"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Items added, modified (old and new) and removed, each in the order of their keys.

    Few of them are tuples; of millions each is a collection that reads them when it is iterated.
    """

    added: Collection[Item] = ()
    modified: Collection[tuple[Item, Item]] = ()
    removed: Collection[Item] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many items were added, modified and removed."""
        return {
            "added": len(self.added),
            "modified": len(self.modified),
            "removed": len(self.removed),
        }

    @property
    def arrived(self) -> Iterator[Item]:
        """The items that are there now and were not there so before."""
        return chain(self.added, (new for _, new in self.modified))

    def first(self, limit: int) -> Self:
        """At most `limit` items of each kind."""
        return type(self)(
            added=tuple(islice(self.added, limit)),
            modified=tuple(islice(self.modified, limit)),
            removed=tuple(islice(self.removed, limit)),
        )


def edit(old: Item, new: Item) -> dict[str, Json]:
    """What a reader sees of a modified item."""
    return {"key": new.key, "old": old.shown, "new": new.shown}


def diff(
    old: Mapping[str, Item],
    new: Mapping[str, Item],
    differ: Callable[[Item, Item], bool] | None = None,
) -> Difference:
    """What must happen to `old` to become `new`.

    Where versions differ, `differ` may say that the items do not.
    """
    kept = sorted(old.keys() & new.keys())
    return Difference(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        modified=tuple(
            (old[key], new[key])
            for key in kept
            if old[key].version != new[key].version
            and (differ is None or differ(old[key], new[key]))
        ),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
    )
