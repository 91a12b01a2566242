"""What the page shows of runs: the row of each, and the view of one."""

from dataclasses import dataclass

from flowproject.dev.page.changes import CardFrame
from flowproject.dev.page.parts import Action, Fact, Link
from flowproject.dev.page.sensors import TickRow

__all__ = ["RunRow", "RunView"]


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run, as the loop has seen it."""

    name: str
    """`Flow/id`."""
    href: str
    state: str
    """`running`, `succeeded`, `failed` or `unknown`."""
    symbol: str
    started_at: str
    seconds: float | None
    """How long it took; None while it runs."""
    cause: str
    """`schedule`, `page`, or the event that started it."""
    changes: tuple[Link, ...]
    """The changes that started it."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run: why it was started, what it concluded, what it printed."""

    row: RunRow
    flow: str
    facts: tuple[Fact, ...]
    ticks: tuple[TickRow, ...]
    cards: tuple[CardFrame, ...]
    log: str
    """What it has printed so far, at most the last 256 KiB."""
    log_from: int
    """Bytes of the log that `log` leads up to: the address to follow it goes on from here."""
    follow: str
    """Address of the rest as it comes (server-sent events `line` and `end`); empty if it is over."""
    actions: tuple[Action, ...]
