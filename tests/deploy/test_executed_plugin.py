"""A project whose source comes in a package, deployed and run where that is installed."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flit_core.buildapi import build_wheel

from flowproject import plugins
from flowproject.packages import requirements
from flowproject.scaffold.init import Package, init
from flowproject.scaffold.rendering import Answers
from tests.conftest import ROOT
from tests.deploy.conftest import Argo, Repository, run_in_images

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.timeout(1200),  # pods are slow where much else runs
    pytest.mark.emulated("images are the emulator's"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the example's package is installed, in this process, too."""
    folder = tmp_path_factory.mktemp("theirs") / "site-packages"
    folder.mkdir()
    with chdir(ROOT / "examples" / "http_source"):
        wheel = folder / build_wheel(str(folder))
    shutil.unpack_archive(wheel, folder, "zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        _forget()
        yield folder
    _forget()


def _forget() -> None:
    plugins._found.cache_clear()  # what is installed changes only in tests
    plugins.plugin.cache_clear()


@pytest.fixture(scope="module")
def sources(site: Path) -> Sequence[str]:
    assert (site / "flowproject_http").is_dir()
    assert requirements(["http"])["flowproject-http"] == "==0.1.0"
    return ["http"]


@pytest.fixture
def rows() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An API, and the rows that it answers with."""
    rows: list[dict[str, Any]] = [{"id": 1, "city": "Bern"}]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(rows).encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/rows", rows
    server.shutdown()
    server.server_close()


def test_a_deployed_sensor_looks_at_a_source_of_a_package(
    new_repository: Callable[..., Repository],
    argo: Argo,
    site: Path,
    rows: tuple[str, list[dict[str, Any]]],
):
    url, there = rows
    made = new_repository(flows=False)
    data = {"type": "http", "url": url, "key": ["id"]}
    answers = Answers(project_name="cities", example="empty", data=data)
    (made.root / "flowproject.toml").unlink()
    init(made.root, answers, Package(line="flowproject"))
    run_in_images(made.root)
    path = os.pathsep.join([str(ROOT), str(site)])
    repository = replace(made, environment=made.environment | {"PYTHONPATH": path})
    config = repository.root / "flowproject.toml"
    text = config.read_text()
    assert "with = []" in text
    config.write_text(text.replace("with = []", f'with = ["kubernetes:image={argo.image}"]'))
    repository.commit("an image that has what the source needs")
    deployed = repository.flowproject("deploy")
    assert deployed.code == 0, deployed.out + deployed.err
    sensor, starter = "cities.prod.sensorflow", "cities.prod.starterflow"
    for _ in range(2):
        argo.controller.submit_cron(sensor)
        *_, looked = argo.runs(sensor)
        assert looked["status"]["phase"] == "Succeeded", argo.told(looked)
        there.append({"id": 2, "city": "Oslo"})
    [started] = argo.runs(starter)
    assert started["status"]["phase"] == "Succeeded", argo.told(started)
    assert "Oslo" in argo.log(started, "end")
