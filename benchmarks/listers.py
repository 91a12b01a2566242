"""How others list the same million objects, beside a tick of ours.

The slow ones run once: each takes a minute or two, and a hundredfold needs no median.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.costs import Cost, Taken
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison
from benchmarks.probe import PEERS_PYTHON
from benchmarks.watched import Watched, watched

__all__ = ["measure"]

_OBJECTS: Final = 1_000_000
_OBJECTS_IF_QUICK: Final = 5_000
_LATENCY: Final = 0.03
_AT_ONCE: Final = 32
_TICKS: Final = 5


@dataclass(frozen=True)
class _Peer:
    module: str
    """In the folder `peers`."""
    method: str
    on_boto3: bool = False
    """Whether boto3 or botocore turns its pages into objects."""
    own_packages: bool = False
    """Whether it needs what flowproject does not: then it runs in the peers' environment."""
    at_once: int = 1


_PEERS: Final = (
    _Peer("boto3_streamed", "boto3's paginator, objects forgotten", on_boto3=True),
    _Peer("boto3_kept", "boto3's paginator, objects kept and pickled", on_boto3=True),
    _Peer("metaflow_s3", "Metaflow's `S3.list_recursive`", on_boto3=True),
    _Peer("s3fs_find", "s3fs's `find`", on_boto3=True, own_packages=True),
    _Peer("airflow_hook", "Airflow's `S3Hook.list_keys`", on_boto3=True, own_packages=True),
    _Peer("dagster_keys", "Dagster's `get_s3_keys`", on_boto3=True, own_packages=True),
    _Peer("obstore_arrow", "obstore's `list`, into Arrow", own_packages=True),
    _Peer("obstore_arrow", "obstore, by folder", own_packages=True, at_once=_AT_ONCE),
    _Peer("pyarrow_fs", "pyarrow's `get_file_info`"),
)


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Every peer without a wait for each request, and with one."""
    peers = [peer for peer in _PEERS if not (quick and peer.own_packages)]
    with watched(folder, _OBJECTS_IF_QUICK if quick else _OBJECTS) as bucket:
        bucket.tick(_AT_ONCE, "baseline")
        for latency in (0, _LATENCY):
            bucket.server.wait_for_each(latency)
            yield from _side_by_side(bucket, peers, f"{latency * 1000:.0f} ms", quick=quick)


def _side_by_side(
    bucket: Watched, peers: list[_Peer], waiting: str, *, quick: bool
) -> Iterator[Figure]:
    ticks = _ticks(bucket, 1 if quick else _TICKS)
    seconds: dict[str, float] = {}
    for peer in peers:
        cost = Cost(
            method=peer.method,
            setting=f"{waiting}, {peer.at_once} at once",
            taken=[_listed(bucket, peer)],
        )
        yield cost
        if peer.on_boto3:
            seconds[cost.method] = cost.wall
    ticks += _ticks(bucket, 1 if quick else _TICKS)  # the machine may be slower by now
    ours = Cost(
        method="a tick of ours, nothing changed",
        setting=f"{waiting}, {_AT_ONCE} at once",
        taken=ticks,
    )
    yield ours
    best = min(seconds, key=lambda method: seconds[method])
    yield Comparison(
        ours_is=f"{ours.method} ({ours.setting})",
        peer_is=f"the fastest of those that stand on boto3: {best} ({waiting}, 1 at once)",
        fair_because="both find all objects of the same bucket on the same server and know keys, "
        "sizes, ETags and dates, as far as the peer tells them; a tick also says what changed "
        "since the last one. Ours is the median of ticks before and after all peers. They ran "
        "once each, one page after the other, because they can't do otherwise",
        ours=[ours.wall],
        peer=[seconds[best]],
        goal=0.01 if waiting.startswith("0 ") else None,
    )


def _ticks(bucket: Watched, times: int) -> list[Taken]:
    return [bucket.tick(_AT_ONCE) for _ in range(times)]


def _listed(bucket: Watched, peer: _Peer) -> Taken:
    url = bucket.server.url
    connection = {"conn_type": "aws", "extra": {"endpoint_url": url}}
    return bucket.lister(
        f"benchmarks.peers.{peer.module}",
        peer.at_once,
        python=str(PEERS_PYTHON) if peer.own_packages else sys.executable,
        environment={
            "METAFLOW_S3_ENDPOINT_URL": url,
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "AIRFLOW_HOME": str(bucket.root / "airflow"),
        },
    )
