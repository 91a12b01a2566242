"""What an Iceberg table's snapshots really say, on PyIceberg: each test is named after a fact.

Where a good guess is wrong, the test shows what it would have answered.
"""

import datetime as dt
import gc
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import StaticTable, Table
from pyiceberg.types import LongType

from flowproject.config.data import IcebergData
from flowproject.errors import SourceError
from flowproject.secrecy import hide
from flowproject.sensing import Tick
from flowproject.sources import KeepsVersions, open_source
from tests.proxy import proxied
from tests.servers import Moto
from tests.versioned import Watched

pytestmark = pytest.mark.seconds(20)  # the first table of the process imports the library

SCHEMA = pa.schema({"id": pa.int64(), "v": pa.float64(), "name": pa.string()})
NAMES = ["id", "v", "name"]
THREE = ((1, 1.5, "a"), (2, float("nan"), "b"), (3, None, None))
ADDED = {"added": 1, "modified": 0, "removed": 0}
MODIFIED = {"added": 0, "modified": 1, "removed": 0}
REMOVED = {"added": 0, "modified": 0, "removed": 1}
_NUMBERS = itertools.count(1)


def rows(*found: tuple[Any, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(NAMES, row, strict=True)) for row in found], SCHEMA)


class Place:
    """A table of a catalog, a sensor of it, and what another engine reads of it."""

    def __init__(self, root: Path, catalog: Catalog, **keys: Any) -> None:
        self.catalog = catalog
        self.name = f"db.t{next(_NUMBERS)}"
        data = IcebergData(**{"table": self.name, "catalog": "tests", "key": ("id",), **keys})
        self.watched = Watched(root, data)

    def make(self) -> Table:
        made = self.catalog.create_table(self.name, SCHEMA)
        made.append(rows(*THREE))
        return made

    @property
    def now(self) -> Table:
        return self.catalog.load_table(self.name)

    @property
    def current(self) -> int:
        snapshot = self.now.current_snapshot()
        assert snapshot is not None
        return snapshot.snapshot_id

    def tick(self, **edits: Any) -> Tick:
        seen = self.watched.tick(**edits)
        assert seen.outcome != "failed", seen.reason
        return seen

    def counts(self) -> Mapping[str, int]:
        return self.tick().counts

    def check_is_the_table(self) -> None:
        """What all changes add up to is what DuckDB reads of the files of the snapshot."""
        files = [task.file.file_path for task in self.now.scan().plan_files()]
        found = duckdb.sql(f"SELECT id FROM read_parquet({files})").fetchall() if files else []  # noqa: S608
        keys = sorted(int(key) for key in self.watched.rows)
        assert keys == sorted(number for (number,) in found)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture
