"""A flow runs once for a change: the first run does its work, every later one does nothing.

Each run of a flow is a few processes, so each of these runs is to show several things at once.
"""

import base64
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.journal import Receipt
from tests.journals import mark

CONFIG = """
project_name = "demo"

[sensors.days]
data = { type = "files", path = "data" }

[sensors.nights]
data = { type = "files", path = "data" }
"""

WORK = """
import os
import signal

from metaflow import card, catch, current, retry, step, timeout

from flowproject import BaseFlow


class WorkFlow(BaseFlow):
    @card(type="blank")
    @retry(times=1, minutes_between_retries=0)
    @timeout(minutes=5)
    @step
    def start(self):
        print(f"WORKS in start, attempt {current.retry_count}")
        if os.environ.get("DO") == "fail once" and not current.retry_count:
            raise ValueError("told to")
        if os.environ.get("DO") == "die":
            os.killpg(0, signal.SIGKILL)
        self.next(self.end)

    @step
    def end(self):
        print(f"WORKS in end for change {self.change and self.change.seq}")
        if os.environ.get("DO") == "fail at the end":
            raise ValueError("told to")


if __name__ == "__main__":
    WorkFlow()
"""

CAUGHT = WORK.replace("WorkFlow", "CaughtFlow").replace(
    "    @retry(times=1, minutes_between_retries=0)\n    @timeout(minutes=5)\n",
    "    @catch(var='caught')\n",
)

