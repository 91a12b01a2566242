"""The commands as a user types them: in a shell, in pipes, from other folders, with real flows."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensors.days]
payload_key = "many"
"""

LISTENER = '''
from metaflow import Parameter, step

from flowproject import BaseFlow, on_change


@on_change("days")
class ListenerFlow(BaseFlow):
    """Starts with the value of the event in its parameter."""

    many = Parameter("many", required=True, type=int)

    @step
    def start(self):
        print(f"There are {self.many}, and {[item['key'] for item in self.change.added]} is new")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ListenerFlow()
'''


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Any]) -> Any:
    project = new_project(CONFIG)
    project.write("data/a.csv", "1")
    project.write("listenerflow.py", LISTENER)
    return project


def findings(told: Any) -> list[tuple[str, str, str]]:
    return [
        (found["state"], found["subject"], found["message"])
        for found in json.loads(told.text)
        if found["subject"] != "journals"  # where they lie has its own test
    ]


# ------------------------------------------------------------------------------------------ check


def test_a_sound_project_has_no_errors(project: Any) -> None:
    told = project.command("check", "--json")
    assert told.code == 0
    assert findings(told)[2:] == [
        ("ok", "listenerflow.py, sensorflow.py", "ListenerFlow, SensorFlow"),
        ("ok", "listenerflow.py", "ListenerFlow is started by sensor 'days'"),
        ("ok", "sensor days", "event 'days_changed' is heard by ListenerFlow"),
    ]


def test_it_says_which_journals_were_read(project: Any) -> None:
    told = project.command("check", "--json")
    [where] = [one["message"] for one in json.loads(told.text) if one["subject"] == "journals"]
    assert where == "demo, branch user.tester, in .metaflow/flowproject/demo/user.tester"


def test_a_flow_file_that_can_not_be_read_is_an_error_with_its_line(
    new_project: Callable[..., Any],
) -> None:
    project = new_project(CONFIG)
    project.write("typoflow.py", LISTENER.replace('on_change("days")', 'on_change("day")'))
    project.write("brokenflow.py", "import nothing_like_this\n")
    told = project.command("check", "--json")
    assert told.code == 7
    broken, typo, unknown = findings(told)[2:]
    assert broken[0] == typo[0] == "error"
    assert "brokenflow.py:1: ModuleNotFoundError" in broken[2]
    assert "@on_change('day') names no sensor" in typo[2]
    assert unknown[0] == "note", "who listens is not known"


def test_a_required_parameter_that_no_event_has_is_found_before_anything_runs(
    new_project: Callable[..., Any],
) -> None:
    project = new_project(CONFIG.replace('payload_key = "many"', ""))
    project.write("listenerflow.py", LISTENER)
    told = project.command("check")
    assert told.code == 7
    [line] = [line for line in told.lines if line.startswith("error")]
    assert "ListenerFlow requires parameter 'many'" in line


# -------------------------------------------------------------------------------------------- dev


def test_dev_runs_the_loop_from_the_sensor_to_the_listener(project: Any) -> None:
    sensing.observe(project.context())
    project.write("data/b.csv", "2")
    told = project.command("dev", "--until-idle", "--json")
    assert told.code == 0
    happened = [json.loads(line) for line in told.lines]
    assert [item["outcome"] for item in happened if item["kind"] == "Tick"] == ["changed"]
    printed = [item["line"] for item in happened if item["kind"] == "RunPrinted"]
    assert any(line.endswith("There are 2, and ['b.csv'] is new") for line in printed)
    [entry, _] = project.history()
    assert entry["published"] is True


def test_dev_ends_with_130_on_ctrl_c(project: Any) -> None:
    process = project.cold().start("-m", "flowproject", "dev")
    lines = iter(process.stdout.readline, "")
    assert any("listening" in line for line in lines)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told


# --------------------------------------------------------------------------- folders, pipes, Ctrl-C


def test_as_a_module_it_does_not_take_its_own_checkout_for_the_project(
    project: Any, tmp_path: Path
) -> None:
    told = project.command("history", cwd=tmp_path)
    assert told.code == 2
    assert f"There is no flowproject.toml in {tmp_path}" in told.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reader, read", [("head -1", "[\n"), ("true", "")])
def test_a_reader_that_has_enough_is_no_failure_to_talk_about(
    project: Any, reader: str, read: str
) -> None:
    much = "$(yes days | head -300)"  # as JSON more than a pipe holds
    script = f"{sys.executable} -m flowproject preview --json {much} | {reader}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == (read, "", 141)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_narrow_encoding_costs_characters_and_not_the_command(
    project: Any, encoding: str
) -> None:
    told = project.python("-m", "flowproject", "history", "dáys→", PYTHONIOENCODING=encoding)
    assert told.code == 64
    assert "There is no sensor 'd" in told.text


@pytest.mark.parametrize("command", [["preview"], ["check", "--connect"]])
def test_ctrl_c_does_not_wait_for_a_source_that_does_not_answer(
    new_project: Callable[..., Any], command: list[str]
) -> None:
    project = new_project('project_name = "demo"\n[data]\ntype = "duckdb"\nquery = "slow"\n')
    endless = "SELECT count(*) FROM range(1000000000000) AS numbers(i) WHERE i % 7 = 3"
    project.write("sql/slow.sql", endless)
    process = project.cold().start("-m", "flowproject", *command)
    # The query is running once the process has burnt a second that its start does not need.
    project.wait_until(lambda: cpu_seconds(process.pid) > 3)
    process.send_signal(signal.SIGINT)
    try:
        told, _ = process.communicate(timeout=60)  # it would take hours
    finally:
        process.kill()
    assert process.returncode == 130
    assert told == ""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "typed, offered",
    [("flowproject hist", "history"), ("flowproject history da", "days"), ("flowproject no", "")],
)
def test_the_shell_completes_commands_and_sensors(project: Any, typed: str, offered: str) -> None:
    variables = {
        "_FLOWPROJECT_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
    }
    script = "import sys; sys.argv[0] = 'flowproject'; from flowproject.cli import main; main()"
    assert project.python("-c", script, **variables).text.strip() == offered
