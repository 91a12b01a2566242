"""A journal goes on under another name: nothing of it is lost, whenever the move is interrupted."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.changes.difference import Difference
from flowproject.config import FilesData, Sensor
from flowproject.errors import JournalError
from flowproject.journal import (
    ClosedJournalError,
    Journal,
    Moved,
    Store,
    Superseded,
    move,
    open_store,
)
from flowproject.sensing.chain import patience_of
from flowproject.starting.claiming import claim, note_end
from flowproject.starting.run_start import RunStart
from tests.journals import CountingStore, entry
from tests.world import Bus, World


@pytest.fixture
def world(tmp_path: Path, store: Store) -> World:
    """A sensor `files` with a change that a flow took, one that is sent, and two that wait."""
    (tmp_path / "data").mkdir()
    return World(tmp_path, store, Sensor(name="files", data=FilesData(path="data"), event_name="e"))


def make_changes(world: World, bus: Bus) -> None:
    world.tick()
    world.listen("StarterFlow")
    world.change()
    world.take(bus.payloads[0])
    world.later(1)
    world.change()
    bus.answer = lambda _: 400
    world.change()
    world.change()
    bus.answer = lambda _: 200


def renamed(world: World, name: str = "days") -> World:
    return replace(world, sensor=replace(world.sensor, name=name), written=world.written)


def moved(world: World, store: Store | None = None, *, to: str = "days") -> Moved:
    """What the command does."""
    store = store or world.store
    scene = replace(world.scene, store=store)
    at = world.now.isoformat()
    return move(store, scene.journal("files"), scene.journal(to), at=at)


def states(world: World) -> dict[int, tuple[str, str]]:
    """What `history` says of each number."""
    index = world.journal.index()
    told = {}
    for seq in reversed(index.numbers):
        entry = world.journal.get(seq)
        assert entry is not None
        chain = sensing.chain(index, entry, patience_of(world.sensor), world.now)
        told[seq] = (entry.outcome, chain.state)
    return told


def test_what_waits_is_delivered_under_the_new_name_and_nothing_is_a_first_look(
    world: World, bus: Bus
) -> None:
    make_changes(world, bus)
    before = {event["id"] for event in bus.payloads}
    days = renamed(world)
    (world.root / "data" / "meanwhile.csv").write_text("x")
    done = moved(world)
    assert (done.seq, done.unresolved, done.is_news) == (6, (3, 4, 5), True)
    seen = days.tick()
    assert (seen.outcome, seen.reason) == ("changed", "1 added")
    assert [payload["change"]["seq"] for payload in bus.payloads] == [2, 3, 4, 5, 7]
    assert before < {payload["id"] for payload in bus.payloads}
    assert {payload["change"]["sensor"] for payload in bus.payloads[2:]} == {"days"}
    assert states(days) == {
        1: ("baseline", ""),
        2: ("changed", "delivered"),
        3: ("changed", "sent"),
        4: ("changed", "sent"),
        5: ("changed", "sent"),
        6: ("moved", ""),
        7: ("changed", "sent"),
    }
    assert [one["outcome"] for one in days.tick().history][:4] == [
        "changed",
        "moved",
        "changed",
        "changed",
    ]
    days.later(16)
    assert [payload["change"]["seq"] for payload in bus.payloads[5:]] == [3, 4, 5, 7], "awaited"
    for payload in bus.payloads[5:]:
        days.take(payload)
    days.tick()
    days.later(24 * 60)
    counting = CountingStore(world.store)
    replace(days, store=counting).tick()
    assert counting.requests == ["get", "exists", "get"], "nobody ticks under the old name now"
    with pytest.raises(ClosedJournalError, match="moved to 'days'"):
        world.journal.head()


def test_a_sensor_that_watches_the_same_under_a_new_name_records_nothing_before_it_is_moved(
    world: World, bus: Bus
) -> None:
    make_changes(world, bus)
    days = renamed(world)
    for _ in range(2):
        told = days.tick()
        assert told.outcome == "failed"
        assert "changes 3 to 5 of it are not delivered; sensor 'days' watches the same" in (
            told.reason
        )
        assert "`flowproject move files days`" in told.reason
    assert days.journal.head().seq == 0
    moved(world)
    assert days.tick().outcome == "unchanged"


def test_looks_of_its_own_are_no_obstacle_and_changes_are(world: World, bus: Bus) -> None:
    make_changes(world, bus)
    days = renamed(world)
    days = replace(days, sensor=replace(days.sensor, data=FilesData(path="data", include=("*",))))
    assert days.tick().outcome == "baseline"
    assert "`flowproject move files NEW-NAME`" in sensing.orphans(days.scene)[0].in_words
    other = replace(days, sensor=replace(days.sensor, name="other"))
    other.tick()
    other.change()
    with pytest.raises(JournalError, match="'other' has recorded changes of its own"):
        moved(world, to="other")
    assert moved(world).is_news
    assert days.tick().outcome == "changed", "what came meanwhile"
    assert [payload["change"]["seq"] for payload in bus.payloads[-3:]] == [4, 5, 7]


def test_what_would_lie_where_something_is_already_is_refused(world: World, bus: Bus) -> None:
    world.tick()
    bus.answer = lambda _: 400
    world.change()
    days = renamed(world).journal
    for seq in (1, 2):
        days.record(entry(seq, outcome="baseline"), None, Difference())
    with pytest.raises(JournalError, match="has 2 entries, where those of 'files' would have to"):
        moved(world)
    assert world.journal.head().seq == 2, "and is not closed"


class Killed(BaseException):
    pass


@dataclass
class Mortal:
    """A store at which whoever writes dies, after so many writes: reading changes nothing."""

    store: Any
    life: int

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "concurrently":
            return lambda questions: [question() for question in questions]
        return self._write(name) if name in {"create", "put", "put_file"} else self._method(name)

    def _method(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.store, name)
        return method

    def _write(self, name: str) -> Callable[..., Any]:
        def write(*arguments: Any) -> Any:
            self.life -= 1
            if self.life < 0:
                raise Killed
            return self._method(name)(*arguments)

        return write


def test_whenever_it_is_killed_one_name_is_whole_and_it_can_be_done_again(
    tmp_path: Path, bus: Bus
) -> None:
    sensor = Sensor(name="files", data=FilesData(path="data"), event_name="e")
    first = tmp_path / "first"
    (first / "data").mkdir(parents=True)
    begun = World(first, open_store(str(first / "store")), sensor)
    make_changes(begun, bus)
    sent = list(bus.events)
    for life in range(100):
        root = tmp_path / str(life)
        shutil.copytree(first, root)
        store = open_store(str(root / "store"))
        world = World(root, store, sensor, now=begun.now)
        days = renamed(world)
        bus.events[:] = sent
        if life % 2:
            days.journal.record(entry(1, outcome="baseline"), None, Difference())
        mortal: Any = Mortal(store, life)
        try:
            moved(world, mortal)
        except Killed:
            is_done = False
        else:
            is_done = True
        if is_open(world.journal):
            assert world.tick().outcome == "unchanged", "the old one is whole"
            assert [one["change"]["seq"] for one in bus.payloads] == [2, 3, 4, 5]
        elif not is_done:
            assert days.tick().outcome in {"failed", "unchanged"}
        moved(world)
        (root / "data" / "meanwhile.csv").write_text("x")
        seen = days.tick()
        assert (seen.outcome, seen.reason) == ("changed", "1 added"), life
        assert {one["change"]["seq"] for one in bus.payloads} == {2, 3, 4, 5, seen.seq}
        for payload in bus.payloads:
            days.take(payload)
        days.later(16)
        assert days.journal.head().unresolved == ()
        if is_done:
            break
    assert is_done
    assert life > 20, "it writes that often"


def is_open(journal: Journal) -> bool:
    try:
        journal.head()
    except ClosedJournalError:
        return False
    return True


def test_ticks_of_both_names_that_were_under_way_record_nothing(world: World, bus: Bus) -> None:
    make_changes(world, bus)
    days = renamed(world)
    old, new = world.journal.head(), days.journal.head()
    moved(world)
    for place, head in ((world.journal, old), (days.journal, new)):
        late = entry(head.seq + 1, outcome="baseline")
        with pytest.raises(Superseded):
            place.record(late, None, Difference(), head)
    assert days.tick().outcome == "unchanged"


def test_a_run_of_an_event_from_before_the_move_claims_where_those_from_after_do(
    world: World, bus: Bus
) -> None:
    make_changes(world, bus)
    [_, before] = bus.payloads
    days = renamed(world)
    moved(world)
    days.later(16)
    after = next(one for one in bus.payloads[2:] if one["id"] == before["id"])

    def start(payload: dict[str, Any], run: str) -> str:
        told = RunStart(changes=[payload["change"]], run=f"StarterFlow/{run}")
        return claim(told, flow="StarterFlow", store=world.store).nothing_because

    assert start(after, "1") == ""
    assert "taken by run StarterFlow/1" in start(before, "2")
    assert start(after, "1") == "", "its own"
    assert "taken by run StarterFlow/1" in start(before, "2"), "also when it is tried again"


def test_a_receipt_from_before_the_move_is_one_after_it(world: World, bus: Bus) -> None:
    make_changes(world, bus)
    world.take(bus.payloads[1], run="7")
    days = renamed(world)
    moved(world)
    assert days.take({"change": {**bus.payloads[1]["change"], "sensor": "days"}}, run="8") == (
        "StarterFlow/7"
    )
    days.later(16)
    assert states(days)[3] == ("changed", "delivered")


def test_the_old_name_can_be_had_anew_and_sends_nothing_of_what_was_moved(
    world: World, bus: Bus
) -> None:
    make_changes(world, bus)
    moved(world)
    assert world.tick().outcome == "failed"
    closed = world.journal.next_seq()
    world.journal.record(
        replace(entry(closed), outcome="reset", fingerprint=""), None, Difference()
    )
    sent = len(bus.events)
    assert world.tick().outcome == "baseline"
    assert len(bus.events) == sent
    with pytest.raises(JournalError, match="can't have another journal"):
        move(world.store, renamed(world).journal, world.journal, at="")


def test_pruned_beginnings_are_no_obstacle(world: World, bus: Bus) -> None:
    world.tick()
    world.listen("StarterFlow")
    for _ in range(4):
        world.change()
    bus.answer = lambda _: 400
    world.change()
    for seq in (1, 2, 3):
        world.store.delete(world.journal.entry_key(seq))
    days = renamed(world)
    days.journal.record(entry(1, outcome="baseline"), None, Difference())
    memo = f"{days.journal.location}/head.json"
    old = world.store.get(memo)
    moved(world)
    world.store.put(memo, old or b"")
    bus.answer = lambda _: 200
    assert days.tick().outcome == "unchanged"
    assert bus.payloads[-1]["change"]["seq"] == 6


def test_turns_that_were_told_taken_and_ended_before_the_move_are_so_after_it(
    world: World, bus: Bus
) -> None:
    """One turn is over, one is taken by a run that goes on, one was told of, and two wait."""
    flow = "LedgerFlow"
    world.tick()
    flows = (flow, "AuditFlow")
    world.journal.outbox.record_listeners(flows, by="test", in_order=flows)

    def turns(name: str, flow: str = flow) -> list[int]:
        return [
            one["payload"]["change"]["seq"]
            for one in bus.events
            if one["name"].endswith(f"{name}_for_{flow}")
        ]

    def finish(payload: dict[str, Any]) -> None:
        note_end(payload["change"], "succeeded", world.store, flow=flow, run=f"{flow}/1")

    def turn(seq: int) -> dict[str, Any]:
        return next(
            one["payload"]
            for one in reversed(bus.events)
            if one["name"].endswith(f"_for_{flow}") and one["payload"]["change"]["seq"] == seq
        )

    for _ in range(4):
        world.change()
    assert (turns("e"), turns("e", "AuditFlow")) == ([2], [2])
    world.take(turn(2), flow)
    finish(turn(2))
    world.tick()
    world.take(turn(3), flow)
    assert turns("e") == [2, 3]
    sent = len(bus.events)
    days = renamed(world)
    moved(world)
    days.tick()
    assert len(bus.events) == sent, "who was told, and who has taken it, is not told again"
    held = sensing.waiting_in_order(days.scene)
    assert any("behind change 3, which LedgerFlow/1 took and has not ended" in one for one in held)
    assert any("behind change 2, for which it is to start" in one for one in held)
    finish(turn(3))  # of a run that began before the move
    days.tick()
    assert turns("e") == [2, 3, 4]
    assert turn(4)["change"]["sensor"] == "days"
    days.later(16)
    assert turns("e", "AuditFlow") == [2, 2], "it is the second time, not the first"
    assert "2 times" in days.tick().late
    for seq in (4, 5):
        days.take(turn(seq), flow)
        finish(turn(seq))
        days.tick()
    assert turns("e") == [2, 3, 4, 4, 5]
