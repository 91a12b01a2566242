"""Events from elsewhere have sensors looked at: a run that is told of one, and a burst of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject.config.parse import load
from flowproject.contract import check_contract
from flowproject.dev.loop import Loop, Settings
from flowproject.dev.messages import LoopStarted, RunFinished, RunStarted, TickFinished
from flowproject.flowfiles import describe_flows
from flowproject.metaflow_internals.argo import EVENT_VARIABLE
from tests.running_loop import RunningLoop, wait_for

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensors.orders]
on_event = "vendor.orders"

[sensors.stock]
"""
READY = "mfns.demo.user.tester.SensorFlow_is_ready"


def test_a_run_looks_at_the_sensor_of_its_event_and_says_when_it_may_be_started_again(
    new_project: Callable[..., Any], module_bus: Any
):
    project = new_project(CONFIG, module_bus)
    project.write("data/a.csv", "1")
    event = {f"{EVENT_VARIABLE}event_vendororders": json.dumps({"name": "vendor.orders"})}
    pushed = project.run("sensorflow.py", **event)
    assert pushed.code == 0, pushed.text
    assert "orders: baseline" in pushed.text
    assert "stock: " not in pushed.text
    assert [told["name"] for told in module_bus.payloads] == [READY]
    module_bus.answer = lambda _: 400
    scheduled = project.run("sensorflow.py")
    module_bus.answer = lambda _: 200
    assert scheduled.code == 0, scheduled.text
    assert "Events start no run before the next one on schedule" in scheduled.text
    assert "stock: baseline" in scheduled.text


def findings(root: Path) -> dict[str, str]:
    found = check_contract(load(root), describe_flows(root))
    return {f"{one.subject}: {one.message}": one.state for one in found}


@pytest.fixture
def pushed(project: Path) -> Path:
    (project / "starterflow.py").unlink()
    (project / "flowproject.toml").write_text(CONFIG)
    return project


@pytest.mark.usefixtures("warm_children")
def test_check_says_who_is_started_by_what(pushed: Path):
    words = "looks at orders on event 'vendor.orders', which must come from elsewhere"
    assert any(words in text and state == "ok" for text, state in findings(pushed).items())
    flow = pushed / "sensorflow.py"
    flow.write_text(flow.read_text().replace("self.observe(force=self.force)", "[]"))
    [(text, state)] = [one for one in findings(pushed).items() if "starts nothing, be" in one[0]]
    assert (state, "on_event 'vendor.orders'" in text) == ("error", True)
    (pushed / "flowproject.toml").write_text(CONFIG.replace("vendor.orders", "stock_changed"))
    flow.write_text(flow.read_text().replace("self.ticks = []", "self.ticks = self.observe()"))
    assert [one for one in findings(pushed) if "and no event from elsewhere" in one]


@pytest.mark.usefixtures("warm_children")
@pytest.mark.parametrize("many", [60, pytest.param(1000, marks=pytest.mark.thorough)])
def test_a_burst_in_the_loop_is_few_looks_and_the_last_push_is_not_lost(pushed: Path, many: int):
    (pushed / "data" / "first").write_text("1")
    settings = Settings(every=3600)
    running = RunningLoop(lambda tell: Loop(pushed, listener=tell, settings=settings))
    try:
        [started] = running.wait(LoopStarted)
        assert (started.listeners, started.pushes) == ({}, {"SensorFlow": ["vendor.orders"]})
        running.wait(RunFinished)
        before, begun = len(running.wait(TickFinished, 2)), time.monotonic()
        for number in range(many):
            if number == many - 1:
                (pushed / "data" / "last").write_text("1")
            running.post("vendor.orders")
        changed = wait_for(lambda: [t for t in running.all(TickFinished) if t.seq == 2])
        assert {one.sensor for one in changed} <= {"orders", "stock"}
        looks = [one for one in running.all(TickFinished)[before:] if one.sensor == "orders"]
        assert 1 <= len(looks) <= 3 + time.monotonic() - begun
        assert {run.cause for run in running.all(RunStarted)[1:]} <= {
            "vendor.orders",
            "files",
            "files and vendor.orders",
        }
    finally:
        running.stop()
