"""Looks at many rows of which none changed or one in a thousand, beside what others need for it.

Seconds are those of the processor, and not of the clock: the machine has others to serve.

datacompy on polars stays ahead: half of what a tick computes is MD5 over the text of each row, by
which the next look needs no row again.
"""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import PEERS_PYTHON, Probe, probe
from benchmarks.scratch import copy_project

__all__ = ["measure"]

_ROWS: Final = 1_000_000
_ROWS_IF_QUICK: Final = 2_000
_TIMES_MORE: Final = 10
_SENSORS: Final = 16
_ROUNDS: Final = 7
_ROUNDS_OF_MANY: Final = 2
_FILE: Final = "data/orders.parquet"
_QUERY: Final = f"SELECT * FROM '{_FILE}'"  # noqa: S608  # a constant
_CONFIG: Final = """project_name = "bench"

[data]
type = "duckdb"
query = "orders"
key = ["id"]
row_limit = 20_000_000
"""
_NOTE: Final = "all are new processes that have their packages imported, and read the same Parquet "
"""What the reasons for being fair begin with."""


class _Watched:
    """A project with so many rows, and the same rows with one in a thousand modified."""

    def __init__(self, folder: Path, rows: int, sensors: int = 1) -> None:
        self.rows = rows
        sections = (f'\n[sensors.s{number}]\ntimeout = "2h"\n' for number in range(sensors))
        self.root = copy_project(folder, config=_CONFIG + "".join(sections))
        (self.root / "sql" / "orders.sql").write_text(_QUERY, encoding="utf-8")
        self.files = [self.root / name for name in ("old.parquet", "new.parquet")]
        _write(self.files[0], rows, "0")
        _write(self.files[1], rows, "CAST(n % 1000 = 7 AS INTEGER)")
        self._shown = 1
        self.turn()
        self.tick("baseline")

    def turn(self) -> None:
        """Let the other of the two files take the place of what is watched."""
        self._shown = 1 - self._shown
        beside = self.root / "beside.parquet"
        shutil.copyfile(self.files[self._shown], beside)
        beside.rename(self.root / _FILE)

    def tick(self, expected: str) -> Probe:
        """A tick with this outcome."""
        return self._checked(probe("benchmarks.own.duckdb_tick", self.root, expected))

    def changed_tick(self) -> Probe:
        """A tick that finds one row in a thousand modified, and records it."""
        self.turn()
        return self._checked(probe("benchmarks.own.duckdb_tick", self.root, "changed"), moved=True)

    def peer(self, module: str, *how: str) -> Probe:
        """What a peer needs to find the same."""
        done = probe(module, *self.files, *how, python=str(PEERS_PYTHON))
        return self._checked(done, moved=True)

    def digested(self) -> Probe:
        """A digest of the engine's alone."""
        return self._checked(probe("benchmarks.peers.duckdb_md5", self.root))

    def _checked(self, done: Probe, *, moved: bool = False) -> Probe:
        expected = self.rows // 1000 if moved else 0
        if done.said["objects"] != self.rows or done.said.get("moved", 0) != expected:
            raise RuntimeError(f"{done.said} of {self.rows:,} rows, of which {expected:,} moved")
        return done


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """The processors' seconds and the memory of ticks, and of their peers."""
    rows = _ROWS_IF_QUICK if quick else _ROWS
    one = _Watched(folder / "rows", rows)
    yield from _unchanged(one, quick=quick)
    # A quick run shows that ours runs; peers have an environment of their own, which takes minutes.
    if PEERS_PYTHON.exists() or not quick:
        yield from _changed(one, quick=quick)
    yield from _many_sensors(one, _Watched(folder / "sensors", rows, _SENSORS))
    yield from _more_rows(one, _Watched(folder / "more", rows * _TIMES_MORE), quick=quick)


def _unchanged(one: _Watched, *, quick: bool) -> Iterator[Figure]:
    what = f"a tick of {one.rows:,} rows of six columns with a key, nothing changed"
    ours, peer = in_turn(partial(one.tick, "unchanged"), one.digested, rounds=_ROUNDS, quick=quick)
    yield Comparison(
        ours_is=f"{what}, CPU",
        peer_is="MD5 over the JSON of each row, in DuckDB, CPU",
        fair_because=_NOTE + "file with one thread; the peer makes one number of all rows, in any "
        "order, and compares it with nothing; the tick also reads the journal and asks before and "
        "after how the file is",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in peer],
        goal=1.5,
    )
    yield _memory(f"{what}; the peer has {_peak(peer):,.0f} MB", ours, 300)


