"""A look ahead of a tick says whether there must be one, and writes nothing."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.journal import Store
from flowproject.sensing import ProjectContext
from tests.journals import CountingStore
from tests.watched_folder import START, Bus

WRITES = {"create", "put", "put_file", "delete"}


def context_of(folder: Path, store: Store, **data: Any) -> ProjectContext:
    (folder / "in").mkdir(exist_ok=True)
    sensor = Sensor(name="s", data=FilesData(path="in", **data), event_name="s_changed")
    project = Project(project_name="demo", sensor=Schedule(), sensors={"s": sensor})
    return ProjectContext(
        project=project, root=folder, store=store, branch="user.tester", clock=lambda: START
    )


@pytest.fixture
def context(tmp_path: Path, store: Store) -> ProjectContext:
    return context_of(tmp_path, store)


def tick(context: ProjectContext) -> str:
    [seen] = sensing.publish(context, sensing.observe(context))
    return seen.outcome


def survey(context: ProjectContext) -> tuple[str, bool]:
    """What it saw and whether there must be a tick, after a check that it wrote nothing."""
    counting: Any = CountingStore(context.store)
    [seen] = sensing.survey(replace(context, store=counting))
    assert not WRITES & {*counting.requests}
    return seen.tick.outcome, seen.needs_tick


@pytest.mark.usefixtures("bus")
def test_what_is_as_it_was_needs_no_tick(context: ProjectContext):
    assert survey(context)[1], "a first look is recorded"
    assert tick(context) == "baseline"
    assert survey(context) == ("unchanged", False)
    (context.root / "in" / "a").write_text("1")
    assert survey(context) == ("changed", True)
    assert survey(context) == ("changed", True), "nothing was taken for known"
    assert tick(context) == "changed"


def test_what_is_left_to_deliver_needs_one(context: ProjectContext, bus: Bus):
    tick(context)
    bus.answer = lambda _: 503
    (context.root / "in" / "a").write_text("1")
    tick(context)
    assert survey(context)[1]
    assert bus.payloads == []
    bus.answer = lambda _: 200
    tick(context)
    assert survey(context) == ("unchanged", False)


@pytest.mark.usefixtures("bus")
def test_what_can_not_be_looked_at_needs_one(context: ProjectContext):
    tick(context)
    (context.root / "in").rmdir()
    assert survey(context) == ("failed", True)


@pytest.mark.usefixtures("bus")
def test_what_only_settles_needs_one_to_note_since_when(tmp_path: Path, store: Store):
    context = context_of(tmp_path, store, settle=60.0, max_wait=600.0)
    tick(context)
    path = tmp_path / "in" / "a"
    path.write_text("1")
    os.utime(path, (START.timestamp(), START.timestamp()))
    assert survey(context) == ("settling", True)
    assert tick(context) == "settling"
    assert survey(context) == ("settling", False)
    later = replace(context, clock=lambda: START + timedelta(seconds=61))
    assert survey(later) == ("changed", True)


def test_changes_of_no_sensor_need_one(context: ProjectContext, bus: Bus):
    tick(context)
    bus.answer = lambda _: 503
    (context.root / "in" / "a").write_text("1")
    tick(context)
    [sensor] = context.project.sensors.values()
    renamed = replace(context.project, sensors={"t": replace(sensor, name="t")})
    (context.root / "in" / "a").unlink()
    assert sensing.survey(replace(context, project=renamed))[0].needs_tick
