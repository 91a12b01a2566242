# ruff: noqa: S608  # all SQL here is the tests' own
"""Many rows of a query in a journal: it grows by what changed, and no fault advances its state.

What counts as many is a few here.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flowproject import sensing
from flowproject.config import DuckDBData, Project, Schedule, Sensor
from flowproject.config.model import SchemaChange
from flowproject.journal import Journal, open_store, prune, snapshots
from flowproject.sensing import ProjectContext, Tick
from flowproject.sources.duckdb import reading
from flowproject.sources.duckdb.files import QueriedFiles
from flowproject.tables import row_comparison, row_table
from flowproject.tables.row_table import RowTable

pytestmark = pytest.mark.seconds(20)

ROWS = 1_200
SELECT = f"SELECT n AS id, n % 7 AS v, 'word ' || n AS w FROM range({ROWS}) AS t(n)"
FEW_MODIFIED = f"SELECT id, v, if(id % 100 = 3, 'x', w) AS w FROM ({SELECT})"


@pytest.fixture(autouse=True, scope="module")
def few_are_many() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, row_comparison, snapshots):
            patch.setattr(module, "FEW_ROWS", 20)
        patch.setattr(reading, "_CHUNK_ROWS", 100)
        yield


class Orders:
    """A sensor of many rows in a file, and its ticks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sql").mkdir()
        (root / "sql" / "orders.sql").write_text("FROM 'orders.parquet'")
        self.store = open_store(str(root / "store"))
        self.data = DuckDBData(query="orders", key=("id",))

    def tick(self, select: str = "", mode: SchemaChange = "change") -> Tick:
        """What a tick sees after these rows took the place of the others."""
        if select:
            new = self.root / "new.parquet"
            duckdb.sql(select).write_parquet(str(new))
            new.rename(self.root / "orders.parquet")
        [seen] = sensing.observe(self.context(mode))
        return seen

    def context(self, mode: SchemaChange = "change") -> ProjectContext:
        sensor = Sensor(
            name="orders", data=self.data, event_name="orders_changed", schema_change=mode
        )
        return ProjectContext(
            project=Project(project_name="demo", sensor=Schedule(), sensors={"orders": sensor}),
            root=self.root,
            store=self.store,
            branch="user.tester",
        )

    @property
    def journal(self) -> Journal:
        return self.context().journal("orders")

    @property
    def rows(self) -> dict[str, Any]:
        """What the journal has of all rows, by key."""
        entry = self.journal.head().entry
        assert entry is not None
        items = self.journal.snapshots.items(entry)
        return {item.key: item.data for item in items.values()}

    def segments(self) -> list[int]:
        """The sizes of the files with rows, the oldest first."""
        names = [
            key for key in self.store.keys(self.journal.location) if key.endswith("rows.parquet")
        ]
        return [len(self.store.get(name) or b"") for name in names]


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path)


def as_rows(select: str) -> dict[str, Any]:
    relation = duckdb.sql(select)
    return {
        str(row[0]): dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()
    }


def test_a_journal_grows_by_what_changed(orders: Orders):
    assert orders.tick(SELECT).outcome == "baseline"
    assert orders.tick().outcome == "unchanged"
    seen = orders.tick(FEW_MODIFIED)
    assert (seen.outcome, seen.counts) == ("changed", {"added": 0, "modified": 12, "removed": 0})
    first, second = orders.segments()
    assert second < first / 3
    assert orders.rows == as_rows(FEW_MODIFIED)
    # And back, to what the first file has already.
    assert orders.tick(SELECT).counts == {"added": 0, "modified": 12, "removed": 0}
    assert orders.rows == as_rows(SELECT)
    assert orders.tick().outcome == "unchanged"


def test_what_a_flow_is_told_is_what_happened(orders: Orders):
    orders.tick(SELECT)
    orders.tick(f"FROM ({FEW_MODIFIED}) WHERE id <> 5 UNION ALL SELECT -1, 0, 'new'")
    entry = orders.journal.head().entry
    assert entry is not None
    difference = orders.journal.snapshots.difference(entry)
    assert [item.key for item in difference.added] == ["-1"]
    assert [item.data for item in difference.removed] == [{"id": 5, "v": 5, "w": "word 5"}]
    assert [(old.data["w"], new.data["w"]) for old, new in difference.modified][:2] == [
        ("word 1003", "x"),
        ("word 103", "x"),
    ]


