"""One look at a query on Snowflake: connect, run it, fetch every row, fingerprint them all.

Takes the project's folder.
"""

import sys
from pathlib import Path

import pyarrow.compute  # noqa: F401
import snowflake.connector  # noqa: F401

import flowproject.sources.snowflake  # noqa: F401
from benchmarks.probe import report
from flowproject.config.parse import load
from flowproject.sources import open_source

ROOT = Path(sys.argv[1])
[SENSOR] = load(ROOT).sensors.values()


def look() -> dict[str, object]:
    """How many rows there are."""
    return {"objects": open_source(SENSOR.data, ROOT).observe().value}


report(look)
