"""The real cluster: an API server with Argo Events' own controllers, from the Go program here.

`make argo` builds the program. One runs for all tests of a session; each gets it empty.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Self

import requests

from tests.deploy.cluster import (
    EVENTS,
    GROUP,
    NAMESPACE,
    NEWEST,
    SECONDS,
    VERSION,
    Cluster,
    Fault,
    Hold,
    written,
)

__all__ = ["PROGRAM", "ArgoCluster", "Records", "until"]

_HERE: Final = Path(__file__).parent
PROGRAM: Final = _HERE.parent.parent / "build" / "argo"
_KINDS: Final = ("sensors", "cronworkflows", "workflows", "workflowtemplates")
_WEBHOOK: Final = "metaflow-webhook"
_START: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Records:
    """What the bus keeps."""

    messages: int
    consumers: Mapping[str, int]
    """Name → messages that are still to be done."""

    buckets: Mapping[str, list[str]]
    """Name of a Sensor → keys of what it waits with."""


class ArgoCluster(Cluster):
    """A real API server, and real Sensors on a real bus."""

    def __init__(self, folder: Path, argo: str = NEWEST) -> None:
        self.folder = folder
        self.argo = argo
        self.kubeconfig = folder / "kubeconfig.json"
        with (folder / "cluster.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-folder", folder, "-definitions", _definitions(argo)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        ready = folder / "ready.json"
        until(lambda: ready.exists() or self._ended(), seconds=_START)
        told = json.loads(ready.read_text())
        self.url, self._control, self.webhook = told["url"], told["control"], told["webhook"]
        until(self._webhook_answers, seconds=_START)
        until(self._serves, seconds=_START)

    @classmethod
    @cache
    def shared(cls) -> Self:
        """The one of this session, which ends with it."""
        running = cls(Path(tempfile.mkdtemp(prefix="flowproject-argo-")))
        atexit.register(running.stop)
        return running

    def _ended(self) -> bool:
        if self._process.poll() is None:
            return False
        raise RuntimeError(f"{PROGRAM} ended: {(self.folder / 'cluster.log').read_text()[-2000:]}")

    def _webhook_answers(self) -> bool:
        health = self.webhook.rpartition("/")[0] + "/health"
        return bool(requests.get(health, timeout=SECONDS).ok)

    def _serves(self) -> bool:
        """Whether every kind can be listed, which a new definition takes a moment for."""
        base = f"{self.url}/apis/{GROUP}/{VERSION}"
        return all(requests.get(f"{base}/{kind}", timeout=SECONDS).ok for kind in _KINDS)

    def stop(self) -> None:
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin
        stdin.close()
        self._process.wait(SECONDS)
        shutil.rmtree(self.folder)

    def clear(self, argo: str = NEWEST) -> None:
        """Remove whatever the tests before have left, and install the definitions of `argo`."""
        self.fail(None)
        self.deny()
        for plural in _KINDS:
            self.ask("DELETE", plural)
        until(lambda: not any(self.objects(plural) for plural in _KINDS))
        until(lambda: self.processes().keys() == {_WEBHOOK})
        self._tell("bus/clear")
        if argo != self.argo:
            self._tell("define", _definitions(argo))
            until(self._serves)
            self.argo = argo
        self.writes()

    def ask(self, method: str, plural: str, name: str = "", body: Any = None) -> Any:
        """What the API server answers to a request about objects of the kind."""
        namespace = EVENTS if plural == "sensors" else NAMESPACE
        path = f"{self.url}/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}"
        return _request(method, f"{path}/{name}" if name else path, body)

    def objects(self, plural: str) -> dict[str, dict[str, Any]]:
        """Name → object; what is being removed is awaited, as Argo lets a Sensor go by itself."""

        def found() -> list[dict[str, Any]]:
            listed: list[dict[str, Any]] = self.ask("GET", plural)["items"]
            return listed

        def going() -> bool:
            return any("deletionTimestamp" in one["metadata"] for one in found())

        until(lambda: not going())
        return {one["metadata"]["name"]: one for one in found()}

    def put(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        self.ask("POST", plural, body=written(plural, name, NAMESPACE, annotations))

    def annotate(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        self.ask("PATCH", plural, name, {"metadata": {"annotations": dict(annotations)}})

    def writes(self) -> list[str]:
        told: list[str] = self._tell("writes")
        return told

    def fail(self, fault: Fault | None) -> None:
        self._tell("fault", fault and asdict(fault))

    def deny(self, *pairs: tuple[str, str]) -> None:
        self._tell("deny", pairs)

    def hold(self, number: int) -> Hold:
        self._tell("hold", number)
        return _Held(self._tell)

    @contextmanager
    def away(self) -> Iterator[None]:
        self._tell("away")
        try:
            yield
        finally:
            self._tell("back")

    @contextmanager
    def bus_away(self) -> Iterator[None]:
        """While in it, the bus is down; what it has stored is there again afterwards."""
        self._tell("bus/stop")
        try:
            yield
        finally:
            self._tell("bus/start")

    def records(self) -> Records:
        """What the bus keeps of all Sensors."""
        return Records(**self._tell("bus/records"))

    def pending(self) -> bool:
        return any(self.records().consumers.values())

    def listening(self, sensor: str) -> bool:
        """Whether the Sensor's present process has subscribed to its events."""
        known = self._tell("processes").get(sensor)
        return bool(known) and "successfully subscribed" in Path(known["log"]).read_text()

    def log(self, sensor: str) -> str:
        """What the Sensor's present process has written."""
        return Path(self._tell("processes")[sensor]["log"]).read_text()

    def kill(self, sensor: str) -> None:
        """End the Sensor's process as a machine does that goes down; another one starts soon."""
        with suppress(ProcessLookupError):  # it has just been killed
            os.kill(self.processes()[sensor], signal.SIGKILL)

    def processes(self) -> dict[str, int]:
        """The Sensors and event sources that run → the numbers of their processes."""
        return {name: one["pid"] for name, one in self._tell("processes").items()}

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send the event to the webhook, as publishers on the cluster do."""
        _request("POST", self.webhook, event)

    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → Workflow, of all that Sensors have made."""
        return self.objects("workflows")

    def _tell(self, what: str, body: Any = None) -> Any:
        return _request("POST", f"{self._control}/{what}", body)


class _Held(Hold):
    def __init__(self, tell: Callable[[str], Any]) -> None:
        self._tell = tell

    def wait(self) -> bool:
        return bool(self._tell("reached"))

    def release(self) -> None:
        self._tell("release")


def until(
    condition: Callable[[], bool],
    *,
    seconds: float = SECONDS,
    instead: Callable[[], object] = lambda: "",
) -> None:
    """Wait until it is so; `instead` tells what is, if it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} seconds: {instead()}"
        time.sleep(0.02)


def _definitions(argo: str) -> str:
    return str(_HERE / "definitions" / f"{argo}.yaml")


def _request(method: str, url: str, body: Any = None) -> Any:
    sent = json.dumps(body) if method in ("POST", "PUT", "PATCH") else None
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Content-Type": kind, "X-Aside": "the tests' own"}
    answer = requests.request(method, url, data=sent, headers=headers, timeout=2 * SECONDS)
    answer.raise_for_status()
    return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text
