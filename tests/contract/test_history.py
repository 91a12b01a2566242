"""Every tick tells the newest changes and what became of them, on each kind of store, unasked."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowproject.changes.canonical import Json
from flowproject.config import FilesData, Sensor
from flowproject.journal import Store
from flowproject.sensing import Tick
from tests.journals import CountingStore
from tests.watched_folder import Bus, WatchedFolder


@pytest.fixture
def watched(tmp_path: Path, store: Store) -> WatchedFolder:
    (tmp_path / "data").mkdir()
    watched = WatchedFolder(
        tmp_path, store, Sensor(name="files", data=FilesData(path="data"), event_name="e")
    )
    watched.tick()
    return watched


def states(seen: Tick) -> list[tuple[int, str, str]]:
    return [(told["seq"], told["outcome"], told["state"]) for told in seen.history]


def takers(seen: Tick) -> Json:
    return seen.history[0]["taken_by"]


def test_a_change_waits_is_sent_and_is_delivered_to_the_runs_that_took_it(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow", "Other")
    assert states(watched.change()) == [(2, "changed", "waiting"), (1, "baseline", "")]
    watched.take(bus.payloads[0], "Other", "8")
    assert states(watched.later(1))[0] == (2, "changed", "sent")
    watched.take(bus.payloads[0], "StarterFlow", "7")
    for _ in range(2):
        seen = watched.later(1)
        assert states(seen)[0] == (2, "changed", "delivered")
        assert takers(seen) == ["Other/8", "StarterFlow/7"]


@pytest.mark.usefixtures("bus")
def test_without_listeners_it_says_so(watched: WatchedFolder) -> None:
    watched.change()
    seen = watched.tick()
    assert states(seen)[0] == (2, "changed", "no listener")
    assert takers(seen) == []


def test_who_took_it_is_told_though_nobody_listens_any_more(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.take(bus.payloads[0])
    watched.listen("New")
    assert states(watched.later(1))[0] == (2, "changed", "delivered")


def test_what_the_bus_refused_waits(watched: WatchedFolder, bus: Bus) -> None:
    bus.answer = lambda _: 400
    watched.change()
    assert states(watched.tick())[0] == (2, "changed", "waiting")


def test_changes_that_were_sent_together_were_taken_by_the_same_run(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    watched.listen("StarterFlow")
    bus.answer = lambda _: 400
    for _ in range(3):
        watched.change()
    bus.answer = lambda _: 200
    watched.tick()
    assert [payload["change"]["seq"] for payload in bus.payloads] == [2, 4]
    for run, payload in enumerate(bus.payloads):
        watched.take(payload, run=str(run))
    taken = [(told["seq"], told["taken_by"]) for told in watched.later(1).history]
    assert taken[:3] == [(4, ["StarterFlow/1"]), (3, ["StarterFlow/1"]), (2, ["StarterFlow/0"])]


@pytest.mark.usefixtures("bus")
def test_a_tick_that_fails_still_tells_what_was_known(watched: WatchedFolder) -> None:
    known = watched.change()
    (watched.root / "data").rename(watched.root / "away")
    failed = watched.tick()
    assert failed.outcome == "failed"
    assert states(failed) == [(2, "changed", "no listener"), (1, "baseline", "")]
    assert failed.trail == known.trail


@pytest.mark.usefixtures("bus")
def test_only_the_newest_are_told_and_each_in_short(watched: WatchedFolder) -> None:
    for _ in range(9):
        seen = watched.change()
    assert [told["seq"] for told in seen.history] == [*range(10, 2, -1)]
    assert {told["state"] for told in seen.history[1:]} == {"no listener"}
    assert seen.history[0].keys() == {
        "seq",
        "recorded_at",
        "outcome",
        "reason",
        "value",
        "total",
        "state",
        "taken_by",
    }


def test_what_is_not_known_without_looking_is_left_out(watched: WatchedFolder, bus: Bus) -> None:
    """The memo of the journal's end may be lost; nothing is read in its place."""
    watched.listen("StarterFlow")
    watched.change()
    watched.take(bus.payloads[0])
    watched.later(1)
    [memo] = [key for key in watched.store.keys("flowproject") if key.endswith("/head.json")]
    watched.store.delete(memo)
    assert states(watched.later(1))[0] == (2, "changed", "")


@pytest.mark.usefixtures("bus")
def test_history_costs_an_unchanged_tick_no_request(watched: WatchedFolder) -> None:
    counting = CountingStore(watched.store)
    quiet, costs = replace(watched, store=counting), []
    for changes in (0, 1, 8):
        for _ in range(changes):
            watched.change()
        counting.requests.clear()
        assert quiet.tick().outcome == "unchanged"
        costs.append(list(counting.requests))
    assert costs[0] == costs[1] == costs[2]
