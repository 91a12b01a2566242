"""The packages of steps: what Metaflow is told to install, and that it is enough to run on."""

import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flowproject.packages import requirements
from tests.conftest import ROOT

CONFIG = """
project_name = "demo"

[data]
type = "{type}"
{keys}

[sensors.days]

[sensors.lake]
data = {{ type = "s3", bucket = "b" }}
"""
DUCKDB = CONFIG.format(type="duckdb", keys='query = "q"')

# At its end a flow file says which packages Metaflow was told for each step, by which decorator.
FLOW = """
import atexit
import json

from metaflow import FlowSpec, conda, config_expr, pypi, pypi_base, step

from flowproject import BaseFlow, snowflake


def tell(flow):
    told = {{
        one.name: {{
            deco.name: deco.attributes["packages"]
            for deco in one.decorators
            if deco.name in ("conda", "pypi")
        }}
        for one in flow._steps
    }}
    print("SAID", json.dumps(told))


{decorators}
class ToldFlow({base}):
    {step}
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    atexit.register(tell, ToldFlow)
    ToldFlow()
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Any]) -> Any:
    return new_project(DUCKDB)


def told(
    project: Any,
    *,
    step: str = "",
    decorators: str = "",
    base: str = "BaseFlow",
    environment: str = "pypi",
) -> Any:
    """For each step: decorator → package → version, as Metaflow has it when it starts."""
    project.write("toldflow.py", FLOW.format(step=step, decorators=decorators, base=base))
    options = ["--environment", environment] if environment else []
    ran = project.python("toldflow.py", *options, "show")
    assert ran.code == 0, ran.text
    return ran.said()


def here(*types: str) -> dict[str, str]:
    return {name: version(name) for name in requirements(types)}


@pytest.mark.parametrize("environment", ["pypi", "conda"])
def test_every_step_gets_what_the_sources_need_as_it_is_installed_here(
    project: Any, environment: str
) -> None:
    packages = told(project, environment=environment)
    assert packages["start"]["pypi"] == packages["end"]["pypi"] == here("duckdb", "s3")
    assert packages["start"]["conda"] == {}


def test_a_configuration_with_snowflake_brings_its_connector_to_every_step(
    new_project: Callable[..., Any],
) -> None:
    packages = told(new_project(CONFIG.format(type="snowflake", keys='query = "q"')))
    assert packages["start"]["pypi"] == packages["end"]["pypi"] == here("snowflake", "s3")


def test_flowproject_travels_once_from_wherever_it_is_installed(project: Any) -> None:
    """Without its commands, which steps can't even import: they have no typer."""
    packed = project.python("sensorflow.py", "package", "list").lines
    package = ROOT / "flowproject"
    commands = ("cli", "deploy", "dev", "scaffold", "testing")
    told = [Path(line) for line in packed if Path(line).is_relative_to(package)]
    wanted = [
        path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in commands
    ]
    assert sorted(told) == sorted([*wanted, package / "py.typed"])


def test_what_no_step_needs_stays_at_home(new_project: Callable[..., Any]) -> None:
    """In a fork flowproject itself lies in the folder, too; `run --with kubernetes` is the same."""
    project = new_project(DUCKDB)
    for name in ("tests/test_x.py", "docs/x.py", "venv/lib/x.py", "lib/deep.py", "forecast.py"):
        project.write(name, "")
    project.write("venv/pyvenv.cfg", "")
    project.write("strangerflow.py", "")
    project.write("namedflow.py", "")
    project.write("otherflow.py", "import namedflow")
    project.write("forecast.py", 'Runner("otherflow.py")')
    (project.root / "flowproject").symlink_to(ROOT / "flowproject")
    saved = project.python("sensorflow.py", "package", "save", "job.tar")
    assert saved.code == 0, saved.text
    with tarfile.open(project.root / "job.tar") as code:
        mine = {name for name in code.getnames() if not name.startswith(".mf_")}
    assert mine == {
        "baseflow.py",
        "flowproject.toml",
        "forecast.py",
        "lib/deep.py",
        "namedflow.py",
        "otherflow.py",
        "sensorflow.py",
    }


