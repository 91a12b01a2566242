"""Where journals lie: a local folder, or a bucket of moto's S3 server behind a line that breaks."""

import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from benchmarks.chaos.line import Line
from benchmarks.chaos.story import Place

__all__ = ["local", "moto", "on_s3"]

_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "chaos",
    "AWS_SECRET_ACCESS_KEY": "chaos",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}
_BUCKET: Final = "chaos"
_GIVING_UP: Final = dt.timedelta(milliseconds=40)
_BACKOFF: Final = (dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=8))
_PATIENCE: Final = 60
_SERVER: Final = """
import sys, time
from moto.server import ThreadedMotoServer
import logging
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def local(folder: Path) -> Iterator[Place]:
    """A folder of this machine; there is no wire to it."""
    from flowproject.journal import open_store

    root = folder / "store"
    yield Place(name="local", folder=folder, root=str(root), store=open_store(str(root)), wire=None)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The address of moto's server, which runs in a process of its own."""
    with (
        patch.dict(os.environ, _CREDENTIALS),
        subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server,
    ):
        port = server.stdout.readline().strip() if server.stdout else ""
        yield f"http://127.0.0.1:{port}"
        server.kill()


@contextlib.contextmanager
def on_s3(folder: Path, endpoint_url: str) -> Iterator[Place]:
    """A bucket on that server; the store's client gives up soon, so that its failures are quick."""
    from flowproject import aws
    from flowproject.journal import open_store

    _bucket(endpoint_url)
    root = f"s3://{_BUCKET}/root-{os.getpid()}-{time.monotonic_ns()}"
    with (
        Line(endpoint_url) as line,
        patch.object(aws, "_BACKOFF", _BACKOFF),
        patch.object(aws, "_RETRYING", _GIVING_UP),
    ):
        broken = _at(line.endpoint_url, lambda: open_store(root))
        store = _at(endpoint_url, lambda: open_store(root))
        yield Place(
            name="s3",
            folder=folder,
            root=root,
            store=store,
            wire=lambda fault: line.broken(fault, broken),
            environment={"METAFLOW_S3_ENDPOINT_URL": endpoint_url},
        )


def _bucket(endpoint_url: str) -> None:
    import boto3

    boto3.client("s3", endpoint_url=endpoint_url).create_bucket(Bucket=_BUCKET)


def _at(endpoint_url: str, make: Callable[[], Any]) -> Any:
    """What is made while Metaflow is set to that address of S3."""
    from metaflow.metaflow_config import DATATOOLS_CLIENT_PARAMS

    with patch.dict(DATATOOLS_CLIENT_PARAMS, {"endpoint_url": endpoint_url}):
        return make()
