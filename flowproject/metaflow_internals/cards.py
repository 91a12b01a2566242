"""Gives what Metaflow has for cards and does not export with `metaflow.cards`.

Uses `card_modules.basic.SectionComponent`, `card_modules.basic.TextComponent` and
`cards.exception.CardNotPresentException`.
"""

from collections.abc import Sequence
from typing import Any

from metaflow.cards import get_cards
from metaflow.plugins.cards.card_modules.basic import SectionComponent, TextComponent
from metaflow.plugins.cards.exception import CardNotPresentException

__all__ = ["SectionComponent", "TextComponent", "cards_of"]


def cards_of(task: Any) -> Sequence[Any]:
    """The cards of a task; none if it has none, where Metaflow raises an error."""
    # The client raises for a task without cards, where a reader expects no cards.
    try:
        return list(get_cards(task))
    except CardNotPresentException:
        return ()
