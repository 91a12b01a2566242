"""Argo Events in Python, held to what the real one answered (`recorded.json` says which)."""

import base64
import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.argo_rules import BODIES, BodyRow
from tests.conftest import ROOT
from tests.deploy.cluster import EmulatedCluster
from tests.executor.api import Api
from tests.executor.events import ArgoEvents, accepts, arguments
from tests.executor.golang import compact

RECORDED = json.loads((ROOT / "tests" / "unit" / "dev" / "recorded.json").read_text())
TEMPLATE = (
    '{{ if (hasKey $.Input.body.payload "k") }}%s{{- else -}}{{ (fail "use-default-instead") }}'
    "{{- end -}}"
)
PLAIN = TEMPLATE % '{{- (get $.Input.body.payload "k" | toRawJson) -}}'
AS_JSON = TEMPLATE % (
    '{{- $pv:=(get $.Input.body.payload "k") -}}{{ if kindIs "string" $pv }}'
    "{{- $pv | toRawJson -}}{{- else -}}{{ $pv | toRawJson | toRawJson }}{{- end -}}"
)


def sensor(**sources: dict[str, Any]) -> dict[str, Any]:
    """A Sensor of the dependency `v`, with a parameter for each source."""
    parameters = [
        {
            "src": {"dependencyName": "v", **source},
            "dest": f"spec.arguments.parameters.#(name={name}).value",
        }
        for name, source in sources.items()
    ]
    return {"spec": {"triggers": [{"template": {"k8s": {"parameters": parameters}}}]}}


VALUES = sensor(
    int={"dataTemplate": PLAIN, "value": "7"},
    str={"dataTemplate": PLAIN, "value": '"d"'},
    JSONType={"dataTemplate": AS_JSON, "value": '"{}"'},
    event={"dataKey": "body.payload", "value": "null"},
)


@pytest.mark.parametrize("row", RECORDED["values"]["rows"], ids=lambda row: str(row["json"]))
def test_a_value_becomes_the_text_that_it_became(row: dict[str, Any]) -> None:
    pair = "" if row["json"] is None else f', "k": {row["json"]}'
    body = compact(f'{{"body": {{"payload": {{"name": "v.event"{pair}}}}}}}')
    given = arguments(VALUES, {"v": body})
    wanted = {name: row["text_of"][name] for name in ("int", "str", "JSONType")}
    event = row["event"] or '{"name":"v.event"}'
    assert given == {**wanted, "event": event}


REQUIRED = {
    "filters": {
        "exprs": [
            {
                "expr": "name == 'r.event'",
                "fields": [{"name": "name", "path": "body.payload.name"}],
            },
            {"expr": "true == true", "fields": [{"name": "field", "path": "body.payload.k"}]},
        ]
    }
}
FILTERS = [row for row in RECORDED["filters"]["rows"] if row["flow"] == "rflow"]


@pytest.mark.parametrize("row", FILTERS, ids=lambda row: row["case"])
def test_an_event_passes_the_filters_that_it_passed(row: dict[str, Any]) -> None:
    assert accepts(REQUIRED, f'{{"body":{compact(row["body"])}}}') == bool(row["started"])


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cluster = EmulatedCluster(tmp_path_factory.mktemp("cluster"))
    events = ArgoEvents(Api(Path(cluster.kubeconfig)))
    yield urlsplit(events.url).netloc
    events.stop()
    cluster.stop()


REQUESTS = [
    row
    for row in RECORDED["webhook"]["rows"]
    if "method" in row and "nested" not in row.get("body", "")
]


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row["case"])
def test_the_webhook_answers_as_the_real_one(row: dict[str, Any], webhook: str) -> None:
    body = base64.b64decode(row["body_base64"]) if "body_base64" in row else None
    if "bytes" in row:
        start = b'{"payload":{"name":"a.none","k":"'
        body = start + b"x" * (row["bytes"] - len(start) - 3) + b'"}}'
    if body is None:
        body = row["body"].encode()
    connection = HTTPConnection(webhook, timeout=60)
    connection.request(row["method"], row["path"], body, row["headers"])
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == row["status"]
    assert row["answer"].startswith(text[:20])


@pytest.mark.parametrize("row", BODIES, ids=lambda row: row.kind or "none")
def test_a_sensor_hears_what_is_not_sent_as_a_form(row: BodyRow) -> None:
    listed = Listed("")
    events = ArgoEvents(listed)  # type: ignore[arg-type]
    answers = {
        events.take(b'{"payload": {"name": "%s.event", "k": "x"}}' % name, row.kind)
        for name in (b"a", b"b")
    }
    events.stop()
    assert answers == {(200, "success")}
    assert bool(listed.started) == row.heard, row.source


class Listed:
    """An API server with one Sensor, and the workflows that were made on it."""

    def __init__(self, conditions: str) -> None:
        dependencies = [
            {
                "name": name,
                "filters": {
                    "exprs": [
                        {
                            "expr": f"name == '{name}.event'",
                            "fields": [{"name": "name", "path": "body.payload.name"}],
                        }
                    ]
                },
            }
            for name in ("a", "b")
        ]
        given = [{"name": name, "value": "null"} for name in ("a", "b")]
        resource = {
            "metadata": {"generateName": "f-", "namespace": "flows"},
            "spec": {"arguments": {"parameters": given}},
        }
        parameters = [
            {
                "src": {"dependencyName": name, "dataKey": "body.payload.k", "value": "null"},
                "dest": f"spec.arguments.parameters.#(name={name}).value",
            }
            for name in ("a", "b")
        ]
        k8s = {"source": {"resource": resource}, "parameters": parameters}
        trigger = {"template": {"conditions": conditions, "k8s": k8s}}
        self.sensor = {
            "metadata": {"namespace": "events", "name": "f"},
            "spec": {"dependencies": dependencies, "triggers": [trigger]},
        }
        self.started: list[list[str]] = []

    def list(self, plural: str) -> list[dict[str, Any]]:
        assert plural == "sensors"
        return [self.sensor]

    def create(self, plural: str, namespace: str, made: dict[str, Any]) -> None:
        assert (plural, namespace) == ("workflows", "flows")
        self.started.append([one["value"] for one in made["spec"]["arguments"]["parameters"]])


@pytest.mark.parametrize("conditions", ["", "a && b"])
def test_a_sensor_waits_for_all_and_takes_the_latest_of_each(conditions: str) -> None:
    api = Listed(conditions)
    events = ArgoEvents(api)  # type: ignore[arg-type]  # as much of it as is asked
    for name in ("a1", "a2", "b1", "b2", "c1", "a3"):
        payload = {"name": f"{name[0]}.event", "k": name}
        assert events.take(json.dumps({"payload": payload}).encode()) == (200, "success")
    events.stop()
    assert api.started == [["a2", "b1"], ["a3", "b2"]]
