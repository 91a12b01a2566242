"""Tables of what was added, modified and removed: bounded in rows, columns and text."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowproject.cards.layout import MetaflowCardComponent, table
from flowproject.cards.wording import one_line, side_by_side, value_text

__all__ = ["difference_tables"]

_ROWS: Final = 10
_COLUMNS: Final = 8
_CELL: Final = 60

Row = Mapping[str, Any]


def difference_tables(
    counts: Mapping[str, int], sample: Mapping[str, Any], most: int = _ROWS
) -> list[MetaflowCardComponent]:
    """One table for each kind of difference, of at most so many rows of the sample."""
    few = {kind: rows[:most] for kind, rows in sample.items()}
    tables = [
        _items("+", "added", counts.get("added", 0), few.get("added", [])),
        _modified(counts.get("modified", 0), few.get("modified", [])),
        _items("−", "removed", counts.get("removed", 0), few.get("removed", [])),  # noqa: RUF001  # a minus sign
    ]
    return [shown for shown in tables if shown is not None]


def _items(mark: str, kind: str, count: int, rows: Sequence[Row]) -> MetaflowCardComponent | None:
    count = max(count, len(rows))
    if not count:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns, hidden = names[:_COLUMNS], len(names) - _COLUMNS
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
    cells = {name: _cells(old, new, name) for name in names[:_COLUMNS]}
    more = ", …" if len(names) > _COLUMNS else ""
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
