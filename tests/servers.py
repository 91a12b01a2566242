"""Real S3 servers on 127.0.0.1, one of each kind for a session, and credentials that open them.

Four that have nothing in common but the protocol. A test asks for a bucket of its own, so that
tests share a server and never a state.
"""

import datetime as dt
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from tests.sharing import end_with_the_run, one_at_a_time

_REGION: Final = "us-east-1"
_PATIENCE: Final = 60.0
_NUMBERS: Final = itertools.count(1)

CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "an-open-secret",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",  # no request to a machine's own address for credentials
    "AWS_CONFIG_FILE": os.devnull,  # nobody's real account
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}
_FOREIGN: Final = (
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


class S3Server:
    """A running server: where it is, a client for it, and new buckets."""

    def __init__(self, name: str, endpoint_url: str, credentials: dict[str, str]) -> None:
        self.name = name
        self.endpoint_url = endpoint_url
        self.credentials = credentials

    def __repr__(self) -> str:
        return f"<{self.name} at {self.endpoint_url}>"

    def client(self, endpoint_url: str = "") -> Any:
        """A boto3 client that tries once and asks in the style that every server knows."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=endpoint_url or self.endpoint_url,
            region_name=_REGION,
            aws_access_key_id=self.credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.credentials["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def bucket(self, *, versioned: bool = False) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


class Moto(S3Server):
    """moto, in this process: its buckets can also be filled without a request for each object."""

    def fill(self, bucket: str, keys: dict[str, bytes]) -> None:
        """Put many small objects there, about a thousand times as fast as over HTTP."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key, content in keys.items():
            backend.put_object(bucket, key, content)

    def date(self, bucket: str, key: str, moment: dt.datetime) -> None:
        """Say that an object was last modified at a moment (without time zone: UTC)."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(bucket, key).last_modified = moment

    def secret(self, name: str, content: dict[str, str]) -> None:
        """Keep a secret in moto's Secrets Manager, at the same address."""
        import boto3

        keys = {name.lower(): self.credentials[name] for name in self.credentials if "KEY" in name}
        client = boto3.client("secretsmanager", _REGION, endpoint_url=self.endpoint_url, **keys)
        client.create_secret(Name=name, SecretString=json.dumps(content))


@contextmanager
def _environment() -> Iterator[None]:
    from botocore.loaders import create_loader

    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        # Every look makes a client of its own, and each would parse a megabyte of descriptions.
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session")
def aws() -> Iterator[dict[str, str]]:
    """Credentials that open nothing but these servers, for this process and its children."""
    with _environment():
        yield CREDENTIALS


@pytest.fixture(scope="session")
def moto(aws: dict[str, str]) -> Iterator[Moto]:
    """AWS as moto knows it: keys in byte order, versions, errors of every kind."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line for every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with _writes_one_at_a_time():
        yield Moto("moto", f"http://{host}:{port}", aws)
    server.stop()


@contextmanager
def _writes_one_at_a_time() -> Iterator[None]:
    """On S3 one of several that create a key does; moto looks and writes in two steps."""
    from moto.s3.responses import S3Response

    writing, put_object = threading.Lock(), S3Response.put_object

    def put_alone(self: Any) -> Any:
        with writing:
            return put_object(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "put_object", put_alone)
        yield


_ICEBERG: Final = "iceberg"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A server that is a program of its own: where it will be, and how it is started there."""

    url: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    leaves: Sequence[str] = ()
    """Patterns of names in /tmp, of what it does not remove when it ends."""


def shared(name: str, plan: Callable[[Path], Program], answers: Callable[[str], bool]) -> str:
    """The address of a server that all workers of a run share; the first to ask starts it."""
    with one_at_a_time(name) as folder:
        note = folder / "address"
        if not note.exists():
            program = plan(folder)
            _start(program, folder, answers)
            note.write_text(program.url)
        return note.read_text()


def _start(program: Program, folder: Path, answers: Callable[[str], bool]) -> None:
    path = folder / "log.txt"
    with path.open("wb") as log:
        process = subprocess.Popen(
            program.command,
            cwd=folder,
            env={
                **os.environ,
                "HOME": str(folder),
                "TMPDIR": str(folder),
                **program.environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end_with_the_run(process.pid, *program.leaves)
    deadline = time.monotonic() + _PATIENCE
    while not answers(program.url):
        said = path.read_text(errors="replace")[-2_000:]
        assert process.poll() is None, f"{program.command[0]} ended: {said}"
        assert time.monotonic() < deadline, f"{program.command[0]} does not answer: {said}"
        time.sleep(0.05)
    process.returncode = 0  # it outlives this worker


def free_ports(count: int) -> list[str]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(taken.getsockname()[1]) for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def _program(name: str) -> str:
    """The path of a program that a package of the `dev` group installs beside the interpreter."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it is in the dev group of pyproject.toml")
    return found


def _stores(url: str) -> bool:
    """Whether it stores an object; a server that only listens may not be ready for one."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = S3Server("it", url, CREDENTIALS).client()
    try:
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"1")
        client.list_objects_v2(Bucket="ready")
    except (BotoCoreError, ClientError):
        return False
    return True


@pytest.fixture(scope="session")
def ministack(aws: dict[str, str]) -> S3Server:
    """AWS as ministack knows it: every legal key, newlines included."""
    path = _program("ministack")

    def plan(_: Path) -> Program:
        [port] = free_ports(1)
        environment = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": port,
            "SERVICES": "s3",
            "IOT_MTLS_ENABLED": "0",  # a second port, always the same
        }
        url = f"http://127.0.0.1:{port}"
        return Program(url=url, command=[path], environment=environment)

    return S3Server("ministack", shared("ministack", plan, _stores), aws)


@pytest.fixture(scope="session")
def rclone(aws: dict[str, str]) -> S3Server:
    """The protocol as rclone serves it, from memory: keys that are file names, nothing else."""
    path = _program("rclone")

    def plan(_: Path) -> Program:
        [port] = free_ports(1)
        command = [path, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", os.devnull]
        keys = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
        command += ["--auth-key", keys, ":memory:"]
        return Program(url=f"http://127.0.0.1:{port}", command=command)

    return S3Server("rclone", shared("rclone", plan, _stores), aws)


@pytest.fixture(scope="session")
def weed(aws: dict[str, str]) -> S3Server:
    """The hostile one: folder by folder instead of in byte order, its XML in another order."""
    path = _program("weed")

    def plan(folder: Path) -> Program:
        names = ("master.port", "volume.port", "filer.port", "s3.port")
        names = (*names, *(f"{name}.grpc" for name in names))
        *found, iceberg = free_ports(9)
        ports = dict(zip(names, found, strict=True))
        (folder / _ICEBERG).write_text(f"http://127.0.0.1:{iceberg}")
        command = [
            *(path, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"),
            *(f"-{name}={port}" for name, port in ports.items()),
            *(f"-s3.port.iceberg={iceberg}", "-s3.port.lance=0"),
            *(f"-filer.localSocket={folder}/filer", f"-s3.localSocket={folder}/s3"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=1", "-volume.max=1000"),
        ]
        url = f"http://127.0.0.1:{ports['s3.port']}"
        leaves = [f"seaweedfs-*-{port}.sock" for port in ports.values()]
        return Program(url=url, command=command, leaves=leaves)

    return S3Server("weed", shared("weed", plan, _stores), aws)


@pytest.fixture(scope="session")
def iceberg_rest(weed: S3Server) -> str:  # noqa: ARG001  # it is a part of it
    """The address of the REST catalog that SeaweedFS has for Iceberg tables in its buckets."""
    with one_at_a_time("weed") as folder:
        return (folder / _ICEBERG).read_text()


SERVERS: Final = ("moto", "ministack", "rclone", "weed")


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the servers in turn."""
    found: S3Server = request.getfixturevalue(request.param)
    return found
