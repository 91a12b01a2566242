"""What a page knows, made up: flows, sensors, messages, and a clock that stands still."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowproject.config import Project, Schedule, Sensor
from flowproject.config.data import FilesData
from flowproject.dev.messages import (
    EventReceived,
    LoopStarted,
    RunFinished,
    RunStarted,
    TickFinished,
)
from flowproject.dev.page.context import FORCE, PageContext
from flowproject.dev.page.state import LoopState
from flowproject.events import full_name
from flowproject.flowfiles import Cron, Dependency, FlowFile, FlowParameter
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext

NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
ROOT = Path("/project")
EVENT = full_name("days_changed", project="demo", branch="user.tester")
LOOKER = FlowFile(
    name="SensorFlow",
    path=ROOT / "sensorflow.py",
    project="demo",
    branch="user.tester",
    schedule=Cron(expression="* * * * *", timezone=""),
    parameters=(FlowParameter(name=FORCE, type="bool", required=False, has_default=True),),
    inherits_ours=True,
)
TAKER = FlowFile(
    name="TakerFlow",
    path=ROOT / "takerflow.py",
    project="demo",
    branch="user.tester",
    dependencies=(Dependency(event=EVENT, type="event", alias="days"),),
    parameters=(
        FlowParameter(name="town", type="str", required=True, has_default=False),
        FlowParameter(name="limit", type="int", required=False, has_default=True),
    ),
)


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def tick(seconds: float = 0, *, sensor: str = "days", **fields: Any) -> TickFinished:
    """A tick so many seconds ago."""
    told = {"outcome": "unchanged", "reason": "the same", "flow": "SensorFlow", "run_id": "1"}
    return TickFinished(at=ago(seconds), sensor=sensor, **{**told, **fields})


def event(seconds: float = 0, *, id: str = "", **fields: Any) -> EventReceived:  # noqa: A002  # what it is
    told: dict[str, Any] = {"event": EVENT, "flows": ["TakerFlow"]}
    return EventReceived(at=ago(seconds), id=id, **{**told, **fields})


def started(seconds: float, name: str, *events: str, cause: str = "schedule") -> RunStarted:
    """A run, written `Flow/id`, that has started so many seconds ago."""
    flow, _, run_id = name.partition("/")
    return RunStarted(
        at=ago(seconds),
        flow=flow,
        run_id=run_id,
        cause=cause,
        events=list(events),
        pid=1,
        log=ROOT / f"{run_id}.log",
    )


def finished(start: RunStarted, seconds: float, *, ok: bool = True) -> RunFinished:
    """The end of the run, which took so many seconds."""
    return RunFinished(
        at=start.at + dt.timedelta(seconds=seconds),
        flow=start.flow,
        run_id=start.run_id,
        cause=start.cause,
        ok=ok,
        seconds=seconds,
        exit_code=0 if ok else 1,
        log=start.log,
    )


def loop_began(seconds: float) -> LoopStarted:
    return LoopStarted(
        at=ago(seconds),
        url="http://127.0.0.1:1/event",
        logs=ROOT,
        schedules={"SensorFlow": "often"},
    )


def project_context(root: Path, *sensors: str) -> ProjectContext:
    """A project whose sensors look at a folder, and journals in it."""
    (root / "data").mkdir(exist_ok=True)
    made = {
        name: Sensor(name=name, event_name=f"{name}_changed", data=FilesData(path="data"))
        for name in sensors
    }
    project = Project(project_name="demo", sensor=Schedule(), sensors=made)
    store = open_store(str(root / "store"))
    return ProjectContext(
        project=project, root=root, store=store, branch="user.tester", clock=lambda: NOW
    )


def page_context(
    root: Path,
    *sensors: str,
    flows: tuple[FlowFile, ...] = (LOOKER, TAKER),
    due: Mapping[str, dt.datetime] | None = None,
) -> PageContext:
    """What the page of such a project knows before anything has happened."""
    return PageContext(
        loop=LoopState(),
        flows=flows,
        project_context=project_context(root, *(sensors or ("days",))),
        due=lambda: due or {},
        last_due=dict,
        now=lambda: NOW,
        root=root,
        bus="http://127.0.0.1:1/event",
    )
