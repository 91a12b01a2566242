"""The tests leave a developer's settings, data and accounts alone, whatever a shell has set."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.isolation import isolate

SOME_OF_ALL = (
    "unit/cli/test_history.py",
    "unit/cli/test_journal_reset.py",
    "unit/dev/page/test_actions.py",
    "unit/sensing/test_context.py",
    "unit/starting/test_taking.py",
    "unit/test_aws.py",
    "unit/test_events.py",
)
"""What keeps a journal, publishes, or looks for credentials, if only in a temporary folder."""


@dataclass
class Trap:
    """A port at which nobody may knock, and what was said by who did."""

    port: int
    heard: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def trap() -> Iterator[Trap]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        found = Trap(server.getsockname()[1])

        def listen() -> None:
            with suppress(OSError):  # it is closed in the end
                while True:
                    caller, _ = server.accept()
                    with caller:
                        caller.settimeout(1)
                        with suppress(OSError):
                            found.heard.append(caller.recv(200).decode(errors="replace"))

        threading.Thread(target=listen, daemon=True).start()
        yield found


@dataclass(frozen=True)
class Developer:
    """A home with settings for Metaflow, AWS and Kubernetes, which lead astray."""

    home: Path
    trap: Trap

    def settle(self) -> None:
        """Write the files of the home."""
        settings = {
            "METAFLOW_DEFAULT_DATASTORE": "s3",
            "METAFLOW_DATASTORE_SYSROOT_S3": "s3://mine/metaflow",
            "METAFLOW_S3_ENDPOINT_URL": self.trap.url,
            "METAFLOW_DEFAULT_METADATA": "service",
            "METAFLOW_SERVICE_URL": self.trap.url,
            "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": self.trap.url,
        }
        self._write(".metaflowconfig/config.json", json.dumps(settings))
        self._write(".metaflowconfig/config_work.json", json.dumps(settings))
        self._write(".aws/config", f"[default]\nregion = us-east-1\nendpoint_url = {self.trap.url}")
        keys = "[default]\naws_access_key_id = mine\naws_secret_access_key = mine\n"
        self._write(".aws/credentials", keys)
        cluster = {"name": "mine", "cluster": {"server": self.trap.url}}
        self._write(".kube/config", json.dumps({"clusters": [cluster]}))

    def _write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of the developer's has set."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "HOME": str(self.home),
            "METAFLOW_PROFILE": "work",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.home / "datastore"),
            "METAFLOW_S3_ENDPOINT_URL": self.trap.url,
            "AWS_ENDPOINT_URL": self.trap.url,
            "AWS_ACCESS_KEY_ID": "mine",
            "AWS_SECRET_ACCESS_KEY": "mine",
            "AWS_PROFILE": "default",
            "AZURE_STORAGE_ENDPOINT": self.trap.url,
            "AZURE_STORAGE_ACCOUNT_KEY": "bWluZQ==",
            "GOOGLE_BASE_URL": self.trap.url,
            "SNOWFLAKE_ACCOUNT": "mine",
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(self.trap.port),
            "SNOWFLAKE_PROTOCOL": "http",
            "KUBECONFIG": str(self.home / ".kube" / "config"),
            "http_proxy": self.trap.url,
            "HTTPS_PROXY": self.trap.url,
        }

    def files(self) -> set[Path]:
        """Everything in the home; what is only there to be fast the next time is nobody's data."""
        found = (path.relative_to(self.home) for path in self.home.rglob("*"))
        return {path for path in found if path.parts[0] != ".cache"}


def test_tests_reach_nothing_of_a_developers_and_leave_nothing_there(
    trap: Trap, tmp_path: Path
) -> None:
    developer = Developer(tmp_path / "home", trap)
    developer.settle()
    before = developer.files()
    tests = [str(ROOT / "tests" / name) for name in SOME_OF_ALL]
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temporary")]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    with (tmp_path / "said").open("w+") as said:
        started = subprocess.Popen(command, cwd=ROOT, env=developer.environment, stdout=said)
        while started.poll() is None and not trap.heard:
            time.sleep(0.1)
        started.kill()  # who has knocked may go on to do so for minutes
        assert trap.heard == []
        said.seek(0)
        assert started.wait() == 0, said.read()[-4000:]
    assert developer.files() == before


def test_what_asks_for_the_real_snowflake_is_left_to_those_who_name_a_schema_for_it(
    tmp_path: Path,
) -> None:
    """It may need a key of the home, too."""
    account = {"SNOWFLAKE_ACCOUNT": "a", "SNOWFLAKE_USER": "u", "HOME": "/mine"}
    schema = {"FLOWPROJECT_TEST_SCHEMA": "d.s"}
    account["FLOWPROJECT_TESTS_FOLDER"] = str(tmp_path)
    asked = {**account, **schema, "AWS_PROFILE": "p"}
    isolate(asked)
    assert asked.items() >= {**account, **schema}.items()
    assert "AWS_PROFILE" not in asked
    others = {**account}
    isolate(others)
    assert not [name for name in others if name.startswith("SNOWFLAKE_")]
    assert others["HOME"] == str(tmp_path / "home")
