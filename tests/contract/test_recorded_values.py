"""What the version before recorded of every type is what this one sees: nothing counts as changed.

`recorded/` has a query, and the journals of two sensors that remembered its result, with a key and
without one, before entries had columns and before DuckDB's dates were read as text.
"""

import datetime as dt
import shutil
from pathlib import Path

import pytest

from flowproject import sensing
from flowproject.config import DuckDBData, Project, Schedule, Sensor
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick

RECORDED = Path(__file__).parent / "recorded"
BRANCH = "user.tester"

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine


@pytest.fixture
def context(tmp_path: Path) -> ProjectContext:
    shutil.copytree(RECORDED, tmp_path, dirs_exist_ok=True)
    keys = {"keyed": ("id",), "whole": ()}
    sensors = {
        name: Sensor(
            name=name,
            data=DuckDBData(query="everything", key=key),
            event_name=f"{name}_changed",
        )
        for name, key in keys.items()
    }
    return ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors=sensors),
        root=tmp_path,
        store=open_store(str(tmp_path / "store")),
        branch=BRANCH,
        clock=lambda: dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
    )


def ticks(context: ProjectContext) -> list[Tick]:
    return sensing.observe(context)


def test_nothing_that_was_recorded_before_counts_as_changed(context: ProjectContext):
    assert [(tick.outcome, tick.counts) for tick in ticks(context)] == [("unchanged", {})] * 2


def test_what_changed_since_is_found_and_nothing_else(context: ProjectContext):
    query = context.root / "sql" / "everything.sql"
    query.write_text(query.read_text().replace("127 END::TINYINT", "126 END::TINYINT"))
    keyed, whole = ticks(context)
    assert keyed.counts == {"added": 0, "modified": 1, "removed": 0}
    assert keyed.columns_change == whole.columns_change == {}  # they were not recorded yet
    assert [edit["key"] for edit in keyed.sample["modified"]] == ["2"]  # type: ignore[index, union-attr, call-overload]
    assert whole.outcome == "changed"