def catalog(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalog in a file, which PyIceberg's own settings name."""
    uri, place = f"sqlite:///{warehouse}/catalog.db", f"file://{warehouse}"
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__TYPE", "sql")
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__URI", uri)
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__WAREHOUSE", place)
    found = load_catalog("tests", type="sql", uri=uri, warehouse=place)
    found.create_namespace_if_not_exists("db")
    return found


@pytest.fixture
def place(tmp_path: Path, catalog: Catalog) -> Place:
    it = Place(tmp_path, catalog)
    it.make()
    assert it.tick().reason == f"first look, remembered: 3 items (snapshot {it.current})"
    return it


# --------------------------------------------------------------------------- 6: which snapshot


def test_properties_tags_branches_and_commits_to_others_are_no_change(place: Place):
    table = place.now
    before = table.metadata_location
    with table.transaction() as transaction:
        transaction.set_properties({"a": "b"})
    table.manage_snapshots().create_tag(place.current, "v1").commit()
    table.manage_snapshots().create_branch(place.current, "other").commit()
    table.append(rows((9, 0.0, "")), branch="other")
    assert place.now.metadata_location != before  # the guess
    seen = place.tick()
    assert (seen.outcome, seen.reason.partition(",")[0]) == ("unchanged", "still 3 items")


def test_a_rollback_is_a_change_and_so_is_the_way_forward_again(place: Place):
    first, table = place.current, place.now
    table.append(rows((4, 0.0, "d")))
    second = place.current
    assert place.counts() == ADDED
    table.manage_snapshots().rollback_to_snapshot(first).commit()
    current = place.now.current_snapshot()
    assert current is not None
    assert current.sequence_number < place.now.last_sequence_number  # the guess: nothing newer
    seen = place.tick()
    assert seen.counts == REMOVED
    assert seen.reason == f"1 removed (snapshot {first}: rollback)"
    place.now.manage_snapshots().set_current_snapshot(second).commit()
    assert place.counts() == ADDED
    place.check_is_the_table()


def test_a_rollback_with_commits_after_it_is_seen_as_both(place: Place):
    first, table = place.current, place.now
    table.append(rows((4, 0.0, "d")))
    assert place.counts() == ADDED
    table.manage_snapshots().rollback_to_snapshot(first).commit()
    place.now.append(rows((5, 0.0, "e")))
    seen = place.tick()
    assert seen.counts == {"added": 1, "modified": 0, "removed": 1}
    assert seen.reason.endswith(": 2 commits, rollback, append)")


def test_a_clock_that_goes_back_hides_no_commit(place: Place):
    before = place.now.metadata.last_updated_ms
    with patch("time.time", return_value=before / 1000 - 86_400):
        place.now.append(rows((4, 0.0, "d")))
    assert place.now.metadata.last_updated_ms < before  # the guess: nothing newer
    assert place.counts() == ADDED


def test_a_table_dropped_and_made_anew_is_seen_by_its_id(place: Place):
    place.catalog.drop_table(place.name)
    gone = place.watched.tick()
    assert gone.outcome == "failed"
    assert gone.reason.startswith(f"The catalog has no Iceberg table '{place.name}'.")
    made = place.catalog.create_table(place.name, SCHEMA)
    made.append(rows((1, 1.5, "a"), (9, 0.0, "new")))
    seen = place.tick()
    assert seen.counts == {"added": 1, "modified": 0, "removed": 2}
    assert "the table was made anew: compared as a whole" in seen.reason
    place.check_is_the_table()


def test_a_branch_or_a_tag_is_watched_by_itself(tmp_path: Path, catalog: Catalog):
    place = Place(tmp_path, catalog, ref="audit")
    table = place.make()
    missing = place.watched.tick()
    assert missing.outcome == "failed"
    assert missing.reason.startswith("The Iceberg table has no branch or tag 'audit'.")
    table.manage_snapshots().create_branch(place.current, "audit").commit()
    assert place.tick().total == 3
    place.now.append(rows((4, 0.0, "d")))
    assert place.tick().outcome == "unchanged"
    place.now.append(rows((5, 0.0, "e")), branch="audit")
    seen = place.tick()
    assert seen.counts == ADDED
    assert [row["id"] for row in place.watched.change(seen.seq).added] == [5]


def test_an_empty_table_has_no_snapshot_and_its_first_rows_are_a_change(
    tmp_path: Path, catalog: Catalog
):
    place = Place(tmp_path, catalog)
    table = catalog.create_table(place.name, SCHEMA)
    assert place.tick().reason == "first look, remembered: 0 items"
    assert place.tick().outcome == "unchanged"
    table.append(rows(*THREE))
    assert place.counts() == {"added": 3, "modified": 0, "removed": 0}


# ---------------------------------------------------------------- 7: rows, and what they are not


def test_an_overwrite_with_the_same_rows_is_two_snapshots_and_no_change(place: Place):
    place.now.overwrite(rows(*THREE))
    emptied, filled = place.now.snapshots()[-2:]
    assert (emptied.summary or {})["total-records"] == "0"  # the guess: all gone
    incremental = place.now.incremental_append_scan(
        from_snapshot_id_exclusive=place.now.snapshots()[0].snapshot_id,
        to_snapshot_id_inclusive=filled.snapshot_id,
    )
    assert len(incremental.to_arrow()) == 3  # the guess: three new rows
    seen = place.tick()
    assert seen.outcome == "unchanged"
    assert seen.reason.endswith(": delete, append, no row changed)")


def test_deletions_and_upserts_are_seen_although_the_incremental_scan_passes_them_over(
    place: Place,
):
    before = place.current
    place.now.delete("id = 1")
    incremental = place.now.incremental_append_scan(
        from_snapshot_id_exclusive=before, to_snapshot_id_inclusive=place.current
    )
    assert len(incremental.to_arrow()) == 0  # the guess: nothing happened
    assert place.counts() == REMOVED
    place.now.upsert(rows((3, 7.0, "c"), (4, 0.0, "d")), join_cols=["id"])
    assert place.counts() == {"added": 1, "modified": 1, "removed": 0}
    place.now.delete("name = 'c' or name = 'd'")
    assert place.counts() == {"added": 0, "modified": 0, "removed": 2}
    place.check_is_the_table()


def test_appends_are_read_alone(place: Place):
    place.now.append(rows((4, 0.0, "d")))
    place.now.append(rows((5, 0.0, "e")))
    seen = place.tick()
    assert (seen.counts["added"], seen.cost["rows"]) == (2, 2)
    value = place.watched.change(seen.seq).version
    assert [(one["operation"], one["rows_added"]) for one in value["commits"]] == [
        ("append", 1)
    ] * 2


def test_an_expired_snapshot_is_a_past_that_is_gone_and_not_an_empty_one(place: Place):
    before = place.current
    place.now.append(rows((4, 0.0, "d")))
    place.now.maintenance.expire_snapshots().by_id(before).commit()
    assert place.now.scan(snapshot_id=before).count() == 0  # the guess: four rows are new
    seen = place.tick()
    assert seen.counts == ADDED
    assert seen.reason == (
        f"1 added (snapshot {place.current}; snapshot {before} has expired: compared as a whole)"
    )


def test_an_expired_snapshot_in_between_does_not_matter(place: Place):
    place.now.append(rows((4, 0.0, "d")))
    between = place.current
    place.now.delete("id = 1")
    place.now.maintenance.expire_snapshots().by_id(between).commit()
    assert place.counts() == {"added": 1, "modified": 0, "removed": 1}


def test_an_expired_snapshot_is_no_first_look_without_a_key_either(
    tmp_path: Path, catalog: Catalog
):
    place = Place(tmp_path, catalog, key=())
    place.make()
    before = place.current
    assert place.tick().reason == f"first look, remembered: snapshot {before}, 3 rows"
    place.now.append(rows((4, 0.0, "d")))
    place.now.maintenance.expire_snapshots().by_id(before).commit()
    seen = place.tick()
    assert (seen.outcome, "has expired" in seen.reason) == ("changed", True)


def test_an_append_that_expired_behind_a_compaction_is_seen_in_a_table_that_was_empty(
    tmp_path: Path, catalog: Catalog
):
    place = Place(tmp_path, catalog)
    table = catalog.create_table(place.name, SCHEMA)
    pointer = tmp_path / "current.metadata.json"
    shutil.copy(table.metadata_location.removeprefix("file://"), pointer)
    watched = Watched(tmp_path, IcebergData(table=pointer.name, key=("id",)), str(tmp_path / "j"))
    assert watched.tick().total == 0
    table.append(rows(*THREE))
    metadata = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())
    [snapshot] = metadata["snapshots"]
    snapshot["summary"]["operation"] = "replace"
    snapshot["parent-snapshot-id"] = 7
    pointer.write_text(json.dumps(metadata))
    assert watched.tick().counts == {"added": 3, "modified": 0, "removed": 0}


