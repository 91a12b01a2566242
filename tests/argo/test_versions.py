"""The versions of Argo Workflows that a cluster may have: a schedule is kept by each of them."""

from collections.abc import Callable

import pytest

from tests.deploy.cluster import Cluster
from tests.deploy.conftest import Repository

pytestmark = [pytest.mark.argo, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def repository(new_repository: Callable[..., Repository]) -> Repository:
    """A project with a schedule and nothing else."""
    made = new_repository()
    for name in ("starterflow.py", "forecast.py"):
        (made.root / name).unlink()
    made.commit("only the schedule")
    return made


@pytest.mark.parametrize(
    "argo, setting, kept",
    [
        ("3.5", "true", {"schedule": "*/5 * * * *"}),
        ("3.7", "", {"schedules": ["*/5 * * * *"]}),
        ("4.1", "", {"schedules": ["*/5 * * * *"]}),
    ],
)
def test_the_schedule_is_where_this_version_looks_for_it_whatever_the_setting_says(
    repository: Repository,
    new_cluster: Callable[..., Cluster],
    argo: str,
    setting: str,
    kept: dict[str, object],
) -> None:
    cluster = new_cluster(argo)
    name = "METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES"
    deployed = repository.flowproject("deploy", **{name: setting})
    assert deployed.code == 0, deployed.out + deployed.err
    [cron] = cluster.objects("cronworkflows").values()
    told = {key: value for key, value in cron["spec"].items() if key.startswith("schedule")}
    assert told == kept
