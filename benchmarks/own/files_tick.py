"""One tick of a project's sensor of a folder: look, compare, decide, record.

Takes the project's folder and what to expect.
"""

import sys
from pathlib import Path

import flowproject.sources.files  # noqa: F401
from benchmarks.probe import report
from benchmarks.scratch import project_context
from flowproject.sensing import observe

ROOT, EXPECTED = Path(sys.argv[1]), sys.argv[2]

if EXPECTED != "unchanged":  # a tick without a change can do without it
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


def tick() -> dict[str, object]:
    """How many files there are, and what happened to them."""
    [seen] = observe(project_context(ROOT))
    if seen.outcome != EXPECTED:
        raise RuntimeError(f"this was no tick with the outcome {EXPECTED!r}: {seen}")
    return {"files": seen.total, "counts": seen.counts}


report(tick)
