"""Ticks of a folder: what is asked of the journal, what an upgrade does, what is never recorded."""

import datetime as dt
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flowproject import sensing
from flowproject.changes.difference import Item, item
from flowproject.changes.observation import Observation, Past, fingerprint_items
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick, look
from flowproject.sources.files import FilesSource
from flowproject.tables import file_rows
from flowproject.tables.file_listing import FileListing
from flowproject.tables.table import ObjectTable
from tests.journals import CountingStore

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
SECOND = 1_000_000_000


def context(root: Path, **keys: object) -> ProjectContext:
    (root / "in").mkdir(exist_ok=True)
    data = FilesData(path="in", **keys)  # type: ignore[arg-type]
    sensor = Sensor(name="files", data=data, event_name="files_changed")
    return ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors={"files": sensor}),
        root=root,
        store=open_store(str(root / "store")),
        branch="user.tester",
        run="SensorFlow/1",
        clock=lambda: NOW,
    )


def write(root: Path, name: str, text: str = "x", *, age: float = 60) -> None:
    path = root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    nanoseconds = int((NOW.timestamp() - age) * SECOND)
    os.utime(path, ns=(nanoseconds, nanoseconds))


def tick(context: ProjectContext, *, force: bool = False) -> Tick:
    [seen] = sensing.observe(context, force=force)
    return seen


def seen_before(items: dict[str, Item]) -> type:
    """The source as it was before there were tables of files."""

    class Source(FilesSource):
        def observe(self, past: Past | None = None) -> Observation:
            del past
            return Observation(
                value=len(items), fingerprint=fingerprint_items(items.values()), items=items
            )

    return Source


def recorded_before(context: ProjectContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier version recorded of the files that are there."""
    found: dict[str, Item] = {}
    for path in (context.root / "in").rglob("*"):
        if path.is_file():
            key, status = str(path.relative_to(context.root / "in")), path.stat()
            data = file_rows.file_item(key, status.st_size, status.st_mtime_ns).data
            found[key] = item(key, data, identity=[status.st_size, status.st_mtime_ns])
    with monkeypatch.context() as patch:
        patch.setattr(look, "open_source", seen_before(found))
        assert tick(context).outcome == "baseline"
    entry = context.journal("files").head().entry
    assert entry
    assert entry.snapshot.endswith("-items.parquet")


def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowproject.tables.file_listing.SPAN_ROWS", 10)
    monkeypatch.setattr("flowproject.sources.files.SPAN_ROWS", 10)


@pytest.fixture(params=["few", "many"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether folders count as large ones, whose files are in a table of spans."""
    if request.param == "many":
        monkeypatch.setattr("flowproject.tables.file_listing.SPAN_ROWS", 1)
        monkeypatch.setattr("flowproject.sources.files.SPAN_ROWS", 0)
    return str(request.param)


@pytest.mark.usefixtures("size")
def test_an_unchanged_tick_makes_no_item_and_three_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, "deep/a")
    project = context(tmp_path)
    assert tick(project).outcome == "baseline"
    assert tick(project).outcome == "unchanged"
    monkeypatch.setattr(FileListing, "items", None)
    monkeypatch.setattr(FileListing, "compared", None)
    counting = CountingStore(project.store)
    seen = tick(replace(project, store=counting))
    assert (seen.outcome, seen.total, seen.cost["rows"]) == ("unchanged", 1, 1)
    assert len(counting.requests) == 3


def test_only_the_rows_that_moved_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _small_spans(monkeypatch)
    for number in range(50):
        write(tmp_path, f"day={number // 5}/{number:02}")
    project = context(tmp_path)
    tick(project)
    write(tmp_path, "day=3/17", "other")
    assert tick(project).counts == {"added": 0, "modified": 1, "removed": 0}
    journal = project.journal("files")
    entry = journal.head().entry
    assert entry
    table = journal.snapshots.items(entry)
    assert isinstance(table, ObjectTable)
    assert len(table) == 50
    assert table.manifest.rows[0] == 50
    assert table.manifest.rows[1] <= 10


def test_what_changed_reads_as_it_did_and_has_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flowproject.sources.files.SPAN_ROWS", 0)
    write(tmp_path, "gone")
    write(tmp_path, "a")
    project = context(tmp_path)
    tick(project)
    (tmp_path / "in" / "gone").unlink()
    write(tmp_path, "a", "more", age=30)
    write(tmp_path, "b", age=0)
    seen = tick(project)
    assert seen.counts == {"added": 1, "modified": 1, "removed": 1}
    journal = project.journal("files")
    entry = journal.head().entry
    assert entry
    difference = journal.snapshots.difference(entry)
    [added] = difference.added
    assert added.shown == {"key": "b", "size": 1, "modified": "2026-06-01T00:00:00.000000+00:00"}
    [(old, new)] = difference.modified
    assert (old.data["size"], new.data["size"]) == (1, 4)
    table = difference.added.to_arrow().read_all()  # type: ignore[attr-defined]
    assert table.to_pylist() == [{"key": "b", "size": 1, "modified": NOW}]


