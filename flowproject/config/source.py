"""What every type of source has in common. Nothing third-party: remote tasks read it."""

from dataclasses import dataclass
from typing import Annotated

__all__ = ["Data", "Seconds", "SomeSeconds"]

Seconds = Annotated[float, "duration"]
SomeSeconds = Annotated[float, "duration above 0"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where data lives; each source type has a class of its own below."""

    type: str
    """Which kind of source this is; it decides which other keys are legal."""
