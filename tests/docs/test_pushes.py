"""The objects of Argo Events in docs/pushes.md are what its models say, and do what it says."""

import json
from typing import Any

import pytest
import yaml
from hera.events.models import EventSource, Sensor

from flowproject.dev.event_bus import parse_event
from flowproject.dev.triggers import Event
from tests.deploy.test_deploy import known_to_hera, lost
from tests.docs.pages import ROOT, blocks

SHOWN = [
    yaml.safe_load(one.text) for one in blocks(ROOT / "docs/pushes.md") if one.language == "yaml"
]
SOURCES = [one for one in SHOWN if one["kind"] == "EventSource"]
[SENSOR] = [one for one in SHOWN if one["kind"] == "Sensor"]


def unknown(model: Any, shown: dict[str, Any]) -> set[str]:
    """What of an object the model does not know."""
    sent = {**shown, "spec": known_to_hera(shown["spec"])}
    if "webhook" in sent["spec"]:
        # Argo has these keys in the source itself, and the model of it beside them.
        inside = {key: {"webhookContext": one} for key, one in sent["spec"]["webhook"].items()}
        sent = {**sent, "spec": {**sent["spec"], "webhook": inside}}
    text = model.model_validate(sent).model_dump_json(by_alias=True, exclude_none=True)
    return {*lost(sent["spec"], json.loads(text)["spec"])}


@pytest.mark.parametrize("shown", SOURCES, ids=lambda one: next(iter(one["spec"])))
def test_a_source_is_one_that_the_models_know(shown: dict[str, Any]) -> None:
    assert unknown(EventSource, shown) == set()
    [kind] = {"sqs", "pubSub", "webhook"} & shown["spec"].keys()
    [dependency] = SENSOR["spec"]["dependencies"]
    assert dependency["eventSourceName"] == shown["metadata"]["name"]
    assert dependency["eventName"] in shown["spec"][kind]


def test_all_three_are_shown() -> None:
    assert len(SOURCES) == 3


def test_the_sensor_posts_what_the_bus_takes_for_the_event() -> None:
    assert unknown(Sensor, SENSOR) == set()
    [trigger] = SENSOR["spec"]["triggers"]
    body: dict[str, Any] = {}
    for one in trigger["template"]["http"]["payload"]:
        # Without a key Argo Events takes the value itself.
        assert set(one["src"]) == {"dependencyName", "value"}
        *path, last = one["dest"].split(".")
        inner = body
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = one["src"]["value"]
    taken = parse_event(json.dumps(body).encode())
    assert isinstance(taken, Event)
    assert (taken.name, taken.payload) == ("uploads.orders", {"name": "uploads.orders"})
