"""Defines items, and finds the difference between two tables of them, whatever their source.

Also several differences in a row as one, and two texts so that their first difference is seen.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Generic, Self, TypeVar

from flowproject.changes.canonical import Json, digest_value

__all__ = ["Difference", "Item", "combine", "diff", "edit", "item", "shortened_pair"]

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that a source holds: a row, a file, an object.

    `key` says which, `version` (32 hexadecimal digits) changes whenever it does, and `data` is
    what a reader wants to see of it, as canonical JSON.
    """

    key: str
    version: str
    data: dict[str, Json] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Json]:
        """What a reader sees of it: its data, or its key if it has no more."""
        return dict(self.data) or {"key": self.key}


def item(key: str, data: dict[str, Json], *, identity: Json = None) -> Item:
    """The item `key`, whose version is the digest of `identity` (default: of all its data)."""
    return Item(key=key, version=digest_value(data if identity is None else identity), data=data)


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
    # In the order of keys, so that differences can be merged side by side, and samples are the same
    # each time.
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


_Step = tuple[str, int, Item | None, Item | None]
"""What one difference says of one item: its key, the number of the difference, before, after."""


def combine(differences: Sequence[Difference]) -> Difference:
    """What the differences come to, if each leads on from the state that the one before led to.

    An item that came and went is in none of its collections, and neither is one that is again what
    it was. They are read side by side when they are iterated, and not held in memory.
    """
    # One needs no work, and stays what it is: rows in columns can be searched where they lie.
    if len(differences) == 1:
        return differences[0]

    def folded() -> Iterator[tuple[Item | None, Item | None]]:
        # Each is in the order of keys already, so a merge holds one item of each in memory.
        rows = (_steps(number, one) for number, one in enumerate(differences))
        steps = merge(*rows, key=itemgetter(0, 1))
        for _, same_key in groupby(steps, key=itemgetter(0)):
            few = list(same_key)
            # What happened in between is of no use to a run that sees only the ends.
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


def shortened_pair(old: str, new: str, limit: int) -> tuple[str, str]:
    """The texts, each of at most `limit` characters: their beginnings, if they differ there.

    Otherwise each from a little before the first place where they differ.
    """
    pairs = zip(old, new, strict=False)
    same = next(
        (at for at, (one, other) in enumerate(pairs) if one != other), min(len(old), len(new))
    )
    # Where they differ within the room anyway, their beginnings say more.
    if old == new or same < limit - 1 or max(len(old), len(new)) <= limit:
        return _clipped(old, limit), _clipped(new, limit)
    # A third of the room for what comes before, by which a reader finds the place.
    start = same - limit // 3
    return "…" + _clipped(old[start:], limit - 1), "…" + _clipped(new[start:], limit - 1)


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
