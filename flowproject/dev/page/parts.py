"""Small pieces that several views are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flowproject.dev.page.words import address

__all__ = ["Action", "Fact", "Link", "Sparkline", "action", "sparkline"]

_WIDTH: Final = 100
_HEIGHT: Final = 24
_MARGIN: Final = 2


@dataclass(frozen=True, kw_only=True)
class Link:
    """A text, and where it leads; an empty address is no link."""

    text: str
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and what there is to say under it."""

    name: str
    text: str
    moment: str = ""
    """An ISO moment that stands for the text, so that a browser can say how long ago it was."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that a person may do; its address shows what it will do, before it is done."""

    name: str
    label: str
    href: str


@dataclass(frozen=True, kw_only=True)
class Sparkline:
    """A line in a box of 100 x 24, and the same in words for those who can't see it."""

    points: str
    """As SVG's `polyline` takes them."""
    words: str


def action(name: str, label: str, **target: str) -> Action:
    """The action of this name on a `sensor`, a `change`, a `run` or a `flow`."""
    return Action(name=name, label=label, href=address("actions", name, **target))


def sparkline(numbers: Sequence[float], what: str) -> Sparkline | None:
    """The numbers as steps, evenly spaced: each holds until the next. None below two of them."""
    if len(numbers) < 2:  # noqa: PLR2004  # a line has two ends
        return None
    low, high = min(numbers), max(numbers)
    step = _WIDTH / len(numbers)
    points: list[str] = []
    for place, number in enumerate(numbers):
        level = (number - low) / (high - low) if high > low else 0.5
        y = _HEIGHT - _MARGIN - level * (_HEIGHT - 2 * _MARGIN)
        points += [f"{place * step:.1f},{y:.1f}", f"{(place + 1) * step:.1f},{y:.1f}"]
    words = f"{what}: {numbers[0]:,} to {numbers[-1]:,} in {len(numbers)} recorded looks"
    return Sparkline(points=" ".join(points), words=words)
