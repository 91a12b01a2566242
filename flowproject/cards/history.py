"""The story of a sensor so far: a chart of what it held, its newest changes, the last of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowproject.cards.chart import step_chart
from flowproject.cards.layout import MetaflowCardComponent, table
from flowproject.cards.wording import amount, moment, one_line, outcome, value_text

__all__ = ["history", "last_change"]

Row = Mapping[str, Any]
_MINUTES: Final = len("2026-11-22 12:00")
_COLUMNS: Final = ("no.", "recorded (UTC)", "outcome", "reason", "value", "delivery")


def history(tick: Row) -> list[MetaflowCardComponent]:
    """The chart and the table; nothing where there is nothing to compare with."""
    rows = tick.get("history") or [tick]
    chart = step_chart(_trail(tick), "value" if rows[0].get("total") is None else "items")
    listed = [table(_COLUMNS, [_row(tick, row) for row in rows])] if len(rows) > 1 else []
    return ([chart] if chart else []) + listed


def last_change(tick: Row) -> str:
    """When the last change before this tick was, and what it was; empty if nothing is recorded."""
    rows = [row for row in tick.get("history") or [] if not _is_new(tick, row)]
    for row in rows:
        if row["outcome"] in {"changed", "forced"}:
            return f"{_minute(row)} UTC: {one_line(row['reason'], 80)}"
    return f"none since {_minute(rows[-1])} UTC" if rows else ""


def _trail(tick: Row) -> list[Sequence[object]]:
    """What was recorded; and what was found unchanged is the same until now."""
    trail = [*(tick.get("trail") or [])]
    if trail and tick["outcome"] == "unchanged":
        trail.append([tick["at"], trail[-1][-1]])
    return trail


def _row(tick: Row, row: Row) -> list[str]:
    total = row.get("total")
    return [
        str(row["seq"]),
        _minute(row),
        outcome(row["outcome"]),
        one_line(row["reason"], 80),
        value_text(row.get("value"), 24) if total is None else amount(total, "item"),
        _delivery(tick, row),
    ]


def _minute(row: Row) -> str:
    return moment(row["recorded_at"])[:_MINUTES]


def _is_new(tick: Row, row: Row) -> bool:
    return bool(tick.get("seq")) and row["seq"] == tick["seq"]


def _delivery(tick: Row, row: Row) -> str:
    if _is_new(tick, row) and tick.get("id"):
        return "to be sent by the next step"
    if runs := row.get("taken_by"):
        return f"taken by {one_line(', '.join(runs), 120)}"
    return one_line(row.get("state") or "—", 40)
