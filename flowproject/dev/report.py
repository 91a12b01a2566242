"""How happenings look: one line for a person, or one JSON object for a machine."""

import re
from dataclasses import asdict
from datetime import datetime
from functools import singledispatch
from pathlib import Path
from typing import Any, Final

from flowproject.dev.happenings import (
    Dropped,
    EventReceived,
    Happening,
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

__all__ = ["line", "to_json"]

_INDENT: Final = " " * 10
_PREFIX: Final = re.compile(r"^[\d-]{10} [\d:.]{12} (?:\[\d+/(\S+) \(pid \d+\)\] )?")
"""What Metaflow puts before each line of a run's output: time, run, step and task, process."""


def to_json(happening: Happening) -> dict[str, Any]:
    """The happening in plain JSON types; `kind` is the name of its class."""
    kind = type(happening).__name__
    return {"kind": kind, **{key: _plain(value) for key, value in asdict(happening).items()}}


def line(happening: Happening) -> str:
    """The happening as plain text, empty for what only a machine or a curious person wants.

    One line, except for a failed run, whose last output follows, and the list of flows.
    """
    text = _text(happening)
    return f"{happening.at:%H:%M:%S}  {text}" if text else ""


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value) if isinstance(value, Path) else value


@singledispatch
def _text(happening: Happening) -> str:
    raise TypeError(f"{type(happening).__name__} has no text")


def _row(kind: str, subject: str, rest: str) -> str:
    return f"{kind:<11}{subject}  {rest}".rstrip()


@_text.register
def _(started: Started) -> str:
    rows = [_row("listening", started.url, f"logs in {started.logs}")]
    rows += [_row("", flow, f"runs {when}") for flow, when in started.schedules.items()]
    rows += [_row("", flow, f"waits for {_list(n)}") for flow, n in started.listeners.items()]
    return f"\n{_INDENT}".join(rows)


@_text.register
def _(event: EventReceived) -> str:
    return _row("event", event.event, f"id {event.id}" if event.id else "")


@_text.register
def _(dropped: Dropped) -> str:
    target = f"did not start {dropped.flow}: " if dropped.flow else "started nothing: "
    return _row("dropped", dropped.event, target + dropped.reason)


@_text.register
def _(waiting: Waiting) -> str:
    return _row("waiting", waiting.flow, f"has {waiting.event}, needs {_list(waiting.missing)}")


@_text.register
def _(warned: Warned) -> str:
    return _row("warning", warned.flow, warned.message)


@_text.register
def _(skipped: Skipped) -> str:
    return _row("skipped", skipped.flow, skipped.reason)


@_text.register
def _(run: RunStarted) -> str:
    return _row("run", f"{run.flow}/{run.run_id}", f"started by {run.cause}")


@_text.register
def _(_: RunPrinted) -> str:
    return ""


@_text.register
def _(run: RunFinished) -> str:
    name = f"{run.flow}/{run.run_id}" if run.run_id else run.flow
    if run.ok:
        return _row("run", name, f"succeeded in {run.seconds:.1f} s")
    head = _row("run", name, f"FAILED ({_ending(run.exit_code)}); its log is {run.log}")
    return "\n".join([head, *(f"{_INDENT}  {_shorten(text)}" for text in run.tail)])


@_text.register
def _(tick: Tick) -> str:
    return _row("tick", tick.sensor, ": ".join(t for t in (tick.outcome, tick.reason) if t))


@_text.register
def _(stopping: Stopping) -> str:
    if not stopping.runs:
        return _row("stopping", "", "")
    runs = _number(stopping.runs, "run")
    return _row("stopping", f"{runs} may go on for {stopping.grace:g} s;", "Ctrl-C ends them now")


@_text.register
def _(stopped: Stopped) -> str:
    failed = f", {stopped.failed} failed" if stopped.failed else ""
    return _row("stopped", stopped.reason, f"{_number(stopped.runs, 'run')}{failed}")


def _shorten(text: str) -> str:
    return _PREFIX.sub(lambda match: f"{match[1]}: " if match[1] else "", text)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _number(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _list(names: list[str]) -> str:
    return " and ".join(names)
