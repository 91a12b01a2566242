"""How happenings look: one line for a person, or one JSON object for a machine."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import singledispatch
from pathlib import Path
from typing import Any, Final

from flowproject.dev.happenings import (
    Acted,
    Dropped,
    EventReceived,
    Happening,
    LeftRun,
    RunFinished,
    RunPrinted,
    RunStarted,
    Skipped,
    Started,
    Stopped,
    Stopping,
    Tick,
    Waiting,
    Warned,
)

__all__ = ["Words", "in_words", "line", "to_json"]

_INDENT: Final = " " * 10
_PREFIX: Final = re.compile(r"^[\d-]{10} [\d:.]{12} (?:\[\d+/(\S+) \(pid \d+\)\] )?")
"""What Metaflow puts before each line of a run's output: time, run, step and task, process."""

_NAME: Final = 200
_REASON: Final = 600
"""Characters of what others send that are printed: the name of an event, and what is said of it."""

_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def to_json(happening: Happening) -> dict[str, Any]:
    """The happening in plain JSON types; `kind` is the name of its class."""
    kind = type(happening).__name__
    return {"kind": kind, **{key: _plain(value) for key, value in asdict(happening).items()}}


@dataclass(frozen=True)
class Words:
    """What there is to say of a happening: of what kind it is, of what, and the rest."""

    kind: str
    subject: str = ""
    rest: str = ""
    more: tuple[str, ...] = ()
    """Lines that follow, each with its own indentation."""

    @property
    def text(self) -> str:
        """The same for a terminal."""
        first = f"{self.kind:<11}{self.subject}  {self.rest}".rstrip()
        # What an event or a run says comes from anywhere: it must not make lines of its own.
        return "\n".join(map(_on_one_line, [first, *(f"{_INDENT}{line}" for line in self.more)]))


def line(happening: Happening) -> str:
    """The happening as plain text, empty for what only a machine or a curious person wants.

    One line, except for a failed run, whose last output follows, and the list of flows.
    """
    words = in_words(happening)
    return f"{happening.at:%H:%M:%S}  {words.text}" if words else ""


def in_words(happening: Happening) -> Words | None:
    """What there is to say of it; nothing of what only a machine or a curious person wants."""
    return _words(happening)


def _on_one_line(text: str) -> str:
    """The text with its control characters as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value) if isinstance(value, Path) else value


@singledispatch
def _words(happening: Happening) -> Words | None:
    raise TypeError(f"{type(happening).__name__} has no words")


@_words.register
def _(started: Started) -> Words:
    more = [(started.page, "shows all of this in a browser")] if started.page else []
    more += [(flow, f"runs {when}") for flow, when in started.schedules.items()]
    more += [(flow, f"waits for {_list(names)}") for flow, names in started.listeners.items()]
    lines = tuple(f"{'':<11}{subject}  {rest}" for subject, rest in more)
    return Words("listening", started.url, f"logs in {started.logs}", lines)


@_words.register
def _(event: EventReceived) -> Words:
    return Words("event", _brief(event.event), f"id {_brief(event.id)}" if event.id else "")


@_words.register
def _(dropped: Dropped) -> Words:
    target = f"did not start {dropped.flow}: " if dropped.flow else "started nothing: "
    return Words("dropped", _brief(dropped.event), target + _brief(dropped.reason, _REASON))


@_words.register
def _(waiting: Waiting) -> Words:
    return Words(
        "waiting", waiting.flow, f"has {_brief(waiting.event)}, needs {_list(waiting.missing)}"
    )


@_words.register
def _(warned: Warned) -> Words:
    return Words("warning", warned.flow, warned.message)


@_words.register
def _(skipped: Skipped) -> Words:
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
    told = {
        "running": f"goes on (process {run.pid}), although its loop was killed",
        "succeeded": "succeeded; its loop was killed meanwhile",
        "failed": "FAILED; its loop was killed meanwhile",
        "unfinished": "was KILLED, as its loop was",
    }[run.state]
    return Words("run", name, f"{told}; its log is {run.log}", tuple(_ways_on(run)))


def _ways_on(run: LeftRun) -> Iterator[str]:
    """What a person may do for a run that was left behind and did not succeed."""
    if run.resume:
        yield f"  to go on with it: {run.resume}"
    for command in run.replays:
        yield f"  to begin anew:    {command}"


@_words.register
def _(tick: Tick) -> Words:
    told = ": ".join(filter(None, (tick.outcome, tick.reason)))
    return Words("tick", tick.sensor, "; ".join(filter(None, (told, tick.queued))))


@_words.register
def _(acted: Acted) -> Words:
    return Words("page", f"{acted.action} {acted.target}", acted.text)


@_words.register
def _(stopping: Stopping) -> Words:
    if not stopping.runs:
        return Words("stopping")
    runs = _number(stopping.runs, "run")
    return Words("stopping", f"{runs} may go on for {stopping.grace:g} s;", "Ctrl-C ends them now")


@_words.register
def _(stopped: Stopped) -> Words:
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
