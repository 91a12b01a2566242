"""What the loop is told at its start, and what it says at its end."""

from dataclasses import dataclass
from typing import Final, Literal

from flowproject.dev.happenings import RunFinished
from flowproject.dev.serving import HOST
from flowproject.errors import FlowError

__all__ = ["PageSettings", "Reason", "Result", "Settings"]

_INTERRUPTED: Final = 130
Reason = Literal["idle", "interrupted", "stopped"]


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """Where the page of the loop is served."""

    host: str = HOST
    port: int = 0
    """0 is any free one."""
    token: str = ""
    """Who wants to see the page must know it; empty: whoever is on this machine may see it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the loop is to run."""

    branch: str = ""
    """Metaflow's `--branch`, for flows with a project."""
    production: bool = False
    """Metaflow's `--production`, for flows with a project."""
    every: float = 0.0
    """Seconds between two runs of each scheduled flow, in place of its schedule; 0 keeps that."""
    until_idle: bool = False
    """Run each scheduled flow once, then what follows from it, and end."""
    port: int = 0
    """Port of the bus; 0 is any free one."""
    max_parallel: int = 4
    """Runs at the same time: each is several processes."""
    grace: float = 5.0
    """Seconds that runs may go on after the loop was told to stop."""
    page: PageSettings | None = None
    """Where the page is served; None: nowhere."""

    @property
    def options(self) -> tuple[str, ...]:
        """The branch, as the command lines of flows and ours take it."""
        branch = ("--branch", self.branch) if self.branch else ()
        return (*branch, *(("--production",) if self.production else ()))


@dataclass(frozen=True, kw_only=True)
class Result:
    """How the loop ended."""

    reason: Reason
    runs: tuple[RunFinished, ...]
    """The runs that ended, at most the last thousand."""
    failed: int
    until_idle: bool

    @property
    def ok(self) -> bool:
        """Whether every run succeeded."""
        return not self.failed

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ran the loop."""
        if self.reason == "interrupted":
            return _INTERRUPTED
        return FlowError.exit_code if self.until_idle and self.failed else 0
