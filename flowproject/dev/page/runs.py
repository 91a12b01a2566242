"""Show runs: the row of each, and the view of one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from flowproject.dev.launcher import plain_text
from flowproject.dev.messages import TickFinished
from flowproject.dev.metaflow_client import PastRun
from flowproject.dev.page.changes import CardFrame
from flowproject.dev.page.components import (
    ActionLink,
    Fact,
    Link,
    action,
    address,
    change_address,
    run_address,
)
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.sensors import TickRow, tick_row
from flowproject.dev.page.state import Run
from flowproject.runs import StepOutcome
from flowproject.wording import duration

__all__ = ["RunRow", "RunView", "past_view", "run_row", "run_rows", "run_view", "tail"]

# A training run prints megabytes: a browser draws the end of it at once, and the file has all.
_LOG_BYTES: Final = 256 * 1024
_LISTED: Final = 100
# What Metaflow prints before what a step raised. log.js looks for the same in what comes later.
_FAILURE: Final = re.compile(r"^.*<flow \S+ step \S+> failed:", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run, as the loop has seen it."""

    name: str
    """`Flow/id`."""
    href: str
    state: str
    """`running`, `succeeded` or `failed`; `unfinished` if it was killed with its loop, or if only
    Metaflow knows of it.
    """
    started_at: str
    seconds: float | None
    """How long it took; None while it runs."""
    cause: str
    """`schedule`, `page`, or the event that started it."""
    changes: tuple[Link, ...]
    """The changes that started it."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run: why it was started, what it concluded, what it printed."""

    row: RunRow
    flow: str
    facts: tuple[Fact, ...]
    steps: tuple[StepOutcome, ...]
    ticks: tuple[TickRow, ...]
    cards: tuple[CardFrame, ...]
    log: str
    """What it has printed so far, at most the last 256 KiB, up to where a step failed."""
    log_of_failure: str
    """What it has printed from there on; empty if no step has failed."""
    follow: str
    """Address of the rest as it comes (events `line` and `end`); empty if the run is over."""
    actions: tuple[ActionLink, ...]


def run_rows(context: PageContext) -> tuple[RunRow, ...]:
    """List the newest runs that the loop has started, newest first."""
    # Only so many of them are looked at, however many the state keeps.
    newest = zip(reversed(context.loop.runs.values()), range(_LISTED), strict=False)
    return tuple(run_row(context, run) for run, _ in newest)


def run_row(context: PageContext, run: Run) -> RunRow:
    """A run that the loop has started."""
    return RunRow(
        name=run.name,
        href=run_address(run.name),
        state=run.state,
        started_at=run.started.isoformat(),
        seconds=run.seconds,
        cause=run.cause,
        changes=tuple(_change(context, id) for id in run.events),  # noqa: A001  # what it is
    )


def run_view(
    context: PageContext,
    run: Run,
    cards: Sequence[CardFrame],
    log: str,
    size: int,
    steps: Sequence[StepOutcome] = (),
) -> RunView:
    """Show a run that the loop has started, and what it has printed up to this size of its log."""
    running = run.state == "running"
    before, failure = _at_failure(log)
    follow = address("runs", run.flow, run.run_id, "log", start=size) if running else ""
    return RunView(
        row=run_row(context, run),
        flow=run.flow,
        facts=_facts(run.started, run.seconds, run.exit_code),
        steps=tuple(steps),
        ticks=tuple(map(tick_row, run.ticks)),
        cards=tuple(cards),
        log=before,
        log_of_failure=failure,
        follow=follow,
        actions=_actions(
            run.flow,
            run.name,
            run.state,
            _changes_of(context, run),
            of_several=len(run.events) > 1,
        ),
    )


