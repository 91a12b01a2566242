"""Which flows an event starts, decided as the Argo Events sensor decides."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.dev.triggers import (
    NOTHING_WAITS,
    Drop,
    Event,
    Start,
    Verdict,
    Wait,
    offer,
    run_event,
    unheard,
)
from flowproject.flowfiles import Dependency, FlowFile, FlowParameter


def parameter(name: str, *, required: bool = False, kind: str = "str") -> FlowParameter:
    return FlowParameter(name=name, required=required, type=kind, has_default=not required)


def dependency(name: str, **mapping: str) -> Dependency:
    return Dependency(event=name, type="event", alias=f"{name}_0000", parameters=mapping)


def flow(*dependencies: Dependency, parameters: tuple[FlowParameter, ...] = ()) -> FlowFile:
    return FlowFile(
        name="F", path=Path("f_flow.py"), dependencies=dependencies, parameters=parameters
    )


def event(name: str, **payload: Any) -> Event:
    return Event.sent({"name": name, "id": f"id of {name}", **payload})


def start(verdict: Verdict | None) -> Start:
    assert isinstance(verdict, Start)
    return verdict


def wait(verdict: Verdict | None) -> Wait:
    assert isinstance(verdict, Wait)
    return verdict


def test_an_event_of_another_name_is_none_of_the_flows_business():
    assert offer(flow(dependency("a")), NOTHING_WAITS, event("b")) is None


def test_an_event_starts_the_flow_with_its_mapped_values():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha"),))
    begun = start(offer(listening, NOTHING_WAITS, event("a", key=7, other=8)))
    assert begun.arguments == {"alpha": "7"}
    assert list(begun.environment) == ["METAFLOW_ARGO_EVENT_PAYLOAD_event_a_0000"]


def test_an_optional_value_that_is_not_in_the_payload_leaves_the_default():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha"),))
    assert start(offer(listening, NOTHING_WAITS, event("a"))).arguments == {}


def test_a_required_value_that_is_not_in_the_payload_drops_the_event_and_says_so():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha", required=True),))
    verdict = offer(listening, NOTHING_WAITS, event("a", keyy=1))
    assert isinstance(verdict, Drop)
    assert "no 'key' for the required parameter 'alpha'" in verdict.reason
    assert "Did you mean 'keyy'?" in verdict.reason


def test_a_required_value_that_is_null_is_present_as_it_is_for_argo():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha", required=True),))
    assert start(offer(listening, NOTHING_WAITS, event("a", key=None))).arguments == {}


def test_several_events_must_all_have_come():
    listening = flow(dependency("a"), dependency("b"), dependency("c"))
    first = wait(offer(listening, NOTHING_WAITS, event("b")))
    assert first.missing == ("a", "c")
    second = wait(offer(listening, first.waiting, event("a")))
    begun = start(offer(listening, second.waiting, event("c")))
    assert [item.name for item in begun.events] == ["a", "b", "c"]


def test_the_latest_event_of_each_name_wins():
    listening = flow(dependency("a", alpha="x"), dependency("b"), parameters=(parameter("alpha"),))
    first = wait(offer(listening, NOTHING_WAITS, event("a", x="old")))
    second = wait(offer(listening, first.waiting, event("a", x="new")))
    assert start(offer(listening, second.waiting, event("b"))).arguments == {"alpha": "new"}


@given(st.lists(st.sampled_from("abc")))
def test_a_flow_starts_once_for_each_complete_set_and_forgets_it(names: list[str]):
    listening = flow(dependency("a"), dependency("b"), dependency("c"))
    waiting, seen, starts, expected = NOTHING_WAITS, set[str](), 0, 0
    for name in names:
        seen.add(name)
        if seen == {"a", "b", "c"}:
            seen, expected = set(), expected + 1
        verdict = offer(listening, waiting, event(name))
        waiting = verdict.waiting if isinstance(verdict, Wait) else NOTHING_WAITS
        starts += isinstance(verdict, Start)
    assert starts == expected


@pytest.mark.parametrize("value", [True, "true", None])
def test_a_filter_compares_text(value: object):
    waited = Dependency(event="a", type="run", alias="a_0", filters={"flag": "True"})
    assert isinstance(offer(flow(waited), NOTHING_WAITS, event("a", flag=value)), Drop)
    assert isinstance(offer(flow(waited), NOTHING_WAITS, event("a", flag="True")), Start)


def test_a_value_that_would_break_the_run_drops_the_event():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha"),))
    verdict = offer(listening, NOTHING_WAITS, event("a", key=[1, 2]))
    assert isinstance(verdict, Drop)
    assert "type=JSONType" in verdict.reason


def test_a_payload_that_linux_can_not_pass_on_is_dropped_with_its_size():
    verdict = offer(flow(dependency("a")), NOTHING_WAITS, event("a", blob="x" * 200_000))
    assert isinstance(verdict, Drop)
    assert "131071" in verdict.reason


def test_parameters_that_a_cluster_can_not_pass_on_together_are_dropped_with_their_size():
    mapped = dependency("a", alpha="x", beta="y")
    listening = flow(mapped, parameters=(parameter("alpha"), parameter("beta")))
    verdict = offer(listening, NOTHING_WAITS, event("a", x="x" * 50_000, y="y" * 50_000))
    assert isinstance(verdict, Drop)
    assert "alpha, beta" in verdict.reason
    assert "90000" in verdict.reason


def test_payloads_that_a_workflow_can_not_hold_together_are_dropped_with_their_size():
    names = "abcde"
    listening, waiting = flow(*map(dependency, names)), NOTHING_WAITS
    for name in names:
        verdict = offer(listening, waiting, event(name, blob="x" * 110_000))
        waiting = verdict.waiting if isinstance(verdict, Wait) else waiting
    assert isinstance(verdict, Drop)
    assert "500000" in verdict.reason


def test_what_a_cluster_would_change_is_told_with_the_start():
    listening = flow(dependency("a", alpha="key"), parameters=(parameter("alpha"),))
    assert start(offer(listening, NOTHING_WAITS, event("a", key="é"))).warnings


def test_an_event_that_nobody_waits_for_names_the_nearest():
    assert "Did you mean 'weather'?" in unheard(event("wether"), (flow(dependency("weather")),))
    assert "no flow of this project waits" in unheard(event("x"), (flow(),))
    assert "F takes changes in order" in unheard(event("x"), (flow(dependency("x_for_F")),))


@pytest.mark.parametrize(
    "branch,flags",
    [
        ("user.me", {"is_user_branch": "True"}),
        ("test.x", {}),
        ("prod", {"is_production": "True"}),
        ("prod.x", {"is_production": "True"}),
    ],
)
def test_the_event_of_a_finished_run_is_the_one_that_metaflow_publishes(
    branch: str, flags: dict[str, str]
):
    upstream = FlowFile(name="Up", path=Path("up_flow.py"), project="p", branch=branch)
    made = run_event(upstream, run_id="7", task_id="3", timestamp=0)
    assert made.payload == {
        "name": f"metaflow.p.{branch}.Up.end",
        "id": "Up/7/end/3",
        "pathspec": "Up/7/end/3",
        "timestamp": 0,
        "utc_date": "19700101",
        "generated-by-metaflow": True,
        "auto-generated-by-metaflow": "True",
        "flow_name": "Up",
        "run_id": "7",
        "step_name": "end",
        "task_id": "3",
        "project_name": "p",
        "branch_name": branch,
        "project_flow_name": f"p.{branch}.Up",
        **flags,
    }


def test_without_a_project_the_event_of_a_finished_run_names_only_the_flow():
    made = run_event(flow(), run_id="7", task_id="3", timestamp=0)
    assert made.name == "metaflow.F.end"
    assert not [key for key in made.payload if "project" in key or "branch" in key]
