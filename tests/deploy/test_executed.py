"""What `deploy` wrote, run: this repository's own flows, from the first look to the listener.

Real: our command, Metaflow's bootstrap and steps as processes with nothing but their image and the
code package; S3 is moto, Argo the executor of tests/executor.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.deploy.conftest import Argo, Repository
from tests.servers import Moto

SENSOR, STARTER = "weather.prod.sensorflow", "weather.prod.starterflow"
DAY = "2016-01-01,0.5,8.1,2.2,3.4,rain\n"


class Story:
    """A deployed project, the data that it watches, and its runs."""

    def __init__(self, repository: Repository, argo: Argo, data: Path) -> None:
        self.repository = repository
        self.argo = argo
        self.data = data

    def look(self) -> dict[str, Any]:
        """A scheduled run of the sensor and all that it brings about; its workflow."""
        self.argo.controller.submit_cron(SENSOR)
        self.argo.controller.settle()
        return self.argo.controller.workflows(SENSOR)[-1]

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
    """The flows of this repository in production; their data lie where all pods see them."""
    repository = new_repository()
    data = tmp_path_factory.mktemp("volume") / "weather"
    shutil.copytree(ROOT / "data" / "weather", data)
    for query in repository.root.glob("sql/*.sql"):
        query.write_text(query.read_text().replace("data/weather", str(data)))
    config = repository.root / "flowproject.toml"
    image = f'with = ["kubernetes:image={argo.image}"]'
    config.write_text(config.read_text().replace("with = []", image))
    repository.commit("an image that has what the sources need")
    deployed = repository.flowproject("deploy")
    assert deployed.code == 0, deployed.err
    return Story(repository, argo, data)


def test_the_first_look_of_a_deployed_sensor_is_its_baseline(story: Story) -> None:
    looked = story.look()
    assert looked["status"]["phase"] == "Succeeded", story.argo.told(looked)
    assert [entry["outcome"] for entry in story.history()] == ["baseline"]
    assert story.argo.controller.workflows(STARTER) == []


def test_a_change_starts_its_listener_which_takes_it(story: Story, moto: Moto) -> None:
    last = max(story.data.glob("*.csv"))
    last.write_text(last.read_text() + DAY)
    looked = story.look()
    assert looked["status"]["phase"] == "Succeeded", story.argo.told(looked)
    [started] = story.argo.controller.workflows(STARTER)
    assert started["status"]["phase"] == "Succeeded", story.argo.told(started)
    run = f"argo-{started['metadata']['name']}"
    assert "1 added" in story.argo.log(started, "end")
    newest = story.history()[0]
    assert newest["outcome"] == "changed"
    assert newest["delivery"]["state"] == "delivered"
    assert [one["run"] for one in newest["delivery"]["receipts"]] == [f"StarterFlow/{run}"]
    assert cards(moto, story, run)


def cards(moto: Moto, story: Story, run: str) -> list[str]:
    bucket = story.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"].split("/")[2]
    pages = moto.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    return [key for key in keys if "mf.cards" in key and run in key and key.endswith(".html")]
