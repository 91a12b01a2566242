# ruff: noqa: S608  # all SQL here is the tests' own
"""A change of a result's columns is a fact of its own, whatever the rows come from."""

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from flowproject import sensing
from flowproject.change import Change
from flowproject.cli.delivery import delivery_lines
from flowproject.config import DuckDBData, Project, Schedule, Sensor
from flowproject.config.model import SchemaChange
from flowproject.dev.page.changes import change_view
from flowproject.journal import open_store
from flowproject.sensing import Chain, ProjectContext, Tick
from flowproject.sensing.change_events import together

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine

Write = Callable[[Path, str], None]
"""Puts the rows of a SELECT where the sensor looks."""

BEFORE = "SELECT * FROM (VALUES (1, 10, 'x'), (2, 20, 'y'), (3, 30, 'z')) AS t(id, v, name)"
NONE = {"added": 0, "modified": 0, "removed": 0}
QUERIES = {"csv": "FROM 'it.csv'", "parquet": "FROM 'it.parquet'", "view": "FROM it"}


def write_csv(root: Path, select: str) -> None:
    duckdb.sql(select).write_csv(str(root / "it.csv"))


def write_parquet(root: Path, select: str) -> None:
    duckdb.sql(select).write_parquet(str(root / "it.parquet"))


def write_view(root: Path, select: str) -> None:
    with duckdb.connect(root / "it.duckdb") as connection:
        connection.execute(f"CREATE OR REPLACE VIEW it AS {select}")


WRITERS: dict[str, Write] = {"csv": write_csv, "parquet": write_parquet, "view": write_view}


class Place:
    """A sensor of rows that come from somewhere, and its ticks."""

    def __init__(self, root: Path, kind: str, *, key: tuple[str, ...] = ("id",)) -> None:
        self.root, self._write = root, WRITERS[kind]
        (root / "sql").mkdir()
        (root / "sql" / "it.sql").write_text(QUERIES[kind])
        database = "it.duckdb" if kind == "view" else ""
        data = DuckDBData(query="it", key=key, database=database)
        self.sensor = Sensor(name="it", data=data, event_name="it_changed")
        self.store = open_store(str(root / "store"))

    def tick(self, select: str = "", mode: SchemaChange = "change", *, force: bool = False) -> Tick:
        """What a tick sees after these rows were written."""
        if select:
            self._write(self.root, select)
        [seen] = sensing.observe(self.context(mode), force=force)
        return seen

    def context(self, mode: SchemaChange = "change") -> ProjectContext:
        sensor = replace(self.sensor, schema_change=mode)
        return ProjectContext(
            project=Project(project_name="demo", sensor=Schedule(), sensors={"it": sensor}),
            root=self.root,
            store=self.store,
            branch="user.tester",
            clock=lambda: dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
        )


MOVES = {
    "another type": (
        "SELECT id, CAST(v AS VARCHAR) || if(id = 4, 'n/a', '') AS v, name FROM ({rows})",
        "v {number} → VARCHAR",
    ),
    "gained, without values": (
        "SELECT *, CAST(NULL AS VARCHAR) AS w FROM ({rows})",
        "w VARCHAR added",
    ),
    "gained, with values": ("SELECT *, 'w' || id AS w FROM ({rows})", "w VARCHAR added"),
    "lost": ("SELECT id, v FROM ({rows})", "name VARCHAR removed"),
    "renamed": (
        "SELECT id, v, name AS called FROM ({rows})",
        "called VARCHAR added, name VARCHAR removed",
    ),
}
"""What may happen to columns, and what is said of it."""

FOURTH = f"{BEFORE} UNION ALL SELECT 4, 40, 'n/a'"
AFTER = "SELECT * FROM (VALUES (1, 10, 'x'), (2, 25, 'y'), (4, 40, 'w')) AS t(id, v, name)"
EDITED = BEFORE.replace("20", "25")


def told(move: str, kind: str) -> str:
    return MOVES[move][1].format(number="BIGINT" if kind == "csv" else "INTEGER")


@pytest.mark.parametrize("move", MOVES)
def test_columns_that_change_are_named_and_untouched_rows_are_not_modified(
    tmp_path: Path, move: str
):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE)
    seen = place.tick(MOVES[move][0].format(rows=BEFORE))
    assert (seen.outcome, seen.counts) == ("changed", NONE)
    assert seen.reason == f"columns changed: {told(move, 'parquet')}; no row differs in the others"
    assert place.tick().outcome == "unchanged"


