"""A small campaign of faults: none lost, none run twice; wrong protocols show it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.chaos.books import Books
from benchmarks.chaos.bus import Bus
from benchmarks.chaos.campaign import campaign, catch, running_bus
from benchmarks.chaos.mutants import MUTANTS, Mutant
from benchmarks.chaos.ours import Ours
from benchmarks.chaos.place import local, on_s3
from benchmarks.chaos.processes import processes
from benchmarks.chaos.scaffold import Scaffold
from benchmarks.chaos.story import Place, Story
from tests.servers import Moto

Figure = Callable[[str, object], None]


@pytest.fixture
def chaos_bus() -> Iterator[Bus]:
    with running_bus() as bus:
        yield bus


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with local(tmp_path) as place:
        yield place


@pytest.fixture
def far(tmp_path: Path, moto: Moto) -> Iterator[Place]:
    with on_s3(tmp_path, moto.endpoint_url) as place:
        yield place


def hold(books: Books, name: str, figure: Figure) -> None:
    """Say what the campaign came to, and that nothing was wrong."""
    figure(
        "figure",
        f"{name}: {books.faults.total()} faults, {books.recorded} changes recorded, "
        f"{books.receipts} receipts, {books.suppressed} duplicates suppressed, "
        f"{books.lost} lost, {books.twice} run twice",
    )
    assert books.problems == []
    assert books.delivered == books.recorded > 0


def test_no_change_is_lost_or_run_twice_on_a_local_store(
    here: Place, chaos_bus: Bus, record_property: Figure
) -> None:
    books = campaign(Ours, place=here, bus=chaos_bus, seed=1, faults=200)
    hold(books, "chaos, local store", record_property)
    assert books.suppressed > 0
    assert sum("bus: " in fault for fault in books.faults) > 8, "they are injected"


def test_no_change_is_lost_or_run_twice_on_s3(
    far: Place, chaos_bus: Bus, record_property: Figure
) -> None:
    books = campaign(Ours, place=far, bus=chaos_bus, seed=1, faults=100)
    hold(books, "chaos, S3", record_property)
    assert any("wire" in fault for fault in books.faults)


def test_no_change_is_lost_or_run_twice_by_processes_that_are_killed_or_find_the_disk_full(
    here: Place, record_property: Figure
) -> None:
    books = processes(here, seed=1, faults=30)
    hold(books, "chaos, processes", record_property)
    assert {"kill -9 of a tick's process", "disk full in a tick's process"} <= {*books.faults}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_protocol_is_caught(mutant: Mutant, here: Place, chaos_bus: Bus) -> None:
    caught = catch(mutant, place=here, bus=chaos_bus, seed=1)
    assert caught.problems, f"{mutant.name} did no harm in {caught.rounds} rounds"


def test_the_scaffold_that_this_replaces_loses_changes_and_runs_some_twice(
    here: Place, chaos_bus: Bus
) -> None:
    books = campaign(Scaffold, place=here, bus=chaos_bus, seed=1, rounds=12, plot="")
    assert books.lost > 0
    assert books.twice > 0


def test_a_seed_is_a_story(here: Place, chaos_bus: Bus) -> None:
    """What one has seen in a round can be played again, request by request."""
    first, second = (Story(seed=7, place=here, bus=chaos_bus, make=Ours) for _ in range(2))
    first.play()
    second.play()

    def told(story: Story) -> list[str]:
        # Each has a branch of its own, of which every id is made.
        lines = (line.replace(story.name, "it") for line in story.turns.trace)
        return [re.sub("[0-9a-f]{32}", "id", line).split("tables/")[0] for line in lines]

    assert told(first) == told(second)
