"""Define the messages that the loop emits, and print each as a line of text or as JSON."""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import singledispatch
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from flowproject.changes.canonical import Json

__all__ = [
    "Acted",
    "EventDropped",
    "EventReceived",
    "EventWaiting",
    "LeftRun",
    "Listener",
    "LoopStarted",
    "LoopStopped",
    "LoopStopping",
    "Message",
    "RunFinished",
    "RunPrinted",
    "RunSkipped",
    "RunStarted",
    "TickFinished",
    "Transcript",
    "Warned",
    "Words",
    "in_words",
    "line",
    "to_json",
]

_INDENT: Final = " " * 10
# What Metaflow puts before each line of a run's output: time, run, step and task, process.
_PREFIX: Final = re.compile(r"^[\d-]{10} [\d:.]{12} (?:\[\d+/(\S+) \(pid \d+\)\] )?")

_PROCESS: Final = re.compile(r"\(pid \d+\)")

# Names and reasons that flowproject makes are shorter; what is longer was sent by somebody else.
_NAME: Final = 200
# Characters of what others send that are printed: the name of an event, and what is said of it.
_REASON: Final = 600

# All that ends a line or moves the cursor: in C0 but for the tab, in C1, and Unicode's own line
# ends.
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of the loop; `at` is the local time with its offset."""

    # Scripts compare it (`flowproject dev --json`), so it stays when a class gets a better name.
    kind: ClassVar[str]
    """What the JSON calls it."""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class LoopStarted(Message):
    """The loop is ready: the bus listens and the flows are known."""

    kind = "Started"

    url: str
    logs: Path
    page: str = ""
    """The address of the page; empty if there is none."""
    schedules: dict[str, str] = field(default_factory=dict)
    """Flow -> when it runs, in words."""
    listeners: dict[str, list[str]] = field(default_factory=dict)
    """Flow -> names of the events that start it together."""
    pushes: dict[str, list[str]] = field(default_factory=dict)
    """Flow -> names of the events of which each has it look."""


@dataclass(frozen=True, kw_only=True)
class EventReceived(Message):
    """An event was accepted from the bus, or made by a run that finished."""

    kind = "EventReceived"

    event: str
    id: str
    flows: list[str]
    """The flows that wait for an event of this name."""


@dataclass(frozen=True, kw_only=True)
class EventDropped(Message):
    """An event started nothing, or not this flow; on a cluster nobody would say so."""

    kind = "Dropped"

    event: str
    id: str
    flow: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EventWaiting(Message):
    """An event is kept until the others that its flow needs have arrived."""

    kind = "Waiting"

    event: str
    id: str
    flow: str
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class Warned(Message):
    """A flow will not behave as its author means it."""

    kind = "Warned"

    flow: str
    message: str


@dataclass(frozen=True, kw_only=True)
class RunSkipped(Message):
    """A schedule came due and its flow was not started."""

    kind = "Skipped"

    flow: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Message):
    """A run has its id."""

    kind = "RunStarted"

    flow: str
    run_id: str
    cause: str
    """`schedule`, `files`, `page`, or the names of the events."""
    events: list[str]
    """The ids of the events that started it."""
    pid: int
    log: Path
    sensors: list[str] | None = None
    """The sensors that it may look at; None: all of its flow's."""


@dataclass(frozen=True, kw_only=True)
class RunPrinted(Message):
    """A line of a run's output, without colours."""

    kind = "RunPrinted"

    flow: str
    run_id: str
    line: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Message):
    """A run ended; `tail` has the last lines of the log of one that failed."""

    kind = "RunFinished"

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
class LeftRun(Message):
    """A run of a killed loop goes on, or has ended."""

    kind = "LeftRun"

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
class TickFinished(Message):
    """What a sensor concluded in a run, or in a look of the loop's own that needed no run."""

    kind = "Tick"

    flow: str
    run_id: str
    """Empty if no run was needed."""
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
class Acted(Message):
    """A person has done something on the page."""

    kind = "Acted"

    action: str
    """`tick`, `force`, `preview`, `replay`, `pause`, `resume`, `run` or `resume-run`."""
    target: str
    text: str


