"""The loop and `check` do with events what Argo does, row by row of the table."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from flowproject.config import Project, Schedule
from flowproject.contract import check_contract, check_schedules
from flowproject.cron import CronError
from flowproject.dev.dispatcher import Dispatcher
from flowproject.dev.event_bus import serve_bus
from flowproject.dev.launcher import Order
from flowproject.dev.messages import EventDropped, Message
from flowproject.dev.records import PendingEvents
from flowproject.dev.scheduler import cron_rule
from flowproject.dev.triggers import Event, workflow_text
from flowproject.errors import FlowError
from flowproject.flowfiles import Cron, Dependency, FlowFile, FlowParameter
from tests.argo_rules import BODIES, EVENTS, RESETS, RESTART, BodyRow, EventRow, ResetRow

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


class Noting:
    """In place of the launcher: what it was told to run. Runs of flows are in tests/flows."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    async def run(self, order: Order) -> None:
        self.orders.append(order)


def listener(row: EventRow, reset: Cron | None = None) -> FlowFile:
    return FlowFile(
        name="F",
        path=Path("fflow.py"),
        dependencies=tuple(
            Dependency(event=name, type="event", alias=f"{name}_0", parameters={f"p{name}": "k"})
            for name in row.waits
        ),
        parameters=tuple(
            FlowParameter(name=f"p{name}", required=row.required, type=row.kind, has_default=True)
            for name in row.waits
        ),
        reset=reset,
    )


class Loops:
    """A loop, and those that are started after it, in one folder."""

    def __init__(self, folder: Path, flow: FlowFile) -> None:
        self._folder, self._flow = folder, flow
        self.launcher = Noting()
        self.told: list[Message] = []
        self.now = NOW

    def start(self, reading: ThreadPoolExecutor) -> Dispatcher:
        return Dispatcher(
            flows=(self._flow,),
            launcher=self.launcher,  # type: ignore[arg-type]
            reading=reading,
            pending=PendingEvents(self._folder, project="/project", options=()),
            emit=self.told.append,
            now=lambda: self.now,
        )

    def send(self, row: EventRow, **at: timedelta) -> None:
        async def play() -> None:
            with ThreadPoolExecutor(max_workers=1) as reading:
                dispatcher = self.start(reading)
                for sent in row.sent:
                    if sent == RESTART:
                        self.now += at.get("away", timedelta())
                        dispatcher = self.start(reading)
                    else:
                        name, fields = sent
                        assert dispatcher.accept(Event.sent({"name": name, **dict(fields)}))  # type: ignore[call-overload]
                    await asyncio.sleep(0)  # what is under way gets its turn

        asyncio.run(play())

    def started(self) -> list[Mapping[str, str]]:
        """The text of each event's `k` that the Sensor would pass on, for each start."""
        return [
            {
                dependency.event: str(
                    workflow_text(
                        self._flow.parameters[0],
                        Event(text=order.environment[variable]).payload["k"],
                    )
                    or "null"
                )
                for dependency in self._flow.dependencies
                for variable in order.environment
                if variable.endswith(dependency.alias)
            }
            for order in self.launcher.orders
        ]


@pytest.mark.parametrize("row", EVENTS, ids=lambda row: row.what)
def test_the_loop_starts_what_argo_starts(row: EventRow, tmp_path: Path):
    loops = Loops(tmp_path, listener(row))
    loops.send(row)
    assert loops.started() == list(row.started), row.source
    reasons = [one.reason for one in loops.told if isinstance(one, EventDropped)]
    assert bool(reasons) == bool(row.told)
    assert all(row.told in reason for reason in reasons)


@pytest.mark.parametrize("row", EVENTS, ids=lambda row: row.what)
def test_check_says_what_argo_would_never_start(row: EventRow):
    found = check_contract(
        Project(project_name="demo", sensor=Schedule(), sensors={}), [listener(row)]
    )
    errors = [one.message for one in found if one.state == "error"]
    assert bool(errors) == bool(row.check)
    assert all(row.check in message for message in errors)


WAITS = next(row for row in EVENTS if RESTART in row.sent)


def test_what_waited_is_dropped_by_a_reset_that_was_due_while_no_loop_was_there(tmp_path: Path):
    """argo-events 6478ece, trigger_conn.go: clearAllDependencies before the time of the reset."""
    loops = Loops(tmp_path, listener(WAITS, reset=Cron(expression="0 13 * * *")))
    loops.send(WAITS, away=timedelta(hours=2))
    assert loops.started() == []


def test_what_waited_outlives_a_pause_without_a_reset(tmp_path: Path):
    loops = Loops(tmp_path, listener(WAITS, reset=Cron(expression="0 13 * * *")))
    loops.send(WAITS, away=timedelta(minutes=30))
    assert loops.started() == list(WAITS.started)


def test_what_waited_is_dropped_if_the_flow_waits_for_something_else_now(tmp_path: Path):
    """As on a cluster whose Sensor has another expression (recorded: "c added")."""
    kept = PendingEvents(tmp_path, project="/project", options=())
    flow = listener(WAITS)
    kept.save([flow], {flow.path: {"a_0": Event.sent({"name": "a", "k": 1})}}, NOW)
    assert list(kept.load([flow], NOW)) == [flow.path]
    more = EventRow(what="", waits=("a", "b", "c"), sent=())
    assert kept.load([listener(more)], NOW) == {}
    assert PendingEvents(tmp_path, project="/other", options=()).load([flow], NOW) == {}


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.kind or "none")
def test_the_bus_takes_what_argo_hears_and_refuses_the_rest(row: BodyRow):
    heard: list[Event] = []

    async def post() -> httpx.Response:
        async with serve_bus(lambda event: heard.append(event) or True) as url:
            headers = {"content-type": row.kind} if row.kind else {}
            async with httpx.AsyncClient(trust_env=False) as client:
                body = b'{"payload": {"name": "prices"}}'
                return await client.post(url, content=body, headers=headers)

    answer = asyncio.run(post())
    assert (answer.status_code, len(heard)) == ((200, 1) if row.heard else (400, 0)), row.source


@pytest.mark.parametrize("row", RESETS, ids=lambda row: row.cron)
def test_a_reset_that_argo_never_does_is_refused_by_check_and_loop(row: ResetRow):
    reset = Cron(expression=row.cron, timezone=row.timezone)
    found = check_schedules([FlowFile(name="F", path=Path("f.py"), reset=reset)], NOW)
    errors = [one.message for one in found if one.state == "error"]
    assert bool(errors) == bool(row.refused)
    if not row.refused:
        cron_rule(reset, where="f.py", nicknames=False)
        return
    assert row.refused in errors[0]
    with pytest.raises((FlowError, CronError), match=row.refused):
        cron_rule(reset, where="f.py", nicknames=False)
