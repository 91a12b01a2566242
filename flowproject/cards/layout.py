"""Make the parts of cards, in the one place that decides what a browser may read as markup.

Metaflow's Markdown shows raw HTML, runs its handlers and cannot be escaped: it prints entities as
they are typed and drops characters behind a backslash. So text from data goes to titles, paragraphs
and table cells, which are text nodes, or into a fence that is longer than any run in the text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from metaflow.cards import Markdown, MetaflowCardComponent, Table, ValueBox

# Not re-exported by metaflow.cards: the only headings and paragraphs that are text nodes.
from flowproject.metaflow_internals.cards import SectionComponent, TextComponent
from flowproject.wording import clip, one_line, printable, side_by_side, unbroken, value_text

__all__ = [
    "MetaflowCardComponent",
    "banner",
    "block",
    "difference_tables",
    "facts",
    "paragraph",
    "section",
    "style",
    "table",
]

# Metaflow centres every cell and leaves code bare. Without these rules a card is plain, not wrong.
_STYLE: Final = """<style>
.mf-card td, .mf-card th { padding: .5rem .65rem; text-align: left; vertical-align: top; }
.mf-card th:empty { padding: 0; }
.mf-card td { font-variant-numeric: tabular-nums; max-width: 15rem; overflow-wrap: break-word; }
.mf-card .tableContainer table { width: max-content; }
.mf-card table:has(th:empty) { width: 100% !important; }
.mf-card table:has(th:empty) td { max-width: none; overflow-wrap: anywhere; }
.mf-card table:has(th:empty) td:first-child { color: var(--dk-grey); white-space: nowrap;
  width: 1%; }
.mf-card .value-box { min-height: 0; overflow-wrap: anywhere; }
.mf-card section section { margin-top: 1.25rem; }
.mf-card section hr { display: none; }
.mf-card section .heading { margin-bottom: 1rem; }
.mf-card .sectionItems > * { margin-bottom: 1.25rem; }
.mf-card .sectionItems { grid-gap: 0; }
.mf-card .mainContainer code[class*="language-"] { overflow-wrap: inherit;
  white-space: inherit; }
.mf-card .mainContainer pre[class*="language-"] { background: #f6f8fa !important;
  border-radius: 5px; color: #24292f; font-size: .85rem; overflow-wrap: anywhere;
  white-space: pre-wrap; }
.mf-card .mainContainer pre.language-error { background: #fef2f2 !important; color: #991b1b; }
@media (max-width: 45rem) {
  .mf-card td, .mf-card th { padding: .4rem .6rem; }
}
</style>"""
_SAMPLE_ROWS: Final = 10
# More of them do not fit beside each other, even on a wide screen.
_SAMPLE_COLUMNS: Final = 8
_CELL: Final = 60

Row = Mapping[str, Any]


def style() -> MetaflowCardComponent:
    """The rules for a card that is all ours; a listener's card keeps the look its author chose."""
    # Markdown is the only component of Metaflow's that leaves markup as it is.
    return Markdown(_STYLE)


def banner(title: str, value: str, subtitle: str, theme: str = "default") -> MetaflowCardComponent:
    """A box that says one thing in large letters. Its limits in length are Metaflow's."""
    return ValueBox(
        title=one_line(title, 200) or None,
        value=one_line(value, 100) or "—",
        subtitle=one_line(subtitle, 300) or None,
        theme=theme,
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> MetaflowCardComponent:
    """A table of text. Every cell is a string: Metaflow would draw a dictionary as a component."""
    # Metaflow's table takes any component as a cell, and anything that looks like one: only text
    # goes in.
    return Table(
        headers=[one_line(text, 40) for text in headers],
        data=[[unbroken(one_line(text, 300)) for text in row] for row in rows],
    )


def facts(named: Mapping[str, str]) -> MetaflowCardComponent:
    """A table of named texts, one below the other, without headers: it fits on a phone."""
    return table(["", ""], [*named.items()])


def paragraph(text: str) -> MetaflowCardComponent:
    """A paragraph of plain text."""
    return TextComponent(one_line(text, 500))


def section(
    title: str, subtitle: str, contents: Sequence[MetaflowCardComponent]
) -> SectionComponent:
    """A titled part of the card."""
    return SectionComponent(
        title=one_line(title, 100), subtitle=one_line(subtitle, 300), contents=list(contents)
    )


def block(text: str, kind: Literal["sql", "error"], limit: int = 4000) -> MetaflowCardComponent:
    """The text as it was written, line by line, in a fence that it cannot close."""
    body = clip(printable(text[: limit + 1]), limit)
    # Longer than any run of backticks in the text, so that nothing in it can end the block.
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", body))]))
    return Markdown(f"{fence}language-{kind}\n{body}\n{fence}")


# ---------------------------------------------------------------------- tables of what is different


def difference_tables(
    counts: Mapping[str, int], sample: Mapping[str, Any], most: int = _SAMPLE_ROWS
) -> list[MetaflowCardComponent]:
    """Make a table for each kind of difference, of at most so many rows of the sample."""
    few = {kind: rows[:most] for kind, rows in sample.items()}
    tables = [
        _items("+", "added", counts.get("added", 0), few.get("added", [])),
        _modified(counts.get("modified", 0), few.get("modified", [])),
        _items("−", "removed", counts.get("removed", 0), few.get("removed", [])),  # noqa: RUF001  # a minus sign
    ]
    return [shown for shown in tables if shown is not None]


def _items(mark: str, kind: str, count: int, rows: Sequence[Row]) -> MetaflowCardComponent | None:
    # Who has a sample and no counts gets a table of what is there.
    count = max(count, len(rows))
    if not count:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns, hidden = names[:_SAMPLE_COLUMNS], len(names) - _SAMPLE_COLUMNS
    body = [[mark, *(_cell(row, name) for name in columns)] for row in rows]
    headers = [f"{count:,} {kind}", *columns]
    if hidden > 0:
        headers.append(f"and {hidden:,} more columns")
        body = [[*row, "…"] for row in body]
    return table(headers, body + _rest(count - len(rows), len(headers)))


def _modified(count: int, pairs: Sequence[Row]) -> MetaflowCardComponent | None:
    count = max(count, len(pairs))
    if not count:
        return None
    headers = [f"{count:,} modified", "what", "from", "to"]
    body = [["~", *_edit(pair)] for pair in pairs]
    return table(headers, body + _rest(count - len(pairs), len(headers)))


def _edit(pair: Row) -> list[str]:
    old, new = pair.get("old") or {}, pair.get("new") or {}
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    key = value_text(pair.get("key"), _CELL)
    cells = {name: _cells(old, new, name) for name in names[:_SAMPLE_COLUMNS]}
    more = ", …" if len(names) > _SAMPLE_COLUMNS else ""
    sides = [
        ", ".join(f"{one_line(name, 30)}: {both[side]}" for name, both in cells.items()) + more
        for side in (0, 1)
    ]
    return [key, *sides]


def _cells(old: Row, new: Row, name: str) -> tuple[str, str]:
    if name in old and name in new:
        return side_by_side(old[name], new[name], _CELL)
    return _cell(old, name), _cell(new, name)


def _cell(row: Row, name: str) -> str:
    return value_text(row[name], _CELL) if name in row else ""


def _rest(left: int, width: int) -> list[list[str]]:
    if left <= 0:
        return []
    return [["…", f"and {left:,} more", *[""] * width][:width]]
