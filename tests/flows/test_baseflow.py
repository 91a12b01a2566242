"""What a flow that inherits `BaseFlow` is given: its change in every step, queries, errors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from flowproject import sensing
from flowproject.changes.payload import encode_whole

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensor]
name = "days"
"""

FLOW = '''
import json
import os

from metaflow import FlowMutator, Parameter, step

from flowproject import BaseFlow, on_change


class adds_a_parameter(FlowMutator):
    def pre_mutate(self, flow):
        flow.add_parameter("late", Parameter("late", default=0))


def told(change):
    """Everything that a change says, as JSON."""
    names = ("id", "seq", "sensor", "reason", "value", "previous", "counts")
    kinds = ("added", "modified", "removed")
    return change and {
        **{name: getattr(change, name) for name in names},
        **{kind: list(getattr(change, kind)) for kind in kinds},
    }


def fail_if_told_to(step):
    if os.environ.get("FAIL") == step:
        raise ValueError("told to")


@adds_a_parameter
@on_change("days")
class ListenerFlow(BaseFlow):
    value = Parameter("value", default=0)

    @step
    def start(self):
        fail_if_told_to("start")
        self.seen_in_start = told(self.change)
        self.parts = ["a", "b"]
        self.next(self.each, foreach="parts")

    @step
    def each(self):
        self.seen_in_each = told(self.change)
        self.next(self.join)

    @step
    def join(self, inputs):
        fail_if_told_to("join")
        self.merge_artifacts(inputs, include=["seen_in_start", "seen_in_each"])
        self.seen_in_join = told(self.change)
        self.next(self.end)

    @step
    def end(self):
        seen = {
            "start": self.seen_in_start,
            "each": self.seen_in_each,
            "join": self.seen_in_join,
            "end": told(self.change),
        }
        sensors = [change.sensor for change in self.changes]
        values = [self.value, self.late]
        print("SAID " + json.dumps({"values": values, "seen": seen, "sensors": sensors}))


if __name__ == "__main__":
    ListenerFlow()
'''
LARGE = 2**53 + 1
"""A number that an event would not carry to a parameter as it is."""

