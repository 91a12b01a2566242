"""What a Delta table's log and feed really say, on delta-rs: each test is named after a fact.

Where a good guess is wrong, the test shows what it would have answered.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import (
    CommitProperties,
    DeltaTable,
    QueryBuilder,
    convert_to_deltalake,
    write_deltalake,
)

from flowproject.config.data import DeltaData
from flowproject.errors import SourceError
from flowproject.sensing import Tick
from flowproject.sources import KeepsVersions, open_source
from flowproject.sources.versioned import versions
from tests.proxy import Proxy, proxied
from tests.servers import Moto
from tests.versioned import Watched

pytestmark = pytest.mark.seconds(20)  # the first table of the process imports the library

FEED = {"delta.enableChangeDataFeed": "true"}
SCHEMA = pa.schema({"id": pa.int64(), "v": pa.float64(), "name": pa.string()})
NAMES = ["id", "v", "name"]


class Place:
    """A table in a folder, a sensor of it, and what its log and another engine say."""

    def __init__(self, root: Path, *, key: tuple[str, ...] = ("id",), feed: bool = True) -> None:
        self.path = root / "t"
        self.uri = str(self.path)
        self._configuration = FEED if feed else {}
        self.watched = Watched(root, DeltaData(table="t", key=key))

    def make(self, *rows: tuple[Any, ...], **options: Any) -> None:
        write_deltalake(self.uri, table(*rows), configuration=self._configuration, **options)

    def append(self, *rows: tuple[Any, ...]) -> None:
        write_deltalake(self.uri, table(*rows), mode="append", schema_mode="merge")

    def now(self) -> DeltaTable:
        return DeltaTable(self.uri)

    def tick(self, **edits: Any) -> Tick:
        seen = self.watched.tick(**edits)
        assert seen.outcome != "failed", seen.reason
        return seen

    def vacuum(self, *, full: bool = False) -> None:
        self.now().vacuum(0, dry_run=False, enforce_retention_duration=False, full=full)

    def log(self, version: int) -> Path:
        return self.path / "_delta_log" / f"{version:020d}.json"

    def edit_log(self, version: int, edit: Callable[[dict[str, Any]], object]) -> None:
        actions = [json.loads(line) for line in self.log(version).read_text().splitlines()]
        for action in actions:
            edit(action)
        self.log(version).write_text("\n".join(json.dumps(one) for one in actions if one) + "\n")

    def counts(self) -> Mapping[str, int]:
        return self.tick().counts

    def check_is_the_table(self) -> None:
        """What all changes add up to is what DuckDB reads of the files of the newest version."""
        files = self.now().file_uris()
        rows = duckdb.sql(f"SELECT id FROM read_parquet({files})").fetchall() if files else []  # noqa: S608
        assert sorted(int(key) for key in self.watched.rows) == sorted(number for (number,) in rows)


def table(*rows: tuple[Any, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(NAMES, row, strict=True)) for row in rows], SCHEMA)


THREE = ((1, 1.5, "a"), (2, float("nan"), "b"), (3, None, None))
ADDED = {"added": 1, "modified": 0, "removed": 0}
MODIFIED = {"added": 0, "modified": 1, "removed": 0}
REMOVED = {"added": 0, "modified": 0, "removed": 1}


@pytest.fixture(params=[True, False], ids=["feed", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    it = Place(tmp_path, feed=request.param)
    it.make(*THREE)
    assert it.tick().reason == "first look, remembered: 3 items (version 0)"
    return it


@pytest.fixture
def fed(tmp_path: Path) -> Place:
    it = Place(tmp_path)
    it.make(*THREE)
    it.tick()
    return it


# ------------------------------------------------------------- 1: the version, without opening it


@pytest.fixture
def asked(moto: Moto) -> Iterator[Proxy]:
    with proxied(moto.endpoint_url) as proxy:
        yield proxy


def test_nothing_changed_is_known_from_one_listing_without_opening_the_table(
    tmp_path: Path, moto: Moto, asked: Proxy
):
    bucket, commits = moto.bucket(), 6
    url = f"s3://{bucket}/some/t"
    options = {
        "aws_endpoint_url": asked.endpoint_url,
        "allow_http": "true",
        "aws_access_key_id": moto.credentials["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": moto.credentials["AWS_SECRET_ACCESS_KEY"],
        "aws_region": "us-east-1",
    }
    for number in range(commits):
        write_deltalake(url, table((number, 0.0, "")), mode="append", storage_options=options)
    it = Watched(tmp_path, DeltaData(table=url, key=("id",), endpoint_url=asked.endpoint_url))
    assert it.tick().total == commits
    before = len(asked.asked)
    DeltaTable(url, storage_options=options).version()
    opening = len(asked.asked) - before
    before = len(asked.asked)
    seen = it.tick()
    assert (seen.outcome, len(asked.asked) - before, seen.cost["requests"]) == ("unchanged", 1, 1)
    assert opening > commits  # what the guess costs, with no checkpoint
    write_deltalake(url, table((99, 0.0, "")), mode="append", storage_options=options)
    assert it.tick().counts == ADDED


def test_a_kept_handle_does_not_tell_that_a_table_was_removed(fed: Place):
    handle = fed.now()
    shutil.rmtree(fed.path)
    handle.update_incremental()
    assert handle.version() == 0  # the guess: still there
    failed = fed.watched.tick()
    assert failed.outcome == "failed"
    assert failed.reason.startswith("There is no Delta table: no commit in its _delta_log.")
    fed.make(*THREE)
    assert fed.tick().reason.startswith("still 3 items")


@pytest.mark.parametrize("commits", [1, 4])
def test_a_table_made_anew_is_seen_by_its_id_whatever_its_version(fed: Place, commits: int):
    fed.append((4, 0.0, "d"))
    assert fed.counts() == ADDED
    handle = fed.now()
    shutil.rmtree(fed.path)
    fed.make((1, 1.5, "a"), (9, 0.0, "new"))
    for number in range(commits - 1):
        fed.append((20 + number, 0.0, ""))
    handle.update_incremental()
    assert handle.count() != fed.now().count()  # the guess: the old files, or those of both
    seen = fed.tick()
    assert "the table was made anew: compared as a whole" in seen.reason
    assert seen.counts == {"added": commits, "modified": 0, "removed": 3}
    fed.check_is_the_table()


def test_a_table_created_over_has_another_id_in_the_same_log(fed: Place):
    DeltaTable.create(fed.uri, SCHEMA, mode="overwrite")
    seen = fed.tick()
    assert "the table was made anew" in seen.reason
    assert seen.counts == {"added": 0, "modified": 0, "removed": 3}


def test_a_log_that_was_copied_is_the_same_log(place: Place):
    content = place.log(0).read_bytes()
    place.log(0).unlink()
    place.log(0).write_bytes(content)
    assert place.tick().outcome == "unchanged"


# -------------------------------------------------------------- 2: versions that change no row


def test_vacuum_makes_two_versions_and_changes_no_row(place: Place):
    place.now().update({"name": "'x'"}, predicate="id = 1")
    assert place.counts() == MODIFIED
    place.vacuum()
    assert place.now().version() == 3
    seen = place.tick()
    assert seen.outcome == "unchanged"
    assert seen.reason.endswith("(version 3: VACUUM START, VACUUM END, no row changed)")
    assert place.tick().outcome == "unchanged"


def test_an_empty_append_and_properties_change_no_row(place: Place):
    write_deltalake(place.uri, SCHEMA.empty_table(), mode="append")
    place.now().alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"})
    assert place.now().version() == 2
    assert place.tick().outcome == "unchanged"


@pytest.mark.parametrize("key", [("id",), ()], ids=["keyed", "unkeyed"])
def test_compaction_and_z_order_change_no_row(tmp_path: Path, key: tuple[str, ...]):
    place = Place(tmp_path, key=key)
    place.make(*THREE)
    place.append((4, 0.0, "d"))
    place.tick()
    place.now().optimize.compact()
    place.now().optimize.z_order(["id"])
    place.now().optimize.z_order(["id"])
    seen = place.tick()
    assert (seen.outcome, seen.cost["rows"]) == ("unchanged", 0)
    assert "OPTIMIZE, no row changed" in seen.reason
    place.append((5, 0.0, "e"))
    assert place.tick().outcome == "changed"


@pytest.mark.parametrize("feed", [True, False])
def test_compaction_that_makes_null_of_an_empty_partition_value_is_a_change(
    tmp_path: Path,
    feed: bool,  # noqa: FBT001  # a parameter of the test
):
    place = Place(tmp_path, feed=feed)
    place.make((1, 0.0, ""), (2, 0.0, None), (3, 0.0, "a/b c=%"), partition_by=["name"])
    place.tick()
    assert [row["name"] for row in place.watched.rows.values()] == ["", None, "a/b c=%"]
    place.append((4, 0.0, ""))
    assert place.counts() == ADDED
    place.now().optimize.compact()
    actions = place.log(2).read_text()
    assert '"dataChange":false' in actions
    assert '"dataChange":true' not in actions  # the guess: nothing changed
    assert place.counts() == {"added": 0, "modified": 2, "removed": 0}
    engine = QueryBuilder().register("t", place.now()).execute("SELECT id, name FROM t")
    assert {row["id"]: row["name"] for row in pa.table(engine).to_pylist()} == {
        row["id"]: row["name"] for row in place.watched.rows.values()
    }


# --------------------------------------------------------------------- 3: the feed's candidates


def test_an_update_to_an_equal_value_changes_no_row_although_the_feed_has_its_file(place: Place):
    place.now().update({"name": "'a'"}, predicate="id = 1")
    feed = pa.table(place.now().load_cdf(1))
    assert len(feed) == 6  # the guess: three rows deleted and inserted
    seen = place.tick()
    assert (seen.outcome, seen.counts) == ("unchanged", {})
    assert seen.reason.endswith("(version 1: UPDATE, no row changed)")


def test_an_overwrite_with_the_same_rows_changes_none(place: Place):
    write_deltalake(place.uri, table(*reversed(THREE)), mode="overwrite")
    assert place.tick().outcome == "unchanged"
    write_deltalake(place.uri, table(*THREE[:2], (3, 7.0, None)), mode="overwrite")
    assert place.counts() == MODIFIED
    place.check_is_the_table()


def test_a_restore_is_a_change_of_the_rows_that_differ_and_of_no_other(place: Place):
    place.now().delete("id = 1")
    place.append((4, 0.0, "d"))
    assert place.tick().counts == {"added": 1, "modified": 0, "removed": 1}
    place.now().restore(0)
    assert place.now().version() == 3
    seen = place.tick()
    assert seen.counts == {"added": 1, "modified": 0, "removed": 1}
    assert seen.reason.endswith("(version 3: RESTORE)")
    place.check_is_the_table()


def test_a_merge_of_equal_values_changes_no_row(place: Place):
    merge = place.now().merge(table(*THREE), "t.id = s.id", source_alias="s", target_alias="t")
    merge.when_matched_update_all().execute()
    assert place.tick().outcome == "unchanged"


def test_rows_that_came_and_went_between_two_looks_are_none(place: Place):
    place.append((4, 0.0, "d"))
    place.now().update({"name": "'x'"}, predicate="id = 4 or id = 1")
    place.now().update({"name": "'y'"}, predicate="id = 1")
    place.now().delete("id = 4")
    seen = place.tick()
    assert seen.counts == MODIFIED
    [edit] = place.watched.change(seen.seq).modified
    assert (edit["old"]["name"], edit["new"]["name"]) == ("a", "y")


def test_a_feed_that_was_off_in_the_range_is_not_trusted(fed: Place):
    fed.now().alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    fed.now().delete("id = 1")
    fed.now().alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    fed.append((4, 0.0, "d"))
    assert fed.counts() == {"added": 1, "modified": 0, "removed": 1}
    fed.check_is_the_table()


def test_a_feed_that_was_enabled_late_is_not_trusted(tmp_path: Path):
    place = Place(tmp_path, feed=False)
    place.make(*THREE)
    place.tick()
    place.now().update({"name": "'x'"}, predicate="id = 1")
    place.now().alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert place.counts() == MODIFIED
    place.now().update({"name": "'y'"}, predicate="id = 1")
    assert place.counts() == MODIFIED


def test_a_writers_wrong_clock_drops_no_commit(fed: Place):
    fed.append((4, 0.0, "d"))
    fed.append((5, 0.0, "e"))
    fed.append((6, 0.0, "f"))

    def into_the_past(action: dict[str, Any]) -> None:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] -= 3_600_000

    fed.edit_log(2, into_the_past)
    start = next(
        json.loads(line)["commitInfo"]["timestamp"]
        for line in fed.log(1).read_text().splitlines()
        if "commitInfo" in line
    )
    moment = pa.scalar(start, pa.timestamp("ms", "UTC")).as_py().isoformat()
    by_time = pa.table(fed.now().load_cdf(starting_timestamp=moment))
    assert 5 not in by_time["id"].to_pylist()  # the guess: never seen
    assert fed.counts() == {"added": 3, "modified": 0, "removed": 0}


def test_the_feed_of_an_overwritten_schema_is_not_asked_for_what_was(place: Place):
    rows = pa.table({"id": ["1", "2", "3"], "v": [1.5, float("nan"), None]})
    write_deltalake(place.uri, rows, mode="overwrite", schema_mode="overwrite")
    seen = place.tick()
    assert seen.outcome == "changed"
    assert "columns changed: id int64 → string, name string removed" in seen.reason
    assert (seen.total, seen.counts["added"], seen.counts["removed"]) == (3, 0, 0)


def test_a_new_column_is_a_change_of_the_columns_and_not_of_every_row(place: Place):
    wider = pa.table({"id": [4], "v": [0.0], "name": ["d"], "more": [1]})
    write_deltalake(place.uri, wider, mode="append", schema_mode="merge")
    seen = place.tick()
    assert seen.reason.startswith("columns changed: more int64 added; 1 added")
    place.append((5, 0.0, "e"))
    assert place.counts() == ADDED
    place.check_is_the_table()


# ---------------------------------------------------------------------- 4: the past that is gone


def test_commits_have_the_numbers_of_the_log_also_where_historys_are_wrong(place: Place):
    place.append((4, 0.0, "d"))
    place.now().delete("id = 1")
    old = DeltaTable(place.uri, version=0)
    assert [one.get("version") for one in old.history()] != [2, 1, 0]  # the guess
    change = place.watched.change(place.tick().seq)
    value, previous = change.version, change.previous_version
    assert (previous["version"], value["version"], value["rows"]) == (0, 2, 3)
    assert [
        (one["version"], one["operation"], one["rows_added"], one["files_added"])
        for one in value["commits"]
    ] == [(1, "WRITE", 1, 1), (2, "DELETE", 2, 1)]
    assert all(one["time"].startswith("20") for one in value["commits"])


def test_a_past_that_was_vacuumed_is_compared_as_a_whole(place: Place):
    place.now().update({"name": "'x'"}, predicate="id = 1")
    place.append((4, 0.0, "d"))
    place.vacuum(full=True)
    seen = place.tick()
    assert "compared as a whole" in seen.reason
    assert seen.counts == {"added": 1, "modified": 1, "removed": 0}
    place.check_is_the_table()


@pytest.mark.parametrize("key", [("id",), ()], ids=["keyed", "unkeyed"])
def test_a_log_that_was_cleaned_up_is_no_first_look(tmp_path: Path, key: tuple[str, ...]):
    place = Place(tmp_path, key=key)
    place.make(*THREE)
    place.tick()
    for number in range(4, 8):
        place.append((number, 0.0, "d"))
    place.now().alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    place.now().create_checkpoint()
    place.now().cleanup_metadata()
    assert not place.log(0).exists()
    seen = place.tick()
    assert seen.outcome == "changed"
    assert "version 0 is not in the table's log: compared as a whole" in seen.reason
    assert seen.counts["added"] == (4 if key else 0)
    assert place.tick().outcome == "unchanged"


# ----------------------------------------------------------- 5: damage, and what can't be compared


def test_a_log_file_of_no_bytes_is_not_gone_past(place: Place):
    place.append((4, 0.0, "d"))
    content = place.log(1).read_bytes()
    place.log(1).write_bytes(b"")
    assert place.now().version() == 1  # the guess: a version like the one before
    seen = place.tick()
    assert (seen.outcome, "version 1 is being written" in seen.reason) == ("unchanged", True)
    place.log(1).write_bytes(content)
    assert place.counts() == ADDED


def test_an_empty_log_file_is_not_gone_past_at_a_first_look_either(tmp_path: Path):
    place = Place(tmp_path)
    place.make(*THREE)
    place.append((4, 0.0, "d"))
    content = place.log(1).read_bytes()
    place.log(1).write_bytes(b"")
    seen = place.tick()
    assert (seen.outcome, seen.total) == ("baseline", 3)
    assert "version 1 is being written" in seen.reason
    place.log(0).write_bytes(place.log(0).read_bytes()[:50])
    damaged = place.watched.tick(force=True)
    assert damaged.outcome == "failed"
    assert damaged.reason.startswith("The log entry of version 0 is damaged")
    place.log(1).write_bytes(content)


def test_a_known_version_that_is_written_again_is_no_way_back(place: Place):
    place.append((4, 0.0, "d"))
    assert place.counts() == ADDED
    content = place.log(1).read_bytes()
    place.log(1).write_bytes(content[: len(content) // 2])
    seen = place.tick()
    assert (seen.outcome, "version 1 is being written" in seen.reason) == ("unchanged", True)
    place.log(1).write_bytes(content)
    assert place.tick().outcome == "unchanged"
    place.append((5, 0.0, "e"))
    assert place.counts() == ADDED


def test_a_log_with_gaps_before_its_checkpoint_is_read(tmp_path: Path):
    place = Place(tmp_path)
    place.make(*THREE)
    for number in range(4, 7):
        place.append((number, 0.0, "d"))
    place.now().create_checkpoint()
    place.log(1).unlink()
    assert (place.tick().total, place.now().version()) == (6, 3)
    place.append((7, 0.0, "e"))
    assert place.counts() == ADDED


def test_a_file_that_is_told_again_with_other_statistics_has_no_new_rows(tmp_path: Path):
    """As ANALYZE and a backfill of row ids do it."""
    place = Place(tmp_path, feed=False)
    place.make(*THREE)
    place.tick()
    actions = [json.loads(line) for line in place.log(0).read_text().splitlines()]
    [added] = [one["add"] for one in actions if "add" in one]
    again = {"add": {**added, "dataChange": False}}
    info = {"commitInfo": {"operation": "COMPUTE STATS"}}
    place.log(1).write_text(json.dumps(info) + "\n" + json.dumps(again) + "\n")
    place.append((4, 0.0, "d"))
    assert place.now().count() == 4
    assert place.counts() == ADDED
    place.check_is_the_table()


def test_a_writers_clock_that_is_no_clock_is_not_told(place: Place):
    place.append((4, 0.0, "d"))

    def nonsense(action: dict[str, Any]) -> None:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = 10**18

    place.edit_log(1, nonsense)
    change = place.watched.change(place.tick().seq)
    [commit] = change.version["commits"]  # type: ignore[union-attr]
    assert (commit["operation"], commit["time"]) == ("WRITE", "")  # type: ignore[index, call-overload]


@pytest.mark.parametrize("lines", [1, 1.5])
def test_a_log_file_that_is_cut_is_not_gone_past(place: Place, lines: float):
    place.append((4, 0.0, "d"))
    content = place.log(1).read_bytes()
    first, second = content.splitlines(keepends=True)
    place.log(1).write_bytes(first + second[: int(len(second) * (lines - 1))])
    seen = place.tick()
    assert (seen.outcome, "version 1 is being written" in seen.reason) == ("unchanged", True)
    place.log(1).write_bytes(content.rstrip(b"\n"))
    assert place.counts() == ADDED


def test_a_damaged_log_file_with_others_after_it_is_an_error_and_nothing_advances(place: Place):
    place.append((4, 0.0, "d"))
    content = place.log(1).read_bytes()
    place.append((5, 0.0, "e"))
    place.log(1).write_bytes(content[: len(content) // 2])
    failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 4)
    assert failed.reason.startswith("The log entry of version 1 is damaged: it ends in the middle.")
    place.log(1).write_bytes(content)
    assert place.counts() == {"added": 2, "modified": 0, "removed": 0}


def test_a_version_that_turns_out_longer_later_is_compared_as_a_whole(place: Place):
    """Cut after a whole line by a writer that does not say how many files it adds."""
    place.append((4, 0.0, "d"))

    def forget(action: dict[str, Any]) -> None:
        action.get("commitInfo", {}).pop("operationMetrics", None)

    place.edit_log(1, forget)
    content = place.log(1).read_bytes()
    place.log(1).write_bytes(content.splitlines(keepends=True)[0])
    assert place.tick().outcome == "unchanged"
    place.log(1).write_bytes(content)
    seen = place.tick()
    assert (seen.outcome, seen.counts) == ("changed", ADDED)
    assert "is not the one that was known" in seen.reason


def test_a_checkpoint_that_is_missing_does_not_matter(place: Place):
    place.append((4, 0.0, "d"))
    place.now().create_checkpoint()
    (checkpoint,) = place.path.glob("_delta_log/*.checkpoint.parquet")
    assert place.counts() == ADDED
    place.append((5, 0.0, "e"))
    checkpoint.unlink()
    (place.path / "_delta_log" / "_last_checkpoint").unlink()
    assert place.counts() == ADDED


@pytest.mark.parametrize(
    "name, configuration",
    [
        ("deletionVectors", {"delta.enableDeletionVectors": "true"}),
        ("columnMapping", {"delta.columnMapping.mode": "name"}),
    ],
)
def test_what_can_not_be_compared_is_refused_by_name(
    tmp_path: Path, name: str, configuration: dict[str, str]
):
    place = Place(tmp_path)
    write_deltalake(place.uri, table(*THREE), configuration=configuration)
    failed = place.watched.tick()
    assert failed.outcome == "failed"
    assert failed.reason.startswith(f"The Delta table uses {name}, and its rows can't be compared.")
    unkeyed = Watched(tmp_path, DeltaData(table="t"), str(tmp_path / "other"))
    assert unkeyed.tick().outcome == "baseline"
    write_deltalake(place.uri, table((4, 0.0, "d")), mode="append")
    assert unkeyed.tick().outcome == "changed"


def test_rows_with_nan_are_compared_like_all_others(place: Place):
    place.append((4, float("nan"), "d"), (5, float("nan"), "e"))
    assert place.counts() == {"added": 2, "modified": 0, "removed": 0}
    place.now().update({"name": "'x'"}, predicate="id = 4")
    assert place.counts() == MODIFIED
    place.now().delete("id = 5")
    assert place.counts() == REMOVED
    place.check_is_the_table()


# ------------------------------------------------------------------------------- and besides


def test_a_row_whose_key_another_row_has_is_an_error_and_nothing_advances(place: Place):
    place.append((3, 9.0, "again"))
    failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 3)
    assert "'3'" in failed.reason
    place.now().delete("name = 'again'")
    assert place.tick().outcome == "unchanged"


def test_the_limit_counts_also_where_the_log_says_no_number(tmp_path: Path):
    place = Place(tmp_path)
    place.make(*THREE)
    place.edit_log(0, lambda action: action.get("add", {}).pop("stats", None))
    watched = Watched(tmp_path, DeltaData(table="t", key=("id",), row_limit=2))
    failed = watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 3)
    assert failed.reason.startswith("The table has more rows than the 2 that are compared.")


def test_a_key_that_is_no_column_is_an_error_whatever_the_tables_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(versions, "FEW_ROWS", 1)
    place = Place(tmp_path, key=("nr",))
    place.make(*THREE)
    failed = place.watched.tick()
    assert (failed.outcome, failed.exit_code) == ("failed", 3)
    assert failed.reason.startswith("The result has no column 'nr', which `key` names.")


def test_rows_of_a_change_become_arrow_with_the_types_of_the_table(tmp_path: Path):
    place = Place(tmp_path)
    rows = pa.table(
        {
            "id": pa.array([1], pa.int32()),
            "price": pa.array(["1.50"]).cast(pa.decimal128(10, 2)),
            "day": pa.array([1], pa.date32()),
            "at": pa.array([1], pa.timestamp("us", "UTC")),
            "raw": pa.array([b"\x00"], pa.binary()),
            "list": pa.array([[1, None]], pa.list_(pa.int64())),
            "pair": pa.array([{"a": "é", "b": True}]),
        }
    )
    write_deltalake(place.uri, rows)
    place.tick()
    write_deltalake(place.uri, rows.set_column(0, "id", pa.array([2], pa.int32())), mode="append")
    change = place.watched.change(place.tick().seq)
    found = change.added.to_arrow().read_all()
    assert found.schema == rows.schema
    assert found.drop_columns("id") == rows.drop_columns("id")
    assert change.snapshot.to_arrow().schema == rows.schema


def test_a_key_that_changed_is_a_row_removed_and_one_added(place: Place):
    place.now().update({"id": "7"}, predicate="id = 1")
    assert place.counts() == {"added": 1, "modified": 0, "removed": 1}
    place.check_is_the_table()


def test_without_a_key_a_change_says_what_the_log_says(tmp_path: Path):
    place = Place(tmp_path, key=())
    place.make(*THREE)
    assert place.tick().reason == "first look, remembered: version 0, 3 rows"
    assert place.tick().reason.startswith("still version 0, 3 rows, since ")
    place.append((4, 0.0, "d"))
    place.now().delete("id = 1")
    seen = place.tick()
    assert seen.reason == "now version 2, 3 rows (2 commits, WRITE, DELETE)"
    assert (seen.cost["rows"], seen.total) == (0, None)
    write_deltalake(place.uri, table(*THREE), mode="overwrite")
    assert place.tick().outcome == "changed"  # which rows it has, nobody looked
    write_deltalake(place.uri, table(*THREE), mode="overwrite")
    assert place.tick().outcome == "changed"


def test_another_engines_parquet_files_made_a_table_are_read(tmp_path: Path):
    place = Place(tmp_path)
    place.path.mkdir()
    duckdb.sql(
        "SELECT n AS id, n / 2 AS v, 'é' || n AS name, n % 2 = 0 AS even, "
        "DATE '2026-01-01' + n::INT AS day, (n::DECIMAL(20, 4) / 3)::DECIMAL(20, 4) AS price, "
        "[n, NULL] AS list, {'a': n} AS struct FROM range(50) AS t(n)"
    ).write_parquet(str(place.path / "one.parquet"))
    convert_to_deltalake(place.uri)
    assert place.tick().total == 50
    place.now().update({"v": "0.25"}, predicate="id = 7")
    assert place.counts() == MODIFIED
    place.check_is_the_table()


def test_an_edited_key_compares_everything_anew(place: Place):
    place.append((4, 0.0, "d"))
    place.now().update({"name": "'c'"}, predicate="id = 3")
    edited = DeltaData(table="t", key=("name",))
    seen = place.tick(data=edited)
    assert seen.reason.startswith("what is watched was edited: 4 added, 3 removed")


def test_a_lost_memo_costs_time_and_nothing_else(place: Place):
    place.append((4, 0.0, "d"))
    forced = place.tick(force=True)
    assert (forced.outcome, forced.counts) == ("changed", ADDED)
    assert place.tick().outcome == "unchanged"


def test_a_commits_own_words_are_not_needed(place: Place):
    write_deltalake(
        place.uri,
        table((4, 0.0, "d")),
        mode="append",
        commit_properties=CommitProperties(custom_metadata={"why": "no reason"}),
    )
    place.edit_log(1, lambda action: action.pop("commitInfo", None))
    assert place.counts() == ADDED


def test_a_run_reads_the_very_version_that_its_change_saw(place: Place):
    place.append((4, 0.0, "d"))
    seen = place.tick()
    change = place.watched.change(seen.seq)
    (sql := place.watched.root / "sql").mkdir()
    name = place.path.name
    (sql / "much.sql").write_text(
        f'SELECT count(*) AS n, max(id) AS last FROM "{name}" WHERE id >= :least'  # noqa: S608
    )
    source = open_source(place.watched.sensor.data, place.watched.root)
    assert isinstance(source, KeepsVersions)
    then = {"n": 4, "last": 4}
    assert source.query("much", {"least": 0}) == [then]
    place.append((5, 0.0, "e"))
    place.now().delete("id = 1")
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


def test_a_version_that_is_gone_is_an_error_that_says_where_its_rows_are(place: Place):
    place.now().update({"name": "'x'"}, predicate="id = 1")
    change = place.watched.change(place.tick().seq)
    (sql := place.watched.root / "sql").mkdir()
    (sql / "all.sql").write_text("FROM t")

    def asked(version: Mapping[str, Any]) -> Any:
        source = open_source(place.watched.sensor.data, place.watched.root)
        assert isinstance(source, KeepsVersions)
        return source.at(version).query("all", {})

    assert len(asked(change.previous_version)) == 3
    with pytest.raises(SourceError, match="No version of the Delta table is 1.0"):
        asked({**change.version, "version": 1.0})
    place.vacuum(full=True)
    with pytest.raises(SourceError, match="Version 0 of the Delta table can't be read any more"):
        asked(change.previous_version)
    assert len(asked(change.version)) == 3
    shutil.rmtree(place.path)
    place.make(*THREE)
    with pytest.raises(SourceError, match=r"can't be read any more.*change\.snapshot"):
        asked(change.version)
