"""The same step and attempt of one run twice at the same time: one effect, and one truth.

A cluster makes a pod again that it does not see any more, and the first may go on all the same.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext
from flowproject.starting.claiming import claim
from flowproject.starting.run_start import RunStart
from tests.conftest import Bus
from tests.faults.test_overtaking import Overtaken, new_context
from tests.project_folder import ProjectFolder, Ran, make_project

LOOKS, SENDS, CLAIMS = 14, 12, 8
"""Requests of a look, of a sending and of a claim to be overtaken at, and some more."""

CONFIG = """
project_name = "demo"

[sensors.days]
data = { type = "files", path = "data" }
"""

WORK = """
from metaflow import step

from flowproject import BaseFlow


class WorkFlow(BaseFlow):
    @step
    def start(self):
        print(f"WORKS for change {self.change.seq}")
        self.next(self.end)

    @step
    def end(self):
        print(f"ENDS for change {self.change.seq}")


if __name__ == "__main__":
    WorkFlow()
"""


def of_run(
    context: ProjectContext, store: Any = None, run: str = "SensorFlow/argo-1"
) -> ProjectContext:
    return ProjectContext(**{**vars(context), "store": store or context.store, "run": run})


def test_a_look_that_its_own_twin_overtakes_at_any_request_is_one_look(
    tmp_path: Path, bus: Bus
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(LOOKS):
        context = new_context(tmp_path, number, coalesce=False)
        sensing.observe(context)
        (tmp_path / "data" / f"{number}").write_text("x")
        seen: list[sensing.Tick] = []
        look = lambda there=context, to=seen: to.extend(sensing.observe(of_run(there)))  # noqa: E731
        store = Overtaken(context.store, number + 1, look)
        seen += sensing.observe(of_run(context, store))
        if len(seen) == 1:
            look()  # the look has fewer requests: its twin comes after it
        journal = context.journal("data")
        entry = journal.get(2)
        assert entry, f"request {number}"
        assert journal.get(3) is None, f"request {number}"
        for tick in seen:
            word = tick.reason.partition("; ")[2]
            assert (tick.outcome, tick.id) == ("changed", entry.id) or (
                tick.outcome,
                word,
            ) == ("unchanged", "this run itself recorded number 2 before"), f"request {number}"
        for tick in seen:
            # Either may have had the last word; the next step of the run sends in both cases.
            bus.events.clear()
            sensing.raise_for_failures(sensing.publish(of_run(context), [tick]))
        told = [*context.store.keys(f"{journal.location}/published")]
        assert len(told) == 1, f"request {number}"


def test_a_sending_that_its_own_twin_overtakes_at_any_request_sends_one_event(
    tmp_path: Path, bus: Bus
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(SENDS):
        context = new_context(tmp_path, number, coalesce=False)
        context.journal("data").outbox.record_listeners(["AFlow"], by="test")
        sensing.observe(context)
        (tmp_path / "data" / f"{number}").write_text("x")
        ticks = sensing.observe(of_run(context))
        bus.events.clear()
        send = lambda there=context, told=ticks: sensing.publish(of_run(there), told)  # noqa: E731
        [sent] = sensing.publish(of_run(context, Overtaken(context.store, number + 1, send)), ticks)
        assert not sent.undelivered
        assert {payload["id"] for payload in bus.payloads} == {ticks[0].id}, f"request {number}"
        assert 1 <= len(bus.payloads) <= 2
        [after] = sensing.observe(of_run(context, run="SensorFlow/argo-2"))
        assert (after.outcome, after.undelivered) == ("unchanged", "")


def test_a_claim_that_its_twin_or_another_run_overtakes_at_any_request_lets_one_run_go_on(
    tmp_path: Path,
) -> None:
    change = {
        "sensor": "aa",
        "seq": 2,
        "id": f"aa{'0' * 30}",
        "project": "demo",
        "branch": "user.tester",
        "entry": "flowproject/demo/user.tester/aa/entries/1.json",
    }
    both = ("WorkFlow/argo-1", "WorkFlow/argo-2")
    for other in both:
        for number in range(CLAIMS):
            store = open_store(str(tmp_path / f"{other.replace('/', '-')}-{number}"))
            going_on: list[str] = []

            def take(run: str, through: Any, going_on: list[str] = going_on) -> None:
                taken = claim(RunStart(changes=[change], run=run), flow="WorkFlow", store=through)
                going_on += [] if taken.nothing_because else [run]

            take(both[0], Overtaken(store, number + 1, lambda: take(other, store)))  # noqa: B023
            assert len({*going_on}) == 1, f"request {number}, overtaken by {other}: {going_on}"


@pytest.fixture
def project(tmp_path: Path, bus: Bus) -> ProjectFolder:
    project = make_project(tmp_path, CONFIG, METAFLOW_ARGO_EVENTS_WEBHOOK_URL=bus.url)
    project.write("workflow.py", WORK)
    project.write("data/old.csv", "1")
    sensing.observe(project.context())
    project.write("data/new.csv", "2")
    return project


def begun(project: ProjectFolder, file: str) -> Callable[[str, str], list[str]]:
    """A run as Argo begins it, and the command of a step of it, the only attempt of its task."""
    word = [file, "--quiet", "--no-pylint", "--metadata", "local", "--datastore", "local"]
    made = project.python(*word, "init", "--run-id", "argo-1", "--task-id", "params")
    assert made.code == 0, made.text
    options = ["--run-id", "argo-1", "--task-id", "1", "--retry-count", "0"]

    def command(step: str, before: str) -> list[str]:
        return [*word, "step", step, *options, "--input-paths", f"argo-1/{before}"]

    return command


def twice(project: ProjectFolder, command: list[str], **environment: str) -> list[str]:
    """What two processes say that do the same at the same time."""
    processes = [project.start(*command, **environment) for _ in range(2)]
    texts = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], texts
    return texts


def once(project: ProjectFolder, command: list[str], **environment: str) -> Ran:
    done = project.python(*command, **environment)
    assert done.code == 0, done.text
    return done


def test_a_sensor_whose_first_step_runs_twice_records_and_sends_one_change(
    project: ProjectFolder, bus: Bus
) -> None:
    command = begun(project, "sensorflow.py")
    for text in twice(project, command("start", "_parameters/params")):
        assert "days: changed" in text or "recorded number 2 before" in text, text
    once(project, command("end", "start/1"))
    [newest, _] = project.history("days")
    assert (newest["seq"], newest["run"]) == (2, "SensorFlow/argo-1")
    assert {payload["id"] for payload in bus.payloads} == {newest["id"]}


def test_a_listener_whose_first_step_runs_twice_goes_on_once_and_no_other_run_works(
    project: ProjectFolder,
) -> None:
    sensing.observe(project.context())
    event = project.event("days", 2)
    command = begun(project, "workflow.py")
    for text in twice(project, command("start", "_parameters/params"), **event):
        assert "WORKS for change 2" in text, text
    assert "ENDS for change 2" in once(project, command("end", "start/1"), **event).text
    journal = project.context().journal("days")
    entry = journal.get(2)
    assert entry
    [receipt] = journal.receipts.read(2, entry.id)
    assert receipt.run == "WorkFlow/argo-1"