@dataclass(frozen=True, kw_only=True)
class LoopStopping(Message):
    """The loop was told to stop, and waits for its runs."""

    kind = "Stopping"

    runs: int
    grace: float


@dataclass(frozen=True, kw_only=True)
class LoopStopped(Message):
    """The loop is over, and none of its processes is left."""

    kind = "Stopped"

    reason: Literal["idle", "interrupted", "stopped"]
    runs: int
    failed: int


Listener = Callable[[Message], None]
"""Is told each message, in the order in which things happen."""


# --------------------------------------------------------------------- messages as JSON and as text


def to_json(message: Message) -> dict[str, Any]:
    """Turn a message into plain JSON types."""
    return {"kind": message.kind, **{key: _plain(value) for key, value in asdict(message).items()}}


@dataclass(frozen=True)
class Words:
    """The parts of a message's line: its kind, its subject, and the rest."""

    kind: str
    subject: str = ""
    rest: str = ""
    more: tuple[str, ...] = ()
    """Lines that follow, each with its own indentation."""

    @property
    def text(self) -> str:
        """The line as a terminal shows it."""
        first = f"{self.kind:<11}{self.subject}  {self.rest}".rstrip()
        # What an event or a run says comes from anywhere: it must not make lines of its own.
        return "\n".join(map(_on_one_line, [first, *(f"{_INDENT}{line}" for line in self.more)]))


def line(message: Message) -> str:
    """Turn a message into plain text; empty for what only a machine or a curious person wants.

    One line, except for a failed run, whose last output follows, and the list of flows.
    """
    words = in_words(message)
    return f"{message.at:%H:%M:%S}  {words.text}" if words else ""


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """How something failed, how often in a row, and since when."""

    how: str
    times: int = 1
    since: datetime

    @property
    def in_words(self) -> str:
        return f"as before, {self.times} times since {self.since:%H:%M:%S}"


class Transcript:
    """The lines of a loop's messages, where what fails in the same way again is told in short."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], _Failure] = {}

    def line(self, message: Message) -> str:
        """Turn the next message into plain text, as the function of this name does."""
        match message:
            case RunFinished():
                name, how = message.flow, "" if message.ok else _last_words(message)
            case TickFinished():
                name = message.sensor
                how = message.reason if message.outcome == "failed" else ""
            case _:
                return line(message)
        before = self._failures.pop((message.kind, name), None)
        if not how:
            return line(message)
        failure = _Failure(how=how, since=message.at)
        if before and before.how == how:
            failure = replace(before, times=before.times + 1)
        self._failures[message.kind, name] = failure
        return line(message) if failure.times == 1 else _in_short(message, failure)


def _last_words(run: RunFinished) -> str:
    """What a run that failed said last, without what every run says otherwise."""
    said = _PROCESS.sub("", "\n".join([_ending(run.exit_code), *map(_shorten, run.tail)]))
    return said.replace(run.run_id, "") if run.run_id else said


def _in_short(message: RunFinished | TickFinished, failure: _Failure) -> str:
    if isinstance(message, TickFinished):
        words = Words("tick", message.sensor, f"failed {failure.in_words}")
    else:
        name = f"{message.flow}/{message.run_id}" if message.run_id else message.flow
        rest = f"FAILED {failure.in_words}; its log is {message.log}"
        words = Words("run", name, rest)
    return f"{message.at:%H:%M:%S}  {words.text}"


def in_words(message: Message) -> Words | None:
    """Give the parts of its line; None for what only a machine or a curious person wants."""
    return _words(message)


def _on_one_line(text: str) -> str:
    """The text with its control characters as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value) if isinstance(value, Path) else value


# One function for each class: a test fails for a message that has no line.
@singledispatch
def _words(message: Message) -> Words | None:
    raise TypeError(f"{type(message).__name__} has no words")


