"""What is added to the schedules and sensors that Metaflow compiles."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowproject.deploy.objects import ArgoObject, with_policies


def spec_of(kind: str, **spec: Any) -> Any:
    body = {"metadata": {"name": "x"}, "spec": spec}
    return with_policies(ArgoObject(kind=kind, namespace="w", body=body)).body["spec"]


def sensor(*dependencies: str, **trigger: Any) -> Any:
    return spec_of(
        "sensors",
        dependencies=[{"name": name} for name in dependencies],
        triggers=[{"template": {"name": "t"}, **trigger}],
    )


def test_a_template_stays_as_metaflow_compiled_it() -> None:
    assert spec_of("workflowtemplates", templates=[1]) == {"templates": [1]}


def test_a_schedule_starts_no_run_beside_one_that_goes_on() -> None:
    spec = spec_of("cronworkflows", schedule="* * * * *")
    assert spec == {"schedule": "* * * * *", "concurrencyPolicy": "Forbid"}


def test_a_trigger_asks_again_until_the_control_plane_is_back() -> None:
    [trigger] = sensor("a", rateLimit=3)["triggers"]
    assert trigger["atLeastOnce"] is True
    assert trigger["rateLimit"] == 3
    retry = trigger["retryStrategy"]
    waits = [retry["factor"] ** number for number in range(retry["steps"] - 1)]
    assert retry["duration"] == "1s"
    assert 900 < sum(waits) < 1200
    assert max(waits) < 180


@given(
    st.lists(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), min_size=1, unique=True).flatmap(
        lambda names: st.tuples(st.just(names), st.permutations(names))
    )
)
def test_the_condition_of_a_trigger_says_all_dependencies_in_one_order(
    names: tuple[list[str], list[str]],
) -> None:
    """Which order a flow lists its sensors in makes no other expression of it."""
    told, shuffled = (sensor(*order)["triggers"][0]["template"] for order in names)
    assert told == shuffled
    assert set(told["conditions"].split(" && ")) == set(names[0])


def test_the_pod_of_a_sensor_has_nothing_in_it_that_moves_by_itself() -> None:
    annotations = {
        "metaflow/deployment_timestamp": "now",
        "metaflow/production_token": "t",
        "workflows.argoproj.io/description": "words",
        "metaflow/flow_name": "OneFlow",
    }
    metadata = {"labels": {"a": "b"}, "annotations": annotations}
    spec = spec_of("sensors", template={"metadata": metadata, "container": {}}, triggers=[])
    kept = {"labels": {"a": "b"}, "annotations": {"metaflow/flow_name": "OneFlow"}}
    assert spec["template"] == {"metadata": kept, "container": {}}
