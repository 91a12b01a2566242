"""What differs between two results of one query, told by its columns: for a query that wavers."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.columns import table_of
from flowproject.changes.contrast import contrast
from flowproject.changes.decision import compare
from flowproject.changes.observation import Observation

__all__ = ["what_moved"]

_SHOWN: Final = 5
_SHOWN_CHARACTERS: Final = 40

Row = dict[str, Json]


def what_moved(one: Observation, other: Observation) -> str:
    """The columns whose values differ, or how many rows came and went; both if both happened."""
    if one.items is None or other.items is None:
        return _in_whole(one, other)
    difference = compare(one.items, other)
    columns = dict.fromkeys(
        column for old, new in difference.modified for column in _differing(old.data, new.data)
    )
    told = [f"{_columns([*columns])} of {_rows(len(difference.modified))}"] if columns else []
    return " and ".join([*told, *_came_and_went(len(difference.added), len(difference.removed))])


def _in_whole(one: Observation, other: Observation) -> str:
    """The same of results that have no key, where a row is told from another by all its values."""
    old, new = (table_of(seen.value, seen.cost.rows, seen.columns) for seen in (one, other))
    if len(old) == len(new) == 1:
        columns = _differing(old[0], new[0])
        texts = [dumps(rows[0].get(columns[0])) for rows in (old, new)]
        before, after = contrast(texts[0], texts[1], _SHOWN_CHARACTERS)
        return f"{_columns(columns)} ({before}, then {after})"
    if columns := _responsible(old, new):
        return _columns(columns)
    added, removed = _count(new) - _count(old), _count(old) - _count(new)
    return " and ".join(_came_and_went(added.total(), removed.total()))


def _differing(old: Row, new: Row) -> list[str]:
    return [column for column in {**old, **new} if old.get(column) != new.get(column)]


def _responsible(old: Sequence[Row], new: Sequence[Row]) -> list[str]:
    """The columns of which each alone makes all the difference."""
    columns = dict.fromkeys(column for row in (*old, *new) for column in row)
    return [
        column
        for column in columns
        if _count(_without(old, column)) == _count(_without(new, column))
    ]


def _without(rows: Sequence[Row], left_out: str) -> list[Row]:
    return [{key: value for key, value in row.items() if key != left_out} for row in rows]


def _count(rows: Sequence[Row]) -> Counter[str]:
    return Counter(map(dumps, rows))


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def _came_and_went(added: int, removed: int) -> list[str]:
    if not added and not removed:
        return []
    return [f"{_rows(added)} came, {removed:,} went"]
