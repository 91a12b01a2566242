"""Random stories of writers: what changes add up to is the table, and nothing is told twice."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import DeltaError
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import ValidationException
from pyiceberg.expressions import In
from pyiceberg.table import Table

from flowproject.config.data import DeltaData, IcebergData
from flowproject.journal import snapshots
from flowproject.sources.versioned import delta, versions
from flowproject.tables import row_comparison, row_table
from tests.versioned import Watched

pytestmark = [
    pytest.mark.seconds(60),
    # PyIceberg says so where a writer's condition matches nothing, which here is often.
    pytest.mark.filterwarnings("ignore:Delete operation did not match any records"),
]

STEPS = 14
FEW = 2
FEW_ROWS = row_table.FEW_ROWS
MANY = int(os.environ.get("STORIES", "200"))
NARROW = pa.schema({"id": pa.int64(), "v": pa.float64(), "p": pa.string()})
VALUES = (0.0, 1.5, float("nan"), None)
PARTITIONS = ("", "a", "b/c d", None)


def rows(luck: random.Random, ids: list[int], *, wide: bool) -> pa.Table:
    """Rows with these ids, each with one of few values, so that many are what they were."""
    columns: dict[str, list[Any]] = {
        "id": ids,
        "v": [luck.choice(VALUES) for _ in ids],
        "p": [luck.choice(PARTITIONS) for _ in ids],
    }
    schema = NARROW.append(pa.field("w", pa.int64())) if wide else NARROW
    if wide:
        columns["w"] = [luck.choice((None, 1)) for _ in ids]
    return pa.table(columns, schema)


class DeltaStory:
    """A Delta table, its writers (some with a stale handle), and what can happen to it."""

    def __init__(self, root: Path, luck: random.Random) -> None:
        self.luck, self.uri = luck, str(root / "t")
        self.feed = luck.random() < 0.6
        self.parts = luck.random() < 0.5
        self.wide = False
        self.next_id = 0
        self._make()
        self.stale = self.now
        self.watched = Watched(root, DeltaData(table="t", key=("id",)))

    @property
    def now(self) -> DeltaTable:
        return DeltaTable(self.uri)

    def _make(self) -> None:
        write_deltalake(
            self.uri,
            rows(self.luck, self._new(4), wide=self.wide),
            partition_by=["p"] if self.parts else None,
            configuration={"delta.enableChangeDataFeed": "true"} if self.feed else None,
        )

    def _new(self, count: int) -> list[int]:
        self.next_id += count
        return list(range(self.next_id - count, self.next_id))

    def _some(self) -> list[int]:
        there = [int(row["id"]) for row in self.truth()]
        return self.luck.sample(there, min(len(there), self.luck.randint(0, 3)))

    def truth(self) -> list[dict[str, Any]]:
        found = QueryBuilder().register("t", self.now).execute("SELECT * FROM t")
        return list(pa.table(found).to_pylist())

    def actions(self) -> list[Callable[[], object]]:
        return [
            self.append,
            self.append,
            self.append_stale,
            self.overwrite,
            self.overwrite_the_same,
            self.update,
            self.update_equal,
            self.delete,
            self.delete_stale,
            self.merge,
            self.now.optimize.compact,
            lambda: self.now.optimize.z_order(["id"]) if not self.parts else None,
            self.vacuum,
            self.clean_up,
            self.restore,
            self.widen,
            self.replace,
            self.switch_feed,
            lambda: write_deltalake(
                self.uri, NARROW.empty_table(), mode="append", schema_mode="merge"
            ),
            self.hold,
        ]

    def append(self) -> None:
        self._write(rows(self.luck, self._new(self.luck.randint(1, 3)), wide=self.wide))

    def _write(self, table: pa.Table, mode: Any = "append") -> None:
        write_deltalake(self.uri, table, mode=mode, schema_mode="merge")

    def append_stale(self) -> None:
        table = rows(self.luck, self._new(1), wide=False)
        write_deltalake(self.stale, table, mode="append", schema_mode="merge")

    def overwrite(self) -> None:
        ids = [*self._some(), *self._new(2)]
        self._write(rows(self.luck, ids, wide=self.wide), "overwrite")

    def overwrite_the_same(self) -> None:
        there = pa.table(QueryBuilder().register("t", self.now).execute("SELECT * FROM t"))
        self._write(there, "overwrite")

    def update(self) -> None:
        self.now.update({"v": "7.25"}, predicate=self._among(self._some()))

    def update_equal(self) -> None:
        self.now.update({"v": "v"}, predicate=self._among(self._some()))

    def delete(self) -> None:
        self.now.delete(self._among(self._some()))

    def delete_stale(self) -> None:
        self.stale.delete(self._among(self._some()))

    def merge(self) -> None:
        source = rows(self.luck, [*self._some(), *self._new(1)], wide=self.wide)
        merge = self.now.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def _among(self, ids: list[int]) -> str:
        return f"id in ({', '.join(map(str, ids))})" if ids else "id < 0"

    def vacuum(self) -> None:
        full = self.luck.random() < 0.5
        self.now.vacuum(0, dry_run=False, enforce_retention_duration=False, full=full)

    def clean_up(self) -> None:
        table = self.now
        table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
        self.now.create_checkpoint()
        self.now.cleanup_metadata()

    def restore(self) -> None:
        self.now.restore(self.luck.randint(0, self.now.version()))
        self.wide = "w" in {field.name for field in self.now.schema().fields}

    def widen(self) -> None:
        self.wide = True
        self.append()

    def replace(self) -> None:
        if self.luck.random() < 0.4:
            shutil.rmtree(self.uri)
            self.wide = self.luck.random() < 0.5
            self._make()

    def switch_feed(self) -> None:
        on = str(self.luck.random() < 0.5).lower()
        self.now.alter.set_table_properties({"delta.enableChangeDataFeed": on})

    def hold(self) -> None:
        self.stale = self.now


class IcebergStory:
    """An Iceberg table, its writers, and what can happen to it."""

    def __init__(self, root: Path, luck: random.Random) -> None:
        self.luck, self.wide, self.next_id = luck, False, 0
        settings = {"type": "sql", "uri": f"sqlite:///{root}/c.db", "warehouse": f"file://{root}/w"}
        for name, value in settings.items():
            os.environ[f"PYICEBERG_CATALOG__STORY__{name.upper()}"] = value
        self.catalog = load_catalog("story", **settings)
        self.catalog.create_namespace("db")
        self.catalog.create_table("db.t", NARROW)
        self.append()
        self.stale = self.now
        data = IcebergData(table="db.t", catalog="story", key=("id",))
        self.watched = Watched(root, data)

    @property
    def now(self) -> Table:
        return self.catalog.load_table("db.t")

    def _new(self, count: int) -> list[int]:
        self.next_id += count
        return list(range(self.next_id - count, self.next_id))

    def truth(self) -> list[dict[str, Any]]:
        return list(self.now.scan().to_arrow().to_pylist())

    def _some(self) -> list[int]:
        there = [int(row["id"]) for row in self.truth()]
        return self.luck.sample(there, min(len(there), self.luck.randint(1, 3)))

    def actions(self) -> list[Callable[[], object]]:
        return [
            self.append,
            self.append,
            self.append_stale,
            self.overwrite,
            lambda: self.now.overwrite(self.now.scan().to_arrow()),
            self.delete,
            self.delete_stale,
            self.upsert,
            self.overwrite_some,
            self.roll_back,
            self.expire,
            self.widen,
            self.replace,
            lambda: self.now.append(self.now.schema().as_arrow().empty_table()),
            self.several,
            self.tag,
            self.hold,
        ]

    def _rows(self, ids: list[int]) -> pa.Table:
        return rows(self.luck, ids, wide=self.wide)

    def append(self) -> None:
        self.now.append(self._rows(self._new(self.luck.randint(1, 3))))

    def append_stale(self) -> None:
        self.stale.append(rows(self.luck, self._new(1), wide=False))

    def overwrite(self) -> None:
        self.now.overwrite(self._rows([*self._some(), *self._new(2)]))

    def overwrite_some(self) -> None:
        some = self._some()
        self.now.overwrite(self._rows(some), overwrite_filter=In("id", some) if some else "id < 0")

    def delete(self) -> None:
        if some := self._some():
            self.now.delete(In("id", some))

    def delete_stale(self) -> None:
        if some := self._some():
            self.stale.delete(In("id", some))

    def upsert(self) -> None:
        self.now.upsert(self._rows([*self._some(), *self._new(1)]), join_cols=["id"])

    def several(self) -> None:
        with self.now.transaction() as transaction:
            transaction.append(self._rows(self._new(1)))
            transaction.append(self._rows(self._new(1)))

    def roll_back(self) -> None:
        table = self.now
        line = [one.snapshot_id for one in table.snapshots()]
        table.manage_snapshots().set_current_snapshot(self.luck.choice(line)).commit()

    def expire(self) -> None:
        table = self.now
        named = {ref.snapshot_id for ref in table.refs().values()}
        old = [one.snapshot_id for one in table.snapshots() if one.snapshot_id not in named]
        for number in self.luck.sample(old, len(old) // 2):
            self.now.maintenance.expire_snapshots().by_id(number).commit()

    def widen(self) -> None:
        from pyiceberg.types import LongType

        if "w" not in self.now.schema().column_names:
            with self.now.update_schema() as update:
                update.add_column("w", LongType())
        self.wide = True

    def replace(self) -> None:
        if self.luck.random() < 0.4:
            self.catalog.drop_table("db.t")
            self.wide = False
            self.catalog.create_table("db.t", NARROW)
            self.append()

    def tag(self) -> None:
        table = self.now
        name = f"v{self.next_id}"
        snapshot = table.current_snapshot()
        if snapshot and name not in table.refs():
            table.manage_snapshots().create_tag(snapshot.snapshot_id, name).commit()

    def hold(self) -> None:
        self.stale = self.now


STORIES: dict[str, Callable[[Path, random.Random], DeltaStory | IcebergStory]] = {
    "delta": DeltaStory,
    "iceberg": IcebergStory,
}
REFUSED = (DeltaError, ValidationException, ValueError, FileNotFoundError)
"""What a library says to a writer that came too late, or asked for what is gone."""


def play(kind: str, root: Path, seed: int) -> None:
    """Play one story to its end; after some of its steps the sensor looks."""
    luck = random.Random(seed)
    story = STORIES[kind](root, luck)
    told = []
    watched = story.watched
    for _ in range(STEPS):
        action = luck.choice(story.actions())
        try:
            action()
            told.append(getattr(action, "__name__", ""))
        except REFUSED as refused:
            told.append(f"{getattr(action, '__name__', '')}: {type(refused).__name__}")
        except Exception as refused:
            # deltalake raises its own SchemaMismatchError and plain ones outside of its tree.
            if type(refused).__module__.split(".")[0] not in {
                "_internal",
                "deltalake",
                "pyiceberg",
            }:
                raise
            told.append(f"{getattr(action, '__name__', '')}: {type(refused).__name__}")
        if luck.random() < 0.5:
            check(story, watched, told)
    check(story, watched, told)
    again = watched.tick()
    assert again.outcome == "unchanged", (kind, seed, told, again.reason)


def check(story: DeltaStory | IcebergStory, watched: Watched, told: list[str]) -> None:
    seen = watched.tick()
    assert seen.outcome in {"baseline", "changed", "unchanged"}, (told, seen.reason)
    told.append(f"LOOK {seen.outcome}: {seen.reason}")
    truth = {str(row["id"]): plain(row) for row in story.truth()}
    found = {key: plain(row) for key, row in watched.rows.items()}
    assert found == truth, told


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose NaN is one, and without columns that hold nothing: rows of before have fewer."""
    return {
        name: "NaN" if isinstance(value, float) and value != value else value  # noqa: PLR0124
        for name, value in row.items()
        if value is not None
    }


def set_limit(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Every second story has more rows than are compared in memory."""
    few = 2 if seed % 2 else FEW_ROWS
    for module in (snapshots, row_comparison, row_table, delta, versions):
        monkeypatch.setattr(module, "FEW_ROWS", few)


@pytest.mark.parametrize("seed", range(FEW))
@pytest.mark.parametrize("kind", STORIES)
def test_changes_add_up_to_the_table(
    kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    set_limit(monkeypatch, seed)
    play(kind, tmp_path, seed)


@pytest.mark.thorough
@pytest.mark.parametrize("start", range(FEW, MANY, 5))
@pytest.mark.parametrize("kind", STORIES)
def test_changes_of_many_stories_add_up_to_the_table(
    kind: str, start: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for seed in range(start, min(start + 5, MANY)):
        set_limit(monkeypatch, seed)
        (root := tmp_path / str(seed)).mkdir()
        play(kind, root, seed)
