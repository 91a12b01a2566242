"""One tick of a project's sensor of a DuckDB query: look, compare, decide, record.

Takes the project's folder and what to expect.
"""

import sys
from pathlib import Path

import duckdb  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

import flowproject.sources.duckdb.source  # noqa: F401
from benchmarks.probe import report
from benchmarks.scratch import project_context
from flowproject.sensing import observe

ROOT, EXPECTED = Path(sys.argv[1]), sys.argv[2]


def tick() -> dict[str, object]:
    """How many rows there are."""
    ticks = observe(project_context(ROOT))
    for seen in ticks:
        if seen.outcome != EXPECTED:
            raise RuntimeError(f"this was no tick with the outcome {EXPECTED!r}: {seen}")
    return {"objects": ticks[0].total, "moved": ticks[0].counts.get("modified", 0)}


report(tick)