def _changed(one: _Watched, *, quick: bool) -> Iterator[Figure]:
    what = f"a tick of {one.rows:,} rows, one in 1,000 modified, snapshot and difference written"
    ours, polars, datacompy, on_pandas = in_turn(
        one.changed_tick,
        partial(one.peer, "benchmarks.peers.polars_anti_join"),
        partial(one.peer, "benchmarks.peers.datacompy_report", "polars"),
        partial(one.peer, "benchmarks.peers.datacompy_report", "pandas"),
        rounds=_ROUNDS,
        quick=quick,
    )
    yield Comparison(
        ours_is=f"{what}, CPU",
        peer_is=f"anti-join of the old and the new file, polars {_version(polars)}, CPU",
        fair_because=_NOTE + "files; the peer knows the new rows afterwards, not the old ones, and "
        "writes nothing; it computes on all cores, the tick on one",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in polars],
        goal=3,
    )
    for frames, taken in {"polars": datacompy, "pandas": on_pandas}.items():
        yield Comparison(
            ours_is=f"{what}, CPU",
            peer_is=f"report of both files, datacompy {_version(taken)} on {frames}, CPU",
            fair_because=_NOTE + "files; the peer compares by key, and writes nothing",
            ours=[each.cpu for each in ours],
            peer=[each.cpu for each in taken],
            goal=1 / 1.3,
        )
    peers = f"polars has {_peak(polars):,.0f} MB, datacompy {_peak(datacompy):,.0f} MB"
    yield _memory(f"{what}; {peers}", ours, 600)


def _many_sensors(one: _Watched, many: _Watched) -> Iterator[Figure]:
    ticks = {
        "nothing changed": (one.tick("unchanged"), many.tick("unchanged")),
        "one in 1,000 modified": (one.changed_tick(), many.changed_tick()),
    }
    for what, (alone, together) in ticks.items():
        yield Limit(
            what=f"memory of a tick of {_SENSORS} sensors of {one.rows:,} rows, {what}, over that "
            f"of one ({alone.peak_mb:,.0f} MB)",
            amount=together.peak_mb / alone.peak_mb,
            most=4,
            unit="times",
        )


def _more_rows(one: _Watched, more: _Watched, *, quick: bool) -> Iterator[Figure]:
    ticks = {
        "nothing changed": (partial(more.tick, "unchanged"), partial(one.tick, "unchanged")),
        "one in 1,000 modified": (more.changed_tick, one.changed_tick),
    }
    for what, (of_more, of_one) in ticks.items():
        ours, peer = in_turn(of_more, of_one, rounds=_ROUNDS_OF_MANY, quick=quick)
        yield Comparison(
            ours_is=f"a tick of {more.rows:,} rows, {what}, CPU",
            peer_is=f"the same of {one.rows:,} rows, CPU",
            fair_because="it is the same tick: what counts is how it grows",
            ours=[each.cpu for each in ours],
            peer=[each.cpu for each in peer],
            goal=11,
        )
        yield _memory(f"a tick of {more.rows:,} rows, {what}", ours, 1500)


def _memory(what: str, taken: list[Probe], most: float) -> Limit:
    return Limit(what=f"memory of {what}", amount=_peak(taken), most=most, unit="MB")


def _version(taken: list[Probe]) -> str:
    return str(taken[0].said["version"])


def _peak(taken: list[Probe]) -> float:
    return max(each.peak_mb for each in taken)


def _write(path: Path, rows: int, more: str) -> None:
    duckdb.sql(
        "SELECT n AS id, 'customer ' || (n * 7919 % 100003) AS customer, "  # noqa: S608  # constants
        "(n % 100000) / 100 AS amount, DATE '2020-01-01' + CAST(n % 2000 AS INTEGER) AS day, "
        f"n % 3 = 0 AS is_open, CAST(n * 31 % 977 AS INTEGER) + {more} AS quantity "
        f"FROM range({rows}) AS t(n)"
    ).write_parquet(str(path))
