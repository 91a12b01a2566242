"""What can happen in the local loop, one frozen dataclass each. How it looks is in `report`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from flowproject.changes.canonical import Json

__all__ = [
    "Acted",
    "Dropped",
    "EventReceived",
    "Happening",
    "LeftRun",
    "Listener",
    "RunFinished",
    "RunPrinted",
    "RunStarted",
    "Skipped",
    "Started",
    "Stopped",
    "Stopping",
    "Tick",
    "Waiting",
    "Warned",
]


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Anything that the loop tells; `at` is the local time with its offset."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Started(Happening):
    """The loop is ready: the bus listens and the flows are known."""

    url: str
    logs: Path
    page: str = ""
    """The address of the page; empty if there is none."""
    schedules: dict[str, str] = field(default_factory=dict)
    """Flow -> when it runs, in words."""
    listeners: dict[str, list[str]] = field(default_factory=dict)
    """Flow -> names of the events that start it."""


@dataclass(frozen=True, kw_only=True)
class EventReceived(Happening):
    """An event was accepted from the bus, or made by a run that finished."""

    event: str
    id: str
    flows: list[str]
    """The flows that wait for an event of this name."""


@dataclass(frozen=True, kw_only=True)
class Dropped(Happening):
    """An event started nothing, or not this flow; on a cluster nobody would say so."""

    event: str
    id: str
    flow: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Waiting(Happening):
    """An event is kept until the others that its flow needs have arrived."""

    event: str
    id: str
    flow: str
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class Warned(Happening):
    """Something will not be as its author means it."""

    flow: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Skipped(Happening):
    """A schedule came due and its flow was not started."""

    flow: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Happening):
    """A run has its id."""

    flow: str
    run_id: str
    cause: str
    """`schedule`, `page`, or the names of the events."""
    events: list[str]
    """The ids of the events that started it."""
    pid: int
    log: Path
    sensors: list[str] | None = None
    """The sensors that it may look at; None: all of its flow's."""


@dataclass(frozen=True, kw_only=True)
class RunPrinted(Happening):
    """A line of a run's output, without colours."""

    flow: str
    run_id: str
    line: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Happening):
    """A run ended; `tail` has the last lines of the log of one that failed."""

    flow: str
    run_id: str
    """Empty if it failed before it had one."""
    cause: str
    ok: bool
    seconds: float
    exit_code: int
    log: Path
    tail: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LeftRun(Happening):
    """A run that a loop left behind which was killed: that it goes on, and later how it ended."""

    flow: str
    run_id: str
    """Empty if it was killed before it had one."""
    cause: str
    events: list[str]
    """The ids of the events that started it."""
    state: Literal["running", "succeeded", "failed", "unfinished"]
    """`unfinished` is a run that was killed."""
    started: datetime
    pid: int
    log: Path
    sensors: list[str] | None = None
    """The sensors that it may look at; None: all of its flow's."""
    resume: str = ""
    """The command that goes on with it; empty if it succeeded, or has no id."""
    replays: list[str] = field(default_factory=list)
    """The commands that begin anew with its changes."""


@dataclass(frozen=True, kw_only=True)
class Tick(Happening):
    """What a sensor concluded in a run."""

    flow: str
    run_id: str
    sensor: str
    outcome: str
    reason: str
    seq: int = 0
    """The number of the change that it recorded, and its id; 0 and empty if it recorded none."""
    id: str = ""
    total: int | None = None
    """How many items the source has; None if it has no items."""
    value: Json = None
    trouble: str = ""
    """What could not be delivered."""
    queued: str = ""
    """What waits behind a change that a flow takes in order."""
    looked: datetime | None = None
    """When it looked; `at` is when that was told, which is at the end of the run."""


@dataclass(frozen=True, kw_only=True)
class Acted(Happening):
    """A person has done something on the page."""

    action: str
    """`tick`, `force`, `preview`, `replay`, `pause`, `resume`, `run` or `resume-run`."""
    target: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Stopping(Happening):
    """The loop was told to stop, and waits for its runs."""

    runs: int
    grace: float


@dataclass(frozen=True, kw_only=True)
class Stopped(Happening):
    """The loop is over, and none of its processes is left."""

    reason: Literal["idle", "interrupted", "stopped"]
    runs: int
    failed: int


Listener = Callable[[Happening], None]