def test_configuration_and_queries_travel_beside_the_flow_file(project: Any) -> None:
    """Where a step looks for them after it has unpacked the code."""
    query = project.root / "sql" / "deep" / "days.sql"
    query.parent.mkdir(parents=True)
    query.write_text("select 1")
    saved = project.python("sensorflow.py", "package", "save", "job.tar")
    assert saved.code == 0, saved.text
    with tarfile.open(project.root / "job.tar") as code:
        names = code.getnames()
    assert {"sensorflow.py", "flowproject.toml", "sql/deep/days.sql"} <= set(names)
    assert not [name for name in names if name.startswith(".mf_code/") and ".sql" in name]


def test_without_environment_no_step_has_packages(project: Any) -> None:
    assert told(project, step="@snowflake", environment="") == {"start": {}, "end": {}}


def test_a_step_keeps_its_own_versions_and_the_rest_may_be_any_that_agrees(project: Any) -> None:
    packages = told(project, step='@pypi(packages={"Obstore": "0.12.0", "pandas": "2.2.3"})')
    needed = requirements(["duckdb", "s3"])
    del needed["obstore"]
    assert packages["start"]["pypi"] == {**needed, "Obstore": "0.12.0", "pandas": "2.2.3"}
    assert packages["end"]["pypi"] == here("duckdb", "s3")


def test_packages_of_the_whole_flow_win_too(project: Any) -> None:
    packages = told(project, decorators='@pypi_base(packages={"duckdb": "1.4.2"})')
    assert {step["pypi"]["duckdb"] for step in packages.values()} == {"1.4.2"}
    assert {step["pypi"]["obstore"] for step in packages.values()} == {">=0.12,<0.13"}


def test_packages_may_stand_in_the_configuration(project: Any) -> None:
    step = "@pypi(packages=config_expr(\"{'duckdb': '1.4.2', 'x': flowconfig.project_name}\"))"
    start = told(project, step=step)["start"]["pypi"]
    assert (start["duckdb"], start["x"], start["pyarrow"]) == ("1.4.2", "demo", ">=22")


def test_another_python_gets_versions_of_its_own(project: Any) -> None:
    start = told(project, step='@pypi(python="3.12.1")')["start"]["pypi"]
    assert start == requirements(["duckdb", "s3"])


def test_a_step_with_packages_of_conda_gets_ours_under_the_names_that_conda_has(
    project: Any,
) -> None:
    start = told(project, step='@conda(packages={"conda-forge::pyarrow": "22.0"})')["start"]
    assert "pypi" not in start
    assert start["conda"]["python-duckdb"] == ">=2.0,<3"
    assert start["conda"]["conda-forge::pyarrow"] == "22.0"
    assert not start["conda"].keys() & {"duckdb", "pyarrow", "tzdata"}


@pytest.mark.parametrize("decorator", ["pypi", "conda"])
def test_a_step_that_wants_no_environment_gets_none(project: Any, decorator: str) -> None:
    start = told(project, step=f"@{decorator}(disabled=True)")["start"]
    assert start == {decorator: {}} | start
    assert not any(start.values())


@pytest.mark.parametrize("base", ["BaseFlow", "FlowSpec"])
def test_the_mark_brings_the_connector_to_its_step_only(project: Any, base: str) -> None:
    packages = told(project, step="@snowflake", base=base)
    types = ["duckdb", "s3", "snowflake"] if base == "BaseFlow" else ["snowflake"]
    assert packages["start"]["pypi"] == here(*types)
    assert "snowflake-connector-python" not in packages["end"].get("pypi", {})


def test_the_mark_does_not_come_between_a_step_and_its_own_connector(project: Any) -> None:
    step = '@snowflake\n    @pypi(packages={"snowflake_connector_python": "4.6.0"})'
    start = told(project, step=step)["start"]["pypi"]
    assert start["snowflake_connector_python"] == "4.6.0"
    assert "snowflake-connector-python" not in start
