"""Which sensors have files that moved: real files, and the system's own events."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowproject.config.data import DuckDBData, FilesData
from flowproject.dev import looking
from flowproject.dev.looking import FileWatch
from tests.running_loop import wait_for


class Heard:
    def __init__(self, root: Path, **data: Any) -> None:
        self.told: list[frozenset[str]] = []
        self.news = threading.Event()
        self.watch = FileWatch(self.told.append)
        self.sensors = [SimpleNamespace(name=name, data=one) for name, one in data.items()]
        there = SimpleNamespace(sensors=data)
        self.context: Any = SimpleNamespace(
            root=root,
            project=there,
            sensors=lambda _: [one for one in self.sensors if one.name in data],
        )
        self.follow()

    def follow(self) -> None:
        assert self.watch.follow(self.context, (), aside=self.context.root / ".metaflow") == ""

    def next(self) -> frozenset[str]:
        wait_for(lambda: self.told)
        return self.told.pop(0)


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "sql").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "sql" / "q.sql").write_text("SELECT * FROM 'data/*.csv'")
    (tmp_path / ".metaflow").mkdir()
    heard = Heard(
        tmp_path,
        files=FilesData(path="in", include=("**/*.csv",)),
        one=FilesData(path="one.txt", check_mode="file_etag"),
        rows=DuckDBData(query="q"),
        all=FilesData(path=".", include=("in/**", ".metaflow/**")),
    )
    yield heard
    heard.watch.close()


def test_a_sensor_hears_of_its_files_and_of_no_others(heard: Heard, tmp_path: Path):
    (tmp_path / "other.txt").write_text("1")
    (tmp_path / "in" / "x.tmp").write_text("1")
    assert heard.next() == {"all"}
    (tmp_path / "in" / "deep" / "a.csv").write_text("1")
    assert heard.next() == {"files", "all"}
    (tmp_path / "data" / "b.csv").write_text("a\n1\n")
    assert heard.next() == {"rows"}
    (tmp_path / ".metaflow" / "entry").write_text("1")
    (tmp_path / "one.txt").write_text("1")
    assert heard.next() == {"one"}, "what runs write is aside"
    assert heard.told == []


def test_a_write_is_told_once_and_when_it_is_whole(heard: Heard, tmp_path: Path):
    begun = time.monotonic()
    with (tmp_path / "data" / "b.csv").open("w") as file:
        for _ in range(10):
            file.write("1\n")
            file.flush()
            time.sleep(0.1)
            assert heard.told == []
    assert heard.next() == {"rows"}
    assert time.monotonic() - begun >= 1.0
    assert heard.told == []


def test_folders_that_come_and_queries_that_are_edited_are_heard_of(heard: Heard, tmp_path: Path):
    (tmp_path / "sql" / "q.sql").write_text("SELECT * FROM 'later/**/*.csv'")
    heard.follow()
    (tmp_path / "later").mkdir()
    assert heard.next() == {"rows"}
    heard.follow()
    (tmp_path / "later" / "x").mkdir()
    assert heard.next() == {"rows"}
    (tmp_path / "later" / "x" / "c.csv").write_text("a\n1\n")
    assert heard.next() == {"rows"}


def test_files_of_a_sensor_that_is_gone_are_nobodys(heard: Heard, tmp_path: Path):
    del heard.context.project.sensors["files"]
    heard.follow()
    (tmp_path / "in" / "a.csv").write_text("1")
    assert heard.next() == {"all"}


def test_when_the_system_ends_it_the_next_look_hears_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "in").mkdir()
    end = threading.Event()

    def ending(*_: object, **__: object) -> Iterator[set[Any]]:
        yield set()
        end.wait()
        monkeypatch.undo()
        raise RuntimeError("no watches left")

    monkeypatch.setattr(looking, "watch", ending)
    heard = Heard(tmp_path, files=FilesData(path="in"))
    end.set()
    wait_for(lambda: heard.watch._following[True].is_over)
    heard.follow()
    (tmp_path / "in" / "a").write_text("1")
    assert heard.next() == {"files"}
    heard.watch.close()


def test_what_has_to_settle_is_told_again_when_it_may_have(tmp_path: Path):
    (tmp_path / "in").mkdir()
    heard = Heard(tmp_path, slow=FilesData(path="in", settle=0.5))
    (tmp_path / "in" / "a").write_text("1")
    assert heard.next() == {"slow"}
    begun = time.monotonic()
    assert heard.next() == {"slow"}
    assert time.monotonic() - begun > 0.5
    heard.watch.close()
