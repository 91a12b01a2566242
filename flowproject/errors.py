"""Defines every expected failure of flowproject: one class and one exit code for each kind.

Messages have four parts, in order: what failed, where, what is allowed, and the one edit or
command that fixes it. Nothing here knows about sources, journals or flows.
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar, Final

from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.secrecy import keep_secrets_of_environment, safe, scrub

__all__ = [
    "ConfigError",
    "DeliveryError",
    "DeployError",
    "FlowError",
    "FlowprojectError",
    "JournalError",
    "QueryError",
    "SourceError",
    "TickError",
    "UsageError",
    "closest",
]

# As in other tools with such a question: below it, the nearest name is a stranger.
_CUTOFF: Final = 0.7


class FlowprojectError(MetaflowException):  # type: ignore[misc]  # Metaflow ships no types
    """An expected failure: printed as a message, never as a traceback.

    It derives from Metaflow's own exception, because that is what Metaflow prints in two clean
    lines when it is raised in a configuration parser or in a step.
    """

    headline = "flowproject"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", allowed: str = "", fix: str = "") -> None:
        message = " ".join(_sentence(part) for part in (what, where, allowed, fix) if part)
        # Here, because a message is printed, recorded, put on cards and kept in artifacts; and of
        # the errors behind this one, because they are shown with it in a traceback.
        keep_secrets_of_environment()
        message = safe(message)
        if behind := sys.exception():
            scrub(behind)
        super().__init__(message)
        # MetaflowException does not hand its message to Exception: str() and pickling need it.
        self.args = (message,)


class ConfigError(FlowprojectError):
    """`flowproject.toml` is missing or wrong."""

    headline = "Configuration error"
    exit_code = 2


class QueryError(FlowprojectError):
    """A SQL file or its parameters are wrong, or its result can't be watched."""

    headline = "Query error"
    exit_code = 3


class SourceError(FlowprojectError):
    """A source could not be observed."""

    headline = "Source error"
    exit_code = 4


class JournalError(FlowprojectError):
    """The journal can't be read or written."""

    headline = "Journal error"
    exit_code = 5


class DeliveryError(FlowprojectError):
    """A recorded change could not be handed to the event bus."""

    headline = "Delivery error"
    exit_code = 6


class FlowError(FlowprojectError):
    """A flow file can't be used, or a run failed."""

    headline = "Flow error"
    exit_code = 7


class TickError(FlowprojectError):
    """Some sensors of a tick failed, or some of their changes could not be delivered."""

    headline = "Tick error"
    exit_code = 8


class DeployError(FlowprojectError):
    """Something could not be deployed, torn down, or asked of the cluster."""

    headline = "Deploy error"
    exit_code = 9


class UsageError(FlowprojectError):
    """A command was called with arguments that don't fit together."""

    headline = "Usage error"
    exit_code = 64


def closest(word: str, options: Iterable[str]) -> str:
    """A question that names the nearest option, or an empty string if none is near."""
    near = get_close_matches(word, list(options), n=1, cutoff=_CUTOFF)
    return f"Did you mean {near[0]!r}?" if near else ""


def _sentence(part: str) -> str:
    # A command or a block stands at the end as it is: a full stop would be copied with it.
    part = part.strip()
    return part if part.endswith((".", "?", "!", ":", "\n", "`", "}")) else part + "."
