"""One tick of a project's sensor of a query of PostgreSQL: look, compare, decide, record.

Takes the project's folder and what to expect.
"""

import sys
from pathlib import Path

import adbc_driver_postgresql  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

import flowproject.sources.postgres.source  # noqa: F401
from benchmarks.probe import report
from benchmarks.scratch import project_context
from flowproject.sensing import observe

ROOT, EXPECTED = Path(sys.argv[1]), sys.argv[2]


def tick() -> dict[str, object]:
    """How many rows there are, and how many were modified."""
    [seen] = observe(project_context(ROOT))
    if seen.outcome != EXPECTED:
        raise RuntimeError(f"this was no tick with the outcome {EXPECTED!r}: {seen}")
    return {"objects": seen.total, "modified": seen.counts.get("modified", 0)}


report(tick)
