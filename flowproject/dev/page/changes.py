"""What the page shows of changes: the row of each, and the view of one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowproject.cards.wording import amount, cost, value_text
from flowproject.dev.page.archive import Damage
from flowproject.dev.page.items import Items
from flowproject.dev.page.parts import Action, Fact, Link, action
from flowproject.dev.page.words import change_address, run_address, sensor_address
from flowproject.sensing import Chain

if TYPE_CHECKING:
    from flowproject.journal import Sending

__all__ = ["CardFrame", "ChangeRow", "ChangeView", "Step", "change_rows", "change_view"]


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


def change_rows(chains: Iterable[Chain | Damage]) -> tuple[ChangeRow, ...]:
    """The rows of some entries of a sensor's journal."""
    return tuple(_damaged(told) if isinstance(told, Damage) else _row(told) for told in chains)


def change_view(told: Chain, items: Items | None, cards: Sequence[CardFrame]) -> ChangeView:
    """The view of a change, with some of its items and the cards of the runs that took it."""
    entry = told.entry
    return ChangeView(
        sensor=Link(text=entry.sensor, href=sensor_address(entry.sensor)),
        row=_row(told),
        before=value_text(entry.previous, 500),
        now=value_text(entry.value, 500),
        facts=tuple(_facts(told)),
        steps=tuple(_steps(told)),
        in_words=told.in_words,
        due=told.due,
        items=items,
        cards=tuple(cards),
        actions=_actions(told),
        query=entry.query,
    )


def _row(told: Chain) -> ChangeRow:
    entry = told.entry
    return ChangeRow(
        seq=entry.seq,
        href=change_address(entry.sensor, entry.seq),
        at=entry.recorded_at,
        outcome=entry.outcome,
        reason=entry.reason,
        value=value_text(entry.value),
        delivery=told.in_words,
        state=told.state,
        takers=tuple(_takers(told)),
        id=entry.id,
    )


def _damaged(damage: Damage) -> ChangeRow:
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


def _takers(told: Chain) -> Iterator[Link]:
    """The runs that took it, each once, with the attempt if it was replayed."""
    newest = {receipt.run: receipt.attempt for receipt in told.receipts}
    for run, attempt in newest.items():
        again = f" (attempt {attempt})" if attempt > 1 else ""
        yield Link(text=run + again, href=run_address(run))


def _facts(told: Chain) -> Iterator[Fact]:
    entry = told.entry
    yield Fact(name="recorded", text=entry.recorded_at, moment=entry.recorded_at)
    yield Fact(name="id", text=entry.id)
    yield Fact(name="counts", text=", ".join(f"{n:,} {kind}" for kind, n in entry.counts.items()))
    if entry.total is not None:
        yield Fact(name="holds", text=amount(entry.total, "item"))
    spent = {name: n for name, n in entry.cost.items() if isinstance(n, int | float)}
    yield Fact(name="read", text=cost(spent))
    if entry.cost.get("query_id"):
        yield Fact(name="query id", text=str(entry.cost["query_id"]))


def _steps(told: Chain) -> Iterator[Step]:
    """From the tick that recorded it to the receipts that are still awaited."""
    entry, mark = told.entry, told.mark
    yield Step(kind="recorded", text=entry.reason, at=entry.recorded_at, by=_by(entry.run))
    if mark and told.carried_by:
        text = f"sent with change {told.carried_by}, whose id the event has"
        carrier = Link(text=text, href=change_address(entry.sensor, told.carried_by))
        yield Step(kind="sent", text=mark.event_name, at=mark.published_at, by=carrier)
    for sending in told.sendings:
        yield _sending(sending, mark.event_name if mark else "")
    for receipt in told.receipts:
        yield Step(
            kind="taken",
            text=receipt.flow,
            at=receipt.at,
            by=_by(receipt.run),
            attempt=receipt.attempt,
        )
    for flow in told.missing:
        yield Step(kind="awaited", text=flow, at="", attempt=told.attempt)


def _sending(sending: "Sending", event: str) -> Step:
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


def _actions(told: Chain) -> tuple[Action, ...]:
    if told.mark is None:
        return ()
    entry = told.entry
    return (action("replay", "Replay", change=f"{entry.sensor}/{entry.seq}"),)
