"""Ticks name what no sensor delivers any more, and pay for it only when that may have changed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.changes.difference import Difference
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.errors import JournalError
from flowproject.journal import Store
from flowproject.sensing import ProjectContext, Tick
from tests.journals import CountingStore
from tests.watched_folder import START, Bus

READS = ["get", "exists", "get"]
"""What an unchanged tick asks for: the memo of the head, whether more follows, the newest entry."""


@pytest.fixture
def context(tmp_path: Path, store: Store) -> ProjectContext:
    return ProjectContext(
        project=named(),
        root=tmp_path,
        store=store,
        branch="user.tester",
        clock=lambda: START,
    )


def named(*names: str) -> Project:
    """A project with these sensors, each of which watches a folder of its name."""
    sensors = {
        name: Sensor(name=name, data=FilesData(path=name), event_name=f"{name}_changed")
        for name in names
    }
    return Project(project_name="demo", sensor=Schedule(), sensors=sensors)


def with_sensors(context: ProjectContext, *names: str) -> ProjectContext:
    for name in names:
        (context.root / name).mkdir(exist_ok=True)
    return replace(context, project=named(*names))


def look(context: ProjectContext, names: Sequence[str] = ()) -> list[Tick]:
    return sensing.publish(context, sensing.observe(context, names))


def requests_of(context: ProjectContext) -> list[str]:
    """What a tick asks the store, kind by kind."""
    counting: Any = CountingStore(context.store)
    look(replace(context, store=counting))
    return sorted(counting.requests)


def change_unsent(context: ProjectContext, bus: Bus, sensor: str) -> None:
    """Record a change of this sensor that the bus does not take."""
    bus.answer = lambda _: 400
    number = len([*(context.root / sensor).iterdir()])
    (context.root / sensor / f"{number}.csv").write_text("x")
    [seen] = look(context, [sensor])
    assert seen.pending


def orphans_told(context: ProjectContext, names: Sequence[str] = ()) -> str:
    return "".join(seen.abandoned for seen in look(context, names))


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]], ids=len)
def test_an_unchanged_tick_makes_three_requests_for_each_sensor(
    context: ProjectContext, names: list[str]
) -> None:
    context = with_sensors(context, *names)
    look(context)
    for _ in range(2):
        assert requests_of(context) == sorted(READS * len(names))


@pytest.mark.parametrize("after", [["b"], ["b", "new"]], ids=["removed", "renamed"])
def test_a_sensor_that_is_gone_is_named_by_the_very_next_tick_and_by_all_that_follow(
    context: ProjectContext, bus: Bus, after: list[str]
) -> None:
    before = with_sensors(context, "a", "b")
    look(before)
    change_unsent(before, bus, "a")
    assert orphans_told(before) == ""
    for _ in range(3):
        told = orphans_told(with_sensors(context, *after))
        assert "No sensor is called 'a' any more, and change 2 of it is not delivered" in told


def test_what_was_seen_under_other_names_is_not_trusted_when_one_goes_back_to_them(
    context: ProjectContext, bus: Bus
) -> None:
    """The names have no journal in common, so each has to forget what the other knows."""
    old, new = with_sensors(context, "old"), with_sensors(context, "new")
    look(old)
    look(new)
    change_unsent(new, bus, "new")
    assert "No sensor is called 'new' any more" in orphans_told(old)


def test_nor_by_a_tick_of_one_sensor_if_another_was_looked_at_then(
    context: ProjectContext, bus: Bus
) -> None:
    few, more = with_sensors(context, "a"), with_sensors(context, "a", "b")
    look(few)
    look(more, ["b"])
    change_unsent(more, bus, "b")
    assert "No sensor is called 'b' any more" in orphans_told(few)


def test_a_tick_of_the_old_name_that_ends_after_the_first_of_the_new_one_is_found_out(
    context: ProjectContext, bus: Bus
) -> None:
    """The other deployment may go on for a while; then nothing is asked any more."""
    old, new = with_sensors(context, "old"), with_sensors(context, "new")
    look(old)
    journal, head = old.journal("old"), old.journal("old").head()
    for _ in range(3):
        look(new)
    assert head.entry
    late = replace(head.entry, seq=2, id=f"{2:032x}", outcome="changed")
    journal.record(late, None, Difference(), head)
    assert "No sensor is called 'old' any more" in orphans_told(new)
    look(old)
    assert len(bus.events) == 1
    assert orphans_told(new) == ""
    later = replace(new, clock=lambda: START + timedelta(days=2))
    assert requests_of(later) != sorted(READS)
    assert requests_of(later) == sorted(READS)


def test_a_store_that_can_not_be_listed_stops_no_tick_and_is_asked_again(
    context: ProjectContext, bus: Bus
) -> None:
    both, one = with_sensors(context, "a", "b"), with_sensors(context, "b")
    look(both)
    change_unsent(both, bus, "a")

    class Unlisted(CountingStore):
        def folders(self, prefix: str) -> list[str]:
            raise JournalError(f"The store does not list {prefix}")

    unlisted: Any = Unlisted(context.store)
    [seen] = look(replace(one, store=unlisted))
    assert (seen.outcome, seen.abandoned) == ("unchanged", "")
    assert "No sensor is called 'a' any more" in orphans_told(one)
