"""What one look leaves to the next, without a journal in between."""

import itertools
from typing import Final

from flowproject.changes.difference import Item
from flowproject.changes.observation import Observation, Past
from flowproject.tables.row_table import RowTable
from flowproject.tables.table import ObjectTable

__all__ = ["remembered", "table"]

_NUMBERS: Final = itertools.count(1)


def remembered(seen: Observation) -> Past:
    """What would be known of this look if it had been recorded."""
    items = seen.items
    if isinstance(items, ObjectTable | RowTable):
        items = items.recorded(f"rows-{next(_NUMBERS)}")
    return Past(
        seen.value,
        lambda: items,
        fingerprint=seen.fingerprint,
        total=None if items is None else len(items),
        load_memo=lambda: seen.memo,
    )


def table(seen: Observation) -> dict[str, Item]:
    """The items by key, whatever holds them."""
    return {item.key: item for item in seen.items.values()} if seen.items is not None else {}
