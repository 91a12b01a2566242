"""Make the top of a listener's card: the change that started its run, in a few words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from flowproject.cards.layout import (
    MetaflowCardComponent,
    banner,
    difference_tables,
    facts,
    paragraph,
    style,
)
from flowproject.changes.columns import ColumnsChange
from flowproject.wording import moment, one_line, side_by_side

__all__ = ["ShownChange", "change_card", "idle_card"]

_ROWS: Final = 5  # of each kind: what the flow makes of the change is on the card, too


class ShownChange(Protocol):
    """What a card reads of the change that started a run: all of it comes with the event."""

    @property
    def id(self) -> str:
        """The id of the change."""

    @property
    def seq(self) -> int:
        """Its number in the journal."""

    @property
    def sensor(self) -> str:
        """The sensor that saw it."""

    @property
    def reason(self) -> str:
        """Why it counts as a change, in words."""

    @property
    def value(self) -> object:
        """The new value."""

    @property
    def previous(self) -> object:
        """The value before."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many items were added, modified and removed."""

    @property
    def sample(self) -> Mapping[str, Any]:
        """The first few items of each kind."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """What happened to the columns of a query's result; empty if they are as they were."""

    @property
    def recorded_at(self) -> str:
        """When it was recorded, as ISO 8601; empty if that is not known."""

    @property
    def run(self) -> str:
        """The run that recorded it; empty if that is not known."""

    @property
    def first_seq(self) -> int:
        """The number of the oldest change that came with it."""

    @property
    def attempt(self) -> int:
        """Above 1 if a person had it replayed."""


def change_card(change: ShownChange | None) -> list[MetaflowCardComponent]:
    """Show which change started the run, from what to what, with a sample of what is different.

    Or that no change started it.
    """
    if change is None:
        return [
            style(),
            banner("why this run", "Started by hand", "No change of a sensor started it."),
        ]
    # The sample comes with the event: a card must not need the journal, which may be pruned or out
    # of reach when it is drawn.
    sensor = one_line(change.sensor, 60)
    headline = banner(
        f"why this run: {sensor} changed",
        change.reason,
        f"Change {change.seq} of sensor {sensor}, id {one_line(change.id, 40)}",
    )
    tables = difference_tables(change.counts, change.sample, most=_ROWS)
    return [style(), headline, _facts(change), *tables]


def idle_card(reasons: Sequence[str]) -> list[MetaflowCardComponent]:
    """Show that a run did nothing, and why."""
    headline = banner("why this run", "Nothing to do", "Another run has what started this one.")
    return [style(), headline, *map(paragraph, reasons)]


def _facts(change: ShownChange) -> MetaflowCardComponent:
    before, now = side_by_side(change.previous, change.value)
    named = {"before": before, "now": now}
    if counted := [f"{count:,} {kind}" for kind, count in change.counts.items() if count]:
        named["items"] = ", ".join(counted)
    if moved := ColumnsChange.from_json(change.columns).in_words:
        named["columns"] = one_line(moved, 300)
    if change.recorded_at:
        by = f" by {one_line(change.run, 80)}" if change.run else ""
        named["recorded"] = moment(change.recorded_at) + by
    if change.first_seq != change.seq:
        named["together"] = f"changes {change.first_seq:,} to {change.seq:,}, sent as one"
    if change.attempt > 1:
        named["attempt"] = f"{change.attempt:,}: it was replayed"
    return facts(named)
