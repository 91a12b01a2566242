"""Delta tables in Azure's and Google's stores, on emulators of both."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from flowproject.config.data import DeltaData
from flowproject.sources import KeepsVersions, open_source
from tests.containers import Azurite, Store
from tests.versioned import Watched

pytestmark = pytest.mark.seconds(20)  # the first table of the process imports the library


@pytest.fixture(scope="module", params=["azurite", "fake_gcs"])
def store(request: pytest.FixtureRequest) -> Store:
    return cast("Store", request.getfixturevalue(request.param))


def rows(*numbers: int) -> pa.Table:
    return pa.table({"id": pa.array(numbers, pa.int64()), "name": [f"é {n}" for n in numbers]})


def test_a_delta_table_is_watched_and_read_at_a_version(store: Store, tmp_path: Path):
    container, folder = store.container(), tmp_path / "written"
    kind = "az" if isinstance(store, Azurite) else "gs"
    url, uri = f"{kind}://{container}/some/t", str(folder)
    data = DeltaData(table=url, key=("id",), endpoint_url=store.endpoint_url)
    watched = Watched(tmp_path, data)
    there = set[Path]()

    def publish() -> None:
        # Written here, because of Azurite's server delta-rs reads, and its own second commit fails.
        for file in sorted(folder.rglob("*"), key=lambda one: "_delta_log" in one.parts):
            if file.is_file() and file not in there:
                store.put(container, f"some/t/{file.relative_to(folder)}", file.read_bytes())
                there.add(file)

    write_deltalake(uri, rows(1, 2, 3))
    publish()
    assert watched.tick().total == 3
    still = watched.tick()
    assert (still.outcome, still.cost["requests"]) == ("unchanged", 1)
    write_deltalake(uri, rows(4), mode="append")
    DeltaTable(uri).update({"name": "'x'"}, predicate="id = 1")
    publish()
    seen = watched.tick()
    assert seen.counts == {"added": 1, "modified": 1, "removed": 0}
    DeltaTable(uri).optimize.compact()
    DeltaTable(uri).delete("id = 2")
    publish()
    assert watched.tick().counts == {"added": 0, "modified": 0, "removed": 1}
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "ids.sql").write_text("SELECT id FROM t ORDER BY id")
    assert ids(data, tmp_path, watched.change(seen.seq).version) == [1, 2, 3, 4]


def ids(data: DeltaData, root: Path, version: Mapping[str, object]) -> list[object]:
    source = open_source(data, root)
    assert isinstance(source, KeepsVersions)
    return [row["id"] for row in source.at(version).query("ids", {})]  # type: ignore[arg-type]
