"""A deployment waits until its sensors are taken up, and says so if they are not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowproject.deploy.apply import AwaitedSensor, await_sensors
from flowproject.deploy.argo import Argo
from flowproject.deploy.objects import ArgoObject
from tests.deploy.cluster import EVENTS, NAMESPACE, EmulatedCluster, written


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmulatedCluster]:
    running = EmulatedCluster(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def argo(cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch) -> Argo:
    from kubernetes import client, config

    monkeypatch.setattr("flowproject.deploy.apply._SILENCE", 0.3)
    monkeypatch.setattr("flowproject.deploy.apply._PATIENCE", 1.0)
    monkeypatch.setattr("flowproject.deploy.apply._PAUSE", 0.05)
    config.load_kube_config(str(cluster.kubeconfig))
    return Argo(client, NAMESPACE, EVENTS)


def write(argo: Argo, **spec: Any) -> AwaitedSensor:
    body = written("sensors", "one", EVENTS, {}) | {"spec": spec}
    sensor = ArgoObject(kind="sensors", namespace=EVENTS, body=body)
    there = argo.write(sensor, None)
    before = there.get("status", {}).get("conditions", [])
    return AwaitedSensor(flow="OneFlow", sensor=sensor, written=True, before=before)


def deployed(status: str, reason: str = "", message: str = "") -> Mapping[str, str]:
    return {"type": "Deployed", "status": status, "reason": reason, "message": message}


def test_a_sensor_that_is_taken_up_is_told(argo: Argo) -> None:
    told: list[str] = []
    assert await_sensors(argo, [write(argo)], told.append) == ([], [])
    assert told == ["OneFlow"]


@pytest.mark.parametrize("reason", ["EventBusNotFound", "InvalidDependencies", "InvalidTriggers"])
def test_what_argo_events_refuses_is_told_at_once_with_its_reason(
    cluster: EmulatedCluster, argo: Argo, reason: str
) -> None:
    cluster.say_of_sensors(deployed("False", reason, "words of its own"))
    [refused], unknown = await_sensors(argo, [write(argo)])
    assert unknown == []
    assert "OneFlow would never start on an event: Argo Events refuses its sensor 'one' in " in (
        refused
    )
    assert f"{reason}: words of its own" in refused


def test_a_bus_that_is_not_ready_is_awaited(cluster: EmulatedCluster, argo: Argo) -> None:
    cluster.say_of_sensors(deployed("False", "EventBusNotReady", "EventBus not ready."))
    refused, [unknown] = await_sensors(argo, [write(argo)])
    assert refused == []
    assert "OneFlow is not listening yet" in unknown
    assert "EventBusNotReady: EventBus not ready." in unknown


def test_where_no_controller_says_anything_that_is_a_note(
    cluster: EmulatedCluster, argo: Argo
) -> None:
    cluster.say_of_sensors()
    refused, [unknown] = await_sensors(argo, [write(argo)])
    assert refused == []
    assert "Is the controller of Argo Events running?" in unknown


def test_what_was_said_of_a_sensor_before_it_was_written_does_not_count(
    cluster: EmulatedCluster, argo: Argo
) -> None:
    write(argo, dependencies=[1])
    cluster.say_of_sensors()
    _, [unknown] = await_sensors(argo, [write(argo, dependencies=[2])])
    assert "not known" in unknown


def test_a_sensor_that_was_left_as_it_is_is_not_awaited_but_looked_at(
    cluster: EmulatedCluster, argo: Argo
) -> None:
    cluster.say_of_sensors(deployed("False", "EventBusNotFound", "gone"))
    there = write(argo)
    left = AwaitedSensor(flow="OneFlow", sensor=there.sensor, written=False)
    [refused], _ = await_sensors(argo, [left])
    assert "EventBusNotFound" in refused
