"""psycopg alone: all rows before and after a statement that modifies some, and what differs.

Takes the statement; the server is that of the environment.
"""

import sys

import psycopg

from benchmarks.probe import report

MODIFY = sys.argv[1]


def difference() -> dict[str, int]:
    """How many rows there are, and how many were modified."""
    with psycopg.connect(autocommit=True) as connection:
        old = {row[0]: row for row in connection.execute("SELECT * FROM orders").fetchall()}
        connection.execute(MODIFY)  # type: ignore[call-overload]
        new = {row[0]: row for row in connection.execute("SELECT * FROM orders").fetchall()}
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    modified = [key for key in new.keys() & old.keys() if new[key] != old[key]]
    if added or removed:
        raise RuntimeError("rows came or went")
    return {"objects": len(new), "modified": len(modified)}


report(difference)
