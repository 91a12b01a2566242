"""Describes what a source looks like at one moment, what was known, and how far a look is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from flowproject.changes.caching import cached_property
from flowproject.changes.canonical import Json, digest, digest_value
from flowproject.changes.difference import Difference, Item

__all__ = [
    "Cost",
    "Items",
    "Memo",
    "Observation",
    "Past",
    "Progress",
    "Report",
    "fingerprint_items",
    "fingerprint_total",
    "fingerprint_value",
    "fingerprint_whole",
    "ignore_progress",
    "share",
]

_MODULUS: Final = 2**128


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one observation took: seconds of wall time, requests, bytes and rows read.

    `query_id` is the name under which a server keeps its own record of it, if it keeps one.
    """

    seconds: float = 0.0
    requests: int = 0
    bytes: int = 0
    rows: int = 0
    query_id: str = ""

    def to_json(self) -> dict[str, Json]:
        """The four figures, seconds rounded to milliseconds, and the query's id if it has one."""
        figures: dict[str, Json] = {
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "bytes": self.bytes,
            "rows": self.rows,
        }
        return figures | ({"query_id": self.query_id} if self.query_id else {})


class Items(Protocol):
    """What a source holds: a dict of items by key, or a table that is too large to be one."""

    def __len__(self) -> int:
        """How many items there are."""

    def __contains__(self, key: object, /) -> bool:
        """Whether there is an item with this key."""

    def values(self) -> Iterable[Item]:
        """All items, one after the other."""


Memo = dict[str, Json]
"""What a source notes for its next look: small JSON, with a version of its own. Empty: nothing.

It says of the state that it is kept with how that can be known again. It is safe to lose: without
it the next look is slower, never wrong.
"""


class Past:
    """What was known of a source before this look, for sources that look only at what moved.

    `total` is how many items it had, None if it has none. `recorded` is the memo that the entry of
    that state has in it. With `is_forced` somebody asked for a look at the source itself.
    """

    def __init__(
        self,
        value: Json,
        load_items: Callable[[], Items | None],
        *,
        fingerprint: str = "",
        total: int | None = None,
        load_memo: Callable[[], Memo] = dict,
        recorded: Memo | None = None,
        is_forced: bool = False,
    ) -> None:
        self.value = value
        self.fingerprint = fingerprint
        self.total = total
        self.recorded = recorded or {}
        self.is_forced = is_forced
        self._load_items = load_items
        self._load_memo = load_memo

    # Read only when asked for: most ticks find the same fingerprint and need no item.
    @cached_property
    def items(self) -> Items | None:
        """The items that it had; read from the journal when first asked for, which may fail."""
        return self._load_items()

    @cached_property
    def memo(self) -> Memo:
        """What the source noted of that state; read from the journal when first asked for."""
        return self._load_memo()

    def still(
        self, *, cost: Cost, query: str = "", note: str = "", memo: Memo | None = None
    ) -> "Observation":
        """Make the observation of a source that knows, without its items, that it is as it was.

        `memo` is what it notes anew; without it, what it noted before, which may be a request.
        """
        return Observation(
            value=self.value,
            fingerprint=self.fingerprint,
            # Whoever only counts them must not make the journal read its table.
            items=None if self.total is None else _Remembered(self),
            cost=cost,
            query=query,
            note=note,
            memo=self.memo if memo is None else memo,
        )


class _Remembered:
    """The items of the past, which are read only if somebody asks for more than their number."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def __len__(self) -> int:
        return self._past.total or 0

    def __contains__(self, key: object) -> bool:
        return key in (self._past.items or ())

    def values(self) -> Iterable[Item]:
        return self._past.items.values() if self._past.items is not None else ()


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A value, the items behind it if the source has any, and one fingerprint of it all.

    `difference` is what happened to the items since the past that the source was given, from
    sources that compare while they look; None leaves it to whoever asked. `query` is the SQL that
    ran, for sources that have one. `note` is what the reason of a tick says besides, of how it was
    looked at. `memo` is what the source will want to know of this state at its next look. `columns`
    are those of a query's result, each with its type; empty if they are not known. `types` are the
    types, in DuckDB's words, of columns of which `columns` does not say enough to make Arrow of
    them; they may follow from the data, so no change is told by them. `state` says it in words
    where neither value nor items do. `version` is which version of the source was seen, of sources
    that keep versions, and what was committed since the one before. `written` is the file that was
    written last, of those behind a query's result, with when it was; None where the items say it of
    themselves.
    """

    value: Json
    fingerprint: str
    items: Items | None = None
    difference: Difference | None = None
    cost: Cost = field(default_factory=Cost)
    query: str = ""
    note: str = ""
    memo: Memo = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)  # the same in any order
    types: Mapping[str, str] = field(default_factory=dict, compare=False)
    state: str = field(default="", compare=False)
    version: Mapping[str, Json] = field(default_factory=dict, compare=False)
    written: Item | None = field(default=None, compare=False)


def fingerprint_value(value: Json) -> str:
    """The fingerprint of an observation that has no items."""
    return digest("value", digest_value(value))


def fingerprint_whole(value: Json) -> str:
    """The fingerprint of rows that are known as a whole, by a value that has none of them."""
    return fingerprint_value(["rows", value])


def fingerprint_items(items: Iterable[Item]) -> str:
    """The fingerprint of a table of items: the same for the same items in any order.

    A sum over digests (Bellare and Micciancio's AdHash), so that it follows from the items that
    were added and removed, without all the others.
    """
    count, total = 0, 0
    for item in items:
        count += 1
        total += share(item.key, item.version)
    return fingerprint_total(count, total)


def share(key: str, version: str) -> int:
    """What one item adds to the total of which a table's fingerprint is made."""
    return int(digest(key, version), 16)


def fingerprint_total(count: int, total: int) -> str:
    """The fingerprint of a table of so many items, whose shares come to `total`."""
    return digest("items", str(count), f"{total % _MODULUS:032x}")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a look is: items seen, and about how many there are (0: nobody knows)."""

    seen: int
    expected: int = 0


Report = Callable[[str, Progress], None]
"""Told how far the look of a sensor is, about twice a second while it lasts."""


def ignore_progress(sensor: str, progress: Progress) -> None:
    """The report of a look that nobody watches."""
