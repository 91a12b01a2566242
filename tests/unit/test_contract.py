"""What flows and sensors expect of each other, from descriptions of flows: no flow file is read."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.contract import Finding, Listening, check_contract, foreign_events, listeners_of
from flowproject.flowfiles import Dependency, FlowFile, FlowParameter

DAYS = "mfns.demo.user.me.days_changed"
MONTHS = "mfns.demo.user.me.months_changed"


def project(**keys: str) -> Project:
    sensors = [
        Sensor(name=name, data=FilesData(path="data"), event_name=f"{name}_changed", **keys)  # type: ignore[arg-type]
        for name in ("days", "months")
    ]
    return Project(
        project_name="demo", sensor=Schedule(), sensors={sensor.name: sensor for sensor in sensors}
    )


def flow(name: str = "Listener", *dependencies: Dependency, **more: Any) -> FlowFile:
    place = {"project": "demo", "branch": "user.me", "inherits_ours": True, **more}
    return FlowFile(
        name=name, path=Path(f"/x/{name.lower()}.py"), dependencies=dependencies, **place
    )


def on(event: str, parameters: Mapping[str, str] | None = None) -> Dependency:
    return Dependency(
        event=event, type="event", alias=event.replace(".", "_"), parameters=parameters or {}
    )


def on_finish(of: str, event: str = "") -> Dependency:
    event = event or f"metaflow.demo.user.me.{of}.end"
    return Dependency(event=event, type="run", alias="a", flow=of)


def parameter(
    name: str, *, required: bool = True, has_default: bool = False, kind: str = "str"
) -> FlowParameter:
    return FlowParameter(name=name, required=required, type=kind, has_default=has_default)


def about(name: str, findings: list[Finding]) -> list[tuple[str, str]]:
    return [(found.state, found.message) for found in findings if found.subject == name]


def of_listener(*flows: FlowFile, of: Project | None = None) -> list[tuple[str, str]]:
    return about("listener.py", check_contract(of or project(), flows))


def test_a_listener_and_its_sensor_are_matched_from_both_sides() -> None:
    findings = check_contract(project(), [flow("Listener", on(DAYS))])
    assert [(found.subject, found.state, found.message) for found in findings] == [
        ("listener.py", "ok", "Listener is started by sensor 'days'"),
        ("sensor days", "ok", "event 'days_changed' is heard by Listener"),
        ("sensor months", "note", "event 'months_changed' has no listener in this folder"),
    ]
    assert {found.exit_code for found in findings} == {0}


def test_every_listener_of_a_sensor_is_named() -> None:
    flows = [flow("One", on(DAYS)), flow("Two", on(DAYS))]
    findings = check_contract(project(), flows)
    assert about("sensor days", findings) == [("ok", "event 'days_changed' is heard by One, Two")]


def test_an_event_that_no_sensor_sends_is_an_error_with_the_closest_match() -> None:
    [finding, *_] = check_contract(
        project(), [flow("Listener", on("mfns.demo.user.me.day_changed"))]
    )
    assert (finding.state, finding.exit_code) == ("error", 7)
    assert "waits for event 'day_changed', which no sensor sends" in finding.message
    assert "Sensors send: days_changed, months_changed" in finding.message
    assert finding.message.endswith("Did you mean 'days_changed'?")


def test_an_event_without_project_and_branch_is_not_the_sensors() -> None:
    [(state, message)] = of_listener(flow("Listener", on("days_changed")))
    assert state == "error"
    assert "without project and branch" in message
    assert message.endswith("Write @on_change('days')")


def test_an_event_from_elsewhere_is_a_note() -> None:
    [(state, message)] = of_listener(flow("Listener", on("warehouse.loaded")))
    assert state == "note"
    assert message == (
        "Listener waits for 'warehouse.loaded', which must come from elsewhere and starts it on "
        "every branch: see foreign_event_branches under [deploy]."
    )


def test_a_name_with_dots_in_it_is_this_projects_own_all_the_same() -> None:
    [(state, message)] = of_listener(flow("Listener", on("mfns.demo.user.me.prices.new-list")))
    assert state == "error"
    assert "waits for event 'prices.new-list', which no sensor sends" in message


def test_an_event_from_elsewhere_that_looks_like_ours_gets_a_question() -> None:
    [(state, message)] = of_listener(flow("Listener", on("day_changed")))
    assert state == "note"
    assert message.endswith("Did you mean 'days_changed'?")


def test_the_event_of_another_branch_is_from_elsewhere() -> None:
    [(state, message)] = of_listener(flow("Listener", on("mfns.demo.prod.days_changed")))
    assert state == "note"
    assert "'mfns.demo.prod.days_changed', which must come from elsewhere" in message


def test_a_flow_of_another_project_does_not_hear_this_projects_sensors() -> None:
    other = flow("Listener", on("mfns.other.user.me.days_changed"), project="other")
    findings = check_contract(project(), [flow("Sensor"), other])
    assert [state for state, _ in about("listener.py", findings)] == ["note"]
    assert [state for state, _ in about("sensor days", findings)] == ["note"]


def test_a_flow_without_a_project_can_name_our_event_in_full() -> None:
    outsider = flow("Listener", on(DAYS), project="", branch="")
    findings = check_contract(project(), [outsider, flow("Sensor")])
    assert [state for state, _ in about("listener.py", findings)] == ["ok"]


@pytest.mark.parametrize("key", ["value", "id", "name", "timestamp"])
def test_a_required_parameter_that_the_payload_has_is_fine(key: str) -> None:
    listener = flow("Listener", on(DAYS, {"x": key}), parameters=(parameter("x"),))
    assert [state for state, _ in of_listener(listener)] == ["ok"]


def test_a_required_parameter_that_the_payload_lacks_is_an_error() -> None:
    listener = flow("Listener", on(DAYS, {"since": "since"}), parameters=(parameter("since"),))
    [(state, message)] = of_listener(listener)
    assert state == "error"
    assert "requires parameter 'since' from the payload's 'since'" in message
    assert "sensor 'days'" in message
    assert "'value'" in message


def test_the_payload_key_of_the_sensor_decides() -> None:
    listener = flow("Listener", on(DAYS, {"rows": "rows"}), parameters=(parameter("rows"),))
    assert of_listener(listener)[0][0] == "error"
    assert of_listener(listener, of=project(payload_key="rows"))[0][0] == "ok"


def test_required_despite_a_default_still_needs_the_payload() -> None:
    listener = flow(
        "Listener", on(DAYS, {"x": "x"}), parameters=(parameter("x", has_default=True),)
    )
    assert of_listener(listener)[0][0] == "error"


def test_a_parameter_that_is_not_required_may_be_missing() -> None:
    listener = flow("Listener", on(DAYS, {"x": "x"}), parameters=(parameter("x", required=False),))
    assert [state for state, _ in of_listener(listener)] == ["ok"]


def test_each_of_several_events_is_checked() -> None:
    listener = flow(
        "Listener",
        on(DAYS, {"a": "value"}),
        on(MONTHS, {"b": "nothing"}),
        parameters=(parameter("a"), parameter("b")),
    )
    findings = of_listener(listener)
    assert [state for state, _ in findings] == ["ok", "error"]
    assert "sensor 'months'" in findings[1][1]


def test_with_several_events_a_required_parameter_must_be_mapped() -> None:
    listener = flow("Listener", on(DAYS), on(MONTHS), parameters=(parameter("Value"),))
    findings = of_listener(listener)
    assert [state for state, _ in findings] == ["ok", "ok", "error"]
    assert "requires parameter 'Value', and none of its events gives it" in findings[2][1]


def test_mapped_parameters_are_compared_in_lower_case_as_metaflow_does() -> None:
    listener = flow("Listener", on(DAYS, {"value": "value"}), parameters=(parameter("Value"),))
    assert [state for state, _ in of_listener(listener)] == ["ok"]


def test_a_flow_without_triggers_may_require_what_it_likes() -> None:
    assert of_listener(flow("Listener", parameters=(parameter("x"),))) == []


def test_waiting_for_a_flow_of_this_folder_is_fine() -> None:
    findings = of_listener(flow("Listener", on_finish("Other")), flow("Other"))
    assert findings == [("ok", "Listener is started when Other has succeeded")]


def test_waiting_for_a_flow_that_is_not_here_is_a_note_with_the_closest_match() -> None:
    [(state, message)] = of_listener(flow("Listener", on_finish("Othr")), flow("Other"))
    assert state == "note"
    assert "Othr, which is not in this folder" in message
    assert message.endswith("Did you mean 'Other'?")


def test_waiting_for_a_flow_of_another_branch_is_a_note() -> None:
    listener = flow("Listener", on_finish("Other", "metaflow.demo.prod.Other.end"))
    [(state, message)] = of_listener(listener, flow("Other"))
    assert state == "note"
    assert "metaflow.demo.prod.Other.end" in message


def test_a_run_that_ends_gives_no_parameters() -> None:
    listener = flow("Listener", on_finish("Other"), parameters=(parameter("x"),))
    (fine, _), (state, message) = of_listener(listener, flow("Other"))
    assert (fine, state) == ("ok", "error")
    assert message.endswith("A run that ends gives none: give it a default")


@pytest.mark.parametrize("event", ["1st", "_orders", "-orders", ".9"])
def test_an_event_whose_name_argo_events_cannot_evaluate_is_an_error(event: str) -> None:
    # Metaflow 2.19.39 makes of it: the name without dots and dashes, and a hash behind it.
    alias = event.replace(".", "").replace("-", "") + "_abcd"
    listener = flow("Listener", Dependency(event=event, type="event", alias=alias))
    [(state, message)] = of_listener(listener)
    if event == "-orders":  # the dash is left out, and a letter follows
        assert state == "note"
    else:
        assert state == "error"
        assert message.endswith("would never start. Rename the event")


def test_a_project_to_which_no_flow_listens_is_told_so() -> None:
    told = [one for one in check_contract(project(), [flow()]) if one.subject == "listeners"]
    assert [one.state for one in told] == ["note"]
    assert "no flow listens to any sensor" in told[0].message
    heard = check_contract(project(), [flow("Listener", on(DAYS))])
    assert "listeners" not in {one.subject for one in heard}


def test_awaited_are_the_flows_of_ours_that_events_of_sensors_start() -> None:
    flows = [
        flow("Alone", on(DAYS)),
        flow("Plain", on(DAYS), inherits_ours=False),
        flow("Patient", on(DAYS), on("other")),
        flow("Both", on(DAYS), on(MONTHS)),
        flow("Idle"),
    ]
    assert listeners_of(project(), flows) == {
        "days": Listening(
            alone=("Alone",), waits={"Both": ("days", "months")}, together=("Patient",)
        ),
        "months": Listening(waits={"Both": ("days", "months")}),
    }


def test_a_flow_that_takes_changes_in_order_hears_the_event_of_its_turns() -> None:
    flows = [
        flow("Ledger", on(f"{DAYS}_for_Ledger")),
        flow("Alone", on(DAYS)),
        flow("Mixed", on(f"{DAYS}_for_Mixed"), on(MONTHS)),
        flow("Thief", on(f"{DAYS}_for_Ledger")),
    ]
    found = listeners_of(project(), flows)["days"]
    assert (found.alone, found.in_order) == (("Ledger", "Alone"), ("Ledger",))
    findings = check_contract(project(), flows)
    assert about("ledger.py", findings) == [
        ("ok", "Ledger is started by sensor 'days', by one change after the other")
    ]
    assert ("ok", "event 'days_changed' is heard by Ledger, Alone, Mixed") in about(
        "sensor days", findings
    )
    [(state, message), *_] = about("mixed.py", findings)
    assert state == "error"
    assert f"takes changes in order, and waits for {MONTHS} besides" in message
    assert about("thief.py", findings)[0][0] == "error", "that is told to another"


def test_the_whole_change_is_no_value_for_a_parameter_that_takes_no_json() -> None:
    mapped = on(DAYS, {"x": "change"})
    [_, (state, message)] = of_listener(flow("Listener", mapped, parameters=(parameter("x"),)))
    assert state == "error"
    assert "Parameter('x', type=JSONType)" in message
    typed = flow("Listener", mapped, parameters=(parameter("x", kind="JSON"),))
    assert [state for state, _ in of_listener(typed)] == ["ok"]


def test_a_flow_that_does_not_inherit_baseflow_is_told_that_it_gets_encoded_values() -> None:
    told = parameter("value", required=False)
    listener = flow(
        "Listener", on(DAYS, {"value": "value"}), parameters=(told,), inherits_ours=False
    )
    [_, (state, message)] = of_listener(listener)
    assert state == "note"
    assert "does not inherit BaseFlow" in message
    assert "parameter 'value' gets every text" in message
    unmapped = flow("Listener", on(DAYS, {"value": "id"}), parameters=(told,), inherits_ours=False)
    assert [state for state, _ in of_listener(unmapped)] == ["ok"]


def test_parameters_from_an_event_of_others_come_with_what_the_user_takes_on() -> None:
    listener = flow(
        "Listener",
        on("warehouse.loaded", {"table": "table"}),
        parameters=(parameter("table", required=False),),
    )
    [(state, message)] = of_listener(listener)
    assert state == "note"
    assert "a shell reads what the event has for 'table'" in message
    assert "may run commands in the flow's pods" in message


@pytest.mark.parametrize("sensors,notes", [(2, 0), (3, 1)])
def test_more_large_values_than_a_run_can_get_are_a_note(sensors: int, notes: int) -> None:
    names = [f"s{number}" for number in range(sensors)]
    many = Project(
        project_name="demo",
        sensor=Schedule(),
        sensors={
            name: Sensor(name=name, data=FilesData(path="data"), event_name=name, payload_key=name)
            for name in names
        },
    )
    listener = flow(
        "Listener",
        *(on(f"mfns.demo.user.me.{name}", {name: name}) for name in names),
        parameters=tuple(parameter(name) for name in names),
    )
    states = [state for state, _ in of_listener(listener, of=many)]
    assert states == ["ok"] * sensors + ["note"] * notes


def test_foreign_is_an_event_without_or_with_anothers_project_and_branch() -> None:
    ours = ["mfns.demo.user.me.x", "mfns.demo.user.me.dotted.name"]
    others = ["x", "vendor.feed", "mfns.x", "mfns.demo.prod.x", "mfns.demo.user.men.x"]
    waiting = flow("Listener", *map(on, [*ours, *others]))
    assert foreign_events(waiting) == tuple(others)


def test_foreign_is_the_end_of_another_branchs_flow() -> None:
    def ends(event: str) -> Dependency:
        return Dependency(event=event, type="run", alias=event, flow="Sensor")

    mine, theirs = "metaflow.demo.user.me.Sensor.end", "metaflow.demo.prod.Sensor.end"
    assert foreign_events(flow("Listener", ends(mine), ends(theirs))) == (theirs,)


def test_one_class_in_two_files_is_one_flow_to_metaflow() -> None:
    copy = replace(flow("Listener", on(DAYS)), path=Path("/x/copy.py"))
    [(state, message)] = [
        one
        for one in about("copy.py", check_contract(project(), [flow("Listener", on(DAYS)), copy]))
        if one[0] == "error"
    ]
    assert state == "error"
    assert message.startswith("Listener is defined in listener.py, too.")
