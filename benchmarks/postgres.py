"""A million rows of PostgreSQL: nothing committed, something elsewhere, a thousandth modified."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import adbc_driver_postgresql

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import Probe, probe
from benchmarks.scratch import copy_project
from flowproject.config.data import PostgresData
from flowproject.sources.postgres.connection import Session, connect
from flowproject.sources.postgres.gate import begin
from flowproject.sources.postgres.source import described
from flowproject.sql import Query
from tests.postgres import Cluster, settings_of

__all__ = ["measure"]

_ROWS: Final = 1_000_000
_ROWS_IF_QUICK: Final = 60_000
_ROUNDS: Final = 7
_GATES: Final = 50
_MOST_MB: Final = 150
_QUERY: Final = "SELECT * FROM orders"
_DIGEST: Final = "SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM orders AS t"
_CONFIG: Final = """project_name = "bench"

[data]
type = "postgres"
query = "orders"
key = ["id"]
row_limit = 2000000

[sensor]
name = "orders"
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """What the server takes, and what a tick does."""
    rows = _ROWS_IF_QUICK if quick else _ROWS
    with _server(folder / "server", rows) as server:
        yield from _in_the_server(server, rows, quick=quick)
        yield from _modified(server, folder / "postgres", rows, quick=quick)


def _in_the_server(server: Cluster, rows: int, *, quick: bool) -> Iterator[Figure]:
    data, query = PostgresData(query="orders"), Query(file="orders", text=_QUERY)
    session = connect(data)
    with closing(session), server.connect() as peer:

        def asked() -> float:
            return _seconds(lambda: peer.execute(_DIGEST).fetchone())

        gates, digests = in_turn(
            lambda: median(_seconds(lambda: _gate(session, data, query)) for _ in range(_GATES)),
            asked,
            rounds=_ROUNDS,
            quick=quick,
        )
        who = f"PostgreSQL {server.run('SHOW server_version')[0][0]}, ADBC "
        who += adbc_driver_postgresql.__version__
        yield Comparison(
            ours_is=f"the gate of a query of {rows:,} rows ({who})",
            peer_is="md5 over the md5 of each row's text, in the order of its key, in the server",
            fair_because="both are asked in a session that is open, and one text comes back; ours "
            "is three statements, with the transaction around the question",
            ours=gates,
            peer=digests,
            goal=0.001,
        )
        ours, digests = in_turn(
            lambda: _seconds(lambda: _digest(session, data, query)),
            asked,
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is=f"the digest of the same {rows:,} rows, as when something else was committed",
            peer_is="the same statement",
            fair_because="the same, with the same settings of the server; ours has the columns "
            "looked up besides, and does not mind the order of rows",
            ours=ours,
            peer=digests,
            goal=0.2,
        )


def _modified(server: Cluster, folder: Path, rows: int, *, quick: bool) -> Iterator[Figure]:
    root = copy_project(folder, config=_CONFIG)
    (root / "sql" / "orders.sql").write_text(_QUERY, encoding="utf-8")
    probe("benchmarks.own.postgres_tick", root, "baseline")
    modify = "UPDATE orders SET amount = amount + 1 WHERE id % 1000 = 7"

    def tick() -> Probe:
        server.run(modify)
        return probe("benchmarks.own.postgres_tick", root, "changed")

    ours, peer = in_turn(
        tick,
        lambda: probe("benchmarks.peers.psycopg_fetchall", modify),
        rounds=3,
        quick=quick,
    )
    what = f"a tick of {rows:,} rows of six columns with a key, a thousandth of them modified"
    yield Comparison(
        ours_is=f"{what}, CPU",
        peer_is="psycopg: fetchall before and after, and a difference of two dicts, CPU",
        fair_because="both are new processes that have their driver imported; the peer holds the "
        "rows of both looks in memory and writes nothing, the tick reads the journal and writes "
        "what it found. What the server computes is not in either",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in peer],
        goal=0.1,
    )
    yield Limit(
        what=f"memory of {what}; the peer has {max(each.peak_mb for each in peer):,.0f} MB",
        amount=max(each.peak_mb for each in ours),
        most=_MOST_MB,
        unit="MB",
    )


def _gate(session: Session, data: PostgresData, query: Query) -> None:
    with session.transaction("REPEATABLE READ"):
        begin(session, data, query)


def _digest(session: Session, data: PostgresData, query: Query) -> None:
    with session.transaction("REPEATABLE READ"):
        begin(session, data, query)
        described(session, query, {}).digest(7)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@contextmanager
def _server(folder: Path, rows: int) -> Iterator[Cluster]:
    folder.mkdir()
    server = Cluster(folder)
    try:
        server.run(
            "CREATE TABLE orders AS SELECT n AS id, 'customer ' || (n::bigint * 7919 % 100003) "  # noqa: S608  # a constant and a number
            "AS customer, (n % 100000) / 100.0 AS amount, "
            "timestamptz '2020-01-01' + n * interval '1 minute' AS placed_at, "
            f"n % 3 = 0 AS is_open, sqrt(n) AS weight FROM generate_series(1, {rows}) AS n",
            "ALTER TABLE orders ADD PRIMARY KEY (id)",
            "VACUUM ANALYZE orders",
        )
        with settings_of(server):
            yield server
    finally:
        server.stop()
