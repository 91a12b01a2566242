"""Show changes: a journal's entries, one change, its items a page at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flowproject.changes.columns import ColumnsChange
from flowproject.changes.difference import Difference, Item
from flowproject.changes.entry import Entry
from flowproject.dev.page.components import (
    ActionLink,
    Fact,
    Link,
    action,
    address,
    change_address,
    run_address,
    sensor_address,
)
from flowproject.errors import FlowprojectError, UsageError
from flowproject.journal import Journal, JournalIndex, Sending, UnreadableError
from flowproject.runs import RunOutcome, in_words
from flowproject.sensing import Chain, FoundChange, ProjectContext, chain, find_change, patience_of
from flowproject.tables.lazy_rows import Excerpt, excerpt, matching
from flowproject.wording import amount, cost, side_by_side, value_text

__all__ = [
    "KINDS",
    "NO_CHANGES",
    "CardFrame",
    "ChangeRow",
    "ChangeView",
    "ChangesPage",
    "DamagedEntry",
    "ItemsQuery",
    "ItemsTab",
    "ItemsView",
    "JournalEnd",
    "Outcomes",
    "Step",
    "change_rows",
    "change_view",
    "items_view",
    "journal_end",
    "list_changes",
    "place_of",
    "read_change",
]

# On one page.
_LISTED: Final = 25
KINDS: Final = {"added": "+", "modified": "~", "removed": "−"}  # noqa: RUF001  # a minus sign
# Rows, columns and characters of a cell: a change may have millions of items with long texts, and a
# browser draws what it gets.
_ITEM_ROWS: Final = 50
_ITEM_COLUMNS: Final = 12
_ITEM_CELL: Final = 200
Outcomes = Mapping[str, Sequence[RunOutcome]]
"""Id of a change -> what became of the runs that took it."""


# ---------------------------------------------------------- reading the journals; these calls block


@dataclass(frozen=True, kw_only=True)
class JournalEnd:
    """The end of a journal: its newest entry, how many changes the bus lacks, or why not."""

    entry: Entry | None = None
    waiting: int = 0
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class DamagedEntry:
    """An entry that can't be read, and why."""

    seq: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ChangesPage:
    """Some entries, newest first, and the numbers before which older and newer pages begin."""

    chains: tuple[Chain | DamagedEntry, ...] = ()
    older: int = 0
    newer: int = 0


NO_CHANGES: Final = ChangesPage()


def journal_end(project_context: ProjectContext, sensor: str) -> JournalEnd:
    """Read the end of a sensor's journal; of one that can't be read, say why."""
    journal = project_context.journal(sensor)
    try:
        head = journal.head()
        return JournalEnd(entry=head.entry, waiting=sum(1 for _ in journal.waiting(head)))
    # One sensor's journal that can't be read must not take the overview of all the others with it.
    except FlowprojectError as error:
        return JournalEnd(trouble=str(error))


def list_changes(project_context: ProjectContext, sensor: str, before: int = 0) -> ChangesPage:
    """List one page of the entries with smaller numbers than `before`; 0: the newest.

    Raises:
        JournalError: if the journal can't be read.
    """
    journal = project_context.journal(sensor)
    index = journal.index()
    numbers = index.numbers
    # By number, not by place in the list: while somebody reads, changes come and old ones are
    # pruned.
    start = next((i for i, seq in enumerate(numbers) if seq < before), len(numbers))
    start = start if before else 0
    end = start + _LISTED
    return ChangesPage(
        chains=tuple(_chains(project_context, journal, index, numbers[start:end])),
        older=numbers[end - 1] if end < len(numbers) else 0,
        newer=numbers[start - _LISTED] + 1 if start >= _LISTED else numbers[0] + 1 if start else 0,
    )


def read_change(project_context: ProjectContext, sensor: str, seq: int) -> FoundChange:
    """Read one change, its journal, and what became of it.

    Raises:
        UsageError: if there is no such sensor or number.
        JournalError: if it can't be read.
    """
    return find_change(project_context, f"{sensor}/{seq}")


