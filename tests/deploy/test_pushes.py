"""Sensors that are looked at on an event: what is compiled, and what a burst of events makes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hera.events.models import Sensor

from flowproject.config.parse import load
from flowproject.deploy.compilation import compile_flows
from flowproject.deploy.compiled_flow import CompiledFlow
from flowproject.deploy.objects import SENSOR
from flowproject.flowfiles import FlowFile
from tests.deploy.conftest import Repository
from tests.deploy.test_deploy import known_to_hera
from tests.executor.events import ArgoEvents

pytestmark = pytest.mark.usefixtures("warm_children")

READY = "mfns.weather.prod.SensorFlow_is_ready"
SENSORS = """
[sensors.orders]
on_event = "vendor.orders"

[sensors.stock]
on_event = "vendor.stock"

[sensors.weather]
"""


@pytest.fixture(scope="module")
def compiled(new_repository: Callable[..., Repository]) -> CompiledFlow:
    repository = new_repository()
    config = repository.root / "flowproject.toml"
    kept, _, rest = config.read_text().partition("[sensor]")
    config.write_text(f"{kept}{SENSORS}\n[deploy]{rest.partition('[deploy]')[2]}")
    (repository.root / "starterflow.py").unlink()
    with pytest.MonkeyPatch.context() as patch:
        repository.enter(patch)
        settings = load(repository.root).deploy
        [flow] = compile_flows(repository.root, repository.target("main"), settings)
    assert isinstance(flow, CompiledFlow), flow
    return flow


class Cluster:
    """An API server with one Sensor, and what each workflow that was made on it is told."""

    def __init__(self, compiled: CompiledFlow) -> None:
        [self.sensor] = [one.body for one in compiled.objects if one.kind == SENSOR]
        self.started: list[set[str]] = []

    def list(self, plural: str) -> list[Any]:
        assert plural == "sensors"
        return [self.sensor]

    def create(self, _: str, __: str, made: dict[str, Any]) -> None:
        parameters = made["spec"]["arguments"]["parameters"]
        events = [json.loads(one["value"]) for one in parameters]
        self.started.append({one["name"] for one in events if isinstance(one, dict)})


def test_the_schedule_stays_and_any_of_the_events_is_enough(compiled: CompiledFlow) -> None:
    assert [one.kind for one in compiled.objects] == [
        "workflowtemplates",
        "cronworkflows",
        "sensors",
    ]
    body = compiled.objects[-1].body
    Sensor.model_validate({**body, "spec": known_to_hera(body["spec"]), "status": None})
    [trigger] = body["spec"]["triggers"]
    aliases = {one["name"] for one in body["spec"]["dependencies"]}
    ready, either = trigger["template"]["conditions"].split(" && ")
    assert {ready, *either.strip("()").split(" || ")} == aliases
    assert json.dumps(trigger).count("body.payload") == 1, "of pushes nothing but the name is read"
    flow = FlowFile.from_json(json.loads(json.dumps(compiled.flow.to_json())))
    assert flow.pushes == {"vendor.orders": ("orders",), "vendor.stock": ("stock",)}
    assert [one.event for one in flow.awaited] == ["vendor.orders", "vendor.stock"]


def test_a_burst_of_pushes_makes_few_runs_and_none_is_lost(compiled: CompiledFlow) -> None:
    cluster = Cluster(compiled)
    events = ArgoEvents(cluster)  # type: ignore[arg-type]  # as much of it as is asked

    def post(name: str, **more: object) -> None:
        body = {"payload": {"name": name, **more}}
        assert events.take(json.dumps(body).encode())[0] == 200

    try:
        for number in range(400):
            post("vendor.orders", n=number, text="{{inputs}} $(X)")
        assert cluster.started == [], "before the first look on schedule nothing is missed by it"
        post(READY)  # that look begins
        assert cluster.started == [{"vendor.orders", READY}]
        for number in range(600):
            post(("vendor.orders", "vendor.stock")[number % 2])
        assert len(cluster.started) == 1, "the run that was started has not looked yet"
        post(READY)  # it begins to look
        assert cluster.started[1:] == [{"vendor.orders", "vendor.stock", READY}]
        post(READY)
        post(READY)
        assert len(cluster.started) == 2
        post("vendor.stock")
        assert cluster.started[2:] == [{"vendor.stock", READY}]
    finally:
        events.stop()
