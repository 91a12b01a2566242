"""What one look leaves to the next, without a journal in between."""

from flowproject.changes.difference import Item
from flowproject.changes.observation import Observation
from flowproject.testing.source_contract import remembered

__all__ = ["remembered", "table"]


def table(seen: Observation) -> dict[str, Item]:
    """The items by key, whatever holds them."""
    return {item.key: item for item in seen.items.values()} if seen.items is not None else {}
