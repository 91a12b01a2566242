"""`python sensorflow.py run`, as a user and as a scheduler run it: over files, journal and bus."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensor]
name = "days"
"""
KILLS = 6


@dataclass
class Story:
    """What happened, one run after the other."""

    project: Any
    bus: Any
    runs: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)
    events: dict[str, list[Any]] = field(default_factory=dict)

    def tell(self, name: str, *arguments: str) -> None:
        before = len(self.bus.events)
        self.runs[name] = self.project.run("sensorflow.py", *arguments)
        self.journal[name] = self.project.journal()
        self.events[name] = self.bus.events[before:]

    def ids(self, name: str) -> list[str]:
        return [event["payload"]["id"] for event in self.events[name]]


@pytest.fixture(scope="module")
def story(new_project: Callable[..., Any], module_bus: Any) -> Story:
    """A first look, an unchanged one, there and back again, and one that is forced."""
    project = new_project(CONFIG, module_bus)
    project.write("data/a.csv", "1")
    story = Story(project=project, bus=module_bus)
    story.tell("first")
    story.tell("unchanged")
    project.write("data/b.csv", "2")
    story.tell("there")
    (project.root / "data" / "b.csv").unlink()
    story.tell("back")
    story.tell("forced", "--force-trigger", "true")
    return story


def test_every_run_of_the_story_succeeds(story: Story) -> None:
    assert {name: run.code for name, run in story.runs.items() if run.code} == {}


def test_a_first_run_remembers_and_sends_nothing(story: Story) -> None:
    assert "days: baseline, first look, remembered: 1 item" in story.runs["first"].lines
    assert story.events["first"] == []
    assert story.journal["first"]


def test_an_unchanged_run_says_so_sends_nothing_and_touches_no_file_of_the_journal(
    story: Story,
) -> None:
    assert "days: unchanged, still 1 item" in story.runs["unchanged"].text
    assert story.events["unchanged"] == []
    assert story.journal["unchanged"] == story.journal["first"]


def test_there_and_back_are_two_changes_two_events_two_ids(story: Story) -> None:
    assert "days: changed, 1 added" in story.runs["there"].lines
    assert "days: changed, 1 removed" in story.runs["back"].lines
    assert len(set(story.ids("there") + story.ids("back"))) == 2


def test_an_event_has_the_branch_in_its_name_and_the_value_under_its_key(story: Story) -> None:
    [event] = story.events["there"]
    assert event["name"] == "mfns.demo.user.tester.days_changed"
    assert event["payload"]["value"] == 2
    assert event["payload"]["change"]["previous"] == 1


def test_a_change_that_was_sent_is_told_in_the_runs_output(story: Story) -> None:
    assert "days: change 2 sent as event 'days_changed'" in story.runs["there"].lines


def test_force_trigger_publishes_though_nothing_changed(story: Story) -> None:
    assert "days: forced" in story.runs["forced"].text
    [event] = story.events["forced"]
    assert event["payload"]["change"]["outcome"] == "forced"
    assert story.ids("forced")[0] not in story.ids("there") + story.ids("back")


def test_the_history_has_all_of_it_and_the_runs_that_recorded_it(story: Story) -> None:
    names = ["forced", "back", "there", "first"]
    assert [
        (entry["outcome"], entry["published"], entry["run"]) for entry in story.project.history()
    ] == [
        (outcome, published, f"SensorFlow/{story.runs[name].run_id}")
        for name, outcome, published in zip(
            names,
            ["forced", "changed", "changed", "baseline"],
            [True, True, True, None],
            strict=True,
        )
    ]


def test_why_says_what_a_run_saw(story: Story) -> None:
    told = story.project.command("why", f"SensorFlow/{story.runs['there'].run_id}")
    assert told.code == 0
    assert told.lines[0].endswith("succeeded.")
    assert f"It saw days: changed, 1 added (change 2, id {story.ids('there')[0]})" in told.lines


# -------------------------------------------------------------------------------- bad input, faults

FAULTS = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensors.good]

[sensors.missing]
data = { type = "duckdb", query = "weathr" }

[sensors.broken]
data = { type = "duckdb", query = "broken" }