def test_a_snapshot_whose_manifests_are_gone_is_a_past_that_is_gone(place: Place):
    snapshot = place.now.current_snapshot()
    assert snapshot is not None
    place.now.delete("id = 1")
    Path(snapshot.manifest_list.removeprefix("file://")).unlink()
    seen = place.tick()
    assert seen.counts == REMOVED
    assert "files of the snapshot that was known are gone: compared as a whole" in seen.reason


def test_a_row_with_nan_that_an_upsert_rewrote_is_the_same_row(place: Place):
    before = place.current
    place.now.upsert(rows((2, float("nan"), "b")), join_cols=["id"])
    assert place.current != before  # the guess: a change
    assert place.tick().outcome == "unchanged"
    place.now.delete("id = 2")
    assert place.counts() == REMOVED


def test_an_empty_append_is_no_change(tmp_path: Path, catalog: Catalog):
    for key in (("id",), ()):
        (root := tmp_path / str(len(key))).mkdir()
        place = Place(root, catalog, key=key)
        place.make()
        place.tick()
        place.now.append(SCHEMA.empty_table())
        seen = place.tick()
        assert (seen.outcome, seen.cost["rows"]) == ("unchanged", 0)


def test_a_new_column_is_a_change_of_the_columns_and_not_of_every_row(place: Place):
    with place.now.update_schema() as update:
        update.add_column("more", LongType())
        update.rename_column("name", "word")
    seen = place.tick()
    assert seen.outcome == "changed"
    assert seen.reason.startswith("columns changed: more int64 added, word ")
    assert set(seen.counts.values()) == {0}
    place.now.append(pa.table({"id": [4], "v": [0.5], "word": ["d"], "more": [1]}))
    assert place.counts() == ADDED
    place.check_is_the_table()


