# ruff: noqa: S608  # all SQL here is the tests' own
"""Ticks of a query whose rows are not read while nothing changed tell what they told before."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flowproject import sensing
from flowproject.config import DuckDBData, Project, Schedule, Sensor
from flowproject.journal import Store
from flowproject.sensing import ProjectContext, Tick
from flowproject.sources.duckdb import reading
from flowproject.sources.duckdb.digest import ResultDigest

pytestmark = pytest.mark.seconds(20)

ROWS = 1_500
QUERY = f"SELECT n AS id, n % 7 AS v FROM range({ROWS}) AS t(n)"
EDITED = f"SELECT id, if(id = 3, 70, v) AS v FROM ({QUERY})"
WIDENED = f"SELECT *, 'more' AS w FROM ({QUERY})"
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


class Place:
    """A sensor of a Parquet file, its ticks, and how many rows each of them read."""

    def __init__(self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self._store = root, store
        (root / "sql").mkdir()
        (root / "sql" / "it.sql").write_text("FROM 'it.parquet'")
        self.sensor = Sensor(
            name="it", data=DuckDBData(query="it", key=("id",)), event_name="it_changed"
        )
        self.read = 0

        def counted(chunk: list[Any], kinds: Mapping[str, Any]) -> Any:
            self.read += len(chunk)
            return converted(chunk, kinds)

        converted = reading.converted
        monkeypatch.setattr(reading, "converted", counted)

    def write(self, select: str) -> None:
        duckdb.sql(select).write_parquet(str(self.root / "it.parquet"))

    def context(self, **edits: Any) -> ProjectContext:
        sensor = replace(self.sensor, **edits)
        return ProjectContext(
            project=Project(project_name="demo", sensor=Schedule(), sensors={"it": sensor}),
            root=self.root,
            store=self._store,
            branch="user.tester",
            clock=lambda: NOW,
        )

    def tick(self, *, force: bool = False, **edits: Any) -> Tick:
        self.read = 0
        [seen] = sensing.observe(self.context(**edits), force=force)
        return seen

    def preview(self) -> Tick:
        self.read = 0
        [seen] = sensing.preview(self.context())
        return seen


@pytest.fixture
def place(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Place:
    it = Place(tmp_path, store, monkeypatch)
    it.write(QUERY)
    return it


def facts(seen: Tick) -> tuple[Any, ...]:
    """What people are shown of a tick, but for how long it took."""
    cost = {name: seen.cost[name] for name in ("requests", "bytes", "rows")}
    return (
        seen.outcome,
        seen.reason,
        seen.value,
        seen.total,
        cost,
        seen.query,
        seen.trail,
        seen.history,
    )


def test_an_unchanged_tick_tells_the_same_without_reading_a_row(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    first = place.tick()
    assert (first.outcome, place.read) == ("baseline", ROWS)
    unread = place.tick()
    assert (unread.outcome, place.read) == ("unchanged", 0)
    looked_at = place.preview()
    assert (facts(looked_at), place.read) == (facts(unread), 0)
    monkeypatch.setattr(ResultDigest, "expected", lambda *_: None)
    assert (facts(place.tick()), place.read) == (facts(unread), ROWS)
    assert (unread.value, unread.total, unread.cost["rows"]) == (ROWS, ROWS, ROWS)


def test_a_change_is_told_row_by_row_and_then_known(place: Place):
    place.tick()
    place.write(EDITED)
    assert place.preview().counts == {"added": 0, "modified": 1, "removed": 0}
    changed = place.tick()
    assert (changed.outcome, changed.counts["modified"]) == ("changed", 1)
    assert (place.tick().outcome, place.read) == ("unchanged", 0)
    place.write(QUERY)
    assert place.tick().outcome == "changed", "what was there before is another state now"


def test_a_forced_tick_reads_every_row(place: Place):
    place.tick()
    forced = place.tick(force=True)
    assert (forced.outcome, place.read, forced.total) == ("forced", ROWS, ROWS)
    assert (place.tick().outcome, place.read) == ("unchanged", 0)


def test_after_an_upgrade_rows_are_read_once_and_nothing_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as before:
        before.setattr(ResultDigest, "expected", lambda *_: None)
        place.tick()
        place.tick()
    assert (place.tick().outcome, place.read) == ("unchanged", ROWS)
    assert (place.tick().outcome, place.read) == ("unchanged", 0)


def test_columns_that_change_are_seen_although_no_row_differs(place: Place):
    place.tick()
    place.write(WIDENED)
    refused = place.tick(schema_change="fail")
    assert (refused.outcome, "w VARCHAR added" in refused.reason) == ("failed", True)
    assert place.tick(schema_change="baseline").outcome == "baseline"
    assert (place.tick(schema_change="fail").outcome, place.read) == ("unchanged", 0)


def test_a_change_that_settles_leaves_no_digest(place: Place):
    place.tick()
    place.write(EDITED)
    settling = replace(place.sensor.data, settle=10 * 365 * 86_400.0)
    assert place.tick(data=settling).outcome == "settling"
    assert (place.tick(data=settling).outcome, place.read) == ("settling", ROWS)
    assert place.tick().outcome == "changed"
