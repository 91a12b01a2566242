"""Small pieces that several views are made of."""

from dataclasses import dataclass

__all__ = ["Action", "Fact", "Link", "Sparkline"]


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
    href: str = ""
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
