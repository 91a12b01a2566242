"""`flowproject.testing`: what a project's own tests do with a copy of it, here of this one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowproject.errors import FlowError, FlowprojectError, UsageError
from flowproject.runs import steps_of
from flowproject.testing import ProjectCopy
from tests.conftest import ROOT
from tests.project_folder import ProjectFolder

JANUARY = [{"date": f"2015-01-{day:02}", "temperature": 2.5} for day in range(1, 32)]

PROJECT = """
project_name = "shop"
[sensors.partner.data]
type = "files"
path = "incoming"
marker = "_SUCCESS"
[sensors.level.data]
type = "duckdb"
query = "level"
[sensors.keyed.data]
type = "duckdb"
query = "level"
key = ["level"]
"""

FLOW = """
import os
from metaflow import Parameter, card, step
from flowproject import BaseFlow, on_change

@on_change("partner", in_order=True)
class TakingFlow(BaseFlow):
    times = Parameter("times", default=1)

    @step
    def start(self):
        self.world = {name: text for name, text in os.environ.items() if name != "PATH"}
        added = self.change.added if self.change else []
        self.names = [one["key"] for one in added] * self.times
        self.contents = [open(one.path).read() for one in added if "size" in one]
        self.next(self.end)

    @step
    def end(self):
        assert self.times
        print("took", *self.names)

if __name__ == "__main__":
    TakingFlow()
