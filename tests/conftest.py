"""What every test stands on: a user name, a datastore of its own, a bus that is a real server."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.isolation import isolate
from tests.warm import python

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

pytest_plugins = (
    "flowproject.testing",
    "tests.servers",
    "tests.containers",
    "tests.snow",
    "tests.postgres",
)

# A shared machine is slow at times: what is judged is the answer, not its speed. Searches are short
# here, and long in CI's job of the thorough tests (HYPOTHESIS_PROFILE=thorough).
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("calm", max_examples=30, **_CALM)
settings.register_profile("thorough", max_examples=200, **_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "calm"))

isolate(os.environ)

# What is started in the background has Ctrl-C ignored, and so has every child of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# `make test` gives a core one file at a time: what takes longest goes first, so that in the end the
# cores share what is short.
LONGEST_FIRST = (
    *("argo/test_shop", "argo/test_campaign", "deploy/test_executed_shop", "argo"),
    *("deploy/test_executed", "browser/test_page", "flows/test_dev_loop", "deploy/test_deploy"),
    *("flows/test_page", "deploy/test_compilation", "faults/test_kills", "flows/test_commands"),
    *("flows/test_demo", "flows/test_benchmarks", "contract/test_s3_keys", "contract/test_sources"),
    *("docs", "examples", "flows", "deploy", "executor", "browser", "faults", "model", "contract"),
    *("compatibility", "unit"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.path.relative_to(ROOT).as_posix()))


def _turn(path: str) -> int:
    name = path.removeprefix("tests/")
    return next(turn for turn, first in enumerate(LONGEST_FIRST) if name.startswith(first))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded, also from the workers of a parallel run."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(value)


class Bus:
    """An event bus on 127.0.0.1 that keeps what it took; `answer` decides the status of a POST."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], int] = lambda _: 200
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/event"

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.events]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bus = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = bus.answer(event)
                if status < 300:
                    bus.events.append(event)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests read the events, not the access log."""

        return Handler


@pytest.fixture(autouse=True)
def _no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test opens something with may be a word in another's messages."""
    # Imported by tests, when the environment is as they want it.
    if secrecy := sys.modules.get("flowproject.secrecy"):
        monkeypatch.setattr(secrecy, "_known", set())


@pytest.fixture(scope="session")
def flow_interpreter() -> str:
    """That of all tests here, in place of the plugin's own."""
    return python()


@pytest.fixture(scope="module")
def warm_children() -> Iterator[None]:
    """What our code starts with the interpreter of this process starts warm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", python())
        yield


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """A bus that this process and its children publish to."""
    import metaflow.metaflow_config

    running = Bus()
    monkeypatch.setattr(metaflow.metaflow_config, "ARGO_EVENTS_WEBHOOK_URL", running.url)
    monkeypatch.setenv("METAFLOW_ARGO_EVENTS_WEBHOOK_URL", running.url)
    yield running
    running.stop()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project's own files in a folder of its own, with a datastore of its own."""
    import shutil

    folder = tmp_path / "project"
    folder.mkdir()
    flows = ("baseflow.py", "sensorflow.py", "starterflow.py", "forecast.py")
    for name in ("flowproject.toml", *flows):
        shutil.copy(ROOT / name, folder)
    for name in ("sql", "data"):
        shutil.copytree(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(folder / ".metaflow"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder
