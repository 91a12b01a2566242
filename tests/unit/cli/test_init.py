"""`flowproject init`: what options say, and what is asked where a person sits."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flowproject.config.parse import load


def test_in_an_empty_folder_it_is_the_weather_named_after_the_folder(
    flowproject: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "My shop 2"
    told = json.loads(flowproject("init", str(folder), "--json").out)
    assert load(folder).project_name == "my_shop_2"
    assert "starterflow.py" in told["written"]
    assert told["left"] == {}
    assert told["next"][-2:] == ["flowproject dev --until-idle", "python -m pytest"]


def test_beside_somebodys_flows_it_adds_no_example(flowproject: Any, tmp_path: Path) -> None:
    (tmp_path / "trainflow.py").write_text("")
    (tmp_path / "README.md").write_text("Mine.")
    told = json.loads(flowproject("init", str(tmp_path), "--json").out)
    assert told["left"] == {"README.md": ""}
    assert not (tmp_path / "forecast.py").exists()
    [sensor] = load(tmp_path).sensors.values()
    assert sensor.data.type == "files"
    assert (tmp_path / "data" / "example.csv").exists()


def test_beside_a_configuration_flows_fit_to_it(flowproject: Any, tmp_path: Path) -> None:
    config = 'project_name = "lake"\n[sensors.raw.data]\ntype = "s3"\nbucket = "b"\n'
    (tmp_path / "flowproject.toml").write_text(config)
    told = json.loads(flowproject("init", str(tmp_path), "--json").out)
    assert (tmp_path / "flowproject.toml").read_text() == config
    assert list(told["left"]) == ["flowproject.toml"]
    assert '@on_change("raw")' in (tmp_path / "starterflow.py").read_text()


def test_an_empty_project_watches_what_was_said(flowproject: Any, tmp_path: Path) -> None:
    answer = flowproject(
        *("init", str(tmp_path), "--example", "empty", "--source", "snowflake"),
        *("--table", "sales.orders", "--set", "key=id, day", "--set", "connection=shop"),
    )
    assert answer.code == 0, answer.err
    [sensor] = load(tmp_path).sensors.values()
    assert sensor.data.key == ("id", "day")  # type: ignore[attr-defined]
    assert "FROM sales.orders" in (tmp_path / "sql" / "sensor.sql").read_text()
    assert "snowflake" in (tmp_path / "requirements.txt").read_text()


def test_a_table_that_is_watched_by_itself_is_a_key(flowproject: Any, tmp_path: Path) -> None:
    answer = flowproject("init", str(tmp_path), "--source", "delta", "--table", "s3://lake/orders")
    assert answer.code == 0, answer.err
    [sensor] = load(tmp_path).sensors.values()
    assert sensor.data.table == "s3://lake/orders"  # type: ignore[attr-defined]
    assert not (tmp_path / "sql").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--example", "wether"], "Did you mean 'weather'?"),
        (["--ci", "jenkins"], "One of none, github, gitlab"),
        (["--source", "s3"], "Add `--set bucket=...`"),
        (["--source", "snowflake"], "Add `--table NAME`"),
        (["--source", "s3", "--set", "buckt=b"], "Did you mean 'bucket'?"),
        (["--table", "t"], "Add `--example empty`"),
        (["--source", "files", "--table", "t"], "says nothing about a source 'files'"),
        (["--name", "My shop"], "project_name = 'My shop'"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_written(
    flowproject: Any, tmp_path: Path, words: list[str], said: str
) -> None:
    answer = flowproject("init", str(tmp_path / "new"), *words)
    assert answer.code in (2, 64)
    assert said in answer.err
    assert not (tmp_path / "new").exists()


def test_a_person_is_asked(
    flowproject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["shop", "oders", "orders", "gitlab"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    assert flowproject("init", str(tmp_path)).code == 0
    assert load(tmp_path).project_name == "shop"
    assert (tmp_path / "sql" / "orders.sql").exists()
    assert (tmp_path / ".gitlab-ci.yml").exists()


@pytest.mark.parametrize(
    "said, kept",
    [
        (('key=["order_id"]',), {"key": ("order_id",)}),
        (("key=['a,b', \"c\"]",), {"key": ("a,b", "c")}),
        (('query="sensor"',), {"query": "sensor"}),
        (("query=2026",), {"query": "2026"}),
        (("row_limit=500",), {"row_limit": 500}),
        (("timeout=0.5",), {"timeout": 0.5}),
        (("timeout=2m",), {"timeout": 120}),
    ],
)
def test_a_value_may_be_written_as_in_the_file(
    flowproject: Any, tmp_path: Path, said: tuple[str, ...], kept: dict[str, Any]
) -> None:
    words = [word for one in said for word in ("--set", one)]
    answer = flowproject("init", str(tmp_path), "--source", "snowflake", "--table", "t", *words)
    assert answer.code == 0, answer.err
    [sensor] = load(tmp_path).sensors.values()
    assert {name: getattr(sensor.data, name) for name in kept} == kept


def test_a_pattern_with_brackets_is_no_list(flowproject: Any, tmp_path: Path) -> None:
    assert (
        flowproject("init", str(tmp_path), "--source", "files", "--set", "include=[ab]*").code == 0
    )
    [sensor] = load(tmp_path).sensors.values()
    assert sensor.data.include == ("[ab]*",)  # type: ignore[attr-defined]


def test_a_second_time_it_says_where_and_changes_nothing(
    flowproject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert flowproject("init").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    answer = flowproject("init")
    assert answer.code == 64
    assert f"wrote a project here already. {tmp_path}. `flowproject upgrade`" in answer.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
