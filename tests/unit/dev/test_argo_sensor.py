"""The semantics that `triggers` and `payload` mirror, pinned in the Sensor that Metaflow compiles.

If a test here fails, Metaflow changed what a cluster does, and the local loop has to follow.
"""

from typing import Any

import pytest
from metaflow.plugins.argo import argo_workflows


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The Sensor of a flow with a required and a JSON parameter, and a filter."""
    for name in ("ARGO_EVENTS_EVENT", "ARGO_EVENTS_EVENT_SOURCE", "ARGO_EVENTS_SERVICE_ACCOUNT"):
        monkeypatch.setattr(argo_workflows, name, "x")
    argo = argo_workflows.ArgoWorkflows.__new__(argo_workflows.ArgoWorkflows)
    argo.name = "flow"
    argo._base_labels = argo._base_annotations = {}
    argo.parameters = {
        "needed": {"name": "needed", "value": '"d"', "type": "str", "is_required": True},
        "data": {"name": "data", "value": '"{}"', "type": "JSON", "is_required": False},
    }
    argo.trigger_options = {}
    argo.triggers = [
        {
            "name": "a.b",
            "sanitized_name": "ab_0000",
            "type": "event",
            "parameters": {"needed": "key", "data": "more"},
            "filters": {"flag": True, "project_name": None},
        },
        {"name": "c", "sanitized_name": "c_0000", "type": "event"},
    ]
    compiled: dict[str, Any] = argo._compile_sensor().to_json()
    return compiled["spec"]


def test_an_event_must_have_the_name_the_required_keys_and_the_filters(sensor: dict[str, Any]):
    first = sensor["dependencies"][0]["filters"]["exprs"]
    assert [(item["expr"], item["fields"][0]["path"]) for item in first] == [
        ("name == 'a.b'", "body.payload.name"),
        ("true == true", "body.payload.key"),
        ("field == 'True'", "body.payload.flag"),
    ]


def test_all_dependencies_are_needed_as_no_condition_says_otherwise(sensor: dict[str, Any]):
    assert [item["name"] for item in sensor["dependencies"]] == ["ab_0000", "c_0000"]
    template = sensor["triggers"][0]["template"]
    assert "conditions" not in template


def test_values_are_json_texts_and_json_parameters_get_json_in_json(sensor: dict[str, Any]):
    needed, data, *_ = sensor["triggers"][0]["template"]["k8s"]["parameters"]
    present = '{{ if (hasKey $.Input.body.payload "%s") }}'
    absent = '{{- else -}}{{ (fail "use-default-instead") }}{{- end -}}'
    assert needed["src"]["dataTemplate"] == (
        present % "key" + '{{- (get $.Input.body.payload "key" | toRawJson) -}}' + absent
    )
    assert data["src"]["dataTemplate"] == (
        present % "more"
        + '{{- $pv:=(get $.Input.body.payload "more") -}}{{ if kindIs "string" $pv }}'
        + "{{- $pv | toRawJson -}}{{- else -}}{{ $pv | toRawJson | toRawJson }}{{- end -}}"
        + absent
    )


def test_the_whole_payload_travels_to_the_run(sensor: dict[str, Any]):
    *_, first, second = sensor["triggers"][0]["template"]["k8s"]["parameters"]
    assert [item["src"]["dataKey"] for item in (first, second)] == ["body.payload"] * 2
    assert first["dest"] == "spec.arguments.parameters.#(name=ab_0000).value"
