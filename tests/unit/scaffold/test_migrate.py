"""A project of the old scaffold, brought into one of today and literally followed."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli import main
from flowproject.config.parse import load
from flowproject.errors import ConfigError, FlowprojectError, UsageError
from flowproject.flowfiles import describe_flows
from flowproject.scaffold.migrate import Migration, read_old_project
from flowproject.scaffold.rendering import Answers

S3 = """
project_name = "lake"
[data]
storage_type = "s3"
role = "..."
[data_kwargs]
bucket = "s3://lake/raw"
key = "days"
check_mode = "files_metadata"
[sensor]
cron_schedule = "*/30 * * * *"
event_name = ""
payload_key = ""
"""
OLDEST = """
project_name = "shop"
[data]
type = "snowflake"
integration = "orders"
[sensor]
cron_schedule = "0 * * * *"
event_name = "orders_changed"
payload_key = "orders"
"""
FLOW = """\
\"\"\"Mine.\"\"\"
from metaflow import project, step, trigger_on_finish, config_expr

from flowproject import BaseFlow, snowflake


@project(
    name=config_expr("flowconfig.project_name"),
)
@trigger_on_finish(flow="SensorFlow")
class TrainFlow(BaseFlow):
    @snowflake
    @step
    def start(self):
        self.seen = self.sensor_value
        self.rows = self.query(storage_type=self.flowconfig.data.storage_type)
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TrainFlow()
"""
OTHER = FLOW.replace("TrainFlow", "OtherFlow").replace(
    '@trigger_on_finish(flow="SensorFlow")',
    '@trigger(event=config_expr("flowconfig.sensor.event_name"))',
)


def old_project(folder: Path, config: str, **files: str) -> Path:
    (folder / "flowproject").mkdir(parents=True)
    (folder / "flowproject" / "__init__.py").write_text("raise ImportError('the old package')\n")
    (folder / "flowproject.toml").write_text(config)
    (folder / "sensorflow.py").write_text("# the old one\n")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def read(folder: Path, **said: Any) -> Migration:
    return read_old_project(folder, Answers(project_name="new"), lambda _: said)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return old_project(tmp_path / "old", S3, trainflow=FLOW, otherflow=OTHER, shared="x = 1\n")


def test_it_ends_in_a_green_check(
    lake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = tmp_path / "new"
    assert main(["init", str(new), "--from", str(lake), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [line for line in told["by_hand"] if line.startswith("trainflow.py")] == [
        "trainflow.py:13: sensor_value is gone: write `self.change.value if self.change else None`",
        'trainflow.py:14: write `self.query("NAME")`, for sql/NAME.sql',
        "trainflow.py:14: storage_type is gone: write `type`",
    ]
    assert (
        "trainflow.py:10: wrote @on_change('data') in place of @trigger_on_finish" in told["edited"]
    )
    assert not (new / "flowproject").exists()
    project = load(new)
    [sensor] = project.sensors.values()
    assert (project.project_name, sensor.name) == ("lake", "data")
    assert 'cron_schedule = "*/30 * * * *"' in (new / "flowproject.toml").read_text()
    assert (sensor.data.bucket, sensor.data.key) == ("lake", "raw/days")  # type: ignore[attr-defined]
    monkeypatch.chdir(new)
    assert main(["check", "--json"]) == 0
    found = {(one["state"], one["message"]) for one in json.loads(capsys.readouterr().out)}
    for flow in ("TrainFlow", "OtherFlow"):
        assert ("ok", f"{flow} is started by sensor 'data'") in found
    assert {state for state, _ in found} == {"ok"}


def test_what_runs_is_the_new_package_and_the_old_folder_is_only_read(
    lake: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    assert main(["init", str(tmp_path / "new"), "--from", str(lake)]) == 0
    assert {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()} == before
    assert (tmp_path / "new" / "shared.py").read_text() == "x = 1\n"
    assert "the old one" not in (tmp_path / "new" / "sensorflow.py").read_text()


def test_the_oldest_shape_keeps_its_event_and_its_query(tmp_path: Path) -> None:
    old = old_project(tmp_path / "old", OLDEST, trainflow=FLOW)
    with pytest.raises(UsageError, match="there is no sql/sensor.sql"):
        read(old)
    (old / "sql").mkdir()
    (old / "sql" / "count.sql").write_text("SELECT count(*) FROM orders\n")
    with pytest.raises(UsageError, match=r"Queries: count\. Say which: `--set query=NAME`"):
        read(old)
    assert main(["init", str(tmp_path / "new"), "--from", str(old), "--set", "query=count"]) == 0
    [sensor] = load(tmp_path / "new").sensors.values()
    assert (sensor.name, sensor.event_name, sensor.payload_key) == (
        *("orders", "orders_changed"),
        "orders",
    )
    assert sensor.data.query == "count"  # type: ignore[attr-defined]
    [flow] = [one for one in describe_flows(tmp_path / "new") if one.name == "TrainFlow"]
    assert [one.event.endswith(".orders_changed") for one in flow.dependencies] == [True]


def test_a_placeholder_is_asked_for_and_not_taken_over(lake: Path, tmp_path: Path) -> None:
    config = (lake / "flowproject.toml").read_text()
    (lake / "flowproject.toml").write_text(config.replace("s3://lake/raw", "<your bucket>"))
    new = tmp_path / "new"
    assert main(["init", str(new), "--from", str(lake)]) == UsageError.exit_code
    assert not new.exists()
    assert main(["init", str(new), "--from", str(lake), "--set", "bucket=lake"]) == 0
    assert "your bucket" not in (new / "flowproject.toml").read_text()


def test_a_flow_that_is_no_python_is_copied_and_named(lake: Path) -> None:
    (lake / "trainflow.py").write_text("class TrainFlow(:\n")
    found = read(lake)
    assert found.files["trainflow.py"] == b"class TrainFlow(:\n"
    assert any(line.startswith("trainflow.py:1: ") for line in found.to_do)


def test_a_flow_of_its_own_that_does_not_inherit_is_left_alone(lake: Path) -> None:
    own = FLOW.replace("(BaseFlow)", "(FlowSpec)")
    (lake / "trainflow.py").write_text(own)
    assert read(lake).files["trainflow.py"].decode() == own


@pytest.mark.parametrize(
    "config, said",
    [
        (None, "can't be read: No such file"),
        ("[", "can't be read: "),
        ('project_name = "p"\n[data]\ntype = "files"\npath = "d"\n', "not have the shape"),
    ],
)
def test_a_folder_that_is_no_old_project_says_so(
    tmp_path: Path, config: str | None, said: str
) -> None:
    if config is not None:
        (tmp_path / "flowproject.toml").write_text(config)
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path)
    assert isinstance(caught.value, FlowprojectError)


def test_it_is_not_brought_into_the_old_folder_itself(lake: Path) -> None:
    assert main(["init", str(lake), "--from", str(lake)]) == UsageError.exit_code


def test_what_is_imported_of_the_future_stays_first(lake: Path) -> None:
    new = FLOW.replace(
        "from metaflow import", "from __future__ import annotations\n\nfrom metaflow import"
    )
    (lake / "trainflow.py").write_text(
        new.replace("from flowproject import", "from flowproject.baseflow import")
    )
    text = read(lake).files["trainflow.py"].decode()
    compile(text, "trainflow.py", "exec")
    assert "from flowproject import on_change" in text


def test_lines_are_counted_as_python_counts_them(lake: Path) -> None:
    (lake / "trainflow.py").write_text(FLOW.replace("@project(", "\f\n@project("))
    text = read(lake).files["trainflow.py"].decode()
    compile(text, "trainflow.py", "exec")
    assert "@project" not in text
    assert '@on_change("data")\nclass TrainFlow' in text


def test_a_flow_that_is_no_utf_8_is_copied_as_it_is_and_named(lake: Path) -> None:
    content = b"# coding: latin-1\n# caf\xe9\n" + FLOW.encode()
    (lake / "trainflow.py").write_bytes(content)
    found = read(lake)
    assert found.files["trainflow.py"] == content
    assert "trainflow.py: it is no UTF-8; nothing of this file was edited" in found.to_do


def test_what_a_team_may_have_edited_of_the_old_scaffold_is_named(lake: Path) -> None:
    (lake / "flowproject" / "baseflow.py").write_text("# with our own method\n")
    said = [line for line in read(lake).to_do if "look whether you had edited it" in line]
    assert said == [
        f"{lake / 'sensorflow.py'}: look whether you had edited it; today's does its work",
        (
            f"{lake}/flowproject/baseflow.py: look whether you had edited it; "
            "what all your flows share goes into baseflow.py"
        ),
    ]