SHAPES = """
from metaflow import JSONType, Parameter, card, parallel, step

from flowproject import BaseFlow


class ShapesFlow(BaseFlow):
    letters = Parameter("letters", type=JSONType, default='["a", "b"]')

    @step
    def start(self):
        print("WORKS in start")
        self.next(self.left, self.right)

    @step
    def left(self):
        print("WORKS in left")
        self.numbers = [1, 2]
        self.next(self.outer, foreach="numbers")

    @step
    def outer(self):
        print("WORKS in outer")
        self.next(self.inner, foreach="letters")

    @step
    def inner(self):
        print("WORKS in inner")
        self.next(self.join_inner)

    @step
    def join_inner(self, inputs):
        print("WORKS in join_inner")
        self.next(self.join_outer)

    @step
    def join_outer(self, inputs):
        print("WORKS in join_outer")
        self.next(self.join)

    @step
    def right(self):
        print("WORKS in right")
        self.again = "no" if hasattr(self, "again") else "yes"
        self.next({"yes": self.right, "no": self.choose}, condition="again")

    @step
    def choose(self):
        print("WORKS in choose")
        self.way = "long"
        self.next({"long": self.long, "short": self.after}, condition="way")

    @step
    def long(self):
        print("WORKS in long")
        self.next(self.node, num_parallel=2)

    @parallel
    @step
    def node(self):
        print("WORKS in node")
        self.next(self.gather)

    @step
    def gather(self, inputs):
        print("WORKS in gather")
        self.next(self.after)

    @step
    def after(self):
        print("WORKS in after")
        self.next(self.join)

    @step
    def join(self, inputs):
        print("WORKS in join")
        self.next(self.end)

    @card(type="blank", id="one")
    @card(type="blank")
    @step
    def end(self):
        print("WORKS in end")


if __name__ == "__main__":
    ShapesFlow()
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Any]) -> Any:
    """A project with one recorded change of each of two sensors, both of which have number 2."""
    project = new_project(CONFIG)
    for name, text in (("workflow", WORK), ("caughtflow", CAUGHT), ("shapesflow", SHAPES)):
        project.write(f"{name}.py", text)
    project.write("data/old.csv", "1")
    sensing.observe(project.context())
    project.write("data/new.csv", "2")
    sensing.observe(project.context())
    return project


def receipts(project: Any, attempt: int, sensor: str = "days") -> list[Receipt]:
    """Who has the change, of one attempt to deliver it."""
    journal = project.context().journal(sensor)
    standing = journal.receipts.read(2, journal.get(2).id)
    return [receipt for receipt in standing if receipt.attempt == attempt]


def worked(run: Any) -> list[str]:
    return [line.removeprefix("WORKS in ") for line in run.lines if line.startswith("WORKS in ")]


def nothing(run: Any) -> list[str]:
    told = "This run does nothing: "
    return [line.removeprefix(told) for line in run.lines if line.startswith(told)]


def cards(project: Any, flow: str, run_id: str) -> list[str]:
    """What each card of a run was drawn from."""
    folder: Path = project.root / ".metaflow" / "mf.cards" / flow / "runs" / run_id
    pages = [path.read_text() for path in sorted(folder.rglob("*.html"))]
    data = [re.search(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"', page) for page in pages]
    return [base64.b64decode(found[1]).decode() for found in data if found]


def test_the_first_run_works_also_when_it_is_tried_again_and_the_second_does_nothing(
    project: Any,
) -> None:
    event = project.event("days", 2)
    first = project.run("workflow.py", **event, DO="fail once")
    assert first.code == 0
    assert worked(first) == ["start, attempt 0", "start, attempt 1", "end for change 2"]
    [receipt] = receipts(project, 1)
    assert (receipt.flow, receipt.run) == ("WorkFlow", f"WorkFlow/{first.run_id}")

    second = project.run("workflow.py", **event)
    assert (second.code, worked(second)) == (0, [])
    said = (
        f"change 2 of sensor 'days' was taken by run WorkFlow/{first.run_id} at {receipt.at} "
        f"(to run it again: `flowproject replay {receipt.id}`)"
    )
    assert nothing(second) == [said, said], "in the log of each step"
    [card] = cards(project, "WorkFlow", second.run_id)
    assert said in card
    assert receipts(project, 1) == [receipt]
    why = project.command("why", f"WorkFlow/{second.run_id}")
    assert f"It did nothing, because {said}" in why.text

    ended = {"pathspec": f"WorkFlow/{second.run_id}/end/2"}
    third = project.run("caughtflow.py", METAFLOW_ARGO_EVENT_PAYLOAD_run_x=json.dumps(ended))
    assert (third.code, worked(third)) == (0, []), "nor does what the end of that run starts"
    told = f"run WorkFlow/{second.run_id}, which started this one, did nothing: {said}"
    assert nothing(third) == [told, told]


def test_a_run_that_was_killed_is_the_same_run_when_it_is_resumed_and_resumed_again(
    project: Any,
) -> None:
    """And a replayed change is run again, by one run; `why` says how each of them fared."""
    journal = project.context().journal("days")
    mark(journal, journal.get(2))

    def why(run: Any) -> list[str]:
        told: list[str] = project.command("why", f"WorkFlow/{run.run_id}").lines
        return told

    killed = project.run("workflow.py", **project.event("days", 2, attempt=2), DO="die")
    assert killed.code == -signal.SIGKILL
    assert [receipt.run for receipt in receipts(project, 2)] == [f"WorkFlow/{killed.run_id}"]
    told = why(killed)
    assert "It was started by change 2 of sensor 'days', attempt 2:" in told, "it has no artifact"
    assert any("run has not finished" in line for line in told if line.startswith("state"))
    failed = project.python(
        "workflow.py", "resume", "--origin-run-id", killed.run_id, DO="fail at the end"
    )
    assert failed.code == 1
    assert worked(failed) == ["start, attempt 0", "end for change 2"]
    words = "failed in step 'end': ValueError: told to"
    assert f"WorkFlow/{failed.run_id} {words}" in why(failed)
    told = why(killed)
    assert f"It was resumed: WorkFlow/{failed.run_id} {words}" in told
    assert any(f"run {words}" in line for line in told if line.startswith("state"))
    resume = f"python workflow.py resume --origin-run-id {failed.run_id}"
    assert told[-2:] == [
        f"To go on with WorkFlow/{failed.run_id}: {resume}",
        "To begin anew: flowproject replay days/2",
    ]
    resumed = project.python("workflow.py", "resume", "--origin-run-id", failed.run_id)
    assert (resumed.code, worked(resumed)) == (0, ["end for change 2"])
    told = why(failed)
    assert f"It was resumed: WorkFlow/{resumed.run_id} succeeded." in told
    assert not any("flowproject replay" in line for line in told)
    anew = project.python("workflow.py", "resume", "start", "--origin-run-id", resumed.run_id)
    assert (anew.code, worked(anew)) == (0, ["start, attempt 0", "end for change 2"])
    assert [receipt.run for receipt in receipts(project, 2)] == [f"WorkFlow/{killed.run_id}"]


def test_of_two_runs_at_the_same_moment_one_works(project: Any) -> None:
    event = project.event("days", 2, attempt=3)
    started = [project.start("workflow.py", "run", **event) for _ in range(2)]
    told = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sorted(text.count("WORKS in") for text in told) == [0, 2]
    assert sorted(text.count("This run does nothing") for text in told) == [0, 2]


def test_a_run_that_waits_for_two_sensors_takes_of_both_and_nothing_without_both(
    project: Any,
) -> None:
    days, nights = project.event("days", 2), project.event("nights", 2)
    run = project.run("caughtflow.py", **days, **nights)
    assert (run.code, nothing(run)) == (0, [])
    assert len(worked(run)) == 2
    for sensor in ("days", "nights"):
        runs = [receipt.run for receipt in receipts(project, 1, sensor)]
        assert f"CaughtFlow/{run.run_id}" in runs


def test_what_no_store_answers_for_is_not_done_even_if_its_failure_is_caught(project: Any) -> None:
    event = project.event("nights", 2, attempt=2)
    folder = project.root / ".metaflow" / "flowproject" / "demo" / "user.tester" / "nights"
    (folder / "receipts").rename(folder / "kept")
    project.write(".metaflow/flowproject/demo/user.tester/nights/receipts", "no folder")
    run = project.run("caughtflow.py", **event)
    (folder / "receipts").unlink()
    (folder / "kept").rename(folder / "receipts")
    assert (run.code, worked(run)) == (1, [])
    assert "The journal could not write" in run.text


def test_a_run_of_any_shape_passes_by_every_step(project: Any) -> None:
    """Branches, a foreach in a foreach, joins, switches, a loop, and tasks side by side."""
    for sensor in ("days", "nights"):
        journal = project.context().journal(sensor)
        journal.receipts.claim(
            Receipt(
                seq=2,
                id=journal.get(2).id,
                attempt=1,
                flow="ShapesFlow",
                run="ShapesFlow/1",
                at="then",
            )
        )
    run = project.run("shapesflow.py", **project.event("days", 2), **project.event("nights", 2))
    assert (run.code, worked(run)) == (0, [])
    assert len(nothing(run)) == len(STEPS), "once in each step"
    [reason] = set(nothing(run))
    assert "sensor 'days' has not changed since run ShapesFlow/1 took change 2" in reason
    one, other = cards(project, "ShapesFlow", run.run_id)
    assert reason in one
    assert reason in other


STEPS = re.findall(r"def (\w+)", SHAPES)