def test_files_are_written_anew_before_they_are_many_and_pruned_after(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(row_table, "_MOST_SEGMENTS", 3)
    orders.tick(SELECT)
    selects = [f"SELECT id, v, if(id = {n}, 'x', w) AS w FROM ({SELECT})" for n in range(6)]
    for select in selects:
        assert orders.tick(select).outcome == "changed"
        assert orders.rows == as_rows(select)
    before = len(orders.segments())
    journal = orders.journal
    prune(orders.store, journal, replace(journal.head(), unresolved={}), keep=1)
    assert len(orders.segments()) < before
    assert orders.rows == as_rows(selects[-1])
    assert orders.tick(selects[0]).counts == {"added": 0, "modified": 2, "removed": 0}


def test_a_look_asks_for_the_files_before_and_after_and_not_once_more(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
):
    orders.tick(SELECT)
    os.utime(orders.root / "orders.parquet", (1, 1))  # nobody is writing to it
    asked: list[None] = []
    states = QueriedFiles._states

    def counted(self: QueriedFiles) -> Any:
        asked.append(None)
        return states(self)

    monkeypatch.setattr(QueriedFiles, "_states", counted)
    assert orders.tick().outcome == "unchanged"
    assert len(asked) == 2


def test_a_journal_from_before_is_compared_by_value_once(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
):
    """It has one file with all rows, and no marks."""
    with monkeypatch.context() as patch:
        for module in (reading, row_comparison, snapshots):
            patch.setattr(module, "FEW_ROWS", ROWS)
        orders.tick(SELECT)
        assert orders.tick().outcome == "unchanged"
    assert orders.segments() == []
    assert orders.tick().outcome == "unchanged"
    seen = orders.tick(FEW_MODIFIED)
    assert seen.counts == {"added": 0, "modified": 12, "removed": 0}
    assert orders.rows == as_rows(FEW_MODIFIED)
    assert len(orders.segments()) == 1
    entry = orders.journal.head().entry
    assert entry is not None
    items = orders.journal.snapshots.items(entry)
    assert isinstance(items, RowTable)
    assert items.manifest.marks


@pytest.mark.parametrize("mode", ["change", "compare"])
def test_rows_are_compared_in_the_columns_that_stayed(orders: Orders, mode: SchemaChange):
    orders.tick(SELECT)
    seen = orders.tick(f"SELECT id, v::VARCHAR AS v, w, 1 AS more FROM ({SELECT})", mode)
    assert (seen.outcome, seen.counts.get("modified", 0)) == (
        "changed" if mode == "change" else "baseline",
        0,
    )
    seen = orders.tick(f"SELECT id, v::VARCHAR AS v, w, 1 AS more FROM ({FEW_MODIFIED})", mode)
    assert seen.counts == {"added": 0, "modified": 12, "removed": 0}


def test_no_state_advances_when_a_look_fails(orders: Orders, monkeypatch: pytest.MonkeyPatch):
    orders.tick(SELECT)
    seq = orders.journal.head().seq

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(row_table, "SegmentWriter", full)
        assert orders.tick(FEW_MODIFIED).outcome == "failed"
    assert orders.tick(f"FROM ({SELECT}) UNION ALL SELECT 5, 5, 'word 5'").outcome == "failed"
    assert orders.tick(f"FROM ({SELECT}) UNION ALL SELECT NULL, 5, ''").outcome == "failed"
    assert orders.journal.head().seq == seq
    assert orders.rows == as_rows(SELECT)
    assert orders.tick(FEW_MODIFIED).counts == {"added": 0, "modified": 12, "removed": 0}


@pytest.mark.parametrize("what", ["rows.parquet", "items.json"])
def test_a_damaged_table_is_named_and_no_change_missed(orders: Orders, what: str):
    orders.tick(SELECT)
    [name] = [key for key in orders.store.keys(orders.journal.location) if key.endswith(what)]
    content = bytearray(orders.store.get(name) or b"")
    content[len(content) // 2] ^= 1
    orders.store.put(name, bytes(content))
    seen = orders.tick(f"SELECT id, v, 'x' || w AS w FROM ({SELECT})")
    assert seen.outcome == "changed"
    assert "is damaged" in seen.reason
    assert seen.counts == {"added": ROWS, "modified": 0, "removed": 0}
    assert orders.tick().outcome == "unchanged"


def test_without_a_key_many_rows_are_known_as_a_whole(orders: Orders):
    orders.data = DuckDBData(query="orders")
    seen = orders.tick(SELECT)
    assert (seen.outcome, seen.total) == ("baseline", None)
    assert isinstance(seen.value, dict)
    assert seen.value["rows"] == ROWS
    assert orders.tick(f"FROM ({SELECT}) ORDER BY w DESC").outcome == "unchanged"
    exchanged = "CASE id WHEN 1 THEN 'word 2' WHEN 2 THEN 'word 1' ELSE w END"
    for select in (
        f"SELECT id, v, {exchanged} AS w FROM ({SELECT})",
        f"FROM ({SELECT}) UNION ALL SELECT 5, 5, 'word 5'",
        f"FROM ({SELECT}) WHERE id <> 5",
        f"FROM ({SELECT}) LIMIT 3",
        SELECT,
    ):
        assert orders.tick(select).outcome == "changed", select
        assert orders.tick().outcome == "unchanged"


def test_a_value_that_became_a_table_is_an_error(orders: Orders):
    orders.data = DuckDBData(query="orders")
    orders.tick("SELECT 42 AS answer")
    seen = orders.tick(SELECT)
    assert seen.outcome == "failed"
    assert "1,200 rows, and was one value at the last look" in seen.reason
    assert "reset" in seen.reason
    assert orders.tick("SELECT 43 AS answer").outcome == "changed"
