"""How long real controllers (`make argo`) take from a published event to its Workflow."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks.costs import Limit
from tests.argo.cluster import ArgoCluster, until
from tests.deploy.cluster import EVENTS, GROUP, NAMESPACE, VERSION

__all__ = ["measure"]

_TIMES: Final = 50
_SLOW: Final = 0.9
"""The part of the events that are no slower than the second figure."""

_NAME: Final = "bench"
_MOST: Final = 0.5


def measure(folder: Path, *, quick: bool) -> Iterator[Limit]:
    """The median, and what nine in ten do not exceed."""
    cluster = ArgoCluster(folder)
    try:
        cluster.ask("POST", "sensors", body=_sensor())
        until(lambda: cluster.listening(_NAME))
        taken = sorted(_seconds(cluster, number) for number in range(2 if quick else _TIMES))
    finally:
        cluster.stop()
    what = "publish → Workflow, on Argo Events 1.9.11 and an idle cluster"
    yield Limit(what=f"{what}, median", amount=median(taken), most=_MOST, unit="s")
    slow = taken[int(_SLOW * (len(taken) - 1))]
    yield Limit(what=f"{what}, nine in ten", amount=slow, most=_MOST, unit="s")


def _seconds(cluster: ArgoCluster, number: int) -> float:
    """From the moment before the webhook is asked to the first answer that has the Workflow."""
    begun = perf_counter()
    cluster.publish({"payload": {"name": _NAME, "number": number}})
    until(lambda: len(cluster.workflows()) > number)
    return perf_counter() - begun


def _sensor() -> Mapping[str, Any]:
    """A Sensor as Metaflow makes it, and `deploy` completes it."""
    field = {"name": "name", "path": "body.payload.name"}
    dependency = {
        "name": "event",
        "eventSourceName": "metaflow-webhook",
        "eventName": "metaflow-event",
        "filters": {"exprs": [{"expr": f"name == '{_NAME}'", "fields": [field]}]},
    }
    workflow = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Workflow",
        "metadata": {"generateName": f"{_NAME}-", "namespace": NAMESPACE},
        "spec": {"arguments": {"parameters": [{"name": "event", "value": ""}]}},
    }
    k8s = {
        "source": {"resource": workflow},
        "operation": "create",
        "parameters": [
            {
                "src": {"dependencyName": "event", "dataKey": "body.payload"},
                "dest": "spec.arguments.parameters.0.value",
            }
        ],
    }
    trigger = {
        "template": {"name": _NAME, "conditions": "event", "k8s": k8s},
        "atLeastOnce": True,
        "retryStrategy": {"steps": 30, "duration": "1s", "factor": 1.2},
    }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Sensor",
        "metadata": {"name": _NAME, "namespace": EVENTS},
        "spec": {"dependencies": [dependency], "triggers": [trigger], "eventBusName": "default"},
    }