def past_view(
    flow: str,
    run_id: str,
    past: PastRun,
    cause: str,
    cards: Sequence[CardFrame],
    steps: Sequence[StepOutcome] = (),
) -> RunView:
    """Show a run that this loop did not start; `cause` as another loop noted it, or empty."""
    before, failure = _at_failure(past.log[-_LOG_BYTES:])
    seconds = (past.ended - past.started).total_seconds() if past.ended else None
    name = f"{flow}/{run_id}"
    row = RunRow(
        name=name,
        href=run_address(name),
        state=past.state,
        started_at=past.started.isoformat(),
        seconds=seconds,
        # Metaflow does not keep what started a run; the records of loops do, for the newest runs.
        cause=cause or ("an event" if past.changes else ""),
        changes=tuple(
            Link(
                text=f"{change['sensor']}/{change['seq']}",
                href=change_address(change["sensor"], change["seq"]),
            )
            for change in past.changes
        ),
    )
    return RunView(
        row=row,
        flow=flow,
        facts=(
            *_facts(past.started, seconds, None),
            *(Fact(name="did nothing", text=reason) for reason in past.nothing_because),
        ),
        steps=tuple(steps),
        ticks=tuple(tick_row(_tick_message(flow, run_id, tick)) for tick in past.ticks),
        cards=tuple(cards),
        log=before,
        log_of_failure=failure,
        follow="",
        actions=_actions(
            flow,
            name,
            past.state,
            [one.text for one in row.changes],
            of_several=len(row.changes) > 1,
        ),
    )


def _at_failure(log: str) -> tuple[str, str]:
    """A log up to the line at which Metaflow says that a step failed, and from there on."""
    found = _FAILURE.search(log)
    return (log[: found.start()], log[found.start() :]) if found else (log, "")


def _changes_of(context: PageContext, run: Run) -> list[str]:
    """The changes that started the run, as `sensor/number`."""
    places = (context.loop.changes.get(one) for one in run.events)
    return [f"{place[0]}/{place[1]}" for place in places if place]


def _actions(
    flow: str, name: str, state: str, changes: Sequence[str], *, of_several: bool
) -> tuple[ActionLink, ...]:
    """Going on with what failed; again, with the changes if it had any: without, it is another."""
    failed = state in ("failed", "unfinished") and "/" in name
    again = [action("replay", f"Replay {change}", change=change) for change in changes]
    # A flow that waits for several sensors starts when all of them have something for it: what is
    # replayed of one starts nothing, and the resumption has all that the run had.
    if of_several:
        again = []
    elif not again:
        again = [action("run", f"Run {flow} again", flow=flow)]
    return (*((action("resume-run", "Resume", run=name),) if failed else ()), *again)


def _change(context: PageContext, event_id: str) -> Link:
    """The change with this id, if a tick of this loop has told of it."""
    if event_id not in context.loop.changes:
        return Link(text=event_id)
    sensor, seq = context.loop.changes[event_id]
    return Link(text=f"{sensor}/{seq}", href=change_address(sensor, seq))


def _facts(started: datetime, seconds: float | None, exit_code: int | None) -> tuple[Fact, ...]:
    facts = [Fact(name="started", text=started.isoformat(), moment=started.isoformat())]
    if seconds is not None:
        facts.append(Fact(name="took", text=duration(seconds)))
    if exit_code:
        facts.append(Fact(name="exit code", text=str(exit_code)))
    return tuple(facts)


def _tick_message(flow: str, run_id: str, tick: Mapping[str, Any]) -> TickFinished:
    return TickFinished(
        at=datetime.fromisoformat(tick["at"]).astimezone(),
        flow=flow,
        run_id=run_id,
        sensor=tick["sensor"],
        outcome=tick["outcome"],
        reason=tick["reason"],
        seq=tick.get("seq", 0),
        id=tick.get("id", ""),
    )


def tail(log: Path) -> tuple[str, int]:
    """Read the last part of a log, from a whole line on, and the size of the file then."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            start = file.seek(max(0, size - _LOG_BYTES))
            content = file.read(size - start)
    except FileNotFoundError:
        return "", 0
    # What is read begins anywhere: half a line, or half a letter.
    if start:
        content = content.partition(b"\n")[2]
    return plain_text(content.decode(errors="replace")), size
