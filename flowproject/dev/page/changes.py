"""What the page shows of changes: the row of each, and the view of one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowproject.changes.columns import ColumnsChange
from flowproject.dev.page.archive import Damage
from flowproject.dev.page.items import Items
from flowproject.dev.page.parts import Action, Fact, Link, action
from flowproject.dev.page.words import change_address, run_address, sensor_address
from flowproject.runs import RunOutcome, in_words
from flowproject.sensing import Chain
from flowproject.wording import amount, cost, side_by_side, value_text

if TYPE_CHECKING:
    from flowproject.journal import Sending

__all__ = [
    "CardFrame",
    "ChangeRow",
    "ChangeView",
    "Outcomes",
    "Step",
    "change_rows",
    "change_view",
]

Outcomes = Mapping[str, Sequence[RunOutcome]]
"""Id of a change -> what became of the runs that took it."""


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


def change_rows(chains: Iterable[Chain | Damage], outcomes: Outcomes) -> tuple[ChangeRow, ...]:
    """The rows of some entries of a sensor's journal."""
    return tuple(
        _damaged(told) if isinstance(told, Damage) else _row(told, outcomes.get(told.entry.id, ()))
        for told in chains
    )


def change_view(
    told: Chain,
    items: Items | None,
    cards: Sequence[CardFrame],
    outcomes: Sequence[RunOutcome] = (),
) -> ChangeView:
    """The view of a change, with some of its items, and the runs that took it and their cards."""
    entry = told.entry
    before, now = side_by_side(entry.previous, entry.value, 500)
    return ChangeView(
        sensor=Link(text=entry.sensor, href=sensor_address(entry.sensor)),
        row=_row(told, outcomes),
        before=before,
        now=now,
        facts=tuple(_facts(told)),
        steps=tuple(_steps(told, outcomes)),
        in_words=in_words(told, outcomes),
        due=told.due,
        items=items,
        cards=tuple(cards),
        actions=_actions(told, outcomes),
        query=entry.query,
    )


def _row(told: Chain, outcomes: Sequence[RunOutcome]) -> ChangeRow:
    entry = told.entry
    return ChangeRow(
        seq=entry.seq,
        href=change_address(entry.sensor, entry.seq),
        at=entry.recorded_at,
        outcome=entry.outcome,
        reason=entry.reason,
        value=value_text(entry.value),
        delivery=in_words(told, outcomes),
        state=_state(told, outcomes),
        takers=tuple(_takers(told)),
        id=entry.id,
    )


def _state(told: Chain, outcomes: Sequence[RunOutcome]) -> str:
    if any(one.is_over_and_failed for one in outcomes):
        return "failed"
    unfinished = any(one.state in ("running", "unfinished") for one in outcomes)
    return "running" if told.state == "delivered" and unfinished else told.state


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
    yield Fact(name="columns", text=ColumnsChange.from_json(entry.columns_change).in_words)
    if entry.total is not None:
        yield Fact(name="holds", text=amount(entry.total, "item"))
    spent = {name: n for name, n in entry.cost.items() if isinstance(n, int | float)}
    yield Fact(name="read", text=cost(spent))
    if entry.cost.get("query_id"):
        yield Fact(name="query id", text=str(entry.cost["query_id"]))


def _steps(told: Chain, outcomes: Sequence[RunOutcome]) -> Iterator[Step]:
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
    for one in outcomes:
        if one.resumed_by:
            yield Step(kind="resumed", text=one.run, at="", by=_by(one.resumed_by))
        if one.is_over_and_failed:
            yield Step(kind="failed", text=one.in_words, at="", by=_by(one.newest))
    for flow in told.missing:
        seq = told.behind.get(flow)
        text = f"{flow}, in its turn, behind change {seq}" if seq else flow
        yield Step(kind="awaited", text=text, at="", attempt=told.attempt)


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


def _actions(told: Chain, outcomes: Sequence[RunOutcome]) -> tuple[Action, ...]:
    if told.mark is None:
        return ()
    entry = told.entry
    bad = [one for one in outcomes if one.is_over_and_failed]
    return (
        *(action("resume-run", f"Resume {one.newest}", run=one.newest) for one in bad),
        action("replay", "Replay", change=f"{entry.sensor}/{entry.seq}"),
        *([action("skip", "Skip", change=f"{entry.sensor}/{entry.seq}")] if told.in_order else []),
    )
