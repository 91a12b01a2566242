"""Of a large result only what moved is read, and what is said of it is what a whole comparison says."""  # noqa: E501

import random
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.difference import diff
from flowproject.changes.observation import Observation
from flowproject.errors import QueryError
from flowproject.sources.postgres import rows as rows_module
from flowproject.sources.postgres import source as source_module
from flowproject.tables.row_table import RowTable
from tests.observations import remembered, table
from tests.postgres import Postgres, Project

ROWS = 2000
EDITS = {
    "a few values": "UPDATE t SET n = -n, v = v || 'x' WHERE id % 400 = 7",
    "an exchange": "UPDATE t SET v = (SELECT o.v FROM t AS o WHERE o.id = 11 - t.id) "
    "WHERE id BETWEEN 1 AND 10",
    "rows gone": "DELETE FROM t WHERE id % 300 = 5",
    "rows came": "INSERT INTO t SELECT n, 'new', n FROM generate_series(5001, 5007) AS n",
    "keys exchanged": "UPDATE t SET id = CASE id WHEN 3 THEN 9003 ELSE 9004 END WHERE id IN (3, 4)",
    "every row": "UPDATE t SET v = v || '!'",
    "nothing but the scale": "UPDATE t SET n = n + 0.00 WHERE id < 50",
    "all gone": "TRUNCATE t",
}


@pytest.fixture
def project(
    tmp_path: Path, postgres_settings: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A table that counts as large."""
    for module in (rows_module, source_module):
        monkeypatch.setattr(module, "FEW_ROWS", 1100)
    project = Project(tmp_path, postgres_settings)
    project.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric)",
        f"INSERT INTO t SELECT n, 'v' || n, n FROM generate_series(1, {ROWS}) AS n",  # noqa: S608  # the tests' own
    )
    project.write("SELECT * FROM t")
    return project


def again(project: Project, before: Observation, **data: Any) -> Observation:
    return project.source(**({"key": ("id",)} | data)).observe(remembered(before))


OFTEN = ("a few values", "an exchange", "keys exchanged", "all gone")


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if one in OFTEN else pytest.mark.thorough) for one in EDITS],
)
def test_what_moved_is_what_a_whole_comparison_says(project: Project, name: str):
    before = project.look(key=("id",))
    assert isinstance(before.items, RowTable)
    project.run(EDITS[name])
    after = again(project, before)
    whole = project.look(key=("id",))
    expected = diff(table(before), table(whole))
    assert after.difference is not None
    assert after.difference.first(10**6) == expected
    assert after.fingerprint == whole.fingerprint
    assert table(after) == table(whole)
    # And on from there.
    project.run("UPDATE t SET v = 'last' WHERE id = 1200")
    last = again(project, after)
    assert last.fingerprint == project.look(key=("id",)).fingerprint


def test_only_rows_of_buckets_that_moved_are_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    before = project.look(key=("id",))
    project.run("UPDATE t SET v = 'x' WHERE id IN (3, 4)")
    read: list[int] = []
    batches = rows_module.QueryResult.marked_of

    def counted(*given: Any) -> Any:
        for batch in batches(*given):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(rows_module.QueryResult, "marked_of", counted)
    kept, read_kept = [], RowTable.read

    def counted_kept(table: RowTable, schema: Any, only: int | None = None) -> Any:
        kept.append((table.manifest.live if only is None else only).bit_count())
        return read_kept(table, schema, only)

    monkeypatch.setattr(RowTable, "read", counted_kept)
    after = again(project, before)
    assert after.difference is not None
    assert after.difference.counts == {"added": 0, "modified": 2, "removed": 0}
    assert 2 <= sum(read) < ROWS / 10
    assert max(kept) <= 2  # of the past not even the keys


@pytest.mark.thorough
def test_after_many_edits_by_chance_it_still_is_the_table(project: Project):
    chance = random.Random(5)
    seen = project.look(key=("id",))
    for _ in range(6):
        numbers = ", ".join(str(chance.randint(1, ROWS + 50)) for _ in range(9))
        project.run(
            chance.choice(
                [
                    f"UPDATE t SET v = '{chance.randint(1, 9)}' WHERE id IN ({numbers})",  # noqa: S608  # the tests' own
                    f"DELETE FROM t WHERE id IN ({numbers})",  # noqa: S608  # the tests' own
                    "INSERT INTO t SELECT n, 'i', n FROM generate_series(1, 2050) AS n "  # noqa: ISC004
                    "ON CONFLICT DO NOTHING",
                ]
            )
        )
        seen = again(project, seen)
        whole = project.look(key=("id",))
        assert (seen.fingerprint, table(seen)) == (whole.fingerprint, table(whole))


def test_a_key_that_is_there_twice_is_an_error_whether_or_not_it_moved(project: Project):
    project.run("ALTER TABLE t DROP CONSTRAINT t_pkey")
    before = project.look(key=("id",))
    for row in ("(7, 'another', 7)", "(7, 'v7', 7)"):
        project.run(f"INSERT INTO t VALUES {row}")  # noqa: S608  # the tests' own
        with pytest.raises(QueryError, match=r"Two rows have the key '7'"):
            again(project, before)
        project.run("DELETE FROM t WHERE id = 7", "INSERT INTO t VALUES (7, 'v7', 7)")


def test_a_column_that_came_is_told_of_and_no_row_is_modified_by_it(project: Project):
    before = project.look(key=("id",))
    project.run("ALTER TABLE t ADD COLUMN w int DEFAULT 7")
    after = again(project, before)
    assert after.difference is None  # whoever asked compares them in the columns that stayed
    assert after.columns["w"] == "integer"
    project.run("UPDATE t SET w = 8 WHERE id = 3")
    later = again(project, after)
    assert later.difference is not None
    assert later.difference.counts == {"added": 0, "modified": 1, "removed": 0}
