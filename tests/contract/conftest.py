"""The stores that a journal runs on, and a project on Snowflake."""

from pathlib import Path

import pytest
from metaflow.metaflow_config import DATATOOLS_CLIENT_PARAMS

from flowproject.journal import Journal, Store, open_store
from tests.journals import journal_on
from tests.servers import Moto
from tests.snow import Snow
from tests.snow_project import Project


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty datastore of each kind."""
    if request.param == "folder":
        return open_store(str(tmp_path / "datastore"))
    moto: Moto = request.getfixturevalue("moto")
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "endpoint_url", moto.endpoint_url)
    return open_store(f"s3://{moto.bucket()}/data/store")


@pytest.fixture
def journal(store: Store) -> Journal:
    """A journal there that nothing was recorded in."""
    return journal_on(store)


@pytest.fixture
def project(tmp_path: Path, snow: Snow) -> Project:
    """One whose queries an emulated Snowflake runs."""
    return Project(tmp_path, snow)
