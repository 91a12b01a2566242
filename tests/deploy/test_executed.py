"""What `deploy` wrote, run: a project of `flowproject init`, from the first look to the listener.

Real: our command, as the wheel that everybody installs; Metaflow's bootstrap and steps as processes
with nothing but their image and the code package; S3 is moto, Argo the executor of tests/executor.
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flit_core.buildapi import build_wheel

from flowproject.scaffold.init import Package, init
from flowproject.scaffold.rendering import Answers
from tests.conftest import ROOT
from tests.deploy.cluster import NAMESPACE
from tests.deploy.conftest import Argo, Repository
from tests.servers import Moto

pytestmark = [
    pytest.mark.timeout(1200),  # pods are slow where much else runs
    pytest.mark.emulated("tests/deploy/test_executed_shop.py does this and more on the real one"),
]
SENSOR, STARTER = "weather.prod.sensorflow", "weather.prod.starterflow"
DAY = "2016-01-01,0.5,8.1,2.2,3.4,rain\n"


class Story:
    """A deployed project, the data that it watches, and its runs."""

    def __init__(self, repository: Repository, argo: Argo, data: Path) -> None:
        self.repository = repository
        self.argo = argo
        self.data = data

    def look(self) -> None:
        """A scheduled run of the sensor, and all that it brings about."""
        self.argo.controller.submit_cron(SENSOR)
        *_, looked = self.argo.runs(SENSOR)
        assert looked["status"]["phase"] == "Succeeded", self.argo.told(looked)

    @property
    def bucket(self) -> str:
        return self.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"].split("/")[2]

    def keys(self, moto: Moto, prefix: str) -> set[str]:
        """What is in the datastore below a prefix."""
        listed = moto.client().get_paginator("list_objects_v2")
        pages = listed.paginate(Bucket=self.bucket, Prefix=f"metaflow/{prefix}")
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def history(self) -> list[dict[str, Any]]:
        """What is recorded, newest first."""
        told = self.repository.flowproject("history", "--production", "--json")
        assert told.code == 0, told.err
        found: list[dict[str, Any]] = told.json
        return found


@pytest.fixture(scope="module")
def story(
    new_repository: Callable[..., Repository],
    argo: Argo,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """What `init` writes, in production; its data lie where all pods see them."""
    made = new_repository(flows=False)
    init(made.root, Answers(project_name="weather"), Package(line="flowproject"))
    installed = tmp_path_factory.mktemp("site-packages")
    with chdir(ROOT):
        wheel = installed / build_wheel(str(installed))
    shutil.unpack_archive(wheel, installed, "zip")
    repository = replace(made, environment=made.environment | {"PYTHONPATH": str(installed)})
    data = tmp_path_factory.mktemp("volume") / "weather"
    shutil.copytree(ROOT / "data" / "weather", data)
    for query in repository.root.glob("sql/*.sql"):
        query.write_text(query.read_text().replace("data/weather", str(data)))
    config = repository.root / "flowproject.toml"
    image = f'with = ["kubernetes:image={argo.image}"]'
    text = config.read_text()
    assert "with = []" in text
    config.write_text(text.replace("with = []", image))
    repository.commit("an image that has what the sources need")
    deployed = repository.flowproject("deploy")
    assert deployed.code == 0, deployed.err
    return Story(repository, argo, data)


def test_the_first_look_of_a_deployed_sensor_is_its_baseline(story: Story) -> None:
    story.look()
    assert [entry["outcome"] for entry in story.history()] == ["baseline"]
    assert story.argo.runs(STARTER) == []


def test_a_change_starts_its_listener_which_takes_it(story: Story, moto: Moto) -> None:
    last = max(story.data.glob("*.csv"))
    last.write_text(last.read_text() + DAY)
    story.look()
    [started] = story.argo.runs(STARTER)
    assert started["status"]["phase"] == "Succeeded", story.argo.told(started)
    run = f"argo-{started['metadata']['name']}"
    assert "1 added" in story.argo.log(started, "end")
    newest = story.history()[0]
    assert newest["outcome"] == "changed"
    assert newest["delivery"]["state"] == "delivered"
    assert [one["run"] for one in newest["delivery"]["receipts"]] == [f"StarterFlow/{run}"]
    cards = [key for key in story.keys(moto, "mf.cards") if run in key and "/start/" in key]
    assert any(key.endswith(".html") for key in cards), cards


def test_a_run_with_kubernetes_takes_the_same_files_along(story: Story, moto: Moto) -> None:
    """Its jobs are no part of the emulated cluster: it ends when it asks for the first one."""
    template = story.argo.api.get("workflowtemplates", NAMESPACE, STARTER)
    [start] = [one for one in template["spec"]["templates"] if one["name"] == "start"]
    variables = {one["name"]: one.get("value") for one in start["container"]["env"]}
    deployed = "metaflow/" + variables["METAFLOW_CODE_URL"].partition("/metaflow/")[2]
    wanted = packed(moto, story, deployed)
    assert {"flowproject.toml", "sql/forecast.sql", "forecast.py"} <= wanted.keys()
    moto.client().delete_object(Bucket=story.bucket, Key=deployed)  # one content is kept once
    before = story.keys(moto, "StarterFlow/data")
    ran = subprocess.run(
        [sys.executable, "starterflow.py", "run", f"--with=kubernetes:image={Argo.image}"],
        cwd=story.repository.root,
        env=story.repository.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode
    packages = [packed(moto, story, key) for key in story.keys(moto, "StarterFlow/data") - before]
    assert wanted in packages


def packed(moto: Moto, story: Story, key: str) -> dict[str, str]:
    """Name → digest of the files of a code package; Metaflow's own note of who made it is none."""
    body = moto.client().get_object(Bucket=story.bucket, Key=key)["Body"].read()
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(body)) as code:
        files = [one for one in code if one.isfile() and not one.name.startswith(".mf_meta/")]
        contents = {one.name: code.extractfile(one) for one in files}
        return {name: hashlib.sha256(file.read()).hexdigest() for name, file in contents.items()}
    return {}
