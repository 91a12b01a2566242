"""`self.query` and its siblings in a flow: the same flow, whichever source is configured."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.snow import Snow

FLOW = """
from metaflow import step

from flowproject import BaseFlow


class AskingFlow(BaseFlow):
    @step
    def start(self):
        self.rows = self.query("weather", least=2)
        table, frame = self.query_arrow("weather", least=2), self.query_frame("weather", least=2)
        print("rows", self.rows)
        print("table", table.column_names, table.num_rows)
        print("frame", type(frame).__name__, frame["day"].tolist())
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    AskingFlow()
"""
SQL = """
SELECT n AS day, 'warm' AS sky FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)
WHERE n >= :least ORDER BY n DESC
"""
CONFIG = 'project_name = "demo"\n[data]\nquery = "weather"\ntype = '


@pytest.mark.parametrize("kind", ['"duckdb"', '"duckdb"\ndialect = "snowflake"', '"snowflake"'])
def test_a_flow_gets_rows_a_table_or_a_frame_from_any_engine(
    new_project: Callable[..., Any], snow: Snow, kind: str
) -> None:
    assert snow.port
    project = new_project(CONFIG + kind + "\n")
    project.write("askingflow.py", FLOW)
    project.write("sql/weather.sql", SQL)
    run = project.run("askingflow.py")
    assert run.code == 0, run.text
    assert "rows [{'day': 3, 'sky': 'warm'}, {'day': 2, 'sky': 'warm'}]" in run.lines
    assert "table ['day', 'sky'] 2" in run.lines
    assert "frame DataFrame [3, 2]" in run.lines


def test_without_credentials_a_flow_says_so_in_clean_lines(
    new_project: Callable[..., Any], snow: Snow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snow.port
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")
    project = new_project(CONFIG + '"snowflake"\n')
    project.write("askingflow.py", FLOW)
    project.write("sql/weather.sql", SQL)
    run = project.run("askingflow.py")
    assert run.code == 1
    told = run.lines[run.lines.index("Source error:") + 1]
    assert told.startswith("Nothing says how to connect to Snowflake: SNOWFLAKE_ACCOUNT not set.")
    assert "Traceback" not in run.text
    assert snow.settings["SNOWFLAKE_PASSWORD"] not in run.text
