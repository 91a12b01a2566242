"""What is recorded reaches every listener, on each kind of store: sent again, in order, limited."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.cards import sensor_card
from flowproject.change import Change
from flowproject.changes.difference import Difference
from flowproject.changes.payload import decode
from flowproject.config import FilesData, Sensor
from flowproject.errors import JournalError, TickError
from flowproject.journal import DamagedEntryError, Store, prune
from flowproject.listeners import bring_back
from tests.journals import CountingStore, WaitedFor
from tests.world import MINUTE, START, Bus, World


@pytest.fixture
def world(tmp_path: Path, store: Store) -> World:
    (tmp_path / "data").mkdir()
    world = World(
        tmp_path, store, Sensor(name="files", data=FilesData(path="data"), event_name="e")
    )
    world.tick()
    return world


def ids(bus: Bus) -> list[str]:
    return [payload["id"] for payload in bus.payloads]


def pile_up(world: World, changes: int) -> None:
    """Record changes that the bus has not."""
    journal, newest = world.journal, world.journal.head().entry
    assert newest is not None
    for seq in range(newest.seq + 1, newest.seq + 1 + changes):
        journal.record(
            replace(newest, seq=seq, id=f"{seq:032x}", outcome="changed"), None, Difference()
        )


def numbers(bus: Bus) -> list[int]:
    return [payload["change"]["seq"] for payload in bus.payloads]


def test_without_a_receipt_it_is_sent_again_with_its_id_and_ever_longer_waits(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    seen = world.change()
    sent_after = []
    for minute in (1, 14, 15, 44, 45, 104, 105, 224, 225, 464, 465, 1000):
        world.now = START + minute * MINUTE
        world.tick()
        if len(bus.events) > len(sent_after) + 1:
            sent_after.append(minute)
    assert sent_after == [15, 45, 105, 225]
    assert set(ids(bus)) == {seen.id}
    assert {payload["change"]["attempt"] for payload in bus.payloads} == {1}


def test_a_run_that_does_not_start_is_told_before_it_is_given_up(world: World, bus: Bus) -> None:
    """The bus has the event, so nothing fails yet: but somebody must get to know."""
    world.listen("StarterFlow", "Other")
    seen = world.change()
    world.take(bus.payloads[0], "Other")
    assert (world.later(14).late, seen.late) == ("", ""), "there is still time"
    for minutes in (2, 5, 30):
        late = world.later(minutes)
        assert late.outcome == "unchanged"
        assert not late.undelivered
        assert late.delivery.startswith(
            "no run of StarterFlow has started for change 2, which was sent at 2026-06-01 12:00 "
            "UTC and again since. Likely StarterFlow is not deployed here, or nothing listens "
            "(`flowproject deploy --plan`;"
        )
        for part in ("its Sensor is down", "stands still without a status", "`kubectl get workfl"):
            assert part in late.late
    shown = "".join(str(one.render()) for one in sensor_card([late.to_json()]))
    assert "Not started: no run of StarterFlow has started for change 2" in shown
    second = world.change()
    assert second.delivery.startswith("change 3 sent as event 'e'; no run of StarterFlow has ")
    assert "nor for 1 more that were sent later" in world.later(16).late
    for payload in bus.payloads:
        world.take(payload)
        world.take(payload, "Other")
    assert world.later(1).late == ""


def test_after_the_last_attempt_every_tick_fails_and_says_what_to_do(
    world: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, max_attempts=2)
    world.listen("StarterFlow", "Other")
    seen = world.change()
    world.take(bus.payloads[0], "Other")
    assert not world.later(16).undelivered
    given_up = world.later(31)
    for part in ("sent 2 times", "StarterFlow has not", "flowproject replay", seen.id):
        assert part in given_up.undelivered
    with pytest.raises(TickError, match="StarterFlow has not started"):
        sensing.raise_for_failures([given_up])
    assert world.later(600).undelivered, "it stays said"
    assert len(bus.events) == 2
    world.take(bus.payloads[1])
    assert not world.later(1).undelivered, "a late receipt is a receipt"


def test_a_change_that_is_given_up_holds_no_other_back(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("StarterFlow")
    world.change()
    assert world.later(16).undelivered
    second = world.change()
    assert "Change 2 was sent once" in second.undelivered
    assert numbers(bus) == [2, 3]
    assert second.pending == 0


def test_what_is_given_up_takes_no_watch_from_what_follows(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("StarterFlow")
    pile_up(world, 50)
    world.tick()
    assert "50 changes (2 to 51)" in world.later(16).undelivered
    counting = CountingStore(world.store)
    quiet = replace(world, store=counting)
    assert quiet.later(1).undelivered
    assert len(counting.requests) == 5, "the same as with one"
    world.sensor = quiet.sensor = replace(world.sensor, max_attempts=2)
    world.tick()
    world.change("lost.csv")
    world.later(16)
    world.later(16)
    assert numbers(bus).count(52) == 2
    assert "51 changes (2 to 52)" in world.later(60).undelivered
    world.take(bus.payloads[-1])
    assert "50 changes (2 to 51)" in world.later(1).undelivered


@pytest.mark.usefixtures("bus")
def test_numbers_that_the_memo_forgot_are_looked_at_in_turn(world: World) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("StarterFlow")
    pile_up(world, 60)
    world.tick()
    head = world.journal.head()
    world.journal.memos.write_head(replace(head, awaited=()))
    assert "50 changes (2 to 51)" in world.later(16).undelivered
    assert "60 changes (2 to 61)" in world.later(1).undelivered


def test_a_note_that_another_tick_takes_back_is_no_sending(world: World, bus: Bus) -> None:
    world.listen("StarterFlow")
    world.change()
    mark = world.journal.head().awaited[0].mark

    class Other(CountingStore):
        """A real store in which another tick notes a sending, and takes it back."""

        def create(self, key: str, content: bytes) -> bool:
            if "/sent/" in key:
                assert self._store.create(key, content)
            taken = self._store.create(key, content)
            if "/sent/" in key:
                world.journal.outbox.forget_sending(mark, 1, 2)
            return taken

    slow = replace(world, store=Other(world.store), now=world.now + 16 * MINUTE)
    assert not slow.tick().undelivered
    assert numbers(bus) == [2], "the other one sends it"
    world.later(17)
    assert numbers(bus) == [2, 2]


class Overwrites(CountingStore):
    """A real store that overwrites what it is asked to create."""

    def create(self, key: str, content: bytes) -> bool:
        self._store.put(key, content)
        return True


def test_on_a_store_that_overwrites_no_tick_records_or_sends(world: World, bus: Bus) -> None:
    denied = replace(world, store=Overwrites(world.store))
    denied.sensor = replace(world.sensor, name="days")
    for _ in range(2):
        seen = denied.change()
        assert seen.outcome == "failed"
        assert "overwrites an object" in seen.reason
    assert bus.events == []
    assert world.store.keys(denied.journal.location) == []


def test_a_journal_of_an_earlier_version_is_asked_once(world: World, bus: Bus) -> None:
    world.journal.memos.write_head(replace(world.journal.head(), is_proven=False))
    denied = replace(world, store=Overwrites(world.store))
    assert denied.change().outcome == "failed"
    assert bus.events == []
    assert world.tick().outcome == "changed"
    assert world.journal.head().is_proven


# ------------------------------------------------------------- flows that wait for several sensors

JOIN = {"JoinFlow": ("files", "rates")}


@pytest.fixture
def rates(tmp_path: Path, store: Store) -> World:
    """A second sensor of the same project."""
    root = tmp_path / "rates"
    (root / "data").mkdir(parents=True)
    world = World(root, store, Sensor(name="rates", data=FilesData(path="data"), event_name="r"))
    world.tick()
    world.listen("JoinFlow", waits=JOIN)
    return world


def both_later(world: World, rates: World, minutes: float) -> tuple[str, str]:
    """What the ticks of both sensors could not deliver."""
    rates.now = world.now = world.now + minutes * MINUTE
    return world.tick().undelivered, rates.tick().undelivered


def sent(bus: Bus) -> list[tuple[str, int]]:
    return [(one["change"]["sensor"], one["change"]["seq"]) for one in bus.payloads]


@pytest.mark.usefixtures("rates")
def test_who_waits_for_another_sensor_too_is_not_overdue_before_that_has_changed(
    world: World, bus: Bus
) -> None:
    world.listen("JoinFlow", waits=JOIN)
    world.change()
    counting = CountingStore(world.store)
    quiet = replace(world, store=counting)
    for _ in range(3):
        assert quiet.later(5000).undelivered == ""
    assert sent(bus) == [("files", 2)]
    assert world.journal.head().unresolved == (2,), "it is not resolved either"
    counting.requests.clear()
    quiet.tick()
    assert len(counting.requests) == 6, "of the other one: it has not changed"
    told = sensing.find_change(world.scene, "files/2").chain
    assert told.in_words == "sent, awaits JoinFlow (which waits for others too)"


def test_when_all_have_changed_a_lost_half_is_sent_again_the_older_one_first(
    world: World, rates: World, bus: Bus
) -> None:
    world.listen("JoinFlow", waits=JOIN)
    world.change()
    rates.now = world.now = world.now + 5000 * MINUTE
    rates.change()
    assert sent(bus) == [("files", 2), ("rates", 2)]
    both_later(world, rates, 14)
    assert len(sent(bus)) == 2, "it has the time that every flow has"
    both_later(world, rates, 2)
    assert sent(bus)[2:] == [("files", 2)]
    both_later(world, rates, 15)
    assert sent(bus)[3:] == [("rates", 2)]
    for event in bus.payloads[:2]:
        (world if event["change"]["sensor"] == "files" else rates).take(event, "JoinFlow")
    assert both_later(world, rates, 5000) == ("", "")
    assert (world.journal.head().unresolved, rates.journal.head().unresolved) == ((), ())
    assert len(sent(bus)) == 4


def test_to_replay_what_a_flow_of_several_sensors_lacks_runs_no_other_again(
    world: World, rates: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("JoinFlow", "StarterFlow", waits=JOIN)
    world.change()
    world.take(bus.payloads[0])
    scene = replace(
        world.scene,
        project=replace(
            world.scene.project, sensors={"files": world.sensor, "rates": rates.sensor}
        ),
    )
    rates.now = world.now = world.now + MINUTE
    rates.change()
    undelivered, _ = both_later(world, rates, 40)
    assert "JoinFlow has not started" in undelivered
    lost = sensing.find_change(scene, "files/2")
    assert sensing.replay(scene, lost, by="a person").attempt == 1
    rates.take(bus.payloads[1], "JoinFlow")
    lost = sensing.find_change(scene, "files/2")
    assert sensing.replay(scene, lost, by="a person").attempt == 2, "it waits for the other"


def test_who_never_starts_though_all_have_changed_is_named_by_each(
    world: World, rates: World, bus: Bus
) -> None:
    world.listen("JoinFlow", waits=JOIN)
    world.change()
    world.change()
    rates.change()
    for _ in range(12):
        problems = both_later(world, rates, 300)
    assert all("JoinFlow has not started" in problem for problem in problems)
    assert "2 changes (2 to 3)" in problems[0]
    assert sent(bus).count(("files", 2)) == 1, "a run for the newest has all"
    assert sent(bus).count(("files", 3)) == sent(bus).count(("rates", 2)) == 5


def test_what_such_a_flow_was_sent_as_often_as_allowed_is_given_up_in_its_history_too(
    world: World, rates: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    rates.sensor = replace(rates.sensor, max_attempts=1)
    world.listen("JoinFlow", waits=JOIN)
    world.change()
    world.change()
    both_later(world, rates, 40)

    def states() -> list[str]:
        return [sensing.find_change(world.scene, f"files/{seq}").chain.state for seq in (2, 3)]

    assert states() == ["sent", "sent"], "it rightly waits for the other sensor"
    rates.change()
    assert all("JoinFlow has not started" in told for told in both_later(world, rates, 40))
    assert states() == ["undelivered", "undelivered"]
    assert sensing.find_change(rates.scene, "rates/2").chain.state == "undelivered"
    lost = sensing.find_change(world.scene, "files/3")
    assert lost.chain.in_words.startswith("undelivered, JoinFlow")
    assert sent(bus) == [("files", 2), ("files", 3), ("rates", 2)]
    sensing.replay(world.scene, lost, by="a person")
    world.tick()
    assert states() == ["undelivered", "sent"]


def test_who_listens_to_one_sensor_is_sent_again_whatever_another_flow_waits_for(
    world: World, rates: World, bus: Bus
) -> None:
    assert rates
    world.listen("JoinFlow", "StarterFlow", waits=JOIN)
    world.change()
    world.later(16)
    assert sent(bus) == [("files", 2)] * 2
    world.take(bus.payloads[0])
    assert world.later(5000).undelivered == ""
    assert len(sent(bus)) == 2


class ReadOnly(CountingStore):
    """A real store that this process may read, and not write."""

    def create(self, key: str, content: bytes) -> bool:  # noqa: ARG002
        raise JournalError(f"no leave to write {key}")

    def put(self, key: str, content: bytes) -> None:  # noqa: ARG002
        raise JournalError(f"no leave to write {key}")

    delete = put  # type: ignore[assignment]  # it fails before it looks at what it is given


def test_who_can_not_note_a_sending_sends_nothing(world: World, bus: Bus) -> None:
    bus.answer = lambda _: 400
    world.listen("StarterFlow")
    world.change()
    bus.answer = lambda _: 200
    denied = replace(world, store=ReadOnly(world.store))
    for _ in range(3):
        seen = denied.later(1)
        assert seen.outcome == "failed"
        assert "Change 2 and those after it are not sent" in seen.reason
        assert "no leave to write" in seen.reason
    assert bus.events == []
    world.now = denied.now
    world.tick()
    assert numbers(bus) == [2]
    for _ in range(3):
        assert denied.later(20).outcome == "failed"
    assert numbers(bus) == [2], "nor is it sent again"
    world.now = denied.now
    world.tick()
    assert numbers(bus) == [2, 2]


def test_a_sending_that_the_bus_refused_is_none(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, max_attempts=2)
    world.listen("StarterFlow")
    world.change()
    bus.answer = lambda _: 400
    for _ in range(3):
        assert "not taken by the bus" in world.later(16).undelivered
    bus.answer = lambda _: 200
    world.later(1)
    assert numbers(bus) == [2, 2]


def test_what_piled_up_is_sent_in_a_tenth_of_the_waits_and_sensors_are_looked_at_meanwhile(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    pile_up(world, 200)
    (world.root / "data" / "new.csv").write_text("x")
    slow = WaitedFor(world.store)
    scene = replace(world, store=slow).scene
    [seen] = sensing.observe(scene)
    assert seen.outcome == "changed"
    assert len(bus.events) < 200, "it looked before all were sent"
    sensing.publish(scene, [seen])
    assert numbers(bus) == [*range(2, 203)]
    assert len(slow.requests) < 200 * 5 / 10, len(slow.requests)


def test_with_every_receipt_nothing_is_left_and_ticks_cost_what_they_always_did(
    world: World, bus: Bus
) -> None:
    counting = CountingStore(world.store)
    quiet = replace(world, store=counting)
    quiet.tick()
    before = list(counting.requests)
    world.listen("StarterFlow", "Other")
    world.change()
    for flow in ("StarterFlow", "Other"):
        world.take(bus.payloads[0], flow)
    world.later(1)
    counting.requests.clear()
    assert quiet.later(600).outcome == "unchanged"
    assert counting.requests == before
    assert len(bus.events) == 1


def test_the_receipts_of_some_are_not_those_of_all(world: World, bus: Bus) -> None:
    world.listen("StarterFlow", "Other")
    world.change()
    world.take(bus.payloads[0], "Other")
    world.later(16)
    assert len(bus.events) == 2


def test_only_who_listened_then_and_listens_now_is_awaited(world: World, bus: Bus) -> None:
    world.listen("Gone", "StarterFlow")
    world.change()
    world.listen("StarterFlow", "New")
    world.take(bus.payloads[0])
    world.later(16)
    assert len(bus.events) == 1
    assert world.journal.head().unresolved == ()


def test_a_change_whose_listener_is_gone_is_told_once_and_handed_to_the_new_one(
    world: World, bus: Bus
) -> None:
    world.listen("OldFlow", "Other")
    seen = world.change()
    world.take(bus.payloads[0], "Other")
    world.listen("NewFlow", "Other")
    assert world.later(10).undelivered == "", "a run of it may have begun"
    told = world.later(6)
    for part in ("sent to OldFlow", "does not listen any more", "replay files/2", "NewFlow, Other"):
        assert part in told.abandoned
    with pytest.raises(TickError, match="does not listen any more"):
        sensing.raise_for_failures([told])
    assert world.later(1).abandoned == "", "once"
    lost = sensing.find_change(world.scene, "files/2")
    assert lost.chain.in_words == "undelivered, OldFlow does not listen any more"
    sent = sensing.replay(world.scene, lost, by="a person")
    assert (sent.attempt, sent.awaited) == (1, ("NewFlow", "Other"))
    assert world.take(bus.payloads[-1], "Other", run="2") == "Other/1", "who has it does nothing"
    assert world.later(31).undelivered == ""
    assert ids(bus) == [seen.id] * 3, "and the new one is awaited"
    assert world.take(bus.payloads[-1], "NewFlow") == "NewFlow/1"
    world.later(1)
    assert world.journal.head().unresolved == ()
    assert sensing.find_change(world.scene, "files/2").chain.in_words == "delivered"


def test_a_listener_that_is_gone_is_named_beside_one_that_never_starts(
    world: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("OldFlow", "Deaf")
    world.change()
    world.listen("NewFlow", "Deaf")
    told = world.later(16)
    assert "Deaf has not started for it; nor has OldFlow, which does not listen" in told.undelivered
    lost = sensing.find_change(world.scene, "files/2")
    assert lost.chain.in_words == (
        "undelivered, Deaf has not started and OldFlow does not listen any more"
    )
    sensing.replay(world.scene, lost, by="a person")
    for flow in ("NewFlow", "Deaf"):
        world.take(bus.payloads[-1], flow)
    assert world.later(1).undelivered == ""
    assert world.journal.head().unresolved == ()


def test_many_changes_whose_listener_is_gone_are_told_in_one_sentence(
    world: World, bus: Bus
) -> None:
    world.listen("OldFlow")
    for _ in range(3):
        world.change()
    world.listen("NewFlow")
    told = world.later(16).abandoned
    assert told.count("does not listen any more") == 1
    assert "Changes 2 to 4 were sent to OldFlow, which did not take them" in told
    assert (
        "`flowproject replay files/2-4` sends them to NewFlow; a flow that has run for them "
        "already does not run again" in told
    )
    assert numbers(bus) == [2, 3, 4]


def test_what_was_given_up_is_told_by_every_tick_also_when_its_listener_is_renamed(
    world: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, max_attempts=1)
    world.listen("OldFlow", "Other")
    for _ in range(2):
        world.change()
        world.take(bus.payloads[-1], "Other")
    assert "2 changes (2 to 3)" in world.later(16).undelivered
    world.listen("NewFlow", "Other")
    for _ in range(3):
        told = world.later(1)
        assert "OldFlow, which does not listen any more, has not started for them" in (
            told.undelivered
        )
        assert "`flowproject replay files/2-3` sends them to NewFlow, Other;" in told.undelivered
    for number in ("files/2", "files/3"):
        lost = sensing.find_change(world.scene, number)
        sensing.replay(world.scene, lost, by="a person")
        assert world.take(bus.payloads[-1], "NewFlow") == "NewFlow/1"
        assert world.take(bus.payloads[-1], "Other", run="2") == "Other/1", "it has it"
    assert world.later(1).undelivered == ""
    assert world.journal.head().unresolved == ()


def test_what_a_renamed_sensor_left_is_told_by_every_tick_until_it_is_seen_to(
    world: World, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    world.change()
    world.change()
    edited = FilesData(path="data", include=("*",))
    renamed = replace(world, sensor=replace(world.sensor, name="days", data=edited))
    for _ in range(3):
        told = renamed.tick()
        assert "No sensor is called 'files' any more, and changes 2 to 3" in told.abandoned
        assert "`flowproject reset files`" in told.delivery
        with pytest.raises(TickError, match="No sensor is called 'files'"):
            sensing.raise_for_failures([told])
    [looked] = sensing.preview(renamed.scene)
    assert "changes 2 to 3 of it are not delivered" in looked.abandoned


def test_so_it_is_under_a_name_that_has_a_journal_already(world: World, bus: Bus) -> None:
    crate = replace(world, sensor=replace(world.sensor, name="crate"))
    world.tick()
    crate.tick()
    bus.answer = lambda _: 400
    world.change()
    assert "change 2 of it is not delivered" in crate.tick().abandoned
    world.journal.note_damage(DamagedEntryError(world.journal.entry_key(2), 2, "torn"))
    world.store.put(world.journal.entry_key(2), b"torn")
    assert crate.tick().abandoned == "", "nobody can send what can't be read"


def test_what_arrived_under_the_old_name_is_no_loss_although_no_tick_has_noted_it(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.change()
    world.change()
    renamed = replace(world, sensor=replace(world.sensor, name="days"))
    world.take(bus.payloads[0])
    assert sensing.orphans(renamed.scene)[0].unresolved == (3,)
    assert renamed.tick().outcome == "failed"
    world.take(bus.payloads[1])
    told = renamed.tick()
    assert (told.outcome, told.abandoned) == ("baseline", "")
    sensing.raise_for_failures([told])


def test_a_damaged_entry_hides_nothing_that_is_left_under_an_old_name(
    world: World, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    world.change()
    world.change()
    world.store.put(world.journal.entry_key(3), b"torn")
    renamed = replace(world, sensor=replace(world.sensor, name="days"))
    assert "change 2 of it is not delivered" in renamed.tick().abandoned


def test_a_listener_that_is_gone_is_told_of_also_when_the_same_tick_has_more_to_deliver(
    world: World, bus: Bus
) -> None:
    world.listen("OldFlow")
    world.change()
    world.listen("NewFlow")
    world.now += 16 * MINUTE
    told = world.change()
    assert "sent to OldFlow" in told.abandoned
    assert numbers(bus) == [2, 3]


def test_without_listeners_what_the_bus_took_is_done(world: World, bus: Bus) -> None:
    world.change()
    assert world.journal.head().unresolved == ()
    world.later(600)
    assert len(bus.events) == 1


def test_changes_are_sent_in_order_and_none_overtakes_one_that_was_refused(
    world: World, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    for pending in (1, 2, 3):
        seen = world.change()
        assert seen.pending == pending
        assert seen.undelivered
    bus.answer = lambda _: 200
    assert world.tick().pending == 0
    assert numbers(bus) == [2, 3, 4]


def test_a_bus_that_is_down_costs_the_same_however_much_waits(world: World, bus: Bus) -> None:
    bus.answer = lambda _: 400
    counting = CountingStore(world.store)
    quiet, costs = replace(world, store=counting), []
    for changes in (2, 8):
        for _ in range(changes):
            world.change()
        counting.requests.clear()
        quiet.tick()
        costs.append(list(counting.requests))
    assert costs[0] == costs[1]


def test_what_piled_up_is_sent_as_one_event_with_the_difference_of_all(
    world: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, coalesce=True)
    world.listen("StarterFlow")
    world.change("kept.csv")
    bus.answer = lambda _: 400
    world.change("a.csv")
    (world.root / "data" / "kept.csv").write_text("other")
    world.change("b.csv")
    (world.root / "data" / "a.csv").unlink()
    world.change("c.csv")
    bus.answer = lambda _: 200
    world.tick()
    assert numbers(bus) == [2, 3, 5], "what was decided while the bus was down stays decided"
    last = Change(decode(bus.payloads[-1]["change"]), lambda: world.store)
    assert (last.first_seq, last.counts) == (4, {"added": 2, "modified": 1, "removed": 1})
    assert [file["key"] for file in last.added] == ["b.csv", "c.csv"]
    assert [edit["key"] for edit in last.modified] == ["kept.csv"]
    assert [file["key"] for file in last.removed] == ["a.csv"]
    assert last.reason.startswith("2 changes at once")
    assert last.previous == 2


def test_a_group_that_the_bus_took_without_saying_so_is_sent_as_the_same_group(
    world: World, bus: Bus
) -> None:
    world.sensor = replace(world.sensor, coalesce=True)
    bus.answer = lambda _: 400
    world.change()

    def take_and_fail(event: dict[str, Any]) -> int:
        bus.events.append(event)
        return 400

    world.change()
    bus.answer = take_and_fail
    world.change()
    bus.answer = lambda _: 200
    world.change()
    told = [(payload["change"]["first_seq"], payload["id"]) for payload in bus.payloads]
    firsts = [first for first, _ in told]
    assert firsts == sorted(firsts)
    assert len(set(told)) == len(set(firsts)), "one group for each first change"
    covered = sorted(
        number
        for first, last in {
            (payload["change"]["first_seq"], payload["change"]["seq"]) for payload in bus.payloads
        }
        for number in range(first, last + 1)
    )
    assert covered == [2, 3, 4, 5]


def test_a_group_is_awaited_as_one(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, coalesce=True)
    world.listen("StarterFlow")
    bus.answer = lambda _: 400
    world.change()
    world.change()
    world.change()
    bus.answer = lambda _: 200
    world.tick()
    for payload in bus.payloads:
        world.take(payload)
    world.later(1)
    assert world.journal.head().unresolved == ()
    assert world.journal.outbox.resolved_numbers() == {known.seq for known in entries(world)}


def test_a_source_that_flaps_is_held_back_and_loses_nothing(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, max_events_per_hour=2)
    for _ in range(2):
        assert not world.change().held
    held = world.change()
    assert "max_events_per_hour" in held.held
    assert "13:00:00 UTC" in held.held
    assert not held.undelivered
    assert "wait" in held.delivery
    sensing.raise_for_failures([held])
    assert numbers(bus) == [2, 3]
    world.later(59)
    assert numbers(bus) == [2, 3]
    world.later(1)
    assert numbers(bus) == [2, 3, 4]


@pytest.mark.parametrize("memo", [None, b"", b"{}", b'{"seq": 3}', b"[]", b'"x"'])
def test_what_is_left_to_do_is_found_again_without_the_memo(
    world: World, bus: Bus, memo: bytes | None
) -> None:
    world.listen("StarterFlow")
    world.change()
    world.change()
    world.take(bus.payloads[0])
    world.later(1)
    if memo is None:
        world.store.delete(f"{world.journal.location}/head.json")
    else:
        world.store.put(f"{world.journal.location}/head.json", memo)
    world.later(20)
    assert numbers(bus) == [2, 3, 3]
    world.take(bus.payloads[-1])
    world.later(1)
    assert world.journal.head().unresolved == ()


def test_an_old_memo_hides_nothing(world: World, bus: Bus) -> None:
    world.listen("StarterFlow")
    key = f"{world.journal.location}/head.json"
    old = world.store.get(key)
    assert old is not None
    bus.answer = lambda _: 400
    world.change()
    world.change()
    world.store.put(key, old)
    bus.answer = lambda _: 200
    world.tick()
    world.store.put(key, old)
    world.later(20)
    assert numbers(bus) == [2, 3, 2, 3]


def test_ticks_side_by_side_send_no_change_under_two_ids(world: World, bus: Bus) -> None:
    world.listen("StarterFlow")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            (world.root / "data" / f"{_}.csv").write_text("x")
            list(pool.map(lambda _: world.tick(), range(4)))
    assert len(set(ids(bus))) == len(set(numbers(bus))) == world.journal.head().seq - 1
    firsts = list(dict.fromkeys(numbers(bus)))
    assert firsts == sorted(firsts)
    runs = {world.take(payload, run=str(index)) for index, payload in enumerate(bus.payloads)}
    assert len(runs) == len(firsts), "one run for each change"
    world.later(1)
    assert world.journal.head().unresolved == ()


def test_damaged_listeners_fail_the_sensor_and_send_nothing_unawaited(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.store.put(f"{world.journal.location}/listeners.json", b"{")
    seen = world.change()
    assert "listeners" in seen.undelivered
    world.listen("StarterFlow")
    world.tick()
    assert len(set(ids(bus))) == 1
    assert world.journal.outbox.mark(entries(world)[-1]) is not None


def test_what_was_noted_of_forgotten_changes_is_forgotten_with_them(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, coalesce=True)
    world.listen("StarterFlow")
    for _ in range(3):
        world.change()
        world.later(16)
        world.take(bus.payloads[-1])
        world.later(1)
    journal = world.journal
    prune(world.store, journal, journal.head(), keep=1)
    left = [key.removeprefix(journal.location) for key in world.store.keys(journal.location)]
    folders = ("published", "sent", "receipts", "delivered", "combined")
    assert {
        folder: sum(f"/{folder}/" in key for key in left) for folder in folders
    } == dict.fromkeys(folders, 1)


def entries(world: World) -> list[Any]:
    journal = world.journal
    found = [journal.get(seq) for seq in range(1, journal.head().seq + 1)]
    return [entry for entry in found if entry and entry.is_published]


# ------------------------------------------------------------------ what a deployment makes unheard


def deploy(world: World, *together: str, alone: tuple[str, ...] = ()) -> None:
    """The sensors of these flows were written anew, so that the bus forgot what waited for them."""
    world.journal.outbox.record_listeners(
        alone,
        by="test",
        together=together,
        deployed=dict.fromkeys((*together, *alone), world.now),
        now=world.now,
    )
    bring_back(world.journal, together)


def wait_together(world: World, *flows: str) -> None:
    world.journal.outbox.record_listeners((), by="test", together=flows, now=world.now)


def test_what_waited_for_a_flow_of_several_sensors_is_sent_once_more_when_the_bus_forgot_it(
    world: World, bus: Bus
) -> None:
    wait_together(world, "Pair")
    seen = world.change()
    world.later(60)
    assert numbers(bus) == [2]
    deploy(world, "Pair")
    world.later(1)
    assert numbers(bus) == [2]
    world.later(4)
    assert ids(bus) == [seen.id, seen.id]
    assert {payload["change"]["attempt"] for payload in bus.payloads} == {1}
    world.later(500)
    assert len(bus.events) == 2
    assert not world.journal.head().unresolved


def test_what_such_a_flow_has_taken_is_not_sent_again(world: World, bus: Bus) -> None:
    wait_together(world, "Pair")
    world.change()
    world.take(bus.payloads[0], "Pair")
    deploy(world, "Pair")
    world.later(60)
    assert len(bus.events) == 1


def test_of_what_waited_only_the_newest_is_sent_again(world: World, bus: Bus) -> None:
    """As on the bus, where the newest event of a name waits for the others."""
    wait_together(world, "Pair")
    world.change()
    world.change()
    deploy(world, "Pair")
    world.later(60)
    assert numbers(bus) == [2, 3, 3]


def test_a_flow_is_not_told_what_was_sent_before_it_listened(world: World, bus: Bus) -> None:
    world.change()
    world.now += MINUTE
    deploy(world, "Pair")
    world.later(60)
    assert len(bus.events) == 1


def test_a_flow_that_waited_already_is_known_by_that_when_its_list_changes(
    world: World, bus: Bus
) -> None:
    wait_together(world, "Pair")
    world.change()
    world.now += MINUTE
    deploy(world, "Pair", "Other")
    world.now += MINUTE
    deploy(world, "Pair", "Other")
    world.later(60)
    assert len(bus.events) == 2


def test_what_is_sent_while_the_new_sensor_is_made_is_sent_again(world: World, bus: Bus) -> None:
    deploy(world, "Pair")
    world.change()
    world.later(6)
    assert len(bus.events) == 2
    world.later(60)
    assert len(bus.events) == 2


def test_a_flow_of_one_sensor_is_not_kept_waiting_for_the_whole_timeout(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.change()
    deploy(world, alone=("StarterFlow",))
    world.later(4)
    assert len(bus.events) == 1
    world.later(1)
    assert len(bus.events) == 2
    world.take(bus.payloads[1])
    world.later(60)
    assert len(bus.events) == 2


def test_a_short_timeout_makes_that_shorter(world: World, bus: Bus) -> None:
    world.sensor = replace(world.sensor, receipt_timeout=60.0)
    wait_together(world, "Pair")
    world.change()
    deploy(world, "Pair")
    world.later(1)
    assert len(bus.events) == 2


def test_a_bus_that_is_down_is_asked_again_for_what_it_forgot(world: World, bus: Bus) -> None:
    wait_together(world, "Pair")
    world.change()
    deploy(world, "Pair")
    bus.answer = lambda _: 400
    world.later(6)
    bus.answer = lambda _: 200
    world.later(6)
    assert len([one for one in bus.events if one]) == 2