@pytest.mark.parametrize(
    "kind, move",
    # What a CSV file holds has the types that its texts look like.
    [(kind, move) for kind in WRITERS for move in MOVES if (kind, move) != ("csv", "another type")],
)
def test_rows_that_differ_besides_are_counted_and_no_others(tmp_path: Path, kind: str, move: str):
    place = Place(tmp_path, kind)
    place.tick(BEFORE)
    seen = place.tick(MOVES[move][0].format(rows=AFTER))
    assert seen.reason == f"columns changed: {told(move, kind)}; 1 added, 1 modified, 1 removed"


def test_a_text_in_a_column_of_numbers_adds_one_row_to_a_csv_file_and_modifies_none(
    tmp_path: Path,
):
    place = Place(tmp_path, "csv")
    file = tmp_path / "it.csv"
    file.write_text("id,v,at\n1,10,2024-01-01\n2,20.50,2024-01-02\n3,30,2024-01-03\n")
    place.tick()
    file.write_text(f"{file.read_text()}4,n/a,never\n")
    seen = place.tick()
    assert seen.reason == "columns changed: at DATE → VARCHAR, v DOUBLE → VARCHAR; 1 added"
    file.write_text("id,v,at\n1,10,2024-01-01\n2,20.5,2024-01-02\n")
    assert place.tick().reason == (
        "columns changed: at VARCHAR → DATE, v VARCHAR → DOUBLE; 2 removed"
    )


@pytest.mark.parametrize("key", [("id",), ("id", "day"), ("day", "id")])
def test_a_key_of_another_type_is_the_same_row(tmp_path: Path, key: tuple[str, ...]):
    place = Place(tmp_path, "csv", key=key)
    file = tmp_path / "it.csv"
    file.write_text("id,day,v\n1.0,2024-01-01,10\n2.0,2024-01-01,20\n3.5,2024-01-01,30\n")
    place.tick()
    file.write_text("id,day,v\n1.0,2024-01-01,10\n2.0,2024-01-01,25\nn/a,never,30\n")
    seen = place.tick()
    assert seen.reason == (
        "columns changed: day DATE → VARCHAR, id DOUBLE → VARCHAR; 1 added, 1 modified, 1 removed"
    )
    assert place.tick().outcome == "unchanged"


@pytest.mark.parametrize("key", [("id",), ()])
def test_a_ragged_file_is_a_change_of_columns_that_names_them(tmp_path: Path, key: tuple[str, ...]):
    place = Place(tmp_path, "csv", key=key)
    file = tmp_path / "it.csv"
    file.write_text("id,v\n1,10\n2,20\n")
    place.tick()
    file.write_text("id,v\n1,10\n2,20\n3,4,5\n6\n")
    seen = place.tick()
    if key:
        assert (seen.outcome, seen.exit_code) == ("failed", 3)
        assert "The result has no column 'id', which `key` names" in seen.reason
        assert 'Its columns: "id,v".' in seen.reason
        assert re.search(r"it\.csv', line 4, has 3 fields, and not 2\.", seen.reason)
    else:
        assert re.search(r"it\.csv', line 4, has 3 fields, and not 2\)$", seen.reason)
        assert seen.reason.startswith(
            'columns changed: "id,v" VARCHAR added, id BIGINT removed, v BIGINT removed; '
        )


@pytest.mark.parametrize("kind", WRITERS)
def test_the_order_of_columns_is_no_change(tmp_path: Path, kind: str):
    place = Place(tmp_path, kind)
    place.tick(BEFORE)
    assert place.tick(f"SELECT name, v, id FROM ({BEFORE})").outcome == "unchanged"


def test_a_type_that_changes_no_value_is_a_change_all_the_same(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE)
    seen = place.tick(f"SELECT id, CAST(v AS BIGINT) AS v, name FROM ({BEFORE})")
    assert seen.reason == "columns changed: v INTEGER → BIGINT; no row differs in the others"


def test_fail_fails_until_the_columns_are_as_they_were_or_a_tick_is_forced(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE, "fail")
    other = f"SELECT id, v FROM ({BEFORE})"
    for _ in range(2):
        seen = place.tick(other, "fail")
        assert (seen.outcome, seen.exit_code) == ("failed", 3)
        assert "columns changed: name VARCHAR removed" in seen.reason
        assert "Sensor 'it', whose schema_change is 'fail'" in seen.reason
        assert "flowproject reset it" in seen.reason
    assert place.tick(BEFORE, "fail").outcome == "unchanged"
    assert place.tick(other, "fail", force=True).outcome == "forced"
    assert place.tick(other, "fail").outcome == "unchanged"


