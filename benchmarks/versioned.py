"""Looks at Delta and Iceberg tables, beside what their own libraries do to open or read them.

The tables' histories are written by hand, commit by commit, which takes seconds and not hours.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import ENVIRONMENT, Probe, probe
from benchmarks.scratch import copy_project

__all__ = ["measure"]

_ROUNDS: Final = 5
_CHANGES: Final = 3
_REMOTE_COMMITS: Final = 1_000
_VERSIONS: Final = 10_000
_SNAPSHOTS: Final = 2_000
_ROWS: Final = 10_000_000
_FILE_ROWS: Final = 1_000_000
_CHANGED: Final = 1_000
_TICK: Final = "benchmarks.own.versioned_tick"
_DELTA: Final = "flowproject.sources.versioned.delta"
_ICEBERG: Final = "flowproject.sources.versioned.iceberg"
_OF_TICKS: Final = ("obstore.store", "pyiceberg.table", "pyiceberg.io.pyarrow")
_OF_CHANGES: Final = ("deltalake", "pyarrow.parquet", "duckdb", "pyiceberg.io.pyarrow")


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Requests, seconds and memory of both formats: nothing changed, and a thousand rows did."""
    with _s3() as server:
        yield from _requests(folder / "requests", server, 20 if quick else _REMOTE_COMMITS)
    yield from _unchanged_delta(folder / "delta", 50 if quick else _VERSIONS, quick=quick)
    yield from _unchanged_iceberg(folder / "iceberg", 50 if quick else _SNAPSHOTS, quick=quick)
    size = 200_000 if quick else _ROWS
    yield from _changed_delta(folder / "changed-delta", size, quick=quick)
    yield from _changed_iceberg(folder / "changed-iceberg", size, quick=quick)


# ------------------------------------------------------------------------------ what is written


def _config(table: str, kind: str, *, key: str = "", more: str = "") -> str:
    keyed = f'key = ["{key}"]\nrow_limit = 20_000_000\n' if key else ""
    return (
        f'project_name = "bench"\n\n[data]\ntype = "{kind}"\ntable = "{table}"\n{keyed}{more}\n'
        '[sensor]\nname = "orders"\ntimeout = "2h"\n'
    )


def _long_log(path: Path, commits: int) -> None:
    """A Delta table of one row, and as many commits without a checkpoint."""
    settings = {"delta.checkpointInterval": "1000000"}
    write_deltalake(str(path), pa.table({"id": [0]}), configuration=settings)
    write_deltalake(str(path), pa.table({"id": [1]}), mode="append")
    log = path / "_delta_log"
    text = (log / f"{1:020d}.json").read_text(encoding="utf-8")
    [added] = [json.loads(line)["add"]["path"] for line in text.splitlines() if '"add"' in line]
    for number in range(2, commits):
        again = text.replace(added, f"{number}-{added}")
        (log / f"{number:020d}.json").write_text(again, encoding="utf-8")


def _long_history(table: Table, snapshots: int, path: Path) -> None:
    """A metadata file of an Iceberg table whose one snapshot has that many before it."""
    file = Path(table.metadata_location.removeprefix("file://"))
    metadata = json.loads(file.read_text(encoding="utf-8"))
    [last] = metadata["snapshots"]
    line = []
    for number in range(1, snapshots):
        line.append({**last, "snapshot-id": number, "sequence-number": number})
        if number > 1:
            line[-1]["parent-snapshot-id"] = number - 1
    last |= {"parent-snapshot-id": snapshots - 1, "sequence-number": snapshots}
    log = [
        {"snapshot-id": one["snapshot-id"], "timestamp-ms": one["timestamp-ms"]}
        for one in [*line, last]
    ]
    metadata |= {
        "snapshots": [*line, last],
        "snapshot-log": log,
        "last-sequence-number": snapshots,
    }
    path.write_text(json.dumps(metadata), encoding="utf-8")


def _iceberg(folder: Path, schema: pa.Schema) -> Table:
    (folder / "warehouse").mkdir(parents=True)
    catalog = load_catalog(
        "bench",
        type="sql",
        uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
    )
    catalog.create_namespace("db")
    return catalog.create_table("db.orders", schema)


def _orders(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "customer": pa.array((f"customer {n * 7919 % 100003}" for n in numbers), pa.string()),
            "amount": pa.array([number % 100000 / 100 for number in numbers], pa.float64()),
            "day": pa.array([18_262 + number % 2000 for number in numbers], pa.int32()).cast(
                pa.date32()
            ),
            "is_open": pa.array((number % 3 == 0 for number in numbers), pa.bool_()),
            "quantity": pa.array([number * 31 % 977 for number in numbers], pa.int32()),
        }
    )


