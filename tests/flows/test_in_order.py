"""Flows that take changes in order, in the local loop: real runs, one after the other.

Each run is a few processes, so one story shows what several tests hold it to.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from flowproject import sensing
from tests.project_folder import ProjectFolder, Ran

CONFIG = """
project_name = "demo"

[sensors.days]
data = { type = "files", path = "data" }
"""

FLOW = """
import os
import time

from metaflow import retry, step

from flowproject import BaseFlow, on_change


@on_change("days", {options})
class {name}(BaseFlow):
    @retry(times=1, minutes_between_retries=0)
    @step
    def start(self):
        [added] = self.change.added
        print("BEGINS", self.change.seq, self.change.attempt, time.monotonic(), flush=True)
        if added["key"] == "3.csv" and not os.environ.get("MENDED"):
            raise ValueError("told to")
        time.sleep(0.3)
        print("ENDS", self.change.seq, self.change.attempt, time.monotonic(), flush=True)


if __name__ == "__main__":
    {name}()
"""


@dataclass(frozen=True)
class Story:
    """A loop in which a change makes each flow fail; then what is done about it."""

    project: ProjectFolder
    loop: Ran
    history: Ran
    check: Ran
    resumed: Ran
    after: Ran


@pytest.fixture(scope="module")
def story(new_project: Callable[..., ProjectFolder]) -> Story:
    """Three changes that waited for a bus: the loop has them all at once."""
    project = new_project(CONFIG)
    project.write("ledgerflow.py", FLOW.format(name="LedgerFlow", options="in_order=True"))
    options = 'in_order=True, after_failure="go on"'
    project.write("auditflow.py", FLOW.format(name="AuditFlow", options=options))
    project.write("data/1.csv", "1")
    sensing.observe(project.context())
    for number in (2, 3, 4):
        project.write(f"data/{number}.csv", "1")
        sensing.observe(project.context())
    loop = project.command("dev", "--until-idle", "--json")
    history, check = project.command("history", "days"), project.command("check")
    failed = run_of(loop, "LedgerFlow", -1)
    resumed = project.python("ledgerflow.py", "resume", "--origin-run-id", failed, MENDED="1")
    after = project.command("dev", "--until-idle", "--json")
    return Story(project, loop, history, check, resumed, after)


def messages(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.lines if line.startswith("{")]


def run_of(ran: Ran, flow: str, number: int) -> str:
    """The id of one of the flow's runs that have ended."""
    ended = [
        one["run_id"]
        for one in messages(ran)
        if (one["kind"], one.get("flow")) == ("RunFinished", flow)
    ]
    return str(ended[number])


def did(ran: Ran, flow: str) -> list[tuple[float, str, int]]:
    """What the flow's runs printed of their work, by the time at which they did it."""
    lines = [
        str(one["line"]).split()[-4:]
        for one in messages(ran)
        if (one["kind"], one.get("flow")) == ("RunPrinted", flow)
        and {"BEGINS", "ENDS"} & {*str(one["line"]).split()}
    ]
    return sorted((float(at), word, int(seq)) for word, seq, _, at in lines)


def test_runs_begin_when_the_one_before_has_ended_without_another_tick(story: Story) -> None:
    assert story.loop.code != 0, "a run failed"
    assert [(word, seq) for _, word, seq in did(story.loop, "LedgerFlow")] == [
        ("BEGINS", 2),
        ("ENDS", 2),
        ("BEGINS", 3),
        ("BEGINS", 3),
    ], "a retry, and then nothing"
    assert [one["kind"] for one in messages(story.loop)].count("Tick") == 1


def test_a_failed_run_passes_its_turn_on_where_that_is_wanted(story: Story) -> None:
    assert [(word, seq) for _, word, seq in did(story.loop, "AuditFlow")] == [
        ("BEGINS", 2),
        ("ENDS", 2),
        ("BEGINS", 3),
        ("BEGINS", 3),
        ("BEGINS", 4),
        ("ENDS", 4),
    ]


def test_what_waits_is_said_by_the_run_by_history_and_by_check(story: Story) -> None:
    assert "those after change 3 wait until this run is resumed" in story.loop.text
    told = " ".join(story.history.text.split())
    assert "behind change 3" in told
    assert "flowproject skip days/3" in told
    assert "to go on with LedgerFlow/" in told
    checked = " ".join(story.check.text.split())
    assert "LedgerFlow is started by sensor 'days', by one change after the other" in checked
    assert "change 4 waits behind change 3" in checked


def test_a_resumed_run_releases_what_waited(story: Story) -> None:
    assert story.resumed.code == 0
    assert story.after.code == 0
    assert [(word, seq) for _, word, seq in did(story.after, "LedgerFlow")] == [
        ("BEGINS", 4),
        ("ENDS", 4),
    ]
    assert did(story.after, "AuditFlow") == []
    words = [one["delivery"]["in_words"] for one in story.project.history("days")]
    assert (words[0], words[2]) == ("delivered", "delivered")
    assert words[1].startswith("taken, AuditFlow/"), "of that run the failure stays told"


def test_the_event_for_all_starts_no_work_out_of_turn(story: Story) -> None:
    """It may reach a flow whose deployment is not through."""
    run = story.project.run("ledgerflow.py", **story.project.event("days", 2, attempt=2))
    assert run.code == 0
    assert "BEGINS" not in run.text
    assert (
        "This run does nothing: LedgerFlow takes the changes of sensor 'days' in order, and was "
        "told of change 2 by the event for all flows"
    ) in run.text
    journal = story.project.context().journal("days")
    entry = journal.get(2)
    assert entry
    assert (2, "LedgerFlow") not in journal.receipts.receivers(2, entry.id)


def test_the_changes_of_several_sensors_have_no_order(
    new_project: Callable[..., ProjectFolder],
) -> None:
    project = new_project(
        CONFIG + CONFIG.replace('project_name = "demo"', "").replace("days", "nights")
    )
    flow = FLOW.format(name="LedgerFlow", options='"nights", in_order=True')
    project.write("ledgerflow.py", flow)
    project.write("wordflow.py", FLOW.format(name="WordFlow", options='after_failure="go"'))
    vain = FLOW.format(name="VainFlow", options='after_failure="go on"')
    project.write("vainflow.py", vain)
    told = " ".join(project.command("check").text.split())
    assert "@on_change('days', after_failure='go on') has no in_order=True" in told
    assert "@on_change('days', 'nights', in_order=True) names 2 sensors" in told
    assert "after_failure='go' of @on_change('days') says nothing known" in told
