"""What deploying many flows takes, and deploying none: really compiled, for an emulated cluster."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import copy_project
from tests.deploy.cluster import EmulatedCluster

__all__ = ["measure"]

_MANY: Final = 12
_OTHERS: Final = 5_000
"""Templates of other projects on the cluster, as a company may have them."""

_ROUNDS: Final = 3
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_FLOW: Final = """from metaflow import step

from flowproject import BaseFlow, on_change


@on_change("weather")
class Bench{number}Flow(BaseFlow):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Bench{number}Flow()
"""
_NOTED: Final = {
    "metaflow/project_name": "other",
    "metaflow/branch_name": "prod",
    "metaflow/dag": "x" * 3000,
    "flowproject/files": "x" * 1500,
}
_FAIR: Final = (
    "both are whole commands, from the start of Python to the table, with Metaflow's own compiler, "
    "code packages in S3 (moto) and writes to a Kubernetes API (kmock), all on this machine. The "
    "peer is what a loop over the flows would cost, a process of ours for each"
)


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """Twelve flows over twelve times one; nothing changed over everything new."""
    with _services(folder) as environment:
        many, one = _project(folder / "many", _MANY), _project(folder / "one", 1)
        ours, peer = in_turn(
            lambda: _deploy(many, environment, "--all"),
            lambda: _MANY * _deploy(one, environment, "--all"),
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is=f"`flowproject deploy` of {_MANY} flows",
            peer_is=f"{_MANY} times the same of one flow",
            fair_because=_FAIR,
            ours=ours,
            peer=peer,
            goal=0.65,
        )
        ours, peer = in_turn(
            lambda: _deploy(many, environment),
            lambda: _deploy(many, environment, "--all"),
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is=f"`flowproject deploy` of {_MANY} unchanged flows",
            peer_is=f"`flowproject deploy --all` of the same {_MANY}",
            fair_because="`--all` is what every deployment did before: it compiles and writes "
            "everything. Ours compares what would go into each compilation",
            ours=ours,
            peer=peer,
            goal=0.5,
        )

        others = _OTHERS // 50 if quick else _OTHERS
        with _beside(folder / "crowded", others) as crowded, _beside(folder / "empty", 0) as empty:
            ours, peer = in_turn(
                lambda: _deploy(one, environment | crowded, "--plan"),
                lambda: _deploy(one, environment | empty, "--plan"),
                rounds=_ROUNDS,
                quick=quick,
            )
        yield Comparison(
            ours_is=f"`flowproject deploy --plan` of a new project, beside {_OTHERS:,} templates",
            peer_is="the same on an empty cluster",
            fair_because="the same project and the same emulator of the API, which answers with "
            "the metadata that is asked for: 5 kB of it for each template",
            ours=ours,
            peer=peer,
            goal=1.3,
        )


def _project(folder: Path, flows: int) -> Path:
    folder.mkdir(parents=True)
    root = copy_project(folder)
    # What would make environments is no part of this.
    config = root / "flowproject.toml"
    text = config.read_text().replace('environment = "pypi"', 'environment = ""')
    config.write_text(text.replace("image_has_packages = false", "image_has_packages = true"))
    for number in range(flows):
        (root / f"bench{number}flow.py").write_text(_FLOW.format(number=number))
    return root


def _deploy(root: Path, environment: dict[str, str], *options: str) -> float:
    begun = perf_counter()
    command = [sys.executable, "-m", "flowproject", "deploy", "--git-branch", root.name, *options]
    subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    return perf_counter() - begun


@contextmanager
def _beside(folder: Path, others: int) -> Iterator[dict[str, str]]:
    """What makes Metaflow deploy to a cluster with as many templates of others."""
    folder.mkdir()
    cluster = EmulatedCluster(folder)
    for number in range(others):
        cluster.put("workflowtemplates", f"other.prod.flow{number}", _NOTED)
    try:
        yield cluster.environment
    finally:
        cluster.stop()


@contextmanager
def _services(folder: Path) -> Iterator[dict[str, str]]:
    """What makes Metaflow deploy to a cluster and a datastore on this machine."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line for every request
    cluster = EmulatedCluster(folder)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        _create_bucket(url)
        yield {
            **os.environ,
            **_CREDENTIALS,
            **cluster.environment,
            "METAFLOW_HOME": str(folder),
            "METAFLOW_DEFAULT_DATASTORE": "s3",
            "METAFLOW_DATASTORE_SYSROOT_S3": "s3://bench/metaflow",
            "METAFLOW_S3_ENDPOINT_URL": url,
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        }
    finally:
        server.stop()
        cluster.stop()


def _create_bucket(url: str) -> None:
    import boto3

    boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",  # noqa: S106  # of an emulator
    ).create_bucket(Bucket="bench")
