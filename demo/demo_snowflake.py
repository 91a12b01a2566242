"""`make demo-snowflake`: the same story with the data in Snowflake's tables, on a local emulator.

The emulator (fakesnow) is a server on this machine that speaks Snowflake's protocol; Snowflake's
own connector talks to it. The flows are the ones that `make demo` runs; only the configuration and
the two queries are others.
"""

import csv
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import fakesnow
import snowflake.connector
from story import ARRIVES, KNOWN, ROOT, Stage, tell

PROJECT: Final = Path(__file__).with_name("snowflake")
TABLE: Final = "demo.public.weather"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the demo whose data are rows of a table."""
    with fakesnow.server() as settings:
        _hush()
        connection = snowflake.connector.connect(**settings)
        stage = Stage(
            folder=ROOT / "build" / "demo-snowflake",
            before=f"Three years of daily weather in Seattle, rows of {TABLE} on a local emulator",
            prepare=lambda folder: _prepare(folder, connection, settings),
            arrival=f"January 2015 arrives: 31 rows are inserted into {TABLE}",
            arrive=lambda _: _insert(connection, ROOT / "data" / "incoming" / ARRIVES),
        )
        return tell(stage, __doc__ or "", arguments)


def _hush() -> None:
    """Let the emulator not tell of each request: a story is told here."""
    warnings.filterwarnings("ignore", module="fakesnow")
    for name in ("fakesnow.server", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _prepare(folder: Path, connection: Any, settings: dict[str, Any]) -> None:
    """The project's own configuration and queries, where to connect, and the table."""
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    for name in ("account", "user", "password", "host", "port", "protocol"):
        os.environ[f"SNOWFLAKE_{name.upper()}"] = str(settings[name])
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE demo")
        cursor.execute("CREATE SCHEMA IF NOT EXISTS demo.public")
        cursor.execute(
            f"CREATE TABLE {TABLE} (date DATE, precipitation NUMBER(5, 1), temp_max NUMBER(5, 1), "
            "temp_min NUMBER(5, 1), wind NUMBER(5, 1), weather VARCHAR)"
        )
    for name in KNOWN:
        _insert(connection, ROOT / "data" / "weather" / name)


def _insert(connection: Any, file: Path) -> None:
    """Insert the rows of a CSV file; an empty field is NULL."""
    with file.open(encoding="utf-8", newline="") as lines:
        _, *rows = csv.reader(lines)
    values = [[field or None for field in row] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {TABLE} VALUES (%s, %s, %s, %s, %s, %s)", values)  # noqa: S608  # a constant


if __name__ == "__main__":
    sys.exit(main())
