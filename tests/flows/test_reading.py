"""`flowproject.Project`: what a notebook or a script reads of a project, without a trace in it."""

from pathlib import Path

import metaflow
import pytest
from metaflow.plugins.datastores.local_storage import LocalStorage

import flowproject
from flowproject.errors import UsageError
from flowproject.testing import ProjectCopy

ROWS = [{"date": f"2015-01-0{day}", "temperature": 2.5 * day} for day in range(1, 4)]


def files(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in root.rglob("*")
        if "__pycache__" not in str(path)
    }


@pytest.fixture(autouse=True)
def _datastore_of_the_copy(project_copy: ProjectCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Metaflow looks in every folder above, and a machine may have one at its root."""
    monkeypatch.setattr(LocalStorage, "SYSROOT_VAR", str(project_copy.root))


def test_a_project_that_never_ran_is_shown_and_left_as_it_is(project_copy: ProjectCopy) -> None:
    before = files(project_copy.root)
    project = flowproject.Project(project_copy.root / "sql")
    assert "nothing is recorded yet" in repr(project)
    assert project["weather"].changes() == ()
    assert "No change of 'weather' is recorded yet." in repr(project["weather"])
    assert project.preview()[0].outcome == "baseline"
    assert project.datastore == ""
    assert files(project_copy.root) == before


def test_changes_are_read_with_their_items_and_the_runs_that_took_them(
    project_copy: ProjectCopy,
) -> None:
    first = project_copy.change(added=ROWS)
    project_copy.change(modified=[(ROWS[0], {**ROWS[0], "temperature": "<b>"})], removed=ROWS[1:2])
    run = project_copy.run("starterflow.py", first)
    before, asked = files(project_copy.root), metaflow.get_metadata()
    weather = flowproject.Project(project_copy.root)["weather"]
    newest, oldest = weather.changes()
    assert (newest.seq, oldest.seq, oldest.value) == (3, 2, 3)
    assert oldest.added == ROWS
    assert oldest.added.to_arrow().read_all().num_rows == 3
    assert [one["new"]["temperature"] for one in newest.modified] == ["<b>"]
    assert weather.change(2).taken_by == [f"StarterFlow/{run.id}"]
    assert [(one.run, one.state) for one in oldest.runs] == [(f"StarterFlow/{run.id}", "succeeded")]
    assert (newest.runs, newest.delivery) == ([], "no listener")
    assert metaflow.get_metadata() == asked
    assert weather.preview().outcome == "changed"
    for shown in (weather, weather.changes(), newest, flowproject.Project(project_copy.root)):
        html = shown._repr_html_()
        assert "<table>" in html
        assert "<b>2" not in html
    assert "&lt;b&gt;" in newest._repr_html_()
    assert "<svg" in weather._repr_html_()
    assert "StarterFlow" in repr(weather.changes())
    assert files(project_copy.root) == before


def test_what_is_not_there_is_said(project_copy: ProjectCopy) -> None:
    project = flowproject.Project(project_copy.root)
    with pytest.raises(UsageError, match="Did you mean 'weather'"):
        project["weathr"]
    with pytest.raises(UsageError, match="The newest are none"):
        project["weather"].change(7)