@_words.register
def _(started: LoopStarted) -> Words:
    more = [(started.page, "shows all of this in a browser")] if started.page else []
    more += [(flow, f"runs {when}") for flow, when in started.schedules.items()]
    more += [(flow, f"waits for {_list(names)}") for flow, names in started.listeners.items()]
    more += [(flow, f"looks on {' or '.join(names)}") for flow, names in started.pushes.items()]
    lines = tuple(f"{'':<11}{subject}  {rest}" for subject, rest in more)
    return Words("listening", started.url, f"logs in {started.logs}", lines)


@_words.register
def _(event: EventReceived) -> Words:
    return Words("event", _brief(event.event), f"id {_brief(event.id)}" if event.id else "")


@_words.register
def _(dropped: EventDropped) -> Words:
    target = f"did not start {dropped.flow}: " if dropped.flow else "started nothing: "
    return Words("dropped", _brief(dropped.event), target + _brief(dropped.reason, _REASON))


@_words.register
def _(waiting: EventWaiting) -> Words:
    return Words(
        "waiting", waiting.flow, f"has {_brief(waiting.event)}, needs {_list(waiting.missing)}"
    )


@_words.register
def _(warned: Warned) -> Words:
    return Words("warning", warned.flow, warned.message)


@_words.register
def _(skipped: RunSkipped) -> Words:
    return Words("skipped", skipped.flow, skipped.reason)


@_words.register
def _(run: RunStarted) -> Words:
    return Words("run", f"{run.flow}/{run.run_id}", f"started by {run.cause}")


@_words.register
def _(_: RunPrinted) -> None:
    return None


@_words.register
def _(run: RunFinished) -> Words:
    name = f"{run.flow}/{run.run_id}" if run.run_id else run.flow
    if run.ok:
        return Words("run", name, f"succeeded in {run.seconds:.1f} s")
    rest = f"FAILED ({_ending(run.exit_code)}); its log is {run.log}"
    return Words("run", name, rest, tuple(f"  {_shorten(text)}" for text in run.tail))


@_words.register
def _(run: LeftRun) -> Words:
    name = f"{run.flow}/{run.run_id}" if run.run_id else run.flow
    ending = {
        "running": f"goes on (process {run.pid}), although its loop was killed",
        "succeeded": "succeeded; its loop was killed meanwhile",
        "failed": "FAILED; its loop was killed meanwhile",
        "unfinished": "was KILLED, as its loop was",
    }[run.state]
    return Words("run", name, f"{ending}; its log is {run.log}", tuple(_ways_on(run)))


def _ways_on(run: LeftRun) -> Iterator[str]:
    """What a person may do for a run that was left behind and did not succeed."""
    if run.resume:
        yield f"  to go on with it: {run.resume}"
    for command in run.replays:
        yield f"  to begin anew:    {command}"


@_words.register
def _(tick: TickFinished) -> Words:
    told = ": ".join(filter(None, (tick.outcome, tick.reason)))
    return Words("tick", tick.sensor, "; ".join(filter(None, (told, tick.queued))))


@_words.register
def _(acted: Acted) -> Words:
    return Words("page", f"{acted.action} {acted.target}", acted.text)


@_words.register
def _(stopping: LoopStopping) -> Words:
    if not stopping.runs:
        return Words("stopping")
    runs = _number(stopping.runs, "run")
    return Words("stopping", f"{runs} may go on for {stopping.grace:g} s;", "Ctrl-C ends them now")


@_words.register
def _(stopped: LoopStopped) -> Words:
    failed = f", {stopped.failed} failed" if stopped.failed else ""
    return Words("stopped", stopped.reason, f"{_number(stopped.runs, 'run')}{failed}")


def _brief(said: str, most: int = _NAME) -> str:
    """What anybody may have sent, as long as the names and reasons of honest events are."""
    return said if len(said) <= most else f"{said[:most]}… ({len(said):,} characters)"


def _shorten(text: str) -> str:
    return _PREFIX.sub(lambda match: f"{match[1]}: " if match[1] else "", text)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _number(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _list(names: list[str]) -> str:
    return " and ".join(names)
