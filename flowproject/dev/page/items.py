"""The items of a change, a page at a time: whatever their number, only a few are read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flowproject.cards.wording import side_by_side, value_text
from flowproject.changes.item import Item
from flowproject.dev.page.words import address
from flowproject.tables.lazy import Excerpt, excerpt, matching

if TYPE_CHECKING:
    from flowproject.changes.difference import Difference

__all__ = ["KINDS", "Asked", "Items", "Kind", "items_view"]

KINDS: Final = {"added": "+", "modified": "~", "removed": "−"}  # noqa: RUF001  # a minus sign
_ROWS: Final = 50
_COLUMNS: Final = 12
_CELL: Final = 200


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of difference, and the address that shows its rows."""

    name: str
    """`added`, `modified` or `removed`."""
    mark: str
    """`+`, `~` or `−`."""  # noqa: RUF001  # a minus sign
    count: int
    href: str
    current: bool


@dataclass(frozen=True, kw_only=True)
class Items:
    """A page of the items of one kind.

    `columns` and `rows` are texts. For modified items there are the columns `key`, `from` and `to`.
    """

    kinds: tuple[Kind, ...]
    search: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: int
    """The number of the first row, from 1; 0 if there is none, or if a search found these."""
    note: str
    """What is worth saying of the rows: how many of how many, how far a search has looked."""
    previous: str
    next: str
    """Addresses of the pages before and after; empty if there are none."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which items of which change a person wants to see."""

    sensor: str
    seq: int
    kind: str = ""
    """One of `KINDS`; empty: the first that there are any of."""
    search: str = ""
    start: int = 0

    def address(self, **other: object) -> str:
        """The view of the change with these items, or with other ones."""
        query = {"kind": self.kind, "q": self.search, "start": self.start or "", **other}
        return address("sensors", self.sensor, "changes", self.seq, **query)


def items_view(difference: "Difference", asked: Asked) -> Items | None:
    """One page of the items that were added, modified or removed; None if there are none.

    Raises:
        JournalError: if their table can't be read.
    """
    counts = difference.counts
    if not any(counts.values()):
        return None
    kind = asked.kind or next(name for name in KINDS if counts[name])
    rows = getattr(difference, kind)
    if asked.search:
        found = matching(rows, asked.search, asked.start, _ROWS)
    else:
        found = excerpt(rows, asked.start, _ROWS)
    columns, cells = _edits(found.rows) if kind == "modified" else _plain(found.rows)
    return Items(
        kinds=tuple(_kind(name, counts[name], kind, asked) for name in KINDS),
        search=asked.search,
        columns=columns,
        rows=cells,
        first=0 if asked.search or not cells else asked.start + 1,
        note=_note(found, asked, counts[kind]),
        previous=_previous(asked, kind),
        next=asked.address(kind=kind, start=found.following) if found.following else "",
    )


def _kind(name: str, count: int, current: str, asked: Asked) -> Kind:
    href = asked.address(kind=name, start="")
    return Kind(name=name, mark=KINDS[name], count=count, href=href, current=name == current)


def _previous(asked: Asked, kind: str) -> str:
    """The page before; of a search only its first page is known."""
    if not asked.start:
        return ""
    start = 0 if asked.search else max(0, asked.start - _ROWS)
    return asked.address(kind=kind, start=start or "")


def _note(found: "Excerpt[object]", asked: Asked, count: int) -> str:
    if not asked.search:
        end = asked.start + len(found.rows)
        return f"{asked.start + 1:,} to {end:,} of {count:,}" if found.rows else "none"
    searched = found.following or count
    many = f"{len(found.rows):,} found"
    if found.following:
        return f"{many} among rows {asked.start + 1:,} to {searched:,} of {count:,}"
    return f"{many}; that is all of {count:,}"


def _plain(items: Iterable[Item]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    shown = [item.shown for item in items]
    names = tuple(dict.fromkeys(name for row in shown for name in row))[:_COLUMNS]
    return names, tuple(
        tuple(value_text(row[name], _CELL) if name in row else "" for name in names)
        for row in shown
    )


def _edits(
    pairs: Iterable[tuple[Item, Item]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return ("key", "from", "to"), tuple(map(_edit, pairs))


def _edit(pair: tuple[Item, Item]) -> tuple[str, ...]:
    """The key, and those columns that differ, as they were and as they are."""
    old, new = (item.shown for item in pair)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    cells = {name: side_by_side(old.get(name), new.get(name), _CELL) for name in names}
    before, after = (
        ", ".join(f"{name}: {both[side]}" for name, both in cells.items() if name in row)
        for side, row in enumerate((old, new))
    )
    return value_text(pair[1].key, _CELL), before, after