@pytest.mark.usefixtures("size")
def test_an_upgrade_is_no_change_and_the_next_change_is_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a", "deep/b", "deep/c"):
        write(tmp_path, name)
    project = context(tmp_path)
    recorded_before(project, monkeypatch)
    assert [tick(project).outcome for _ in range(3)] == ["unchanged"] * 3
    with monkeypatch.context() as patch:
        # Known by the memo that the first of them left.
        patch.setattr(FileListing, "items", None)
        patch.setattr(FileListing, "compared", None)
        assert tick(project).outcome == "unchanged"
    write(tmp_path, "deep/b", "other")
    seen = tick(project)
    assert seen.counts == {"added": 0, "modified": 1, "removed": 0}
    assert tick(project).outcome == "unchanged"
    (tmp_path / "in" / "a").unlink()
    assert tick(project).counts == {"added": 0, "modified": 0, "removed": 1}


@pytest.mark.usefixtures("size")
def test_an_upgrade_between_two_changes_tells_the_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, "a")
    project = context(tmp_path)
    recorded_before(project, monkeypatch)
    write(tmp_path, "b")
    assert tick(project).counts == {"added": 1, "modified": 0, "removed": 0}


@pytest.mark.parametrize("why", ["Permission denied", "renamed"])
def test_a_look_that_fails_records_nothing_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
):
    """Whether a folder can't be read, or they are renamed all the time."""
    write(tmp_path, "z0/a")
    project = context(tmp_path)
    tick(project)
    before = {key: project.store.get(key) for key in project.store.keys("flowproject")}
    real = os.scandir

    @contextmanager
    def failing(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        if why == "Permission denied" and Path(path).name == "z0":
            raise PermissionError(errno.EACCES, why)
        with real(path) as entries:
            found = list(entries)
        if why == "renamed" and Path(path) == tmp_path / "in":
            [one] = found
            one.stat()  # which it keeps
            Path(one.path).rename(tmp_path / "in" / f"z{int(one.name[1:]) + 1}")
        yield iter(found)

    with monkeypatch.context() as patch:
        patch.setattr("flowproject.sources.files.os.scandir", failing)
        failed = tick(project)
    assert failed.outcome == "failed"
    assert why in failed.reason
    assert {key: project.store.get(key) for key in project.store.keys("flowproject")} == before
    [now] = (tmp_path / "in").iterdir()
    now.rename(tmp_path / "in" / "z0")
    assert tick(project).outcome == "unchanged"


def test_a_rewrite_of_one_size_in_one_tick_of_the_clock_is_not_seen(tmp_path: Path):
    """What is promised: only the content tells, which `file_etag` reads."""
    write(tmp_path, "a", "one")
    project = context(tmp_path)
    content = FilesSource(FilesData(path="in/a", check_mode="file_etag"), tmp_path)
    tick(project)
    before = content.observe().value
    write(tmp_path, "a", "two")
    assert tick(project).outcome == "unchanged"
    assert content.observe().value != before


@pytest.mark.usefixtures("size")
def test_with_settle_a_file_is_told_of_when_no_such_rewrite_can_come_any_more(tmp_path: Path):
    project = context(tmp_path, settle=2.0)
    tick(project)
    write(tmp_path, "a", "one", age=0)
    assert tick(project).outcome == "settling"
    write(tmp_path, "a", "two", age=0)  # in the same tick of the clock, after the look
    assert tick(project).outcome == "settling"
    later = replace(project, clock=lambda: NOW + dt.timedelta(seconds=3))
    assert tick(later).counts == {"added": 1, "modified": 0, "removed": 0}
    assert (tmp_path / "in" / "a").read_text() == "two"


@pytest.mark.usefixtures("size")
def test_an_empty_file_whose_name_means_a_folder_in_a_bucket_is_a_file(tmp_path: Path):
    write(tmp_path, "a_$folder$", "")
    write(tmp_path, "b")
    project = context(tmp_path)
    tick(project)
    (tmp_path / "in" / "a_$folder$").unlink()
    assert tick(project).counts == {"added": 0, "modified": 0, "removed": 1}


def test_a_folder_that_grows_and_shrinks_is_the_same_in_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _small_spans(monkeypatch)
    project = context(tmp_path)
    tick(project)
    names = [f"{number:02}" for number in range(25)]
    for many in (9, 11, 25):
        counts = {"added": 0, "modified": 1, "removed": 0}
        for name in names[:many]:
            counts["added"] += not (tmp_path / "in" / name).exists()
            write(tmp_path, name, age=60 if name != "00" else many)
        counts["modified"] = int(many > 9)
        assert tick(project).counts == counts
    for many in (12, 10, 3, 0):
        gone = [
            path for path in sorted((tmp_path / "in").iterdir()) if path.name not in names[:many]
        ]
        for path in gone:
            path.unlink()
        assert tick(project).counts == {"added": 0, "modified": 0, "removed": len(gone)}
        assert tick(project).outcome == "unchanged"


@pytest.mark.usefixtures("size")
def test_a_forced_tick_tells_the_table_that_is_there(tmp_path: Path):
    write(tmp_path, "a")
    project = context(tmp_path)
    tick(project)
    known = project.journal("files").head().entry
    assert tick(project, force=True).outcome == "forced"
    entry = project.journal("files").head().entry
    assert known
    assert entry
    # In the same form, and known by the same digest: the next look is as quick.
    assert entry.snapshot.rpartition("-")[2] == known.snapshot.rpartition("-")[2]
    assert entry.memo == known.memo != {}
    assert tick(project).outcome == "unchanged"
    write(tmp_path, "b")
    assert tick(project).counts == {"added": 1, "modified": 0, "removed": 0}
