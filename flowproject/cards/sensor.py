"""Make the card of a tick: a row for every sensor, a section for those that did something."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowproject.cards.chart import step_chart
from flowproject.cards.layout import (
    MetaflowCardComponent,
    banner,
    block,
    difference_tables,
    facts,
    paragraph,
    section,
    style,
    table,
)
from flowproject.changes.columns import ColumnsChange
from flowproject.wording import (
    OUTCOMES,
    amount,
    cost,
    duration,
    moment,
    one_line,
    outcome,
    phrase,
    transition,
    value_text,
)

__all__ = ["sensor_card"]

_FEW: Final = 3  # up to here an unchanged sensor has a section too: its history is worth a look
_SECTIONS: Final = 20  # each may hold a chart, and a browser draws them all at once
_MANY: Final = 20  # above this the unchanged ones would push the news off the first screen
_ROWS: Final = 200  # of a table; a card stays well under a megabyte

Tick = Mapping[str, Any]
_MINUTES: Final = len("2026-11-22 12:00")
_HISTORY_COLUMNS: Final = ("no.", "recorded (UTC)", "outcome", "reason", "value", "delivery")


def sensor_card(ticks: Sequence[Tick]) -> list[MetaflowCardComponent]:
    """Make the card: headline, table of sensors, a section for each that did something.

    When many sensors ticked, those without news are in a table of their own at the end.
    """
    # What asks for a reader stands first: cards are looked at on a phone, too, and the top is what
    # is seen.
    ordered = sorted(ticks, key=lambda tick: (not _has_news(tick), _urgency(tick)))
    news = [tick for tick in ordered if _has_news(tick)]
    apart = len(ordered) > _MANY and bool(news)
    in_sections = ordered if len(ordered) <= _FEW else news
    card = [style(), _headline(ordered)]
    if len(ordered) > 1:  # one sensor's section says all that its row would
        card += _summary(news if apart else ordered)
    card += [_story(tick) for tick in in_sections[:_SECTIONS]]
    card += _left_out(len(in_sections) - _SECTIONS, "told in the table above")
    return card + (_others(ordered[len(news) :]) if apart else [])


def _has_news(tick: Tick) -> bool:
    undelivered = tick.get("undelivered") or tick.get("late") or tick.get("queued")
    waits = _waiting(tick) > 0 or bool(undelivered)
    return tick["outcome"] != "unchanged" or waits


def _waiting(tick: Tick) -> int:
    """How many changes of earlier ticks the bus has not taken; this tick's own is on its way."""
    return int(tick.get("pending") or 0) - _is_change(tick)


def _is_change(tick: Tick) -> bool:
    return tick["outcome"] in {"changed", "forced"}


def _urgency(tick: Tick) -> int:
    words = list(OUTCOMES)
    return words.index(tick["outcome"]) if tick["outcome"] in OUTCOMES else len(words)


def _headline(ordered: Sequence[Tick]) -> MetaflowCardComponent:
    if not ordered:
        return banner(
            "tick", "No sensor looked at", "All are paused, or the configuration names none."
        )
    looked = f"tick of {moment(max(str(tick['at']) for tick in ordered))}"
    first, detail = ordered[0], _first_line(ordered[0]["reason"])
    # Above all outcomes: a change that nobody hears of is worse than a look that failed.
    if stuck := [tick for tick in ordered if tick.get("undelivered")]:
        detail = f"{one_line(stuck[0]['sensor'], 60)}: {_first_line(stuck[0]['undelivered'])}"
        return banner(looked, f"{_sentence(ordered)}; not delivered", detail, "danger")
    if len(ordered) == 1 and not _has_news(first) and (last := _last_change(first)):
        detail = f"{detail}. Last change: {last}"
    elif len(ordered) > 1 and not _has_news(first):
        detail = f"{amount(len(ordered), 'sensor')} looked at, nothing to publish."
    elif len(ordered) > 1:
        detail = f"{one_line(first['sensor'], 60)}: {detail}"
    return banner(looked, _sentence(ordered), detail, _theme(first))


def _sentence(ordered: Sequence[Tick]) -> str:
    did = Counter(tick["outcome"] for tick in ordered if tick["outcome"] != "unchanged")
    if not did:
        return "Nothing changed"
    if len(ordered) == 1:
        return f"{one_line(ordered[0]['sensor'], 60)} {phrase(next(iter(did)))}"
    [(word, number), *others] = did.items()
    start = f"{number:,} of {len(ordered):,} sensors {phrase(word)}"
    return ", ".join([start, *(f"{count:,} {phrase(other)}" for other, count in others)])


def _theme(most_pressing: Tick) -> str:
    return {"failed": "danger", "changed": "success", "forced": "success"}.get(
        most_pressing["outcome"], "default"
    )


def _first_line(reason: object) -> str:
    return one_line(str(reason).split("\n", 1)[0], 160)


def _summary(ordered: Sequence[Tick]) -> list[MetaflowCardComponent]:
    rows = [
        [
            one_line(tick["sensor"], 60),
            outcome(tick["outcome"]),
            _first_line(tick["reason"]),
            _holds(tick),
            _last_change(tick) or "—",
            _took(tick),
        ]
        for tick in ordered[:_ROWS]
    ]
    shown = table(["sensor", "outcome", "reason", "holds", "last change", "took"], rows)
    return [shown, *_left_out(len(ordered) - _ROWS, "not listed")]


def _others(quiet: Sequence[Tick]) -> list[MetaflowCardComponent]:
    if not quiet:
        return []
    title = f"{outcome('unchanged')}: {amount(len(quiet), 'sensor')}"
    return [section(title, "", _summary(quiet))]


