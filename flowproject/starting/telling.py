"""How a run that does nothing says so: in the log of each step, and on each of its cards."""

from collections.abc import Sequence
from typing import Any

from metaflow import current

from flowproject.metaflow_internals.flows import step_decorators

__all__ = ["tell"]


def tell(flow: Any, step: str, reasons: Sequence[str]) -> None:
    """Tell why a step does nothing."""
    from flowproject.cards import idle_card

    for reason in reasons:
        print(f"This run does nothing: {reason}")
    types = {
        decorator.attributes["type"]
        for decorator in step_decorators(flow, step)
        if decorator.name == "card"
    }
    for kind in sorted(types):
        for card in current.card.get(type=kind):
            card.extend(idle_card(reasons))