# --------------------------------------------------------------------------------- requests


class _Counter:
    """A real S3 server on 127.0.0.1, moto, and how often it was asked."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.count = 0
        self.url = ""

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Any:
        self.count += 1
        return self._application(environ, start)

    def of(self, work: Callable[[], object]) -> int:
        """How many requests something takes."""
        before = self.count
        work()
        return self.count - before


@contextmanager
def _s3() -> Iterator[_Counter]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            """One line for each request would be thousands."""

    counter = _Counter(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, counter, threaded=True, request_handler=Quiet)
    counter.url = f"http://127.0.0.1:{server.port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield counter
    finally:
        server.shutdown()
        server.server_close()


def _requests(folder: Path, server: _Counter, commits: int) -> Iterator[Figure]:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="lake")

    def upload(path: Path, prefix: str) -> None:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(path).as_posix()}"
                client.put_object(Bucket="lake", Key=key, Body=file.read_bytes())

    _long_log(folder / "delta", commits)
    upload(folder / "delta", "delta")
    endpoint = f'endpoint_url = "{server.url}"\n'
    root = copy_project(
        folder / "project", config=_config("s3://lake/delta", "delta", more=endpoint)
    )
    probe(_TICK, root, "baseline")
    options = [
        f"aws_endpoint_url={server.url}",
        "allow_http=true",
        "aws_region=us-east-1",
        "aws_access_key_id=bench",
        "aws_secret_access_key=bench",
    ]
    peer = server.of(
        lambda: probe("benchmarks.peers.delta_table", "s3://lake/delta", "-", *options)
    )
    ours = server.of(lambda: probe(_TICK, root, "unchanged", _DELTA))
    yield Comparison(
        ours_is=f"a tick of a Delta table of {commits:,} commits on S3, nothing changed, requests",
        peer_is="DeltaTable(path).version(), requests",
        fair_because="both ask the same moto for the same log, which has no checkpoint",
        ours=[ours],
        peer=[peer],
        goal=0.01,
    )
    table = _iceberg(folder / "iceberg", _orders(0, 0).schema)
    table.append(_orders(0, 10))
    _long_history(table, commits, folder / "current.metadata.json")
    upload(folder / "iceberg" / "warehouse", "iceberg")
    client.upload_file(str(folder / "current.metadata.json"), "lake", "current.metadata.json")
    file = "s3://lake/current.metadata.json"
    root = copy_project(folder / "other", config=_config(file, "iceberg", more=endpoint))
    probe(_TICK, root, "baseline")
    settings = [
        f"s3.endpoint={server.url}",
        "s3.region=us-east-1",
        "s3.access-key-id=bench",
        "s3.secret-access-key=bench",
        "s3.force-virtual-addressing=false",
    ]
    peer = server.of(lambda: probe("benchmarks.peers.iceberg_table", file, "-", *settings))
    ours = server.of(lambda: probe(_TICK, root, "unchanged", _ICEBERG))
    yield Limit(
        what=f"requests of a tick of an Iceberg table of {commits:,} snapshots on S3, nothing "
        f"changed; PyIceberg alone makes {peer}",
        amount=ours,
        most=3,
        unit="requests",
    )


# ------------------------------------------------------------------------------ nothing changed


def _unchanged_delta(folder: Path, versions: int, *, quick: bool) -> Iterator[Figure]:
    _long_log(folder / "orders", versions)
    DeltaTable(str(folder / "orders")).create_checkpoint()
    root = copy_project(folder / "project", config=_config(str(folder / "orders"), "delta"))
    probe(_TICK, root, "baseline")
    ours, peer = in_turn(
        lambda: probe(_TICK, root, "unchanged", _DELTA, "obstore.store"),
        lambda: probe("benchmarks.peers.delta_table", folder / "orders", "-"),
        rounds=_ROUNDS,
        quick=quick,
    )
    yield from _both(
        f"a tick of a Delta table of {versions:,} versions with a checkpoint, nothing changed",
        "DeltaTable(path).version()",
        ours,
        peer,
    )


def _unchanged_iceberg(folder: Path, snapshots: int, *, quick: bool) -> Iterator[Figure]:
    table = _iceberg(folder, _orders(0, 0).schema)
    table.append(_orders(0, 10))
    file = folder / "current.metadata.json"
    _long_history(table, snapshots, file)
    root = copy_project(folder / "project", config=_config(str(file), "iceberg"))
    probe(_TICK, root, "baseline")
    ours, peer = in_turn(
        lambda: probe(_TICK, root, "unchanged", _ICEBERG, *_OF_TICKS),
        lambda: probe("benchmarks.peers.iceberg_table", file, "-"),
        rounds=_ROUNDS,
        quick=quick,
    )
    yield from _both(
        f"a tick of an Iceberg table of {snapshots:,} snapshots, nothing changed",
        "StaticTable.from_metadata(file).current_snapshot()",
        ours,
        peer,
    )


def _both(what: str, peer_is: str, ours: list[Probe], peer: list[Probe]) -> Iterator[Figure]:
    yield Comparison(
        ours_is=f"{what}, CPU",
        peer_is=f"{peer_is}, CPU",
        fair_because="both are new processes that have imported what they use; the tick also "
        "reads the journal. Seconds of the processor: the machine has others to serve",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in peer],
        goal=2,
    )
    yield Comparison(
        ours_is=f"{what}, peak memory in MB",
        peer_is=f"{peer_is}, peak memory in MB",
        fair_because="the same processes",
        ours=[each.peak_mb for each in ours],
        peer=[each.peak_mb for each in peer],
        goal=1.3,
    )


# -------------------------------------------------------------------------- a thousand rows changed


def _changed_delta(folder: Path, rows: int, *, quick: bool) -> Iterator[Figure]:
    path = str(folder / "orders")
    size = min(rows, _FILE_ROWS)
    for first in range(0, rows, size):
        feed = {"delta.enableChangeDataFeed": "true"} if not first else None
        write_deltalake(path, _orders(first, size), mode="append", configuration=feed)
    root = copy_project(folder / "project", config=_config(path, "delta", key="id"))
    probe(_TICK, root, "baseline", _DELTA, *_OF_CHANGES)
    ours, peer = [], []
    for number in range(1 if quick else _CHANGES):
        first = number * _CHANGED
        condition = f"id >= {first} AND id < {first + _CHANGED}"
        DeltaTable(path).update({"quantity": "-1"}, predicate=condition)
        version = DeltaTable(path).version()
        ours.append(probe(_TICK, root, "changed", _DELTA, *_OF_CHANGES))
        peer.append(probe("benchmarks.peers.delta_table", path, version))
    yield _change(f"{_CHANGED:,} rows of {rows:,} updated in a Delta table", "load_cdf", ours, peer)


def _changed_iceberg(folder: Path, rows: int, *, quick: bool) -> Iterator[Figure]:
    table = _iceberg(folder, _orders(0, 0).schema)
    size = min(rows, _FILE_ROWS)
    for first in range(0, rows, size):
        table.append(_orders(first, size))
    file = folder / "current.metadata.json"

    def publish() -> int:
        shutil.copy(table.metadata_location.removeprefix("file://"), file)
        snapshot = table.current_snapshot()
        if snapshot is None:
            raise RuntimeError("nothing was appended")
        return snapshot.snapshot_id

    before = publish()
    root = copy_project(folder / "project", config=_config(str(file), "iceberg", key="id"))
    probe(_TICK, root, "baseline", _ICEBERG, *_OF_CHANGES)
    ours, peer = [], []
    for number in range(1 if quick else _CHANGES):
        table.append(_orders(rows + number * _CHANGED, _CHANGED))
        after = publish()
        ours.append(probe(_TICK, root, "changed", _ICEBERG, *_OF_CHANGES))
        peer.append(probe("benchmarks.peers.iceberg_table", file, before))
        before = after
    what = f"{_CHANGED:,} rows appended to {rows:,} in an Iceberg table"
    yield _change(what, "incremental_append_scan", ours, peer)


def _change(what: str, peer_is: str, ours: list[Probe], peer: list[Probe]) -> Figure:
    most = max(each.peak_mb for each in ours)
    return Comparison(
        ours_is=f"a tick after {what}, CPU (at most {most:,.0f} MB)",
        peer_is=f"{peer_is} of that commit into Arrow, CPU",
        fair_because="both are new processes that have imported what they use, and see the same "
        "commits. The peer only reads; the tick also makes sure that no other row has one of these "
        "keys, and records rows and difference",
        ours=[each.cpu for each in ours],
        peer=[each.cpu for each in peer],
        goal=1.5,
    )