STEPS = ["start", "each", "join", "end"]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A project with one recorded change, and the variable in which Argo brings it to a run."""

    project: Any
    id: str

    def event(self, attempt: int) -> dict[str, str]:
        """The change once more: of one attempt, only one run takes it."""
        event: dict[str, str] = self.project.event("days", 2, attempt=attempt)
        return event


@pytest.fixture(scope="module")
def changed(new_project: Callable[..., Any]) -> Changed:
    """One file was added, one was edited and one is gone."""
    project = new_project(CONFIG)
    project.write("listenerflow.py", FLOW)
    context = project.context()
    project.write("data/old.csv", "1")
    project.write("data/gone.csv", "22")
    sensing.observe(context)
    project.write("data/new.csv", "333")
    project.write("data/old.csv", "4444")
    (project.root / "data" / "gone.csv").unlink()
    [tick] = sensing.observe(context)
    return Changed(project=project, id=tick.id)


@pytest.fixture(scope="module")
def resumed(changed: Changed) -> tuple[Any, Any]:
    """A run for a change whose join failed, and its resumption without the event."""
    value = str(encode_whole(LARGE))
    given = ("--value", value, "--late", value)
    run = changed.project.run("listenerflow.py", *given, **changed.event(1), FAIL="join")
    again = changed.project.python("listenerflow.py", "resume", "--origin-run-id", run.run_id)
    return run, again


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_the_change_also_after_a_resume(
    changed: Changed, resumed: tuple[Any, Any], step: str
) -> None:
    run, again = resumed
    assert (run.code, again.code) == (1, 0)
    seen = again.said()["seen"][step]
    assert {name: seen[name] for name in ("id", "seq", "sensor", "value", "previous")} == {
        "id": changed.id,
        "seq": 2,
        "sensor": "days",
        "value": 2,
        "previous": 2,
    }
    assert seen["reason"] == "1 added, 1 modified, 1 removed"
    assert seen["counts"] == {"added": 1, "modified": 1, "removed": 1}
    assert [(item["key"], item["size"]) for item in seen["added"]] == [("new.csv", 3)]
    assert [(item["key"], item["size"]) for item in seen["removed"]] == [("gone.csv", 2)]
    [edited] = seen["modified"]
    assert (edited["key"], edited["old"]["size"], edited["new"]["size"]) == ("old.csv", 1, 4)


def test_a_parameter_has_what_the_event_gave_it_also_one_that_a_mutator_adds(
    resumed: tuple[Any, Any],
) -> None:
    assert resumed[1].said()["values"] == [LARGE, LARGE]


def test_a_run_whose_first_step_failed_is_resumed_with_its_change(changed: Changed) -> None:
    run = changed.project.run("listenerflow.py", **changed.event(2), FAIL="start")
    assert run.code == 1
    again = changed.project.python("listenerflow.py", "resume", "--origin-run-id", run.run_id)
    assert [again.said()["seen"][step]["id"] for step in STEPS] == [changed.id] * 4


def test_a_run_by_hand_has_no_change_and_foreign_events_are_none(changed: Changed) -> None:
    foreign = {
        "METAFLOW_ARGO_EVENT_PAYLOAD_event_null": "null",
        "METAFLOW_ARGO_EVENT_PAYLOAD_event_text": "not JSON",
        "METAFLOW_ARGO_EVENT_PAYLOAD_event_other": '{"change": "of heart", "timestamp": 3}',
    }
    run = changed.project.run("listenerflow.py", **foreign)
    assert run.code == 0
    assert run.said()["seen"] == dict.fromkeys(STEPS)


def test_a_flow_that_waited_for_several_sensors_does_nothing_if_one_recorded_nothing(
    changed: Changed,
) -> None:
    """The journal says what there is of each sensor; an event only starts the run."""
    [(name, text)] = changed.event(3).items()
    message = json.loads(text)
    other = {**message, "timestamp": 0, "change": {**message["change"], "sensor": "other"}}
    run = changed.project.run("listenerflow.py", **{name: text, f"{name}2": json.dumps(other)})
    assert run.code == 0
    assert "This run does nothing" in run.text
    assert "SAID" not in run.text


def test_why_says_which_change_started_a_run_and_who_recorded_it(
    changed: Changed, resumed: tuple[Any, Any]
) -> None:
    told = changed.project.command("why", f"ListenerFlow/{resumed[1].run_id}")
    assert told.code == 0
    assert "It was started by change 2 of sensor 'days':" in told.lines
    assert f"id        {changed.id}" in told.lines
    assert "items     1 added, 1 modified, 1 removed" in told.lines
    found = json.loads(
        changed.project.command("why", f"ListenerFlow/{resumed[0].run_id}", "--json").text
    )
    assert found["state"] == "failed"
    assert [change["id"] for change in found["changes"]] == [changed.id]


@pytest.mark.parametrize(
    "run, said",
    [
        ("ListenerFlow/1", "no run 'ListenerFlow/1'"),
        ("NoFlow/1", "no run 'NoFlow/1'"),
        ("ListenerFlow", "'ListenerFlow' names no run"),
        ("ListenerFlow/1/start", "names no run"),
    ],
)
def test_why_of_an_unknown_run_is_a_usage_error(changed: Changed, run: str, said: str) -> None:
    told = changed.project.command("why", run)
    assert told.code == 64
    assert said in told.text
    assert "Traceback" not in told.text


def test_an_unknown_sensor_is_told_in_two_clean_lines(changed: Changed) -> None:
    changed.project.write("typoflow.py", FLOW.replace('on_change("days")', 'on_change("day")'))
    run = changed.project.run("typoflow.py")
    (changed.project.root / "typoflow.py").unlink()
    assert run.code == 1
    headline, told = run.lines[-2:]
    assert headline == "Configuration error:"
    assert told.startswith("@on_change('day') names no sensor of this project.")
    assert told.endswith("Sensors: days. Did you mean 'days'?")


ASKING = """
from metaflow import step

from flowproject import BaseFlow


class AskingFlow(BaseFlow):
    @step
    def start(self):
        print(self.query("weather"))
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    AskingFlow()
"""


def test_a_failing_query_is_told_under_a_headline(new_project: Callable[..., Any]) -> None:
    project = new_project('project_name = "demo"\n[data]\ntype = "duckdb"\nquery = "weather"\n')
    project.write("askingflow.py", ASKING)
    project.write("sql/weather.sql", "SELECT :day")
    run = project.run("askingflow.py")
    assert run.code == 1
    told = run.lines[run.lines.index("Query error:") + 1]
    assert told.startswith("Parameter :day has no value. sql/weather.sql, line 1, column 8.")
    assert "Traceback" not in run.text
