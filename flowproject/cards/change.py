"""The top of a listener's card: the change that started its run, told in a few words."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from flowproject.cards.layout import MetaflowCardComponent, banner, paragraph, table
from flowproject.cards.wording import one_line, value_text

__all__ = ["Started", "change_card", "idle_card"]


class Started(Protocol):
    """What a card reads of the change that started a run: only what came with the event."""

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


def change_card(change: Started | None) -> list[MetaflowCardComponent]:
    """Which change started the run, from what to what; or that a person started it."""
    if change is None:
        return [banner("why this run", "Started by hand", "No change of a sensor started it.")]
    sensor = one_line(change.sensor, 60)
    headline = banner(
        f"why this run: {sensor} changed",
        change.reason,
        f"Change {change.seq} of sensor {sensor}, id {one_line(change.id, 40)}",
    )
    return [headline, _facts(change)]


def idle_card(reasons: Sequence[str]) -> list[MetaflowCardComponent]:
    """That a run did nothing, and why."""
    headline = banner("why this run", "Nothing to do", "Another run has what started this one.")
    return [headline, *map(paragraph, reasons)]


def _facts(change: Started) -> MetaflowCardComponent:
    facts = {"before": value_text(change.previous), "now": value_text(change.value)}
    if any(change.counts.values()):
        facts |= {kind: f"{count:,}" for kind, count in change.counts.items()}
    return table(list(facts), [list(facts.values())])
