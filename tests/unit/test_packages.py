"""What steps need in an environment that Metaflow makes: the same as pyproject.toml says."""

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flowproject.config.data import DATA_TYPES
from flowproject.packages import (
    extras_of,
    missing_for_import,
    missing_for_source,
    requirements,
)

ROOT = Path(__file__).parents[2]
DOCUMENT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, GROUPS = DOCUMENT["project"], DOCUMENT["dependency-groups"]
EXTRAS = PROJECT["optional-dependencies"]
OF_SOURCES = [extra for extra in EXTRAS if extra in DATA_TYPES]
DECLARED = {
    one.name: one.specifier
    for lines in (PROJECT["dependencies"], GROUPS["project"], *map(EXTRAS.get, OF_SOURCES))
    for one in map(Requirement, lines)
}
ONLY_ON_THE_COMMAND_LINE = {"rich", "typer"}
EVERY_SOURCE = requirements({*DATA_TYPES, "snowflake"})


def test_steps_need_everything_but_the_terminal() -> None:
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


@pytest.mark.parametrize("extra", [*OF_SOURCES, "loop"])
def test_what_is_missing_is_named_with_the_lines_of_the_extra(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setattr("flowproject.packages.find_spec", lambda _: None)
    declared = [Requirement(line) for line in EXTRAS[extra]]
    for one in declared:
        name = {"snowflake-connector-python": "snowflake"}.get(one.name, one.name.replace("-", "_"))
        missing = missing_for_import(f"{name}.submodule")
        assert missing
        # sqlglot comes with two of them.
        if one.name != "sqlglot":
            assert missing.extra == extra
            assert set(map(Requirement, missing.lines)) == set(declared)
            assert f"flowproject[{extra}]" in missing.allowed


def test_nothing_is_missing_where_everything_is_installed() -> None:
    assert [missing_for_source(kind) for kind in DATA_TYPES] == [None] * len(DATA_TYPES)
    assert missing_for_import("starlette") is None
    assert missing_for_import("no_client_of_ours") is None


def test_a_module_that_is_forbidden_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    missing = missing_for_source("duckdb")
    assert missing
    assert missing.lines == ("duckdb>=2.0,<3",)


@pytest.mark.parametrize("kind", DATA_TYPES)
def test_a_project_asks_for_an_extra_that_there_is(kind: str) -> None:
    extras = extras_of(kind, deploys=True)
    assert set(extras) <= set(EXTRAS)
    assert {"loop", "kubernetes"} <= set(extras)
    assert (kind in EXTRAS) == (kind in extras)
