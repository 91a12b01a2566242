"""The first view: every sensor, the timeline, the flows, and the news."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from flowproject.dev.happenings import (
    Dropped,
    Happening,
    LeftRun,
    RunFinished,
    RunStarted,
    Tick,
    Warned,
)
from flowproject.dev.page.knowledge import Knowledge
from flowproject.dev.page.parts import Action, Link, action
from flowproject.dev.page.runs import RunRow, run_row
from flowproject.dev.page.sensors import SensorRow
from flowproject.dev.page.timeline import Timeline, timeline
from flowproject.dev.page.words import change_address, run_address
from flowproject.dev.report import in_words
from flowproject.flowfiles import FlowFile

__all__ = ["FlowRow", "News", "Overview", "overview"]

_NEWS: Final = 50


@dataclass(frozen=True, kw_only=True)
class FlowRow:
    """One flow file."""

    name: str
    starts: str
    """What starts it, in words: `every 10 s`, `waits for weather_changed`."""
    next_at: str
    latest: RunRow | None
    actions: tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class News:
    """One thing that happened, as the terminal tells it."""

    at: str
    kind: str
    """`tick`, `event`, `run`, `dropped`, `waiting`, `warning`, `skipped`, `action`, ..."""
    subject: Link
    text: str
    more: tuple[str, ...]
    """Lines that follow, such as the last ones of a failed run."""
    bad: bool


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All of it, or one piece and the others empty; `news` is newest first, at most 50."""

    sensors: tuple[SensorRow, ...]
    timeline: Timeline | None
    flows: tuple[FlowRow, ...]
    news: tuple[News, ...]


def overview(known: Knowledge, sensors: Sequence[SensorRow], span: str, part: str = "") -> Overview:
    """The overview, or a piece of it: these rows of sensors, the timeline of this span."""
    return Overview(
        sensors=tuple(sensors),
        timeline=timeline(known, span) if part in ("", "timeline") else None,
        flows=tuple(_flow(known, flow) for flow in known.flows) if part in ("", "flows") else (),
        news=tuple(islice(_news(known), _NEWS)) if part in ("", "news") else (),
    )


def _flow(known: Knowledge, flow: FlowFile) -> FlowRow:
    due = known.due().get(flow.name)
    latest = known.board.newest_run(flow.name)
    return FlowRow(
        name=flow.name,
        starts=_starts(known, flow),
        next_at=due.isoformat() if due else "",
        latest=run_row(known, latest) if latest else None,
        actions=(action("run", "Run", flow=flow.name),),
    )


def _starts(known: Knowledge, flow: FlowFile) -> str:
    started = known.board.started
    ways = [f"runs {started.schedules[flow.name]}"] if started and flow.schedule else []
    if flow.dependencies:
        events = (flow.name_of(event) for event in flow.dependencies)
        ways.append(f"waits for {' and '.join(events)}")
    return "; ".join(ways) or "by hand"


def _news(known: Knowledge) -> Iterator[News]:
    """What the terminal has said, newest first."""
    for happening in reversed(known.board.news):
        if words := in_words(happening):
            yield News(
                at=happening.at.isoformat(),
                kind=words.kind,
                subject=Link(text=words.subject, href=_href(happening)),
                text=words.rest,
                more=words.more if isinstance(happening, RunFinished | LeftRun) else (),
                bad=_is_bad(happening),
            )


def _href(happening: Happening) -> str:
    """Where more about it is shown."""
    match happening:
        case Tick(seq=seq, sensor=sensor) if seq:
            return change_address(sensor, seq)
        case Tick() | RunStarted() | RunFinished() | LeftRun():
            return run_address(f"{happening.flow}/{happening.run_id}") if happening.run_id else ""
        case _:
            return ""


def _is_bad(happening: Happening) -> bool:
    match happening:
        case RunFinished(ok=ok):
            return not ok
        case LeftRun(state=state):
            return state in ("failed", "unfinished")
        case Tick(outcome=outcome, trouble=trouble):
            return outcome == "failed" or bool(trouble)
        case Dropped() | Warned():
            return True
        case _:
            return False