# ------------------------------------------------------------------------------- and besides


def test_without_a_key_a_change_says_what_the_snapshots_say(tmp_path: Path, catalog: Catalog):
    place = Place(tmp_path, catalog, key=())
    table = place.make()
    place.tick()
    table.append(rows((4, 0.0, "d")))
    table.delete("id = 1")
    seen = place.tick()
    assert seen.reason == f"now snapshot {place.current}, 3 rows (2 commits, append, overwrite)"
    assert (seen.cost["rows"], seen.total) == (0, None)


def test_a_metadata_file_is_watched_where_there_is_no_catalog(place: Place, tmp_path: Path):
    pointer = tmp_path / "current.metadata.json"

    def publish() -> None:
        shutil.copy(place.now.metadata_location.removeprefix("file://"), pointer)

    watched = Watched(
        tmp_path, IcebergData(table="current.metadata.json", key=("id",)), str(tmp_path / "j")
    )
    missing = watched.tick()
    assert missing.outcome == "failed"
    assert missing.reason.startswith("A file of the Iceberg table is not there: ")
    publish()
    assert watched.tick().total == 3
    place.now.append(rows((4, 0.0, "d")))
    assert watched.tick().outcome == "unchanged"
    pointer.write_text(pointer.read_text()[:100])
    half = watched.tick()
    assert half.outcome == "failed"
    assert "It may be half written" in half.reason
    publish()
    assert watched.tick().counts == ADDED
    assert isinstance(StaticTable.from_metadata(str(pointer)), StaticTable)


def test_another_engines_parquet_files_are_read_where_they_were_added(place: Place, tmp_path: Path):
    file = tmp_path / "added.parquet"
    duckdb.sql("SELECT 100 + n AS id, n / 2 AS v, 'é' AS name FROM range(5) AS t(n)").write_parquet(
        str(file)
    )
    place.now.add_files([f"file://{file}"])
    assert place.counts()["added"] == 5
    place.check_is_the_table()


