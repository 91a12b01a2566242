"""A bare cursor of Snowflake's connector: connect, run the query of the project, fetch every row.

Takes the project's folder.
"""

import os
import sys
from pathlib import Path

import pyarrow as pa  # noqa: F401  # the connector does without; whoever watches has it
import snowflake.connector

from benchmarks.probe import report

SQL = Path(sys.argv[1], "sql", "orders.sql").read_text(encoding="utf-8")


def fetch() -> dict[str, int]:
    """How many rows there are."""
    settings = {
        name: os.environ[f"SNOWFLAKE_{name.upper()}"] for name in ("account", "user", "password")
    }
    server = {
        name: os.environ[f"SNOWFLAKE_{name.upper()}"] for name in ("host", "port", "protocol")
    }
    with snowflake.connector.connect(**settings, **server) as connection:
        return {"objects": len(connection.cursor().execute(SQL).fetchall())}


report(fetch)
