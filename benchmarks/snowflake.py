"""A look at a hundred thousand rows of Snowflake beside a bare cursor, and a look that is gated.

What a look that finds nothing takes is the digest of the rows, which the emulator makes with the
processor of this machine; a warehouse makes it on its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from benchmarks.costs import Limit
from benchmarks.emulator import STATEMENTS, TABLE
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import probe
from benchmarks.scratch import add_files, copy_project, run, tick
from flowproject.sources.result import UNKEYED_LIMIT

__all__ = ["measure"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_ROWS: Final = 100_000
_ROWS_IF_QUICK: Final = 1_000
_ROUNDS: Final = 9
_TICKS: Final = 5
_QUERY: Final = f"SELECT * FROM {TABLE}\n"  # noqa: S608  # a constant
_CONFIG: Final = """project_name = "bench"

[data]
type = "snowflake"
query = "orders"
key = ["order_id"]
gate = "{gate}"

[sensor]
name = "orders"
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Looks that fetch everything, ticks that need not, and what both asked of the account."""
    rows = _ROWS_IF_QUICK if quick else _ROWS
    with _emulator(rows):
        root = _project(folder / "fetched", gate="")
        yield _fetched(root, rows, quick=quick)
        yield _unmoved(root, rows, quick=quick)
        yield from _gated(_project(folder / "gated", gate="commit_time"), quick=quick)


def _fetched(root: Path, rows: int, *, quick: bool) -> Comparison:
    def look(module: str) -> float:
        done = probe(module, root)
        if done.said["objects"] != rows:
            raise RuntimeError(f"{module} found {done.said} of {rows:,} rows")
        return done.wall

    ours, peer = in_turn(
        lambda: look("benchmarks.own.snowflake_rows"),
        lambda: look("benchmarks.peers.snowflake_cursor"),
        rounds=_ROUNDS,
        quick=quick,
    )
    return Comparison(
        ours_is=f"a look at {rows:,} rows of six columns, all fingerprinted",
        peer_is="a bare cursor that fetches the same rows",
        fair_because="both are new processes that have the connector imported, log in to the same "
        "emulator, run the same query and hold every row in the end; the source also brings each "
        "value into its canonical form and tells every row apart by a digest",
        ours=ours,
        peer=peer,
        goal=1.2,
    )


def _unmoved(root: Path, rows: int, *, quick: bool) -> Comparison:
    kept = root / "seen.json"
    probe("benchmarks.own.snowflake_rows", root, kept)

    def look() -> float:
        done = probe("benchmarks.own.snowflake_rows", root, kept)
        if done.said != {"objects": rows, "fetched": 0 if rows > UNKEYED_LIMIT else rows}:
            raise RuntimeError(f"a look that should have found all as it was: {done.said}")
        return done.wall

    ours, peer = in_turn(
        look,
        lambda: probe("benchmarks.peers.snowflake_cursor", root).wall,
        rounds=_ROUNDS,
        quick=quick,
    )
    return Comparison(
        ours_is=f"a look at {rows:,} rows of six columns, none of which changed",
        peer_is="a bare cursor that fetches the same rows",
        fair_because="both are new processes that have the connector imported and log in to the "
        "same emulator. The source has the account digest the rows and fetches the digests; what a "
        "warehouse takes for that is not measured, the emulator is DuckDB on the same machine",
        ours=ours,
        peer=peer,
        goal=0.3,
    )


def _gated(root: Path, *, quick: bool) -> Iterator[Figure]:
    flow = add_files(root, "sensorflow.py")
    run(flow)  # the first look, which remembers
    statements()
    seconds = [tick(flow) for _ in range(1 if quick else _TICKS)]
    asked = statements()
    queries = [sql for sql in asked if TABLE in sql and not sql.startswith("EXPLAIN")]
    yield Limit(
        what=f"queries that needed a warehouse, in {len(seconds)} gated ticks that found nothing "
        f"changed and sent {len(asked)} statements",
        amount=len(queries),
        most=0,
        unit="queries",
    )


def statements() -> list[str]:
    """What the emulator was asked since the last time."""
    address = f"http://{os.environ['SNOWFLAKE_HOST']}:{os.environ['SNOWFLAKE_PORT']}{STATEMENTS}"
    with urlopen(address) as answer:
        told: list[str] = json.load(answer)
    return told


def _project(root: Path, *, gate: str) -> Path:
    copy_project(root, config=_CONFIG.format(gate=gate))
    (root / "sql" / "orders.sql").write_text(_QUERY, encoding="utf-8")
    return root


@contextmanager
def _emulator(rows: int) -> Iterator[None]:
    """The emulator, in an environment in which everybody who is started finds it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.emulator", str(rows)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = process.stdout.readline() if process.stdout else ""
    if not told:
        raise RuntimeError(f"the emulator ended with code {process.wait()}")
    os.environ.update(json.loads(told))
    try:
        yield
    finally:
        process.communicate(timeout=60)  # closes its standard input: it ends
