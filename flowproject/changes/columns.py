"""Compares the columns of a query's result, and rows in the columns that both results have."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, canonical, dumps
from flowproject.changes.difference import Item

__all__ = ["ColumnsChange", "columns_before", "columns_change", "table_of"]

Columns = Mapping[str, str]
"""Name of a column → its type, in the engine's words."""

Row = Mapping[str, Json]

_SHOWN: Final = 5
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, kw_only=True)
class ColumnsChange:
    """Columns that came, that went, and that are of another type (old, new).

    Rows from before and after it are compared in the columns that both have.
    """

    added: dict[str, str] = field(default_factory=dict)
    modified: dict[str, tuple[str, str]] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)

    @property
    def in_words(self) -> str:
        """What changed: `v BIGINT → VARCHAR, w DATE added`; empty if nothing did."""
        told = [f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in _all(self.modified)]
        told += [f"{name} {_short(kind)} added" for name, kind in _all(self.added)]
        told += [f"{name} {_short(kind)} removed" for name, kind in _all(self.removed)]
        more = f", and {len(told) - _SHOWN:,} more" if len(told) > _SHOWN else ""
        return ", ".join(told[:_SHOWN]) + more

    def __str__(self) -> str:
        return f"columns changed: {self.in_words}" if self else ""

    def to_json(self) -> dict[str, Json]:
        """What changed as plain JSON; empty if nothing did."""
        modified: dict[str, Json] = {
            name: {"old": old, "new": new} for name, (old, new) in self.modified.items()
        }
        told: dict[str, Json] = {
            "added": {**self.added},
            "modified": modified,
            "removed": {**self.removed},
        }
        return told if self else {}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The change that `to_json` told."""
        if not document:
            return cls()
        modified = {name: (edit["old"], edit["new"]) for name, edit in document["modified"].items()}
        return cls(added=document["added"], modified=modified, removed=document["removed"])

    def is_seen_in(self, old: Item, new: Item) -> bool:
        """Whether a row differs in what both have, and not only because its columns changed."""
        # Otherwise a column that was added would be every row modified.
        return self._common(old.data) != self._common(new.data)

    def key_of(self, row: Item, key: Sequence[str]) -> str:
        """Give the key of a row, before and after: its values in the columns of `key`."""
        common = self._common(row.data)
        return dumps([common.get(name) for name in key])

    def is_seen_in_rows(self, old: Sequence[Row], new: Sequence[Row]) -> bool:
        """Whether results without a key differ, whose rows are told apart by what both have."""
        common = [_count([self._common(row) for row in rows]) for rows in (old, new)]
        # Results that have no column in common can't be said to be the same.
        return common[0] != common[1] or not any(map(self._common, [*old, *new]))

    def _common(self, row: Row) -> dict[str, Json]:
        """What a row has in columns that were there before and are there now."""
        return {
            name: _loose(value) if name in self.modified else value
            for name, value in row.items()
            if name not in self.added and name not in self.removed
        }


def columns_change(old: Columns, new: Columns) -> ColumnsChange:
    """What happened to the columns; nothing if those before or those now are not known.

    Their order is no difference.
    """
    # Entries from before columns were kept have none, and that is no change of theirs.
    if not old or not new:
        return ColumnsChange()
    return ColumnsChange(
        added={name: kind for name, kind in new.items() if name not in old},
        modified={
            name: (old[name], kind) for name, kind in new.items() if old.get(name, kind) != kind
        },
        removed={name: kind for name, kind in old.items() if name not in new},
    )


def columns_before(columns: Columns, change: ColumnsChange) -> Columns:
    """The columns before a change that led to these."""
    kept = {name: kind for name, kind in columns.items() if name not in change.added}
    return {**kept, **change.removed, **{name: old for name, (old, _) in change.modified.items()}}


def table_of(value: Json, rows: int, columns: Columns) -> list[dict[str, Json]]:
    """The rows of a result without a key; a single one, or its only value, stands by itself."""
    # The value of a result without a key is what its reader wants: one row stands by itself, and of
    # one row with one column only that.
    if rows != 1:
        found = value if isinstance(value, list) else []
    elif len(columns) == 1:
        found = [{next(iter(columns)): value}]
    else:
        found = [value]
    return [row for row in found if isinstance(row, dict)]


def _loose(value: Json) -> Json:
    """A value in a form that it keeps when its column gets another type.

    The number 7 and the text "7.0" are the same, as are a date and a text that says it.
    """
    match value:
        # Before numbers: Python takes a truth value for one.
        case bool():
            return str(value).lower()
        case int() | float():
            return _number(str(value))
        case str():
            return _loose_text(value)
        case list():
            return [_loose(part) for part in value]
        case dict():
            # A field more is NULL in the rows that were there before.
            return {key: _loose(part) for key, part in value.items() if part is not None}
        case _:
            return value


def _loose_text(text: str) -> str:
    if "_" in text:  # Python would take it for a number
        return text
    # Numbers first, because "20240101" is a date to Python as well.
    read: Sequence[Callable[[str], str]] = (_number, _moment, _clock)
    for form in read:
        with suppress(ValueError, InvalidOperation):
            return form(text.strip())
    return text.lower() if text.lower() in ("true", "false") else text


def _number(text: str) -> str:
    number = Decimal(text)
    # A column of texts may have the word "NaN", or "Infinity".
    if not number.is_finite():
        raise ValueError(text)
    return dumps(canonical(number))


def _moment(text: str) -> str:
    moment = dt.datetime.fromisoformat(text)
    # Engines write the same moment with a zone in one type and without it in the other.
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).isoformat()


def _clock(text: str) -> str:
    return dt.time.fromisoformat(text).isoformat()


def _count(rows: Sequence[dict[str, Json]]) -> Counter[str]:
    return Counter(map(dumps, rows))


def _all(named: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The columns in the order of their names, in quotes if it could not be told where one ends."""
    return [
        (f'"{name}"' if set(name) & {",", " "} else name, told)
        for name, told in sorted(named.items())
    ]


def _short(kind: str) -> str:
    return kind if len(kind) <= _SHOWN_CHARACTERS else kind[: _SHOWN_CHARACTERS - 1] + "…"
