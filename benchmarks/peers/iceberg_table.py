"""PyIceberg alone: loads a table by its metadata file, and reads what was appended to it.

Takes the file, the snapshot after which to read or `-`, and settings of its store.
"""

import sys
from typing import Any

import pyiceberg.io.pyarrow  # noqa: F401
from pyiceberg.table import StaticTable

from benchmarks.probe import report

FILE, FIRST = sys.argv[1], sys.argv[2]
SETTINGS = dict(setting.split("=", 1) for setting in sys.argv[3:])


def read() -> dict[str, Any]:
    """Which snapshot is current, and how many rows were appended."""
    table = StaticTable.from_metadata(FILE, SETTINGS)
    current = table.current_snapshot()
    if current is None or FIRST == "-":
        return {"version": current and current.snapshot_id, "rows": 0}
    scan = table.incremental_append_scan(
        from_snapshot_id_exclusive=int(FIRST), to_snapshot_id_inclusive=current.snapshot_id
    )
    return {"version": current.snapshot_id, "rows": len(scan.to_arrow())}


report(read)