def _holds(tick: Tick) -> str:
    total = tick.get("total")
    if total is None:
        return transition(tick.get("previous"), tick.get("value"))
    counts = tick.get("counts") or {}
    # A tick carries no total of the look before; what was added and removed leads back to it.
    before = total - counts.get("added", 0) + counts.get("removed", 0)
    now = amount(total, "item")
    return f"{before:,} → {now}" if _is_change(tick) and before != total else now


def _took(tick: Tick) -> str:
    spent = tick.get("cost") or {}
    return duration(spent["seconds"]) if "seconds" in spent else "—"


def _story(tick: Tick) -> MetaflowCardComponent:
    failed = tick["outcome"] == "failed"
    symbol = outcome(tick["outcome"]).split()[0]
    title = f"{symbol} {tick['sensor']} {phrase(tick['outcome'])}"
    contents = [block(str(tick["reason"]), "error", limit=2000)] if failed else []
    tables = difference_tables(tick.get("counts") or {}, tick.get("sample") or {})
    contents += [*_facts(tick), *_delivery(tick), *tables, *_history(tick)]
    if tick.get("query"):
        contents.append(block(str(tick["query"]), "sql"))
    return section(title, "" if failed else str(tick["reason"]), contents)


def _delivery(tick: Tick) -> list[MetaflowCardComponent]:
    """What still waits of earlier changes, and why; nothing if nothing does."""
    parts: list[MetaflowCardComponent] = []
    if (waiting := _waiting(tick)) > 0:
        held = f" Held back: {one_line(tick['held'], 300)}." if tick.get("held") else ""
        parts.append(paragraph(f"{amount(waiting, 'earlier change')} still to be sent.{held}"))
    if tick.get("late"):
        parts.append(paragraph(f"Not started: {one_line(tick['late'], 600)}."))
    if tick.get("queued"):
        parts.append(paragraph(f"In order: {one_line(tick['queued'], 600)}."))
    if tick.get("undelivered"):
        parts.append(block(f"Not delivered: {tick['undelivered']}", "error", limit=2000))
    return parts


def _facts(tick: Tick) -> list[MetaflowCardComponent]:
    named = {} if tick["outcome"] == "failed" else {"holds": _holds(tick)}
    if tick.get("total") is not None and tick.get("value") != tick["total"]:
        named["value"] = transition(tick.get("previous"), tick.get("value"))
    if moved := ColumnsChange.from_json(tick.get("columns_change") or {}).in_words:
        named["columns"] = one_line(moved, 300)
    if _is_change(tick):
        named["change"] = f"number {tick['seq']}, id {one_line(tick['id'], 32)}"
        named["event"] = one_line(tick["event_name"], 60)
    elif last := _last_change(tick):
        named["last change"] = last
    spent = tick.get("cost") or {}
    if spent:
        named["read"] = f"{cost(spent)}, in {_took(tick)}"
    if spent.get("query_id"):
        named["query id"] = one_line(spent["query_id"], 60)
    return [facts(named)] if named else []


def _left_out(count: int, what: str) -> list[MetaflowCardComponent]:
    return [paragraph(f"And {amount(count, 'more sensor')}, {what}.")] if count > 0 else []


# ---------------------------------------------------------------------- what the sensor held so far


def _history(tick: Tick) -> list[MetaflowCardComponent]:
    """The chart and the table; nothing where there is nothing to compare with."""
    # A tick that an earlier version has kept may have no history: it stands for itself.
    rows = tick.get("history") or [tick]
    chart = step_chart(_trail(tick), "value" if rows[0].get("total") is None else "items")
    listed = (
        [table(_HISTORY_COLUMNS, [_history_row(tick, row) for row in rows])]
        if len(rows) > 1
        else []
    )
    return ([chart] if chart else []) + listed


def _last_change(tick: Tick) -> str:
    """When the last change before this tick was, and what it was; empty if nothing is recorded."""
    rows = [row for row in tick.get("history") or [] if not _is_new(tick, row)]
    for row in rows:
        if row["outcome"] in {"changed", "forced"}:
            return f"{_minute(row)} UTC: {one_line(row['reason'], 80)}"
    return f"none since {_minute(rows[-1])} UTC" if rows else ""


def _trail(tick: Tick) -> list[Sequence[object]]:
    """What was recorded; and what was found unchanged is the same until now."""
    trail = [*(tick.get("trail") or [])]
    # An unchanged look is not recorded, but the line should reach to now.
    if trail and tick["outcome"] == "unchanged":
        trail.append([tick["at"], trail[-1][-1]])
    return trail


def _history_row(tick: Tick, row: Tick) -> list[str]:
    total = row.get("total")
    return [
        str(row["seq"]),
        _minute(row),
        outcome(row["outcome"]),
        one_line(row["reason"], 80),
        value_text(row.get("value"), 24) if total is None else amount(total, "item"),
        _row_delivery(tick, row),
    ]


def _minute(row: Tick) -> str:
    return moment(row["recorded_at"])[:_MINUTES]


def _is_new(tick: Tick, row: Tick) -> bool:
    # The history already has this tick's own entry, for it is read after it was recorded.
    return bool(tick.get("seq")) and row["seq"] == tick["seq"]


def _row_delivery(tick: Tick, row: Tick) -> str:
    # The card is drawn by the step that looks; its change is sent by the next one.
    if _is_new(tick, row) and tick.get("id"):
        return "to be sent by the next step"
    if runs := row.get("taken_by"):
        return f"taken by {one_line(', '.join(runs), 120)}"
    return one_line(row.get("state") or "—", 40)