def test_files_removed_behind_the_catalogs_back_are_an_error(place: Place):
    place.now.append(rows((4, 0.0, "d")))
    for task in place.now.scan().plan_files():
        Path(task.file.file_path.removeprefix("file://")).unlink()
    failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 4)
    assert failed.reason.startswith("A file of the Iceberg table is not there: ")


def test_a_catalog_that_is_not_configured_is_an_error_that_names_those_that_are(
    tmp_path: Path,
    catalog: Catalog,  # noqa: ARG001  # the one that is configured
):
    failed = Watched(tmp_path, IcebergData(table="db.t", catalog="test")).tick()
    assert failed.reason.startswith("PyIceberg knows no catalog 'test'.")
    assert "Did you mean 'tests'?" in failed.reason


def test_a_catalog_that_is_down_is_an_error_and_nothing_advances(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as down:
        down.setenv("PYICEBERG_CATALOG__TESTS__TYPE", "rest")
        down.setenv("PYICEBERG_CATALOG__TESTS__URI", "http://user:hushhush@127.0.0.1:1/")
        failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 4)
    assert failed.reason.startswith("The Iceberg table could not be read: ConnectionError")
    assert "hushhush" not in failed.reason
    assert place.tick().outcome == "unchanged"


def test_settings_of_a_catalog_may_have_settings_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".pyiceberg.yaml").write_text(
        "catalog:\n  nested:\n    type: rest\n    uri: http://127.0.0.1:1/\n    auth:\n"
        "      type: basic\n      basic:\n        username: ana\n        password: hush-three\n"
    )
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    failed = Watched(tmp_path, IcebergData(table="db.t", catalog="nested")).tick()
    assert failed.outcome == "failed"
    assert failed.reason.startswith("The Iceberg table could not be read: ConnectionError")
    assert "hush" not in hide("hush-three")


