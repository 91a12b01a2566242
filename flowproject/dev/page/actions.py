"""What a person may do on the page: each says what it will do before it does it."""

from dataclasses import dataclass

from flowproject.dev.page.parts import Link

__all__ = ["Field", "Plan", "Result"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A parameter of a flow that may be given."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an action will do; the form that does it posts `hidden` and the fields."""

    name: str
    """`tick`, `force`, `preview`, `replay`, `pause`, `resume` or `run`."""
    title: str
    says: tuple[str, ...]
    """Sentences."""
    command: str
    """The same in a terminal; empty if there is none."""
    label: str
    """Of the button."""
    hidden: dict[str, str]
    """The form's hidden values, the token not among them."""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of it."""

    ok: bool
    title: str
    lines: tuple[str, ...]
    """May be many, as a command prints them."""
    links: tuple[Link, ...] = ()
