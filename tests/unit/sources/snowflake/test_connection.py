"""A session is described by all that decides a result, as the server told it at login."""

from types import SimpleNamespace
from typing import Any

from flowproject.sources.snowflake.connection import session


def test_a_session_has_its_warehouse_wherever_that_came_from():
    told = {"account": "a", "host": "h", "user": "u", "role": "R", "database": "D", "schema": None}
    connection: Any = SimpleNamespace(**told, warehouse="W", password="hunter2")  # noqa: S106
    assert session(connection) == {**told, "schema": "None", "warehouse": "W"}
