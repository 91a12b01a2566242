"""Projects in folders of their own, and a bus for those that tell one story."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Bus
from tests.project_folder import ProjectFolder, make_project


@pytest.fixture(scope="module")
def module_bus() -> Iterator[Bus]:
    """A bus for a whole file of tests, whose runs tell one story."""
    running = Bus()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ProjectFolder]:
    """Make a project: its configuration, our own two flows, and no bus unless one is given."""

    def make(config: str, bus: Bus | None = None, *, demo: bool = False) -> ProjectFolder:
        webhook = {"METAFLOW_ARGO_EVENTS_WEBHOOK_URL": bus.url} if bus else {}
        return make_project(tmp_path_factory.mktemp("project"), config, demo=demo, **webhook)

    return make
