"""delta-rs alone: opens a table, and reads its feed from a version on if one is given.

Takes the table's folder or URL, a version or `-`, and options of its store.
"""

import sys
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.probe import report

URI, FIRST = sys.argv[1], sys.argv[2]
OPTIONS = dict(option.split("=", 1) for option in sys.argv[3:])


def read() -> dict[str, Any]:
    """Which version it is, and how many rows of the feed there are."""
    table = DeltaTable(URI, storage_options=OPTIONS)
    if FIRST == "-":
        return {"version": table.version(), "rows": 0}
    feed = pa.table(table.load_cdf(starting_version=int(FIRST)))
    return {"version": table.version(), "rows": len(feed)}


report(read)
