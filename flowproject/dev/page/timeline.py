"""Ticks, events and runs on one axis of time. Positions are in percent of the width."""

from dataclasses import dataclass

from flowproject.dev.page.parts import Link

__all__ = ["Label", "Lane", "Mark", "Tie", "Timeline"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened: a point if `width` is 0, else a bar."""

    x: float
    width: float
    outcome: str
    """The outcome of a tick; `event`; the state of a run."""
    symbol: str
    words: str
    """The whole of it in words, for the pointer and for screen readers."""
    href: str
    count: int
    """How many were so close together that they are one mark; `outcome` is the most pressing."""
    chain: str
    """The same text for everything that one change caused; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One row: the ticks of a sensor, the events, or the runs of a flow."""

    name: str
    kind: str
    """`ticks`, `events` or `runs`."""
    href: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class Tie:
    """A line from a cause to its effect: from (x1, lane number from) to (x2, lane number to)."""

    x1: float
    from_lane: int
    x2: float
    to_lane: int
    chain: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """A moment on the axis."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What happened in a stretch of time."""

    start: str
    end: str
    lanes: tuple[Lane, ...]
    ties: tuple[Tie, ...]
    labels: tuple[Label, ...]
    spans: tuple[Link, ...]
    """Other stretches to look at; the present one has no address."""
