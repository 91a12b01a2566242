"""One tick of a project's sensor of a table that knows its version: look, compare, decide, record.

Takes the project's folder, what to expect, and the modules that every such tick has imported.
"""

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.probe import report
from benchmarks.scratch import project_context
from flowproject.sensing import observe

ROOT, EXPECTED = Path(sys.argv[1]), sys.argv[2]
for name in sys.argv[3:]:
    import_module(name)


def tick() -> dict[str, object]:
    """How many rows there are, and what happened to them."""
    [seen] = observe(project_context(ROOT))
    if seen.outcome != EXPECTED:
        raise RuntimeError(f"this was no tick with the outcome {EXPECTED!r}: {seen}")
    return {"objects": seen.total, **seen.counts}


report(tick)