def test_secrets_of_a_catalog_are_kept_whatever_their_names(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    address = "http://user:p/hush%20one@127.0.0.1:1/"
    configure(monkeypatch, type="rest", uri=address, credential="client:hush-two")
    failed = place.watched.tick()
    assert failed.outcome == "failed"
    assert "hush" not in failed.reason
    assert "hush" not in hide("p/hush%20one, hush one, hush-two")


def configure(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__TESTS__{name.upper()}", value)


def test_a_catalog_in_a_database_is_closed_after_each_look(place: Place, warehouse: Path):
    def connections() -> int:
        held = Path("/proc/self/fd")
        return sum(os.path.realpath(one) == f"{warehouse}/catalog.db" for one in held.iterdir())

    gc.collect()
    gc.disable()
    try:
        before = connections()
        for _ in range(3):
            place.tick()
        assert connections() == before
    finally:
        gc.enable()


def test_a_look_makes_no_catalog_where_there_is_none(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYICEBERG_CATALOG__TESTS__URI", f"sqlite:///{tmp_path}/typo.db")
    failed = place.watched.tick()
    assert (failed.outcome, "iceberg_tables" in failed.reason) == ("failed", True)
    assert not (tmp_path / "typo.db").is_file() or not (tmp_path / "typo.db").stat().st_size


def test_a_row_whose_key_another_row_has_is_an_error_and_nothing_advances(place: Place):
    place.now.append(rows((3, 9.0, "again")))
    failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 3)
    assert "'3'" in failed.reason
    place.now.delete("name = 'again'")
    assert place.tick().outcome == "unchanged"


def test_nothing_changed_on_s3_is_at_most_three_requests(
    tmp_path: Path, moto: Moto, monkeypatch: pytest.MonkeyPatch
):
    bucket = moto.bucket()
    with proxied(moto.endpoint_url) as proxy:
        monkeypatch.setenv("PYICEBERG_CATALOG__FAR__TYPE", "sql")
        uri, place = f"sqlite:///{tmp_path}/catalog.db", f"s3://{bucket}/some"
        monkeypatch.setenv("PYICEBERG_CATALOG__FAR__URI", uri)
        monkeypatch.setenv("PYICEBERG_CATALOG__FAR__WAREHOUSE", place)
        data = IcebergData(
            table="db.t", catalog="far", key=("id",), endpoint_url=proxy.endpoint_url
        )
        settings = {
            "type": "sql",
            "uri": uri,
            "warehouse": place,
            "s3.endpoint": moto.endpoint_url,
            "s3.access-key-id": moto.credentials["AWS_ACCESS_KEY_ID"],
            "s3.secret-access-key": moto.credentials["AWS_SECRET_ACCESS_KEY"],
            "s3.region": "us-east-1",
            "s3.force-virtual-addressing": "false",
        }
        far = load_catalog("far", **settings)
        far.create_namespace("db")
        table = far.create_table("db.t", SCHEMA)
        for number in range(4):
            table.append(rows((number, 0.0, "")))
        watched = Watched(tmp_path, data)
        assert watched.tick().total == 4
        before = len(proxy.asked)
        assert watched.tick().outcome == "unchanged"
        assert len(proxy.asked) - before <= 3
        table.append(rows((9, 0.0, "")))
        assert watched.tick().counts == ADDED


def test_moments_of_commits_are_told_in_utc(place: Place):
    place.now.append(rows((4, 0.0, "d")))
    value = place.watched.change(place.tick().seq).version
    [commit] = value["commits"]
    moment = dt.datetime.fromisoformat(commit["time"])
    assert moment.utcoffset() == dt.timedelta(0)


def test_a_run_reads_the_very_version_that_its_change_saw(place: Place):
    place.now.append(rows((4, 0.0, "d")))
    seen = place.tick()
    change = place.watched.change(seen.seq)
    (sql := place.watched.root / "sql").mkdir()
    name = place.name.rpartition(".")[2]
    (sql / "much.sql").write_text(
        f'SELECT count(*) AS n, max(id) AS last FROM "{name}" WHERE id >= :least'  # noqa: S608
    )
    source = open_source(place.watched.sensor.data, place.watched.root)
    assert isinstance(source, KeepsVersions)
    then = {"n": 4, "last": 4}
    assert source.query("much", {"least": 0}) == [then]
    place.now.append(rows((5, 0.0, "e")))
    place.now.delete("id = 1")
    # A replay after the table went on.
    again = open_source(place.watched.sensor.data, place.watched.root)
    assert isinstance(again, KeepsVersions)
    assert again.at(change.version).query("much", {"least": 0}) == [then]
    again = open_source(place.watched.sensor.data, place.watched.root)
    assert again.query("much", {"least": 2}) == [{"n": 4, "last": 5}]
    assert isinstance(again, KeepsVersions)
    assert again.at(change.previous_version).query_arrow("much", {"least": 3})["n"].to_pylist() == [
        1
    ]


def test_a_snapshot_that_is_gone_is_an_error_that_says_where_its_rows_are(place: Place):
    before = place.current
    place.now.append(rows((4, 0.0, "d")))
    change = place.watched.change(place.tick().seq)
    (sql := place.watched.root / "sql").mkdir()
    (sql / "all.sql").write_text(f'FROM "{place.name.rpartition(".")[2]}"')

    def asked(version: Mapping[str, Any]) -> Any:
        source = open_source(place.watched.sensor.data, place.watched.root)
        assert isinstance(source, KeepsVersions)
        return source.at(version).query("all", {})

    assert len(asked(change.previous_version)) == 3
    place.now.maintenance.expire_snapshots().by_id(before).commit()
    with pytest.raises(SourceError, match=f"Snapshot {before} of the Iceberg table has expired"):
        asked(change.previous_version)
    assert len(asked(change.version)) == 4
    place.catalog.drop_table(place.name)
    place.make()
    with pytest.raises(SourceError, match=r"was made anew.*change\.snapshot"):
        asked(change.version)
