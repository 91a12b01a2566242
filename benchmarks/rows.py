"""A look at a million rows of which none changed, beside a digest that the engine makes alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import Probe, probe
from benchmarks.scratch import copy_project

__all__ = ["measure"]

_ROWS: Final = 1_000_000
_ROWS_IF_QUICK: Final = 20_000
_ROUNDS: Final = 7
_MOST_MB: Final = 300
_FILE: Final = "data/orders.parquet"
_QUERY: Final = f"SELECT * FROM '{_FILE}'"  # noqa: S608  # a constant
_CONFIG: Final = """project_name = "bench"

[data]
type = "duckdb"
query = "orders"
key = ["id"]

[sensor]
name = "orders"
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """The processors' seconds of both, and the memory of ours."""
    rows = _ROWS_IF_QUICK if quick else _ROWS
    root = copy_project(folder / "rows", config=_CONFIG)
    _write(root / _FILE, rows)
    (root / "sql" / "orders.sql").write_text(_QUERY, encoding="utf-8")
    probe("benchmarks.own.duckdb_tick", root, "baseline")

    def taken(module: str, *arguments: str) -> Probe:
        done = probe(module, root, *arguments)
        if done.said["objects"] != rows:
            raise RuntimeError(f"{module} found {done.said} of {rows:,} rows")
        return done

    ours, peer = in_turn(
        lambda: taken("benchmarks.own.duckdb_tick", "unchanged"),
        lambda: taken("benchmarks.peers.duckdb_md5"),
        rounds=_ROUNDS,
        quick=quick,
    )
    what = f"a tick of {rows:,} rows of six columns with a key, nothing changed"
    yield Comparison(
        ours_is=f"{what}, CPU",
        peer_is="MD5 over the JSON of each row, in DuckDB, CPU",
        fair_because="both are new processes that have DuckDB imported, and read the same Parquet "
        "file with one thread; the peer makes one number of all rows, in any order, and compares "
        "it with nothing; the tick also reads the journal and asks before and after how the file "
        "is. Seconds of the processor, and not of the clock: the machine has others to serve",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in peer],
        goal=1.5,
    )
    yield Limit(
        what=f"memory of {what}; the peer has {max(each.peak_mb for each in peer):,.0f} MB",
        amount=max(each.peak_mb for each in ours),
        most=_MOST_MB,
        unit="MB",
    )


def _write(path: Path, rows: int) -> None:
    duckdb.sql(
        "SELECT n AS id, 'customer ' || (n * 7919 % 100003) AS customer, "  # noqa: S608  # constants
        "(n % 100000) / 100 AS amount, DATE '2020-01-01' + CAST(n % 2000 AS INTEGER) AS day, "
        "n % 3 = 0 AS is_open, CAST(n * 31 % 977 AS INTEGER) AS quantity "
        f"FROM range({rows}) AS t(n)"
    ).write_parquet(str(path))