def test_compare_remembers_other_columns_and_tells_nobody_until_rows_differ(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE, "compare")
    wider = f"SELECT *, 'w' AS w FROM ({BEFORE})"
    seen = place.tick(wider, "compare")
    assert (seen.outcome, seen.id) == ("baseline", "")
    assert seen.reason == (
        "columns changed: w VARCHAR added; no row differs in the others, remembered"
    )
    assert place.tick(wider, "compare").outcome == "unchanged"
    # From then on the new column counts as every other one.
    seen = place.tick(wider.replace("'w' AS w", "if(id = 2, 'x', 'w') AS w"), "compare")
    assert (seen.outcome, seen.reason) == ("changed", "1 modified")
    seen = place.tick(EDITED, "compare")
    assert (seen.outcome, seen.reason) == (
        "changed",
        "columns changed: w VARCHAR removed; 1 modified",
    )


@pytest.mark.parametrize("mode, outcome", [("change", "changed"), ("compare", "baseline")])
def test_a_result_without_a_key_is_compared_in_the_columns_that_stayed(
    tmp_path: Path, mode: SchemaChange, outcome: str
):
    place = Place(tmp_path, "parquet", key=())
    place.tick(BEFORE, mode)
    seen = place.tick(f"SELECT *, id AS w FROM ({BEFORE})", mode)
    assert seen.outcome == outcome
    assert seen.reason.startswith("columns changed: w INTEGER added; no row differs")
    seen = place.tick(EDITED, mode)
    assert seen.outcome == "changed"
    assert seen.reason.startswith("columns changed: w INTEGER removed; [")


def test_an_edited_query_is_compared_in_all_its_columns_and_the_reason_names_them(
    tmp_path: Path,
):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE, "fail")
    (tmp_path / "sql" / "it.sql").write_text("SELECT *, 7 AS w FROM 'it.parquet'")
    assert place.tick(mode="fail").reason == (
        "what is watched was edited: columns changed: w INTEGER added; 3 modified"
    )


def test_a_result_that_differs_far_behind_shows_where(tmp_path: Path):
    place = Place(tmp_path, "parquet", key=())
    rows = "SELECT n AS id, 'the same text' AS v FROM range(50) AS t(n)"
    place.tick(rows)
    seen = place.tick(f"SELECT id, if(id = 40, 'another', v) AS v FROM ({rows})")
    before, _, after = seen.reason.partition(" → ")
    assert "the same text" in before
    assert "another" in after
    assert max(len(before), len(after)) <= 60


def test_a_flow_sees_what_happened_to_the_columns(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE)
    seen = place.tick(f"SELECT id, CAST(v AS BIGINT) AS v, 1 AS w FROM ({FOURTH})")
    journal = place.context().journal("it")
    entry = journal.get(seen.seq)
    assert entry is not None
    event = {**entry.to_json(), "columns": entry.columns_change}
    change = Change(event, lambda: place.store)
    assert change.columns == {
        "added": {"w": "INTEGER"},
        "modified": {"v": {"old": "INTEGER", "new": "BIGINT"}},
        "removed": {"name": "VARCHAR"},
    }
    assert [row["id"] for row in change.added] == [4]
    before = {key: value for key, value in entry.to_json().items() if key != "columns"}
    assert Change(before, lambda: place.store).columns == {}  # an event of an older version


def test_history_why_and_the_page_name_the_columns(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE)
    seen = place.tick(f"SELECT id, CAST(v AS BIGINT) AS v FROM ({BEFORE})")
    words = "v INTEGER → BIGINT, name VARCHAR removed"
    journal = place.context().journal("it")
    entry = journal.get(seen.seq)
    assert entry is not None
    assert entry.columns == {"id": "INTEGER", "v": "BIGINT"}
    told_of = Chain(entry=entry)
    assert f"  columns   {words}" in delivery_lines(told_of)
    facts = {fact.name: fact.text for fact in change_view(told_of, None, ()).facts}
    assert facts["columns"] == words
    assert f"columns changed: {words}" in json.dumps(place.tick().to_json(), ensure_ascii=False)


def test_several_changes_that_are_sent_as_one_tell_what_they_come_to(tmp_path: Path):
    place = Place(tmp_path, "parquet")
    place.tick(BEFORE)
    place.tick(f"SELECT *, 1 AS w FROM ({BEFORE})")
    place.tick(f"SELECT id, v, 1 AS w FROM ({BEFORE})")
    place.tick(f"SELECT id, v, 1 AS w FROM ({FOURTH})")
    journal = place.context().journal("it")
    group = [entry for seq in (2, 3, 4) if (entry := journal.get(seq))]
    combination = together(journal, group)
    assert combination.columns_change == {
        "added": {"w": "INTEGER"},
        "modified": {},
        "removed": {"name": "VARCHAR"},
    }
    assert combination.applied_to(group[-1]).columns_change == combination.columns_change
    journal.outbox.decide(group[0], combination)
    assert journal.outbox.combination(group[0]) == combination