[sensors.other]
data = { path = "other" }
"""


@pytest.fixture(scope="module")
def faults(new_project: Callable[..., Any], module_bus: Any) -> Story:
    """Two sensors of four fail, the others see a change; the bus is down, then up again."""
    project = new_project(FAULTS, module_bus)
    project.write("data/a.csv", "1")
    project.write("other/a.csv", "1")
    project.write("sql/weather.sql", "SELECT 1")
    project.write("sql/broken.sql", "SELECT date\nFROM data WHERE WHERE")
    sensing.observe(project.context())
    story = Story(project=project, bus=module_bus)
    project.write("data/b.csv", "2")
    project.write("other/b.csv", "2")
    module_bus.answer = lambda _: 400
    story.tell("down")
    module_bus.answer = lambda _: 200
    story.tell("up")
    return story


def last_words(run: Any) -> list[str]:
    """What Metaflow prints of the failure, from its headline on."""
    lines: list[str] = run.lines
    return lines[lines.index("Tick error:") :]


def test_a_run_with_failing_sensors_fails_at_its_end_with_the_list(faults: Story) -> None:
    run = faults.runs["up"]
    assert run.code == 1
    told = last_words(run)
    assert told[1] == "2 of 4 sensors had a problem; the others are done:"
    assert [line.split(":")[0] for line in told if line.startswith("- ")] == [
        "- missing",
        "- broken",
    ]


def test_a_missing_query_is_told_with_those_that_exist(faults: Story) -> None:
    [line] = [line for line in last_words(faults.runs["up"]) if line.startswith("- missing")]
    assert "There is no query 'weathr'" in line
    assert "There are: broken, weather. Did you mean 'weather'?" in line


def test_sql_that_does_not_parse_is_told_with_file_line_and_column(faults: Story) -> None:
    [line] = [line for line in last_words(faults.runs["up"]) if line.startswith("- broken")]
    assert "sql/broken.sql, line 2, column 17" in line


def test_no_failure_prints_a_traceback(faults: Story) -> None:
    assert [run.text for run in faults.runs.values() if "Traceback" in run.text] == []


def test_the_sensors_that_work_go_on_and_the_others_do_not_advance(faults: Story) -> None:
    recorded = [(entry["sensor"], entry["outcome"]) for entry in faults.project.history()]
    assert recorded == [
        ("good", "changed"),
        ("good", "baseline"),
        ("other", "changed"),
        ("other", "baseline"),
    ]


def test_when_the_bus_is_down_the_run_fails_and_says_that_nothing_is_lost(faults: Story) -> None:
    run = faults.runs["down"]
    assert run.code == 1
    assert faults.events["down"] == []
    told = [line for line in last_words(run) if line.startswith("- ")]
    assert [line.split(":")[0] for line in told] == ["- missing", "- broken", "- good", "- other"]
    assert "was not taken by the bus: HTTP Error 400" in told[2]
    assert "it keeps its id and is delivered by the next tick" in told[2]


def test_what_the_bus_refused_is_delivered_by_the_next_run_under_its_id(faults: Story) -> None:
    recorded = [e["id"] for e in faults.project.history() if e["outcome"] == "changed"]
    assert sorted(faults.ids("up")) == sorted(recorded)
    assert faults.runs["up"].code == 1, "two sensors still fail"


@pytest.mark.parametrize(
    "text, said",
    [
        ("project_name = demo", "flowproject.toml, line 1, column 16: this is not TOML"),
        (CONFIG.replace("path", "paht"), "Did you mean 'path'?"),
        (CONFIG.replace('"files"', '"fils"'), "Did you mean 'files'?"),
        (
            f'{CONFIG}cron_schedule = "0 5 x"',
            "'0 5 x' is not a cron schedule: it has 3 fields",
        ),
    ],
)
def test_a_broken_configuration_is_told_under_a_headline_and_no_run_starts(
    new_project: Callable[..., Any], text: str, said: str
) -> None:
    project = new_project(text)
    run = project.run("sensorflow.py")
    assert run.code == 1
    assert "Configuration error:" in run.lines
    assert said in run.text
    assert "Traceback" not in run.text
    assert project.journal() == {}


# ----------------------------------------------------------------------------------- where it runs

CADENCE = '''
from flowproject import on_schedule
from sensorflow import SensorFlow


@on_schedule("30 * * * *", timezone="Europe/Helsinki")
class HourlyFlow(SensorFlow):
    """Look at one of the sensors, once an hour."""

    sensors = ("slow",)


if __name__ == "__main__":
    HourlyFlow()
'''


@pytest.fixture(scope="module")
def hourly(new_project: Callable[..., Any]) -> Story:
    """A flow of another cadence, run from another folder by a user without a name."""
    config = CONFIG.partition("[sensor]")[0] + "[sensors.fast]\n[sensors.slow]\n"
    project = new_project(config)
    project.write("data/a.csv", "1")
    project.write("hourlyflow.py", CADENCE)
    for name in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER", "LOGNAME"):
        project.environment.pop(name, None)
    story = Story(project=project, bus=None)
    story.runs["hourly"] = project.python(str(project.root / "hourlyflow.py"), "run", cwd=Path("/"))
    return story


def test_a_flow_of_another_cadence_looks_at_its_own_sensors_only(hourly: Story) -> None:
    assert hourly.runs["hourly"].code == 0
    assert [entry["sensor"] for entry in hourly.project.history()] == ["slow"]


def test_a_flow_finds_its_project_from_any_folder(hourly: Story) -> None:
    assert "Project: demo" in hourly.runs["hourly"].text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has no name that Metaflow accepts")
def test_root_without_a_name_can_run_flows(hourly: Story) -> None:
    assert "for user:local" in hourly.runs["hourly"].text
    assert [entry["branch"] for entry in hourly.project.history()] == ["user.local"]


def test_a_flow_of_another_cadence_is_described_with_its_own_schedule(hourly: Story) -> None:
    root = hourly.project.root
    described = "import sys; from pathlib import Path; from flowproject.flowfiles import *; "
    described += "print([f.schedule for f in describe_flows(Path(sys.argv[1]))])"
    told = hourly.project.python("-c", described, str(root)).text
    assert "Cron(expression='30 * * * *', timezone='Europe/Helsinki'" in told
    assert "Cron(expression='*/5 * * * *', timezone=''" in told


# ------------------------------------------------------------------------------------------ kills


def test_runs_killed_at_random_lose_nothing_and_rename_nothing(
    new_project: Callable[..., Any], module_bus: Any
) -> None:
    project = new_project(CONFIG, module_bus)
    project.write("data/a.csv", "1")
    sensing.observe(project.context())
    begun = len(module_bus.events)
    chance = random.Random(7)
    for number in range(KILLS):
        project.write(f"data/{number}.csv", "x")
        run = project.start("sensorflow.py", "run")
        time.sleep(chance.uniform(0.5, 4))  # the moment is what is random, not what is awaited
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    assert project.run("sensorflow.py").code == 0
    entries = project.history()[::-1]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[-1]["value"] == 1 + KILLS, "the last run saw all there is"
    assert all(entry["published"] for entry in entries[1:])
    sent = [event["payload"]["id"] for event in module_bus.events[begun:]]
    assert list(dict.fromkeys(sent)) == [entry["id"] for entry in entries[1:]]