def place_of(project_context: ProjectContext, change_id: str) -> tuple[str, int] | None:
    """Find sensor and number of the change with this id; None if no journal has it.

    Raises:
        JournalError: if a journal can't be read.
    """
    try:
        entry = find_change(project_context, change_id).chain.entry
    except UsageError:
        return None
    return entry.sensor, entry.seq


def _chains(
    project_context: ProjectContext, journal: Journal, index: JournalIndex, numbers: tuple[int, ...]
) -> Iterator[Chain | DamagedEntry]:
    patience = patience_of(project_context.project.sensors[journal.sensor])
    for seq in numbers:
        try:
            entry = journal.get(seq)
            # Ticks in other processes prune it: what was listed may be gone by now.
            if entry:
                yield chain(index, entry, patience, project_context.clock())
        # A damaged entry keeps its number (ADR 0009): it has a row, and the ones around it are
        # shown.
        except UnreadableError as damage:
            yield DamagedEntry(seq=seq, reason=str(damage))


# -------------------------------------------------------------------------------- items of a change


@dataclass(frozen=True, kw_only=True)
class ItemsTab:
    """One kind of difference, and the address that shows its rows."""

    name: str
    """`added`, `modified` or `removed`."""
    mark: str
    """`+`, `~` or `−`."""  # noqa: RUF001  # a minus sign
    count: int
    href: str
    current: bool


@dataclass(frozen=True, kw_only=True)
class ItemsView:
    """A page of the items of one kind.

    `columns` and `rows` are texts. For modified items there are the columns `key`, `from` and `to`.
    """

    kinds: tuple[ItemsTab, ...]
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
class ItemsQuery:
    """Which items of which change a person wants to see."""

    sensor: str
    seq: int
    kind: str = ""
    """One of `KINDS`; empty: the first that there are any of."""
    search: str = ""
    start: int = 0

    def address(self, **other: object) -> str:
        """Give the address of the change with these items, or with other ones."""
        query = {"kind": self.kind, "q": self.search, "start": self.start or "", **other}
        return address("sensors", self.sensor, "changes", self.seq, **query)


def items_view(difference: Difference, asked: ItemsQuery) -> ItemsView | None:
    """Show a page of the items that were added, modified or removed; None if there are none.

    Raises:
        JournalError: if their table can't be read.
    """
    counts = difference.counts
    if not any(counts.values()):
        return None
    kind = asked.kind or next(name for name in KINDS if counts[name])
    rows = getattr(difference, kind)
    if asked.search:
        found = matching(rows, asked.search, asked.start, _ITEM_ROWS)
    else:
        found = excerpt(rows, asked.start, _ITEM_ROWS)
    columns, cells = _edit_rows(found.rows) if kind == "modified" else _plain_rows(found.rows)
    return ItemsView(
        kinds=tuple(_tab(name, counts[name], kind, asked) for name in KINDS),
        search=asked.search,
        columns=columns,
        rows=cells,
        first=0 if asked.search or not cells else asked.start + 1,
        note=_items_note(found, asked, counts[kind]),
        previous=_previous_items(asked, kind),
        next=asked.address(kind=kind, start=found.following) if found.following else "",
    )


def _tab(name: str, count: int, current: str, asked: ItemsQuery) -> ItemsTab:
    href = asked.address(kind=name, start="")
    return ItemsTab(name=name, mark=KINDS[name], count=count, href=href, current=name == current)


def _previous_items(asked: ItemsQuery, kind: str) -> str:
    """The page before; of a search only its first page is known."""
    if not asked.start:
        return ""
    start = 0 if asked.search else max(0, asked.start - _ITEM_ROWS)
    return asked.address(kind=kind, start=start or "")


def _items_note(found: Excerpt[object], asked: ItemsQuery, count: int) -> str:
    if not asked.search:
        end = asked.start + len(found.rows)
        return f"{asked.start + 1:,} to {end:,} of {count:,}" if found.rows else "none"
    searched = found.following or count
    many = f"{len(found.rows):,} found"
    if found.following:
        return f"{many} among rows {asked.start + 1:,} to {searched:,} of {count:,}"
    return f"{many}; that is all of {count:,}"


