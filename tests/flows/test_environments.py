"""Steps in environments that Metaflow makes, for real: they take minutes and the package index.

And the distribution of Outerbounds in place of Metaflow. `make environments` runs these.
"""

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from flowproject.packages import requirements
from tests.conftest import ROOT
from tests.isolation import PROXIES

pytestmark = [pytest.mark.environment, pytest.mark.timeout(900)]

_PATIENCE = 800


def _is_outerbounds() -> bool:
    try:
        return bool(distribution("outerbounds"))
    except PackageNotFoundError:
        return False


needs_outerbounds = pytest.mark.skipif(
    not _is_outerbounds(), reason="Outerbounds isn't installed here: make environments"
)


@pytest.fixture(scope="module")
def weather(new_project: Callable[..., Any]) -> Any:
    return new_project((ROOT / "flowproject.toml").read_text(), demo=True).cold()


@pytest.fixture
def micromamba(tmp_path: Path) -> dict[str, str]:
    """What makes Metaflow ask `tests/micromamba.py` for environments, in a folder of their own."""
    program = tmp_path / "micromamba"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/micromamba.py "$@"\n')
    program.chmod(0o755)
    folder = tmp_path / "environments"
    folder.mkdir()
    return {
        "METAFLOW_PATH_TO_MICROMAMBA": str(program),
        "STAND_IN_FOLDER": str(folder),
        **PROXIES,
    }


def patiently(project: Any, *command: str, **environment: str) -> str:
    """What a command says that succeeds, however long it installs."""
    process = project.start(*command, **environment)
    text, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, text
    return str(text)


class Bakery:
    """What answers in place of Outerbounds' service that bakes images: it keeps the orders."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bakery = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                bakery.orders.append(json.loads(self.rfile.read(length)))
                baked = {"containerImage": "baked:1", "pythonPath": "/baked/python"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"success": baked}).encode())

            def log_message(self, *_: object) -> None:
                """Tests read the orders, not the access log."""

        return Handler


@pytest.fixture
def bakery() -> Iterator[Bakery]:
    running = Bakery()
    yield running
    running.stop()


@needs_outerbounds
def test_outerbounds_is_here_in_place_of_metaflow() -> None:
    with pytest.raises(PackageNotFoundError):
        version("metaflow")
    from metaflow import Snowflake

    assert Snowflake.__module__.startswith("metaflow_extensions.outerbounds.")


def test_check_finds_the_project_in_order(weather: Any) -> None:
    checked = weather.command("check")
    assert checked.code == 0, checked.text
    assert "SensorFlow, StarterFlow" in checked.text


def test_both_flows_run(weather: Any) -> None:
    looked = weather.run("sensorflow.py")
    assert looked.code == 0, looked.text
    assert "weather: baseline, first look, remembered: 1,096 items" in looked.lines
    started = weather.run("starterflow.py")
    assert started.code == 0, started.text
    assert "Started by hand" in started.lines


def test_both_flows_run_in_environments_that_have_only_what_steps_were_given(
    new_project: Callable[..., Any], micromamba: dict[str, str]
) -> None:
    project = new_project((ROOT / "flowproject.toml").read_text(), demo=True).cold()
    for flow in ("sensorflow.py", "starterflow.py"):
        patiently(project, flow, "--environment=pypi", "run", **micromamba)
    [environment] = Path(micromamba["STAND_IN_FOLDER"]).glob("metaflow/linux-64/*")
    [packages] = environment.glob("lib/python*/site-packages")
    assert (packages / "duckdb").is_dir()
    assert not (packages / "typer").exists()


@pytest.mark.skipif(_is_outerbounds(), reason="Outerbounds' datastore needs its service")
def test_a_deployment_takes_the_packages_of_its_steps_along(
    weather: Any, micromamba: dict[str, str], moto: Any
) -> None:
    bucket = moto.bucket()
    compiled = patiently(
        weather,
        "sensorflow.py",
        "--datastore=s3",
        "--environment=pypi",
        "argo-workflows",
        "create",
        "--only-json",
        METAFLOW_DATASTORE_SYSROOT_S3=f"s3://{bucket}/metaflow",
        METAFLOW_S3_ENDPOINT_URL=moto.endpoint_url,
        **moto.credentials,
        **micromamba,
    )
    assert "-m metaflow.plugins.pypi.bootstrap" in compiled
    [key] = re.findall(rf"s3://{bucket}/(metaflow/SensorFlow/data/[0-9a-f/]+)", compiled)[:1]
    body = moto.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as package:
        [manifest] = [name for name in package.getnames() if name.endswith("conda.manifest")]
        listed = package.extractfile(manifest)
        assert listed
        wheels = listed.read().decode()
    for name, number in {name: version(name) for name in requirements(["duckdb"])}.items():
        assert f"{name}-{number}-" in wheels


@needs_outerbounds
def test_credentials_that_outerbounds_would_give_are_missed_in_words(
    new_project: Callable[..., Any],
) -> None:
    project = new_project(
        'project_name = "p"\n[data]\ntype = "s3"\nbucket = "lake"\n[sensors.lake]\n'
    )
    looked = project.command("preview")
    assert looked.code
    assert "outerbounds configure" in looked.text
    assert "bug of flowproject" not in looked.text
    assert "Traceback" not in looked.text


@needs_outerbounds
def test_the_bakery_is_told_the_packages_of_the_steps(weather: Any, bakery: Bakery) -> None:
    # It ends at the datastore: Outerbounds' credentials for S3 come from its own service only.
    weather.python(
        "sensorflow.py",
        "--datastore=s3",
        "--environment=fast-bakery",
        "argo-workflows",
        "create",
        "--only-json",
        METAFLOW_FAST_BAKERY_URL=bakery.url,
        METAFLOW_DATASTORE_SYSROOT_S3="s3://nowhere/metaflow",
    )
    needed = {name: version(name) for name in requirements(["duckdb"])}
    ordered = bakery.orders[0]["pipRequirements"]
    assert {f"{name}=={number}" for name, number in needed.items()} <= set(ordered)
