"""What steps need in an environment that Metaflow makes: the same as pyproject.toml says."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flowproject.config.data import DATA_TYPES
from flowproject.packages import requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    one.name: one.specifier
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["snowflake"])
    for one in [Requirement(line)]
}
ONLY_ON_THE_COMMAND_LINE = {"jinja2", "rich", "starlette", "typer", "uvicorn"}
EVERY_SOURCE = requirements({*DATA_TYPES, "snowflake"})


def test_steps_need_everything_but_the_terminal_and_the_web_server() -> None:
    assert set(EVERY_SOURCE) == set(DECLARED) - ONLY_ON_THE_COMMAND_LINE


@pytest.mark.parametrize("package", EVERY_SOURCE)
def test_the_versions_are_those_of_the_project(package: str) -> None:
    assert Requirement(package + EVERY_SOURCE[package]).specifier == DECLARED[package]


def test_a_source_brings_its_own_client_and_no_other_source_does() -> None:
    assert "snowflake-connector-python" in requirements(["snowflake"])
    assert "duckdb" not in requirements(["snowflake", "s3"])
    assert "duckdb" in requirements(["duckdb", "files"])


def test_a_source_without_a_client_brings_what_every_step_has() -> None:
    assert requirements(["files"]) == requirements([])