"""


def test_a_flow_is_run_for_a_change_made_by_hand(project_copy: ProjectCopy) -> None:
    shutil.copy(ROOT / "data" / "incoming" / "2015-01.csv", project_copy.root / "data" / "weather")
    change = project_copy.change("weather", added=JANUARY)
    run = project_copy.run("starterflow.py", change, since="2013-01-01")
    assert run.succeeded
    assert run.data.arrived == [day["date"] for day in JANUARY]
    assert run.task("start").data.since == "2013-01-01"
    assert "31 days arrived (2015-01-01 to 2015-01-31)." in run.output
    assert "31 days arrived" in run.card("start")


def test_a_sensor_is_run_twice_over_data_that_was_edited(project_copy: ProjectCopy) -> None:
    assert project_copy.tick().outcome == "baseline"
    file = project_copy.root / "data" / "weather" / "2014.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], ""]))
    tick = project_copy.tick("weather")
    assert (tick.outcome, tick.counts["removed"]) == ("changed", 1)
    [event] = project_copy.bus.named("weather_changed")
    assert event["change"]["reason"] == tick.reason


@pytest.fixture(scope="module")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs") / "shop"
    (folder / "incoming").mkdir(parents=True)
    (folder / "sql").mkdir()
    (folder / "flowproject.toml").write_text(PROJECT)
    (folder / "takingflow.py").write_text(FLOW)
    (folder / "sql" / "level.sql").write_text("SELECT 1")
    (folder / ".venv").mkdir()
    (folder / "environment").mkdir()
    (folder / "environment" / "pyvenv.cfg").touch()
    return folder


@pytest.fixture
def shop(shop_folder: Path, tmp_path: Path, flow_interpreter: str) -> Iterator[ProjectCopy]:
    copy = ProjectCopy.of(shop_folder, tmp_path, interpreter=flow_interpreter)
    yield copy
    copy.close()


def test_a_run_sees_nothing_of_a_developers_world(
    shop_folder: Path, tmp_path: Path, flow_interpreter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "developer"
    (home / ".metaflowconfig").mkdir(parents=True)
    config = home / ".metaflowconfig" / "config.json"
    config.write_text('{"METAFLOW_DEFAULT_METADATA": "service"}')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("METAFLOW_HOME", str(config.parent))
    monkeypatch.setenv("METAFLOW_DEFAULT_DATASTORE", "s3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    monkeypatch.setenv("HTTPS_PROXY", "http://theirs")
    shop = ProjectCopy.of(shop_folder, tmp_path / "copy", interpreter=flow_interpreter)
    shop.write("incoming/a.csv", "1")
    run = shop.run("takingflow.py", shop.change("partner", added=["a.csv"]), times=2)
    assert (run.data.names, run.data.contents) == (["a.csv", "a.csv"], ["1"])
    world = run.task("start").data.world
    assert [name for name in world if name.startswith(("AWS_SEC", "HTTPS_", "METAFLOW_DEF"))] == []
    assert Path(world["HOME"]).parent == shop.root.parent
    assert [path.name for path in home.rglob("*")] == [".metaflowconfig", "config.json"]
    assert sorted(path.name for path in shop.root.iterdir() if path.name[0] != ".") == [
        *("flowproject.toml", "incoming", "sql", "takingflow.py")
    ]


def test_a_change_is_taken_by_one_run(shop: ProjectCopy) -> None:
    first = shop.change("partner", added=[{"key": "a.csv"}])
    second = shop.change("partner", modified=[({"key": "a.csv"}, {"key": "a.csv", "size": 4})])
    assert (first.counts["added"], second.modified[0]["new"]["size"]) == (1, 4)
    assert shop.run("takingflow.py", first).output.count("took a.csv") == 1
    again = shop.run("takingflow.py", first)
    assert again.does_nothing_because
    assert "took" not in again.output


def test_a_change_may_be_a_value_alone(shop: ProjectCopy) -> None:
    change = shop.change("level", value=3, previous=2)
    assert (change.value, change.previous) == (3, 2)
    assert shop.change("level", value=4).previous == 3


def test_a_run_that_fails_fails_the_test_unless_that_is_asked_for(shop: ProjectCopy) -> None:
    with pytest.raises(FlowError, match="AssertionError"):
        shop.run("takingflow.py", times=0)
    run = shop.run("takingflow.py", times=0, check=False)
    assert (run.succeeded, run.task("start").data.times) == (False, 0)
    start, end = steps_of(run.run)
    assert (start.name, start.state) == ("start", "succeeded")
    assert (end.name, end.state, end.error.split(":")[0]) == ("end", "failed", "AssertionError")
    with pytest.raises(FlowError, match="has no card"):
        run.card("start")
    with pytest.raises(FlowError, match="Did you mean 'start'"):
        run.task("stat")


WRONG: dict[str, Callable[[ProjectCopy], object]] = {
    "does not start TakingFlow": lambda shop: shop.run(
        "takingflow.py", shop.change("level", value=3)
    ),
    "has several sensors": lambda shop: shop.change(value=3),
    "Did you mean 'partner'": lambda shop: shop.change("partne", value=3),
    "Did you mean 'takingflow.py'": lambda shop: shop.run("takingflw.py"),
    "has no 'level', which `key` names": lambda shop: shop.change("keyed", added=[{"lvel": 1}]),
    "changes nothing. added=": lambda shop: shop.change("partner"),
    "changes nothing: still 3": lambda shop: shop.change("level", value=3, previous=3),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_asked_wrongly_is_said_in_four_parts(shop: ProjectCopy, said: str) -> None:
    with pytest.raises(FlowprojectError) as failure:
        WRONG[said](shop)
    assert isinstance(failure.value, FlowError | UsageError)
    assert said in str(failure.value)


def test_a_project_finds_the_plugin_where_flowproject_is_installed(
    shop_folder: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(shop_folder, tmp_path / "shop")
    (project / "tests").mkdir()
    (project / "tests" / "test_it.py").write_text(
        "import sys\n"
        "def test_it(request):\n"
        "    assert 'metaflow' not in sys.modules\n"
        "    copy = request.getfixturevalue('project_copy')\n"
        "    assert copy.run('takingflow.py').data.names == []\n"
    )
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    told = (
        ProjectFolder(root=project, environment=environment)
        .cold()
        .python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:kmock", "tests")
    )
    assert told.code == 0, told.text
    assert "1 passed" in told.text
