"""The same `sensorflow.py` and the same query on DuckDB and on Snowflake: only the file changes."""

from collections.abc import Callable
from typing import Any

from tests.snow import Snow

CONFIG = """
project_name = "shop"

[data]
type = "{type}"
query = "orders"
key = ["order_id"]
{more}

[sensors.orders]
"""
QUERY = """
SELECT 1 AS "order_id", 'tea' AS "item", DATE '2026-01-02' AS "day"
UNION ALL
SELECT 2, 'milk', NULL
"""


def test_a_sensor_moves_from_duckdb_to_snowflake_by_its_configuration_alone(
    new_project: Callable[..., Any], snow: Snow
) -> None:
    project = new_project(CONFIG.format(type="duckdb", more=""))
    project.write("sql/orders.sql", QUERY)
    first = project.run("sensorflow.py")
    assert first.code == 0, first.text
    assert "orders: baseline, first look, remembered: 2 items" in first.lines

    project.write(
        "flowproject.toml", CONFIG.format(type="snowflake", more=f'database = "{snow.database()}"')
    )
    again = project.run("sensorflow.py", **snow.settings)
    assert again.code == 0, again.text
    assert any(line.startswith("orders: unchanged") for line in again.lines), again.text
