"""Pushes on real controllers: bursts through the webhook, a Sensor that is killed, and the docs."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.argo.cluster import ArgoCluster, until
from tests.deploy.conftest import Repository
from tests.deploy.test_pushes import READY, SENSORS
from tests.docs.test_pushes import SENSOR as PASSES_ON
from tests.docs.test_pushes import SOURCES

pytestmark = [pytest.mark.argo, pytest.mark.timeout(600)]

_SENSOR = "weather-prod-sensorflow"


class Pushed:
    """A deployed flow that looks, what is posted, and of what each of its Workflows is told."""

    def __init__(self, cluster: ArgoCluster) -> None:
        self.cluster = cluster

    def post(self, *names: str, **more: object) -> None:
        for name in names:
            self.cluster.publish({"name": name, "payload": {"name": name, **more}})

    def started(self) -> list[set[str]]:
        """Of all Workflows, oldest first, when Sensors have done with all that was posted."""
        until(lambda: not self.cluster.pending(), seconds=240, instead=self.cluster.records)
        made = self.cluster.workflows().values()
        made = sorted(made, key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [_told(one["spec"]["arguments"]["parameters"]) for one in made]


def _told(parameters: list[dict[str, str]]) -> set[str]:
    told = [json.loads(one["value"]) for one in parameters]
    return {one["name"] for one in told if isinstance(one, dict)}


@pytest.fixture(scope="module")
def pushed(cluster: ArgoCluster, new_repository: Callable[..., Repository]) -> Pushed:
    repository = new_repository()
    config = repository.root / "flowproject.toml"
    kept, _, rest = config.read_text().partition("[sensor]")
    config.write_text(f"{kept}{SENSORS}\n[deploy]{rest.partition('[deploy]')[2]}")
    (repository.root / "starterflow.py").unlink()
    repository.commit("pushes")
    deployed = repository.flowproject("deploy")
    assert deployed.code == 0, deployed.out + deployed.err
    until(lambda: cluster.listening(_SENSOR))
    return Pushed(cluster)


def test_a_burst_before_the_first_look_waits_for_it(pushed: Pushed) -> None:
    for number in range(1000):
        pushed.post("vendor.orders", n=number, text="{{inputs}} $(X)")
    assert pushed.started() == []
    pushed.post(READY)
    assert pushed.started() == [{"vendor.orders", READY}]


def test_a_burst_beside_a_run_is_one_run_after_it(pushed: Pushed) -> None:
    for _ in range(100):
        pushed.post("vendor.orders", "vendor.stock")
    assert len(pushed.started()) == 1
    pushed.post(READY)
    assert pushed.started()[1:] == [{"vendor.orders", "vendor.stock", READY}]
    pushed.post(READY, READY)
    assert len(pushed.started()) == 2


def test_the_last_push_is_not_lost_with_the_sensor_that_had_it(pushed: Pushed) -> None:
    pushed.post(*["vendor.orders"] * 50)
    pushed.cluster.kill(_SENSOR)
    pushed.post("vendor.stock")
    assert len(pushed.started()) >= 2
    pushed.post(READY)
    assert {"vendor.stock"} <= set.union(*pushed.started()[2:])


@pytest.mark.parametrize("shown", SOURCES, ids=lambda one: next(iter(one["spec"])))
def test_argo_takes_the_event_sources_of_the_docs(pushed: Pushed, shown: dict[str, Any]) -> None:
    # Beside the namespace of the bus: it is judged there, and no pod of it comes up.
    body = {**shown, "metadata": {"name": shown["metadata"]["name"]}}
    pushed.cluster.ask("POST", "eventsources", body=body)
    name = body["metadata"]["name"]

    def judged() -> dict[str, str]:
        status = pushed.cluster.ask("GET", "eventsources", name).get("status", {})
        return {one["type"]: one["status"] for one in status.get("conditions", [])}

    until(lambda: judged().get("SourcesProvided") == "True", seconds=20, instead=judged)
    pushed.cluster.ask("DELETE", "eventsources", name)
    until(lambda: name not in pushed.cluster.objects("eventsources"))


def test_the_sensor_of_the_docs_passes_on_what_has_a_sensor_looked_at(pushed: Pushed) -> None:
    shown = json.loads(json.dumps(PASSES_ON).replace("uploads.orders", "vendor.orders"))
    [trigger] = shown["spec"]["triggers"]
    trigger["template"]["http"]["url"] = pushed.cluster.webhook
    # Its source is the webhook, the only one here: it hears of uploads, and not of what it sends.
    heard = {"path": "body.name", "type": "string", "value": ["an.upload"]}
    shown["spec"]["dependencies"] = [
        {
            "name": "upload",
            "eventSourceName": "metaflow-webhook",
            "eventName": "metaflow-event",
            "filters": {"data": [heard]},
        }
    ]
    name = shown["metadata"]["name"]
    pushed.cluster.ask("POST", "sensors", body={**shown, "metadata": {"name": name}})
    until(lambda: pushed.cluster.listening(name))
    pushed.post(READY)
    before = len(pushed.started())
    pushed.post("an.upload", key="orders/{{secret}}.csv")
    until(lambda: len(pushed.started()) > before, instead=lambda: pushed.cluster.log(name))
    assert pushed.started()[-1] == {"vendor.orders", READY}
    pushed.cluster.ask("DELETE", "sensors", name)
