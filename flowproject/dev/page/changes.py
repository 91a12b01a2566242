"""What the page shows of changes: the row of each, and the view of one."""

from dataclasses import dataclass

from flowproject.dev.page.parts import Action, Fact, Link

__all__ = ["ChangeRow", "ChangeView", "Items", "Step"]


@dataclass(frozen=True, kw_only=True)
class ChangeRow:
    """One entry of a journal."""

    seq: int
    href: str
    at: str
    outcome: str
    symbol: str
    reason: str
    value: str
    delivery: str
    """What became of it, in words; empty for what is never sent."""
    state: str
    """`waiting`, `sent`, `undelivered`, `delivered`, `no listener`, or empty."""
    takers: tuple[Link, ...]
    id: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One link of the chain from cause to effect."""

    kind: str
    """`recorded`, `sent`, `replayed`, `taken` or `awaited`."""
    text: str
    at: str
    by: Link | None = None
    attempt: int = 1


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
class CardFrame:
    """A card of a run that took the change, shown in place."""

    title: str
    src: str
    run: Link


@dataclass(frozen=True, kw_only=True)
class ChangeView:
    """One change from its cause to its last receipt."""

    sensor: Link
    row: ChangeRow
    before: str
    now: str
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    in_words: str
    due: str
    """When it is sent again if nothing takes it; empty if it is not awaited."""
    items: Items | None
    """None if the source has no items."""
    cards: tuple[CardFrame, ...]
    actions: tuple[Action, ...]
    query: str
