"""DuckDB alone: MD5 over the JSON of each row of the project's query, and one number of them all.

Takes the project's folder.
"""

import os
import sys
from pathlib import Path

import duckdb

from benchmarks.probe import report

ROOT = Path(sys.argv[1])


def digest() -> dict[str, int]:
    """How many rows there are."""
    os.chdir(ROOT)
    query = Path("sql", "orders.sql").read_text(encoding="utf-8")
    connection = duckdb.connect(config={"threads": 1})
    [(rows, _)] = connection.execute(
        f"SELECT count(*), bit_xor(md5_number(to_json(t))) FROM ({query}) AS t"  # noqa: S608  # the project's own
    ).fetchall()
    return {"objects": rows}


report(digest)
