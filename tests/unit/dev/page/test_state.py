"""What the loop has told is kept within bounds, and found without a search."""

import asyncio
from dataclasses import replace

import pytest

from flowproject.dev import happenings
from flowproject.dev.happenings import RunPrinted, Stopping
from flowproject.dev.page import state as boards
from flowproject.dev.page.state import Board
from tests.unit.dev.page.known import NOW, ROOT, event, finished, started, tick


def test_ticks_are_kept_by_sensor_oldest_first_and_only_the_newest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(boards, "_KEPT_TICKS", 3)
    board = Board()
    for number in range(10):
        board.hear(tick(10 - number, sensor=("a", "b")[number % 2], reason=str(number)))
    assert [one.reason for one in board.ticks["a"]] == ["4", "6", "8"]
    latest = board.latest("b")
    assert latest
    assert latest.reason == "9"
    assert board.latest("c") is None


def test_everything_is_bounded_however_much_happens():
    board = Board()
    for number in range(2_500):
        board.hear(event(0, id=str(number)))
        start = started(1, f"SensorFlow/{number}")
        board.hear(start)
        board.hear(finished(start, 1))
    assert len(board.runs) == 2_000
    assert len(board.events) == 2_000
    assert len(board.news) == 200
    assert board.running == set()
    assert board.number == 7_500


def test_a_run_that_goes_on_is_kept_however_many_come_and_go_meanwhile():
    board = Board()
    board.hear(started(9, "TakerFlow/1"))
    for number in range(2_500):
        start = started(1, f"SensorFlow/{number}")
        board.hear(start)
        board.hear(finished(start, 1))
    assert "TakerFlow/1" in board.runs
    assert board.running == {"TakerFlow/1"}
    assert len(board.runs) == 2_000


def test_the_ids_of_changes_lead_to_them_and_only_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(boards, "_KEPT_CHANGES", 2)
    board = Board()
    board.hear(tick(9))
    for number in (1, 2, 3):
        board.hear(tick(3, outcome="changed", seq=number, id=f"id-{number}"))
    assert board.changes == {"id-2": ("days", 2), "id-3": ("days", 3)}


def test_a_run_becomes_what_it_ended_as_with_its_ticks():
    board = Board()
    start = started(9, "SensorFlow/1", "e")
    board.hear(start)
    assert board.runs["SensorFlow/1"].state == "running"
    assert board.running == {"SensorFlow/1"}
    board.hear(finished(start, 2.5, ok=False))
    board.hear(tick(1))
    run = board.runs["SensorFlow/1"]
    assert (run.state, run.seconds, run.exit_code, run.events) == ("failed", 2.5, 1, ("e",))
    assert [one.sensor for one in run.ticks] == ["days"]
    assert board.lookers == {"days": "SensorFlow"}
    assert board.longest == 2.5


def test_the_newest_run_of_a_flow_is_the_one_that_started_last():
    board = Board()
    for name in ("TakerFlow/1", "TakerFlow/2", "SensorFlow/3"):
        board.hear(started(1, name))
    newest = board.newest_run("TakerFlow")
    assert newest
    assert newest.run_id == "2"
    assert board.newest_run("Other") is None


def test_a_run_that_failed_before_it_had_an_id_is_listed_each_time():
    board = Board()
    for number in (1, 2):
        end = finished(started(9, "SensorFlow/"), 1, ok=False)
        board.hear(replace(end, log=ROOT / f"{number}.log"))
    assert [(run.name, run.state) for run in board.runs.values()] == [("SensorFlow", "failed")] * 2
    assert board.running == set()


def test_every_happening_wakes_who_watches_but_printed_lines_only_who_reads_that_run():
    board = Board()
    watcher, reader, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
    board.watchers.add(watcher)
    board.readers["F/1"] = {reader}
    board.readers["F/2"] = {other}
    board.hear(RunPrinted(at=NOW, flow="F", run_id="1", line="hello"))
    assert (watcher.is_set(), reader.is_set(), other.is_set()) == (False, True, False)
    assert (board.number, len(board.news)) == (0, 0)
    board.hear(tick())
    assert watcher.is_set()
    assert not other.is_set()


def test_who_has_left_is_forgotten():
    board = Board()
    with board.watching() as moved, board.reading("F/1"), board.reading("F/1"):
        assert (board.watchers, len(board.readers["F/1"])) == ({moved}, 2)
    assert (board.watchers, board.readers) == (set(), {})


def test_the_end_wakes_everybody():
    board = Board()
    watcher, reader = asyncio.Event(), asyncio.Event()
    board.watchers.add(watcher)
    board.readers["F/1"] = {reader}
    board.hear(Stopping(at=NOW, runs=1, grace=5))
    assert (board.stopping, board.over) == (True, False)
    reader.clear()
    board.close()
    assert board.over
    assert watcher.is_set()
    assert reader.is_set()


def test_every_kind_of_happening_can_be_heard():
    board = Board()
    board.hear(happenings.Acted(at=NOW, action="tick", target="days", text=""))
    board.hear(happenings.Warned(at=NOW, flow="F", message="careful"))
    board.hear(
        happenings.Started(at=NOW, url="http://127.0.0.1:1/event", logs=ROOT, page="http://x/")
    )
    assert board.number == 3
    assert board.acts == 1
    assert board.started
