"""One tick after another over real files, a real journal and a real bus."""

import datetime as dt
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from flowproject import sensing
from flowproject.change import Change
from flowproject.changes.payload import decode
from flowproject.config import DuckDBData, FilesData, Project, S3Data, Schedule, Sensor
from flowproject.errors import JournalError, TickError, UsageError
from flowproject.journal import Store, open_store, prune
from flowproject.sensing import ProjectContext, Tick
from tests.journals import CountingStore
from tests.servers import Moto
from tests.waiting import hold_for_too_long

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


class Bus(Protocol):
    events: list[dict[str, Any]]
    payloads: list[dict[str, Any]]
    answer: Callable[[dict[str, Any]], int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, "a.csv", "1")
    return folder


@pytest.fixture
def context(tmp_path: Path, folder: Path) -> ProjectContext:
    assert folder.parent == tmp_path
    return ProjectContext(
        project=project(files()),
        root=tmp_path,
        store=open_store(str(tmp_path / "store")),
        branch="user.tester",
        run="SensorFlow/1",
        clock=lambda: NOW,
    )


def files(name: str = "files", **keys: Any) -> Sensor:
    policy = {key: keys.pop(key) for key in ("first", "payload_key", "timeout") if key in keys}
    data = FilesData(**{"path": "data", **keys})
    return Sensor(name=name, data=data, event_name=f"{name}_changed", **policy)


def project(*sensors: Sensor) -> Project:
    return Project(
        project_name="demo", sensor=Schedule(), sensors={sensor.name: sensor for sensor in sensors}
    )


