"""`kill -9` at any moment loses no recorded change and sends none under another id."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, Protocol

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext

SCRIPT = Path(__file__).parent / "killing.py"
KILLS = [50, pytest.param(200, marks=pytest.mark.thorough)]
if given := os.environ.get("FLOWPROJECT_KILLS"):
    KILLS = [int(given)]


class Bus(Protocol):
    url: str
    payloads: list[dict[str, Any]]


@pytest.fixture
def context(tmp_path: Path) -> ProjectContext:
    """What `killing.py` ticks, seen from a process that is not killed."""
    sensor = Sensor(name="killed", data=FilesData(path="data"), event_name="killed_changed")
    project = Project(project_name="demo", sensor=Schedule(), sensors={"killed": sensor})
    store = open_store(str(tmp_path / "store"))
    return ProjectContext(project=project, root=tmp_path, store=store, branch="user.tester")


def run(context: ProjectContext, bus: Bus, mode: str, *arguments: str) -> dict[str, Any]:
    """Run `killing.py`, and check that nothing was lost: its figures and ours."""
    command = [sys.executable, str(SCRIPT), mode, str(context.root), bus.url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    [last] = sensing.observe(context)
    assert last.outcome == "unchanged"
    return {**json.loads(done.stdout), **delivered(context, bus)}


def delivered(context: ProjectContext, bus: Bus) -> dict[str, int]:
    """The journal is one unbroken chain, and the bus has each change of it, under its one id.

    A long run prunes its oldest entries; of those the bus still shows that none is missing.
    """
    journal = context.journal("killed")
    head = journal.head()
    # Back from the newest to the first that is gone: a pruning that was killed left older ones.
    numbered = (journal.get(seq) for seq in range(head.seq, 0, -1))
    kept = [entry for entry in takewhile(bool, numbered) if entry][::-1]
    assert [entry.seq for entry in kept] == list(range(kept[0].seq, head.seq + 1))
    for before, after in pairwise(kept):
        assert after.previous_fingerprint == before.fingerprint
    arrived = Counter(payload["id"] for payload in bus.payloads)
    numbers = {payload["id"]: payload["change"]["seq"] for payload in bus.payloads}
    changes = {entry.id for entry in kept if entry.is_published}
    figures = {
        "recorded": head.seq - 1,
        "delivered": len(set(numbers.values())),
        "sent again with the same id": arrived.total() - len(arrived),
        "lost": len(set(range(2, head.seq + 1)) - set(numbers.values()))
        + len(changes - set(arrived)),
        "under another id": len(arrived) - len(set(numbers.values())),
    }
    assert (figures["lost"], figures["under another id"]) == (0, 0), figures
    assert list(numbers.values()) == sorted(numbers.values()), "first arrived in order"
    return figures


@pytest.mark.timeout(700)
@pytest.mark.parametrize("kills", KILLS)
def test_random_kills_while_data_keeps_changing(
    context: ProjectContext, bus: Bus, kills: int, record_property: Callable[[str, object], None]
) -> None:
    figures = run(context, bus, "random", str(kills))
    record_property("figure", f"kill -9 of a ticking sensor: {figures}")
    assert figures["recorded"] > kills / 10, "too little got through to prove anything"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["die", "fail"])
def test_a_fault_at_each_request_to_the_store(
    context: ProjectContext, bus: Bus, fault: str, when: str
) -> None:
    figures = run(context, bus, "each", fault, when)
    assert figures["recorded"] == figures["rounds"]
    assert 8 < figures["faults"] < figures["rounds"], "each request of a tick was struck"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["die", "fail"])
def test_a_fault_around_the_handing_over_repeats_the_event_and_never_renames_it(
    context: ProjectContext, bus: Bus, fault: str, when: str
) -> None:
    figures = run(context, bus, "publish", fault, when)
    assert figures["faults"] == figures["rounds"] == 4
    assert figures["sent again with the same id"] == (4 if when == "after" else 0)
