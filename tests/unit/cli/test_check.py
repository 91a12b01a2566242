"""`flowproject check` on what needs no flow file; with flow files: tests/flows/test_commands.py."""

import json
from pathlib import Path
from typing import Any


def findings(answer: Any) -> dict[str, tuple[str, str]]:
    return {
        found["subject"]: (found["state"], found["message"]) for found in json.loads(answer.out)
    }


def test_without_connecting_no_source_is_touched(flowproject: Any, root: Path) -> None:
    (root / "months").rmdir()
    answer = flowproject("check", "--json")
    assert answer.code == 0
    assert findings(answer)["sensor months"][0] == "ok"


def test_connecting_looks_at_every_source_and_reports_each(flowproject: Any, root: Path) -> None:
    (root / "months").rmdir()
    answer = flowproject("check", "--connect", "--json")
    assert answer.code == 4
    found = findings(answer)
    assert found["flowproject.toml"] == ("ok", "project 'demo'")
    assert found["sensor days"][0] == "ok"
    assert found["sensor days"][1].endswith(" s, 1 items")
    assert found["sensor months"][0] == "error"
    assert "months" in found["sensor months"][1]


def test_a_folder_without_flow_files_is_a_note(flowproject: Any, root: Path) -> None:
    answer = flowproject("check", "--json")
    assert answer.code == 0
    assert findings(answer)[str(root)] == ("note", "there is no flow file, *flow.py")


def test_a_pipe_gets_one_line_for_each_finding(flowproject: Any, root: Path) -> None:
    assert root.is_dir()
    lines = flowproject("check").out.splitlines()
    assert lines[0] == "state\twhat\tfinding"
    assert {line.split("\t")[0] for line in lines[1:]} == {"ok", "note"}


def test_sql_that_does_not_parse_is_an_error_with_its_place(flowproject: Any, root: Path) -> None:
    (root / "flowproject.toml").write_text(
        'project_name = "demo"\n[data]\ntype = "duckdb"\nquery = "days"\n'
    )
    (root / "sql").mkdir()
    (root / "sql" / "days.sql").write_text("SELECT 1\nFORM there")
    answer = flowproject("check", "--json")
    assert answer.code == 3
    assert "sql/days.sql, line 2, column" in findings(answer)["sensor data"][1]


def write_query(root: Path, text: str, **keys: str) -> None:
    data = {"type": "duckdb", "query": "days", **keys}
    lines = "".join(f'{key} = "{value}"\n' for key, value in data.items())
    (root / "flowproject.toml").write_text(f'project_name = "demo"\n[data]\n{lines}')
    (root / "sql").mkdir(exist_ok=True)
    (root / "sql" / "days.sql").write_text(text)


def test_a_steady_query_is_said_to_be(flowproject: Any, root: Path) -> None:
    write_query(root, "SELECT 1 AS n")
    answer = flowproject("check", "--connect", "--json")
    assert answer.code == 0
    assert findings(answer)["sensor data"][1].endswith("one value, twice the same")


def test_a_query_that_changes_by_itself_is_an_error(flowproject: Any, root: Path) -> None:
    write_query(root, "SELECT 1 AS n, random() AS chance")
    answer = flowproject("check", "--connect", "--json")
    assert answer.code == 3
    state, message = findings(answer)["sensor data"]
    assert state == "error"
    assert "column 'chance'" in message


def test_a_translated_query_is_said_to_be(flowproject: Any, root: Path) -> None:
    write_query(root, "SELECT iff(true, 1, 2) AS n", dialect="snowflake")
    said = "translated from snowflake's SQL"
    assert said in findings(flowproject("check", "--json"))["sensor data"][1]
    assert said in findings(flowproject("check", "--connect", "--json"))["sensor data"][1]
    assert said in flowproject("preview").out