def _plain_rows(items: Iterable[Item]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    shown = [item.shown for item in items]
    names = tuple(dict.fromkeys(name for row in shown for name in row))[:_ITEM_COLUMNS]
    return names, tuple(
        tuple(value_text(row[name], _ITEM_CELL) if name in row else "" for name in names)
        for row in shown
    )


def _edit_rows(
    pairs: Iterable[tuple[Item, Item]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return ("key", "from", "to"), tuple(map(_edit_row, pairs))


def _edit_row(pair: tuple[Item, Item]) -> tuple[str, ...]:
    """The key, and those columns that differ, as they were and as they are."""
    old, new = (item.shown for item in pair)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    cells = {name: side_by_side(old.get(name), new.get(name), _ITEM_CELL) for name in names}
    before, after = (
        ", ".join(f"{name}: {both[side]}" for name, both in cells.items() if name in row)
        for side, row in enumerate((old, new))
    )
    return value_text(pair[1].key, _ITEM_CELL), before, after


# ------------------------------------------------------------------------------------------ changes


@dataclass(frozen=True, kw_only=True)
class ChangeRow:
    """One entry of a journal."""

    seq: int
    href: str
    at: str
    outcome: str
    reason: str
    value: str
    delivery: str
    """What became of it, in words; empty for what is never sent."""
    state: str
    """`waiting`, `sent`, `undelivered`, `delivered`, `skipped`, `no listener`, or empty; `failed`
    if a run that took it was, or was killed, and `running` if one has not finished.
    """
    takers: tuple[Link, ...]
    id: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One link of the chain from cause to effect."""

    kind: str
    """`recorded`, `sent`, `replayed`, `taken`, `failed`, `resumed` or `awaited`."""
    text: str
    at: str
    by: Link | None = None
    attempt: int = 1


@dataclass(frozen=True, kw_only=True)
class CardFrame:
    """A card of a run that took the change, shown in place."""

    title: str
    src: str
    run: Link
    problem: str = ""
    """Why the cards of the run can't be shown; then there is no `src`."""


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
    items: ItemsView | None
    """None if the source has no items."""
    cards: tuple[CardFrame, ...]
    actions: tuple[ActionLink, ...]
    query: str


def change_rows(
    chains: Iterable[Chain | DamagedEntry], outcomes: Outcomes
) -> tuple[ChangeRow, ...]:
    """Show some entries of a sensor's journal, a row each."""
    return tuple(
        _damaged(chain)
        if isinstance(chain, DamagedEntry)
        else _row(chain, outcomes.get(chain.entry.id, ()))
        for chain in chains
    )


def change_view(
    chain: Chain,
    items: ItemsView | None,
    cards: Sequence[CardFrame],
    outcomes: Sequence[RunOutcome] = (),
) -> ChangeView:
    """Show a change, with some of its items, and the runs that took it and their cards."""
    entry = chain.entry
    before, now = side_by_side(entry.previous, entry.value, 500)
    return ChangeView(
        sensor=Link(text=entry.sensor, href=sensor_address(entry.sensor)),
        row=_row(chain, outcomes),
        before=before,
        now=now,
        facts=tuple(_facts(chain)),
        steps=tuple(_steps(chain, outcomes)),
        in_words=in_words(chain, outcomes),
        due=chain.due,
        items=items,
        cards=tuple(cards),
        actions=_actions(chain, outcomes),
        query=entry.query,
    )


def _row(chain: Chain, outcomes: Sequence[RunOutcome]) -> ChangeRow:
    entry = chain.entry
    return ChangeRow(
        seq=entry.seq,
        href=change_address(entry.sensor, entry.seq),
        at=entry.recorded_at,
        outcome=entry.outcome,
        reason=entry.reason,
        value=value_text(entry.value),
        delivery=in_words(chain, outcomes),
        state=_state(chain, outcomes),
        takers=tuple(_takers(chain)),
        id=entry.id,
    )


def _state(chain: Chain, outcomes: Sequence[RunOutcome]) -> str:
    if any(one.is_over_and_failed for one in outcomes):
        return "failed"
    # A receipt is written at a run's beginning: delivered does not say that all went well.
    unfinished = any(one.state in ("running", "unfinished") for one in outcomes)
    return "running" if chain.state == "delivered" and unfinished else chain.state


def _damaged(damage: DamagedEntry) -> ChangeRow:
    return ChangeRow(
        seq=damage.seq,
        href="",
        at="",
        outcome="damaged",
        reason=damage.reason,
        value="",
        delivery="",
        state="",
        takers=(),
        id="",
    )


def _takers(chain: Chain) -> Iterator[Link]:
    """The runs that took it, each once, with the attempt if it was replayed."""
    # A run that was replayed has a receipt for each attempt; the newest one counts.
    newest = {receipt.run: receipt.attempt for receipt in chain.receipts}
    for run, attempt in newest.items():
        again = f" (attempt {attempt})" if attempt > 1 else ""
        yield Link(text=run + again, href=run_address(run))


def _facts(chain: Chain) -> Iterator[Fact]:
    entry = chain.entry
    yield Fact(name="recorded", text=entry.recorded_at, moment=entry.recorded_at)
    yield Fact(name="id", text=entry.id)
    yield Fact(name="counts", text=", ".join(f"{n:,} {kind}" for kind, n in entry.counts.items()))
    yield Fact(name="columns", text=ColumnsChange.from_json(entry.columns_change).in_words)
    if entry.total is not None:
        yield Fact(name="holds", text=amount(entry.total, "item"))
    spent = {name: n for name, n in entry.cost.items() if isinstance(n, int | float)}
    yield Fact(name="read", text=cost(spent))
    if entry.cost.get("query_id"):
        yield Fact(name="query id", text=str(entry.cost["query_id"]))


def _steps(chain: Chain, outcomes: Sequence[RunOutcome]) -> Iterator[Step]:
    """List what happened to it, from the tick that recorded it to the receipts still awaited."""
    entry, mark = chain.entry, chain.mark
    yield Step(kind="recorded", text=entry.reason, at=entry.recorded_at, by=_by(entry.run))
    # Changes that wait together are sent as one event, with the id of the last of them.
    if mark and chain.carried_by:
        text = f"sent with change {chain.carried_by}, whose id the event has"
        carrier = Link(text=text, href=change_address(entry.sensor, chain.carried_by))
        yield Step(kind="sent", text=mark.event_name, at=mark.published_at, by=carrier)
    for sending in chain.sendings:
        yield _sending(sending, mark.event_name if mark else "")
    for receipt in chain.receipts:
        yield Step(
            kind="taken",
            text=receipt.flow,
            at=receipt.at,
            by=_by(receipt.run),
            attempt=receipt.attempt,
        )
    for one in outcomes:
        if one.resumed_by:
            yield Step(kind="resumed", text=one.run, at="", by=_by(one.resumed_by))
        if one.is_over_and_failed:
            yield Step(kind="failed", text=one.in_words, at="", by=_by(one.newest))
    for flow in chain.missing:
        seq = chain.behind.get(flow)
        text = f"{flow}, in its turn, behind change {seq}" if seq else flow
        yield Step(kind="awaited", text=text, at="", attempt=chain.attempt)


def _sending(sending: Sending, event: str) -> Step:
    kind = "sent" if sending.number else "replayed"
    again = f", sending {sending.number}" if sending.number > 1 else ""
    return Step(
        kind=kind,
        text=event + again,
        at=sending.at,
        by=_by(sending.run),
        attempt=sending.attempt,
    )


def _by(run: str) -> Link | None:
    return Link(text=run, href=run_address(run)) if run else None


def _actions(chain: Chain, outcomes: Sequence[RunOutcome]) -> tuple[ActionLink, ...]:
    # What was never to be sent (a baseline, say) can't be sent again, and nobody waits for its end.
    if chain.mark is None:
        return ()
    entry = chain.entry
    bad = [one for one in outcomes if one.is_over_and_failed]
    return (
        *(action("resume-run", f"Resume {one.newest}", run=one.newest) for one in bad),
        action("replay", "Replay", change=f"{entry.sensor}/{entry.seq}"),
        *([action("skip", "Skip", change=f"{entry.sensor}/{entry.seq}")] if chain.in_order else []),
    )