def write(folder: Path, name: str, text: str, *, age: float = 60) -> None:
    """Put a file there that was written `age` seconds before NOW."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = NOW.timestamp() - age
    os.utime(path, (moment, moment))


def tick(context: ProjectContext, *, force: bool = False) -> Tick:
    [seen] = sensing.publish(context, sensing.observe(context, force=force))
    return seen


def test_the_first_look_remembers_and_sends_nothing(context: ProjectContext, bus: Bus) -> None:
    assert tick(context).outcome == "baseline"
    assert bus.events == []


def test_the_first_look_fires_if_told_to(context: ProjectContext, bus: Bus) -> None:
    context = replace(context, project=project(files(first="fire")))
    assert tick(context).outcome == "changed"
    assert bus.payloads[0]["change"]["counts"] == {"added": 1, "modified": 0, "removed": 0}


def test_unchanged_ticks_write_nothing_and_send_nothing(context: ProjectContext, bus: Bus) -> None:
    tick(context)
    before = snapshot(context.store)
    outcomes = [tick(context).outcome for _ in range(3)]
    assert outcomes == ["unchanged"] * 3
    assert snapshot(context.store) == before
    assert bus.events == []


def snapshot(store: Store) -> dict[str, bytes | None]:
    return {key: store.get(key) for key in store.keys("flowproject")}


def test_a_change_is_recorded_and_sent_with_what_happened(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    write(folder, "gone.csv", "x")
    tick(context)
    write(folder, "a.csv", "2", age=30)
    write(folder, "sub/new.csv", "3")
    (folder / "gone.csv").unlink()
    seen = tick(context)
    assert (seen.outcome, seen.pending) == ("changed", 0)
    [event] = bus.events
    assert event["name"] == "mfns.demo.user.tester.files_changed"
    change = event["payload"]["change"]
    assert change["counts"] == {"added": 1, "modified": 1, "removed": 1}
    assert event["payload"]["id"] == change["id"] == seen.id
    assert [item["key"] for item in change["sample"]["added"]] == ["sub/new.csv"]
    assert event["payload"]["value"] == 2


def test_there_and_back_are_two_changes_with_two_ids(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    for _ in range(2):
        write(folder, "b.csv", "2")
        tick(context)
        (folder / "b.csv").unlink()
        tick(context)
    ids = [payload["id"] for payload in bus.payloads]
    assert len(ids) == len(set(ids)) == 4
    assert [payload["change"]["seq"] for payload in bus.payloads] == [2, 3, 4, 5]


def test_force_publishes_though_nothing_changed(context: ProjectContext, bus: Bus) -> None:
    tick(context)
    assert tick(context, force=True).outcome == "forced"
    assert tick(context, force=True).outcome == "forced"
    assert len({payload["id"] for payload in bus.payloads}) == 2
    assert tick(context).outcome == "unchanged"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_bus_that_is_down_delays_a_change_and_its_id_stays(
    context: ProjectContext, bus: Bus, folder: Path, status: int
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    bus.answer = lambda _: status
    seen = tick(context)
    assert (seen.outcome, seen.pending) == ("changed", 1)
    assert "not taken by the bus" in seen.undelivered
    with pytest.raises(TickError, match="1 of 1 sensors"):
        sensing.raise_for_failures([seen])
    bus.answer = lambda _: 200
    assert tick(context).pending == 0
    assert [payload["id"] for payload in bus.payloads] == [seen.id]


def test_passing_trouble_of_the_bus_is_not_even_noticed(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    answers = iter([503, 429, 200])
    bus.answer = lambda _: next(answers)
    assert tick(context).pending == 0
    assert len(bus.events) == 1


def test_changes_that_pile_up_are_delivered_in_order(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    bus.answer = lambda _: 400
    for number in range(3):
        write(folder, f"{number}.csv", "x")
        tick(context)
    bus.answer = lambda _: 200
    tick(context)
    assert [payload["change"]["seq"] for payload in bus.payloads] == [2, 3, 4]


class WithoutMarks(CountingStore):
    """A real store that was full when the mark came, and not a moment before."""

    def create(self, key: str, content: bytes) -> bool:
        if "/published/" in key and "-trial-" not in key:
            raise JournalError("no room for a mark")
        return self._store.create(key, content)


def test_a_crash_between_publish_and_mark_repeats_the_event_with_its_id(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    [seen] = sensing.observe(context)
    [undelivered] = sensing.publish(replace(context, store=WithoutMarks(context.store)), [seen])
    assert "no room for a mark" in undelivered.undelivered
    assert tick(context).outcome == "unchanged"
    assert [payload["id"] for payload in bus.payloads] == [seen.id, seen.id]


def test_without_a_bus_changes_are_recorded_and_wait(context: ProjectContext, folder: Path) -> None:
    tick(context)
    for number in range(2):
        write(folder, f"{number}.csv", "x")
        seen = tick(context)
    assert (seen.outcome, seen.undelivered) == ("changed", "")
    assert seen.pending
    assert "flowproject dev" in seen.delivery
    sensing.raise_for_failures([seen])


def test_one_failing_sensor_never_stops_the_others(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    sensors = [files("good"), files("bad", path="nowhere"), files("other")]
    context = replace(context, project=project(*sensors))
    assert [seen.outcome for seen in sensing.observe(context)] == ["baseline", "failed", "baseline"]
    write(folder, "b.csv", "2")
    ticks = sensing.publish(context, sensing.observe(context))
    assert [seen.outcome for seen in ticks] == ["changed", "failed", "changed"]
    assert "nowhere" in ticks[1].reason
    assert len(bus.events) == 2
    with pytest.raises(TickError, match="bad: "):
        sensing.raise_for_failures(ticks)


def test_a_failure_is_no_state(context: ProjectContext, bus: Bus, folder: Path) -> None:
    tick(context)
    folder.rename(folder.with_name("away"))
    assert tick(context).outcome == "failed"
    folder.with_name("away").rename(folder)
    assert tick(context).outcome == "unchanged"
    assert bus.events == []


def test_a_change_settles_before_it_counts(context: ProjectContext, folder: Path) -> None:
    context = replace(context, project=project(files(settle=30.0)))
    tick(context)
    before = snapshot(context.store)
    write(folder, "b.csv", "2", age=29)
    seen = tick(context)
    after = {key: seen for key, seen in snapshot(context.store).items() if "head.json" not in key}
    assert (seen.outcome, after) == (
        "settling",
        {key: seen for key, seen in before.items() if "head.json" not in key},
    )
    assert "29 s ago" in seen.reason
    context = replace(context, clock=lambda: NOW + dt.timedelta(seconds=1))
    assert tick(context).outcome == "changed"


def test_rows_settle_with_the_files_that_they_come_from(
    context: ProjectContext, folder: Path
) -> None:
    write(context.root, "sql/it.sql", "SELECT id, modified FROM 'data/*.csv'")
    write(folder, "a.csv", "id,modified\n1,2026-05-31T23:59:59+00:00\n")
    data = DuckDBData(query="it", key=("id",), settle=30.0)
    rows = Sensor(name="rows", data=data, event_name="rows_changed")
    context = replace(context, project=project(rows))
    tick(context)
    before = snapshot(context.store)
    write(folder, "b.csv", "id,modified\n2,2026-05-31T23:59:59+00:00\n", age=29)
    seen = tick(context)
    assert (seen.outcome, snapshot(context.store)) == ("settling", before)
    assert "b.csv' was written 29 s ago; a change settles after 30 s" in seen.reason
    assert tick(context, force=True).outcome == "changed"
    write(folder, "c.csv", "id,modified\n3,2026-05-31T23:59:59+00:00\n", age=30)
    write(folder, "b.csv", "id,modified\n2,2026-05-31T23:59:59+00:00\n", age=30)
    assert tick(context).outcome == "changed"


def test_a_change_waits_for_its_marker(context: ProjectContext, bus: Bus, folder: Path) -> None:
    context = replace(context, project=project(files(marker="_SUCCESS")))
    tick(context)
    write(folder, "dt=1/part.csv", "2")
    assert tick(context).outcome == "settling"
    write(folder, "dt=1/_SUCCESS", "")
    assert tick(context).outcome == "changed"
    assert bus.payloads[0]["change"]["counts"]["added"] == 2


def hours(context: ProjectContext, put: Callable[[str], None], bus: Bus) -> list[list[str]]:
    """A folder for each hour, begun before the one before it has its marker: what each tick tells.

    The first has been there before.
    """
    told = []
    for hour in range(1, 5):
        put(f"h={hour}/a")
        put(f"h={hour - 1}/_SUCCESS")
        bus.events.clear()
        seen = tick(context)
        assert seen.outcome == "changed", seen.reason
        assert "1 more must wait: waiting for '_SUCCESS' in " in seen.reason
        assert f"h={hour}'" in seen.reason
        change = Change(decode(bus.payloads[0]["change"]), lambda: context.store)
        told.append([str(file["key"]).rpartition("raw/")[2] for file in change.added])
    return told


EACH_HOUR = [
    ["h=0/_SUCCESS"],
    *([f"h={hour}/_SUCCESS", f"h={hour}/a"] for hour in range(1, 4)),
]


def test_what_is_finished_goes_and_what_is_not_waits(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    context = replace(context, project=project(files(marker="_SUCCESS")))
    write(folder, "h=0/a", "1")
    tick(context)
    assert hours(context, lambda key: write(folder, key, "2"), bus) == EACH_HOUR
    waits = tick(context)
    assert waits.outcome == "settling"
    write(folder, "h=4/_SUCCESS", "")
    assert tick(context).counts == {"added": 2, "modified": 0, "removed": 0}
    assert tick(context).outcome == "unchanged"


def test_the_same_of_a_bucket(context: ProjectContext, bus: Bus, moto: Moto) -> None:
    name = moto.bucket()
    data = S3Data(bucket=name, key="raw", endpoint_url=moto.endpoint_url, marker="_SUCCESS")
    context = replace(context, project=project(replace(files(), data=data)))
    moto.fill(name, {"raw/h=0/a": b"1"})
    tick(context)
    assert hours(context, lambda key: moto.fill(name, {f"raw/{key}": b"2"}), bus) == EACH_HOUR
    moto.fill(name, {"raw/h=4/_SUCCESS": b""})
    assert tick(context).counts == {"added": 2, "modified": 0, "removed": 0}
    assert tick(context).outcome == "unchanged"


def test_each_file_settles_for_itself_and_is_told_as_it_was(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    context = replace(context, project=project(files(settle=30.0)))
    write(folder, "old.csv", "1", age=100)
    tick(context)
    write(folder, "old.csv", "22", age=5)
    write(folder, "new.csv", "2", age=60)
    seen = tick(context)
    assert (seen.outcome, seen.counts) == ("changed", {"added": 1, "modified": 0, "removed": 0})
    assert "1 more must wait: 'old.csv' was written 5 s ago" in seen.reason
    assert tick(context).outcome == "settling"
    later = replace(context, clock=lambda: NOW + dt.timedelta(seconds=30))
    assert tick(later).counts == {"added": 0, "modified": 1, "removed": 0}
    change = Change(decode(bus.payloads[-1]["change"]), lambda: context.store)
    [edited] = change.modified
    assert (edited["old"]["size"], edited["new"]["size"]) == (1, 2)  # type: ignore[index, call-overload]
    assert tick(later).outcome == "unchanged"


def test_a_file_that_is_written_during_a_long_look_has_not_settled(
    context: ProjectContext, folder: Path
) -> None:
    context = replace(context, project=project(files(settle=30.0)))
    tick(context)
    moments = iter([NOW, NOW, NOW, *[NOW + dt.timedelta(minutes=5)] * 9])
    write(folder, "b.csv", "half", age=-1)
    slow = replace(context, clock=lambda: next(moments))
    assert tick(slow).outcome == "settling"


def test_what_waits_for_long_is_said_aloud(context: ProjectContext, folder: Path) -> None:
    context = replace(context, project=project(files(marker="_SUCCESS")))
    tick(context)
    write(folder, "h=1/a", "1", age=3 * 3600)
    told = tick(context)
    assert told.outcome == "settling"
    assert "1 item waits, the oldest since 2026-05-31 21:00 UTC, which is longer" in told.late
    assert "_SUCCESS" in told.delivery


def test_what_is_done_about_it_is_the_sensors_to_say(tmp_path: Path) -> None:
    def put(name: str) -> None:
        path = tmp_path / "days" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")

    hold_for_too_long(tmp_path, lambda **keys: FilesData(path="days", **keys), put)


def test_so_it_is_for_a_bucket(tmp_path: Path, moto: Moto) -> None:
    name = moto.bucket()
    hold_for_too_long(
        tmp_path,
        lambda **keys: S3Data(bucket=name, key="raw", endpoint_url=moto.endpoint_url, **keys),
        lambda key: moto.fill(name, {f"raw/{key}": b"x"}),
    )


@pytest.mark.parametrize("policy", ["report", "release"])
def test_a_file_that_is_written_without_an_end_is_told_of_too(
    context: ProjectContext, folder: Path, policy: str
) -> None:
    """Its own time is always new."""
    data = files(settle=30.0, max_wait=600.0, after_max_wait=policy)
    context = replace(context, project=project(data))
    tick(context)
    for minute in range(10):
        write(folder, "log.csv", "x" * minute, age=-60 * minute)
        at = dt.timedelta(minutes=minute)
        seen = tick(replace(context, clock=lambda at=at: NOW + at))
        assert (seen.outcome, seen.late) == ("settling", "")
    write(folder, "log.csv", "all", age=-600)
    seen = tick(replace(context, clock=lambda: NOW + dt.timedelta(minutes=10)))
    if policy == "release":
        assert "1 unfinished, after max_wait: 'log.csv' was written 0 s ago" in seen.reason
    else:
        assert "1 item waits, the oldest since 2026-06-01 00:00 UTC" in seen.late
    write(folder, "other.csv", "1", age=0)
    seen = tick(replace(context, clock=lambda: NOW + dt.timedelta(minutes=20)))
    assert (seen.outcome, seen.late) == ("changed", "")
    assert context.journal("files").head().held == {}


def test_what_waits_is_sent_for_all_sensors_side_by_side(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    names = [f"files{number}" for number in range(4)]
    context = replace(context, project=project(*map(files, names)))
    sensing.observe(context)
    write(folder, "b.csv", "2")
    seen = sensing.observe(context)
    together = threading.Barrier(len(names))

    def answer(_: dict[str, Any]) -> int:
        together.wait(timeout=30)  # one after the other they would wait for ever
        return 200

    bus.answer = answer
    assert [one.pending for one in sensing.publish(context, seen)] == [0] * len(names)
    assert {payload["change"]["sensor"] for payload in bus.payloads} == {*names}


def test_one_sensor_that_can_not_deliver_holds_up_no_other(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    context = replace(context, project=project(files("good"), files("bad")))
    sensing.observe(context)
    write(folder, "b.csv", "2")
    seen = sensing.observe(context)
    bus.answer = lambda event: 400 if "bad" in event["name"] else 200
    good, bad = sensing.publish(context, seen)
    assert (good.pending, good.undelivered, bad.pending) == (0, "", 1)
    assert "400" in bad.undelivered


def test_of_ticks_at_once_one_records_and_the_others_are_superseded(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    together = threading.Barrier(4)
    calls = threading.local()

    def clock() -> dt.datetime:
        # The first time that a tick asks for the time, it has read the head and not recorded yet.
        if not getattr(calls, "waited", False):
            calls.waited = True
            together.wait(timeout=60)
        return NOW

    four = replace(context, project=project(files()), clock=clock)
    outcomes: list[str] = []

    def look(number: int) -> None:
        seen = sensing.observe(replace(four, run=f"SensorFlow/{number}"))
        outcomes.extend(one.outcome for one in seen)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["changed", "superseded", "superseded", "superseded"]
    assert tick(context).outcome == "unchanged"
    assert len({payload["id"] for payload in bus.payloads}) == 1


def test_a_step_that_runs_twice_at_once_records_once_and_says_one_thing(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    """A pod that vanished is made again: the same run, step and attempt, at the same time."""
    tick(context)
    write(folder, "b.csv", "2")
    together = threading.Barrier(2)
    numbers = iter("34")
    calls = threading.local()

    def clock() -> dt.datetime:
        # The first time that a tick asks for the time, it has read the head and not recorded yet.
        if not getattr(calls, "waited", False):
            calls.waited = True
            together.wait(timeout=60)
            write(folder, "c.csv", next(numbers))  # the two need not have seen the same
        return NOW

    twins = replace(context, project=project(files()), clock=clock, run="SensorFlow/argo-1")
    ticks: list[sensing.Tick] = []
    threads = [
        threading.Thread(target=lambda: ticks.extend(sensing.observe(twins))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = context.journal("files").get(2)
    assert entry
    told = {(one.outcome, one.seq, one.id, one.value, one.total) for one in ticks}
    assert told == {("changed", 2, entry.id, entry.value, entry.total)}
    tables = [key for key in context.store.keys("flowproject") if "/tables/0000000002-" in key]
    assert sorted(tables) == sorted([entry.difference, entry.snapshot])
    for one in ticks:  # whichever had the last word: the next step of the run sends the change
        sensing.publish(replace(twins, clock=lambda: NOW), [one])
    assert {payload["id"] for payload in bus.payloads} == {entry.id}
    assert "this run itself recorded" not in tick(context).reason


def test_a_step_that_is_tried_again_says_what_its_run_recorded_before(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    this = replace(context, run="SensorFlow/argo-1")
    sensing.observe(this)
    [again] = sensing.observe(this)
    assert again.outcome == "unchanged"
    assert again.reason.endswith("this run itself recorded number 2 before")
    assert len({payload["id"] for payload in bus.payloads}) == 1


def test_a_damaged_entry_is_named_once_and_its_change_is_found_again(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    tick(context)
    journal = context.journal("files")
    context.store.put(journal.entry_key(2), b"torn")
    seen = tick(context)
    assert seen.outcome == "failed"
    assert journal.entry_key(2) in seen.reason
    again = tick(context)
    assert (again.outcome, again.seq, again.counts["added"]) == ("changed", 3, 1)
    assert tick(context).outcome == "unchanged"
    assert len({payload["id"] for payload in bus.payloads}) == 2


def test_a_lost_snapshot_makes_everything_count_as_added_and_says_so(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    [snapshot] = [
        key for key in context.store.keys("flowproject") if key.endswith("-items.parquet")
    ]
    context.store.delete(snapshot)
    write(folder, "b.csv", "2")
    seen = tick(context)
    assert (seen.outcome, seen.counts["added"]) == ("changed", 2)
    assert "everything counts as added" in seen.reason
    assert len(bus.events) == 1


def test_a_slow_tick_that_was_overtaken_is_superseded(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    """Even if its snapshot was pruned meanwhile, and though its last change is still pending."""
    tick(context)
    bus.answer = lambda _: 400
    write(folder, "b.csv", "2")
    pending = tick(context)

    def clock() -> dt.datetime:
        asked.times += 1
        if asked.times == 1:
            for name in ("c.csv", "d.csv"):
                write(folder, name, "x")
                tick(context)
            journal = context.journal("files")
            prune(context.store, journal, journal.head())
        return NOW

    asked = SimpleNamespace(times=0)
    write(folder, "slow.csv", "2")
    [slow] = sensing.observe(replace(context, clock=clock, run="SensorFlow/slow"))
    assert slow.outcome == "superseded"
    bus.answer = lambda _: 200
    tick(context)
    assert bus.payloads[0]["id"] == pending.id
    assert [payload["change"]["seq"] for payload in bus.payloads] == [2, 3, 4]


def test_what_waits_is_told_even_when_the_source_fails(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    bus.answer = lambda _: 400
    write(folder, "b.csv", "2")
    tick(context)
    folder.rename(folder.with_name("away"))
    seen = tick(context)
    assert (seen.outcome, seen.pending) == ("failed", 1)
    assert "not taken by the bus" in seen.undelivered


def test_an_unchanged_tick_without_a_bus_costs_the_same_however_many_wait(
    context: ProjectContext, folder: Path
) -> None:
    requests: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Callable[..., object]:
            if name != "concurrently":
                requests.append(name)
            return getattr(context.store, name)

    tick(context)
    costs = []
    for number in range(6):
        write(folder, f"{number}.csv", "x")
        tick(context)
        requests.clear()
        sensing.observe(replace(context, store=Counting()))
        costs.append(len(requests))
    assert set(costs) == {4}


def test_a_file_dated_in_the_future_holds_nothing_back(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    context = replace(context, project=project(files(settle=30.0)))
    tick(context)
    write(folder, "future.csv", "2", age=-1e8)
    assert tick(context).outcome == "changed"
    write(folder, "ahead.csv", "2", age=-5)
    assert tick(context).outcome == "settling"
    assert len(bus.events) == 1


def test_a_damaged_only_entry_is_no_first_look(context: ProjectContext) -> None:
    tick(context)
    context.store.put(context.journal("files").entry_key(1), b"torn")
    assert [tick(context).outcome for _ in range(3)] == ["failed"] * 3
    assert context.store.get(context.journal("files").entry_key(1)) == b"torn"
    assert "flowproject reset files" in tick(context).reason


def test_a_preview_writes_nothing_and_sends_nothing(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    tick(context)
    write(folder, "b.csv", "2")
    before = snapshot(context.store)
    [seen] = sensing.preview(context)
    assert (seen.outcome, seen.counts["added"]) == ("changed", 1)
    assert snapshot(context.store) == before
    assert bus.events == []
    assert tick(context).id == seen.id


def test_an_edited_sensor_says_so(context: ProjectContext, folder: Path) -> None:
    write(folder, "b.txt", "2")
    tick(context)
    context = replace(context, project=project(files(include=("*.csv",))))
    seen = tick(context)
    assert (seen.outcome, seen.counts["removed"]) == ("changed", 1)
    assert "was edited" in seen.reason


def test_a_sensor_that_is_not_there_is_a_usage_error(context: ProjectContext) -> None:
    with pytest.raises(UsageError, match="Did you mean 'files'"):
        sensing.observe(context, ["file"])


@pytest.mark.usefixtures("bus")
def test_old_entries_are_pruned_as_the_journal_grows(
    context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowproject.sensing import runner

    monkeypatch.setattr(runner, "PRUNE_EVERY", 5)
    tick(context)
    for _ in range(9):
        tick(context, force=True)
    snapshots = [key for key in context.store.keys("flowproject") if key.endswith("-items.parquet")]
    assert len(snapshots) == 2


def test_a_source_that_never_answers_fails_its_own_sensor_in_time(
    context: ProjectContext, bus: Bus, folder: Path
) -> None:
    (context.root / "sql").mkdir()
    (context.root / "sql" / "endless.sql").write_text(
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"
    )
    endless = Sensor(
        name="endless",
        data=DuckDBData(query="endless"),
        event_name="endless_changed",
        timeout=0.5,
    )
    context = replace(context, project=project(endless, files()))
    sensing.observe(context)
    write(folder, "b.csv", "2")
    ticks = sensing.publish(context, sensing.observe(context))
    assert [seen.outcome for seen in ticks] == ["failed", "changed"]
    assert "no answer within 0.5 s" in ticks[0].reason
    assert len(bus.events) == 1


@pytest.mark.parametrize(
    "words, said",
    [("in the engine", "unexpected Panic: in the engine."), ("", "unexpected Panic.")],
)
def test_a_sensor_that_ends_in_no_exception_of_ours_fails_and_the_tick_goes_on(
    context: ProjectContext, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    """An engine's panic is no `Exception`: who died of one was waited for, for ever."""

    class Panic(BaseException):
        pass

    def look(*_: object, **__: object) -> None:
        raise Panic(words)

    monkeypatch.setattr("flowproject.sensing.runner.deliver", look)
    [seen] = sensing.observe(context)
    assert (seen.outcome, seen.exit_code) == ("failed", 70)
    assert seen.reason.startswith(f"{said} Sensor {seen.sensor!r}.")
    assert f"see `flowproject preview {seen.sensor}`" in seen.reason


def test_a_look_without_memory_says_what_helps_and_is_no_bug_of_ours(
    context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("flowproject.sensing.runner.deliver", look)
    [seen] = sensing.observe(context)
    assert (seen.outcome, seen.exit_code) == ("failed", 4)
    assert seen.reason.startswith(f"There was not enough memory to look. Sensor {seen.sensor!r}.")
    assert "more memory" in seen.reason
