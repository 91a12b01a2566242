"""What the loop has told is kept within bounds, and found without a search."""

import asyncio
from dataclasses import replace

import pytest

from flowproject.dev import messages
from flowproject.dev.messages import LoopStopping, RunPrinted
from flowproject.dev.page import state as boards
from flowproject.dev.page.state import LoopState
from tests.unit.dev.page.page_context import NOW, ROOT, event, finished, started, tick


def test_ticks_are_kept_by_sensor_oldest_first_and_only_the_newest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(boards, "_KEPT_TICKS", 3)
    loop = LoopState()
    for number in range(10):
        loop.update(tick(10 - number, sensor=("a", "b")[number % 2], reason=str(number)))
    assert [one.reason for one in loop.ticks["a"]] == ["4", "6", "8"]
    latest = loop.latest("b")
    assert latest
    assert latest.reason == "9"
    assert loop.latest("c") is None


def test_everything_is_bounded_however_much_happens():
    loop = LoopState()
    for number in range(2_500):
        loop.update(event(0, id=str(number)))
        start = started(1, f"SensorFlow/{number}")
        loop.update(start)
        loop.update(finished(start, 1))
    assert len(loop.runs) == 2_000
    assert len(loop.events) == 2_000
    assert len(loop.news) == 200
    assert loop.running == set()
    assert loop.number == 7_500


def test_a_run_that_goes_on_is_kept_however_many_come_and_go_meanwhile():
    loop = LoopState()
    loop.update(started(9, "TakerFlow/1"))
    for number in range(2_500):
        start = started(1, f"SensorFlow/{number}")
        loop.update(start)
        loop.update(finished(start, 1))
    assert "TakerFlow/1" in loop.runs
    assert loop.running == {"TakerFlow/1"}
    assert len(loop.runs) == 2_000


def test_the_ids_of_changes_lead_to_them_and_only_the_newest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(boards, "_KEPT_CHANGES", 2)
    loop = LoopState()
    loop.update(tick(9))
    for number in (1, 2, 3):
        loop.update(tick(3, outcome="changed", seq=number, id=f"id-{number}"))
    assert loop.changes == {"id-2": ("days", 2), "id-3": ("days", 3)}


def test_a_run_becomes_what_it_ended_as_with_its_ticks():
    loop = LoopState()
    start = started(9, "SensorFlow/1", "e")
    loop.update(start)
    assert loop.runs["SensorFlow/1"].state == "running"
    assert loop.running == {"SensorFlow/1"}
    loop.update(finished(start, 2.5, ok=False))
    loop.update(tick(1))
    run = loop.runs["SensorFlow/1"]
    assert (run.state, run.seconds, run.exit_code, run.events) == ("failed", 2.5, 1, ("e",))
    assert [one.sensor for one in run.ticks] == ["days"]
    assert loop.last_flows == {"days": "SensorFlow"}
    assert loop.longest == 2.5


def test_the_newest_run_of_a_flow_is_the_one_that_started_last():
    loop = LoopState()
    for name in ("TakerFlow/1", "TakerFlow/2", "SensorFlow/3"):
        loop.update(started(1, name))
    newest = loop.newest_run("TakerFlow")
    assert newest
    assert newest.run_id == "2"
    assert loop.newest_run("Other") is None


def test_a_run_that_failed_before_it_had_an_id_is_listed_each_time():
    loop = LoopState()
    for number in (1, 2):
        end = finished(started(9, "SensorFlow/"), 1, ok=False)
        loop.update(replace(end, log=ROOT / f"{number}.log"))
    assert [(run.name, run.state) for run in loop.runs.values()] == [("SensorFlow", "failed")] * 2
    assert loop.running == set()


def test_every_message_wakes_who_watches_but_printed_lines_only_who_reads_that_run():
    loop = LoopState()
    watcher, reader, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop.watchers.add(watcher)
    loop.readers["F/1"] = {reader}
    loop.readers["F/2"] = {other}
    loop.update(RunPrinted(at=NOW, flow="F", run_id="1", line="hello"))
    assert (watcher.is_set(), reader.is_set(), other.is_set()) == (False, True, False)
    assert (loop.number, len(loop.news)) == (0, 0)
    loop.update(tick())
    assert watcher.is_set()
    assert not other.is_set()


def test_who_has_left_is_forgotten():
    loop = LoopState()
    with loop.watching() as moved, loop.reading("F/1"), loop.reading("F/1"):
        assert (loop.watchers, len(loop.readers["F/1"])) == ({moved}, 2)
    assert (loop.watchers, loop.readers) == (set(), {})


def test_the_end_wakes_everybody():
    loop = LoopState()
    watcher, reader = asyncio.Event(), asyncio.Event()
    loop.watchers.add(watcher)
    loop.readers["F/1"] = {reader}
    loop.update(LoopStopping(at=NOW, runs=1, grace=5))
    assert (loop.stopping, loop.over) == (True, False)
    reader.clear()
    loop.close()
    assert loop.over
    assert watcher.is_set()
    assert reader.is_set()


def test_every_kind_of_message_can_be_heard():
    loop = LoopState()
    loop.update(messages.Acted(at=NOW, action="tick", target="days", text=""))
    loop.update(messages.Warned(at=NOW, flow="F", message="careful"))
    loop.update(
        messages.LoopStarted(at=NOW, url="http://127.0.0.1:1/event", logs=ROOT, page="http://x/")
    )
    assert loop.number == 3
    assert loop.acts == 1
    assert loop.started
