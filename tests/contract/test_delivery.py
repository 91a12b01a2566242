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
from tests.watched_folder import MINUTE, START, Bus, WatchedFolder


@pytest.fixture
def watched(tmp_path: Path, store: Store) -> WatchedFolder:
    (tmp_path / "data").mkdir()
    watched = WatchedFolder(
        tmp_path, store, Sensor(name="files", data=FilesData(path="data"), event_name="e")
    )
    watched.tick()
    return watched


def ids(bus: Bus) -> list[str]:
    return [payload["id"] for payload in bus.payloads]


def pile_up(watched: WatchedFolder, changes: int) -> None:
    """Record changes that the bus has not."""
    journal, newest = watched.journal, watched.journal.head().entry
    assert newest is not None
    for seq in range(newest.seq + 1, newest.seq + 1 + changes):
        journal.record(
            replace(newest, seq=seq, id=f"{seq:032x}", outcome="changed"), None, Difference()
        )


def numbers(bus: Bus) -> list[int]:
    return [payload["change"]["seq"] for payload in bus.payloads]


def test_without_a_receipt_it_is_sent_again_with_its_id_and_ever_longer_waits(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    seen = watched.change()
    sent_after = []
    for minute in (1, 14, 15, 44, 45, 104, 105, 224, 225, 464, 465, 1000):
        watched.now = START + minute * MINUTE
        watched.tick()
        if len(bus.events) > len(sent_after) + 1:
            sent_after.append(minute)
    assert sent_after == [15, 45, 105, 225]
    assert set(ids(bus)) == {seen.id}
    assert {payload["change"]["attempt"] for payload in bus.payloads} == {1}


def test_a_run_that_does_not_start_is_told_before_it_is_given_up(
    watched: WatchedFolder, bus: Bus
) -> None:
    """The bus has the event, so nothing fails yet: but somebody must get to know."""
    watched.listen("StarterFlow", "Other")
    seen = watched.change()
    watched.take(bus.payloads[0], "Other")
    assert (watched.later(14).late, seen.late) == ("", ""), "there is still time"
    for minutes in (2, 5, 30):
        late = watched.later(minutes)
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
    second = watched.change()
    assert second.delivery.startswith("change 3 sent as event 'e'; no run of StarterFlow has ")
    assert "nor for 1 more that were sent later" in watched.later(16).late
    for payload in bus.payloads:
        watched.take(payload)
        watched.take(payload, "Other")
    assert watched.later(1).late == ""


def test_after_the_last_attempt_every_tick_fails_and_says_what_to_do(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=2)
    watched.listen("StarterFlow", "Other")
    seen = watched.change()
    watched.take(bus.payloads[0], "Other")
    assert not watched.later(16).undelivered
    given_up = watched.later(31)
    for part in ("sent 2 times", "StarterFlow has not", "flowproject replay", seen.id):
        assert part in given_up.undelivered
    with pytest.raises(TickError, match="StarterFlow has not started"):
        sensing.raise_for_failures([given_up])
    assert watched.later(600).undelivered, "it stays said"
    assert len(bus.events) == 2
    watched.take(bus.payloads[1])
    assert not watched.later(1).undelivered, "a late receipt is a receipt"


def test_a_change_that_is_given_up_holds_no_other_back(watched: WatchedFolder, bus: Bus) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("StarterFlow")
    watched.change()
    assert watched.later(16).undelivered
    second = watched.change()
    assert "Change 2 was sent once" in second.undelivered
    assert numbers(bus) == [2, 3]
    assert second.pending == 0


def test_what_is_given_up_takes_no_watch_from_what_follows(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("StarterFlow")
    pile_up(watched, 50)
    watched.tick()
    assert "50 changes (2 to 51)" in watched.later(16).undelivered
    counting = CountingStore(watched.store)
    quiet = replace(watched, store=counting)
    assert quiet.later(1).undelivered
    assert len(counting.requests) == 5, "the same as with one"
    watched.sensor = quiet.sensor = replace(watched.sensor, max_attempts=2)
    watched.tick()
    watched.change("lost.csv")
    watched.later(16)
    watched.later(16)
    assert numbers(bus).count(52) == 2
    assert "51 changes (2 to 52)" in watched.later(60).undelivered
    watched.take(bus.payloads[-1])
    assert "50 changes (2 to 51)" in watched.later(1).undelivered


@pytest.mark.usefixtures("bus")
def test_numbers_that_the_memo_forgot_are_looked_at_in_turn(watched: WatchedFolder) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("StarterFlow")
    pile_up(watched, 60)
    watched.tick()
    head = watched.journal.head()
    watched.journal.memos.write_head(replace(head, awaited=()))
    assert "50 changes (2 to 51)" in watched.later(16).undelivered
    assert "60 changes (2 to 61)" in watched.later(1).undelivered


def test_a_note_that_another_tick_takes_back_is_no_sending(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    mark = watched.journal.head().awaited[0].mark

    class Other(CountingStore):
        """A real store in which another tick notes a sending, and takes it back."""

        def create(self, key: str, content: bytes) -> bool:
            if "/sent/" in key:
                assert self._store.create(key, content)
            taken = self._store.create(key, content)
            if "/sent/" in key:
                watched.journal.outbox.forget_sending(mark, 1, 2)
            return taken

    slow = replace(watched, store=Other(watched.store), now=watched.now + 16 * MINUTE)
    assert not slow.tick().undelivered
    assert numbers(bus) == [2], "the other one sends it"
    watched.later(17)
    assert numbers(bus) == [2, 2]


class Overwrites(CountingStore):
    """A real store that overwrites what it is asked to create."""

    def create(self, key: str, content: bytes) -> bool:
        self._store.put(key, content)
        return True


def test_on_a_store_that_overwrites_no_tick_records_or_sends(
    watched: WatchedFolder, bus: Bus
) -> None:
    denied = replace(watched, store=Overwrites(watched.store))
    denied.sensor = replace(watched.sensor, name="days")
    for _ in range(2):
        seen = denied.change()
        assert seen.outcome == "failed"
        assert "overwrites an object" in seen.reason
    assert bus.events == []
    assert watched.store.keys(denied.journal.location) == []


def test_a_journal_of_an_earlier_version_is_asked_once(watched: WatchedFolder, bus: Bus) -> None:
    watched.journal.memos.write_head(replace(watched.journal.head(), is_proven=False))
    denied = replace(watched, store=Overwrites(watched.store))
    assert denied.change().outcome == "failed"
    assert bus.events == []
    assert watched.tick().outcome == "changed"
    assert watched.journal.head().is_proven


# ------------------------------------------------------------- flows that wait for several sensors

JOIN = {"JoinFlow": ("files", "rates")}


@pytest.fixture
def rates(tmp_path: Path, store: Store) -> WatchedFolder:
    """A second sensor of the same project."""
    root = tmp_path / "rates"
    (root / "data").mkdir(parents=True)
    watched = WatchedFolder(
        root, store, Sensor(name="rates", data=FilesData(path="data"), event_name="r")
    )
    watched.tick()
    watched.listen("JoinFlow", waits=JOIN)
    return watched


def both_later(watched: WatchedFolder, rates: WatchedFolder, minutes: float) -> tuple[str, str]:
    """What the ticks of both sensors could not deliver."""
    rates.now = watched.now = watched.now + minutes * MINUTE
    return watched.tick().undelivered, rates.tick().undelivered


def sent(bus: Bus) -> list[tuple[str, int]]:
    return [(one["change"]["sensor"], one["change"]["seq"]) for one in bus.payloads]


@pytest.mark.usefixtures("rates")
def test_who_waits_for_another_sensor_too_is_not_overdue_before_that_has_changed(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("JoinFlow", waits=JOIN)
    watched.change()
    counting = CountingStore(watched.store)
    quiet = replace(watched, store=counting)
    for _ in range(3):
        assert quiet.later(5000).undelivered == ""
    assert sent(bus) == [("files", 2)]
    assert watched.journal.head().unresolved == (2,), "it is not resolved either"
    counting.requests.clear()
    quiet.tick()
    assert len(counting.requests) == 6, "of the other one: it has not changed"
    told = sensing.find_change(watched.context, "files/2").chain
    assert told.in_words == "sent, awaits JoinFlow (which waits for others too)"


def test_when_all_have_changed_a_lost_half_is_sent_again_the_older_one_first(
    watched: WatchedFolder, rates: WatchedFolder, bus: Bus
) -> None:
    watched.listen("JoinFlow", waits=JOIN)
    watched.change()
    rates.now = watched.now = watched.now + 5000 * MINUTE
    rates.change()
    assert sent(bus) == [("files", 2), ("rates", 2)]
    both_later(watched, rates, 14)
    assert len(sent(bus)) == 2, "it has the time that every flow has"
    both_later(watched, rates, 2)
    assert sent(bus)[2:] == [("files", 2)]
    both_later(watched, rates, 15)
    assert sent(bus)[3:] == [("rates", 2)]
    for event in bus.payloads[:2]:
        (watched if event["change"]["sensor"] == "files" else rates).take(event, "JoinFlow")
    assert both_later(watched, rates, 5000) == ("", "")
    assert (watched.journal.head().unresolved, rates.journal.head().unresolved) == ((), ())
    assert len(sent(bus)) == 4


def test_to_replay_what_a_flow_of_several_sensors_lacks_runs_no_other_again(
    watched: WatchedFolder, rates: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("JoinFlow", "StarterFlow", waits=JOIN)
    watched.change()
    watched.take(bus.payloads[0])
    context = replace(
        watched.context,
        project=replace(
            watched.context.project, sensors={"files": watched.sensor, "rates": rates.sensor}
        ),
    )
    rates.now = watched.now = watched.now + MINUTE
    rates.change()
    undelivered, _ = both_later(watched, rates, 40)
    assert "JoinFlow has not started" in undelivered
    lost = sensing.find_change(context, "files/2")
    assert sensing.replay(context, lost, by="a person").attempt == 1
    rates.take(bus.payloads[1], "JoinFlow")
    lost = sensing.find_change(context, "files/2")
    assert sensing.replay(context, lost, by="a person").attempt == 2, "it waits for the other"


def test_who_never_starts_though_all_have_changed_is_named_by_each(
    watched: WatchedFolder, rates: WatchedFolder, bus: Bus
) -> None:
    watched.listen("JoinFlow", waits=JOIN)
    watched.change()
    watched.change()
    rates.change()
    for _ in range(12):
        problems = both_later(watched, rates, 300)
    assert all("JoinFlow has not started" in problem for problem in problems)
    assert "2 changes (2 to 3)" in problems[0]
    assert sent(bus).count(("files", 2)) == 1, "a run for the newest has all"
    assert sent(bus).count(("files", 3)) == sent(bus).count(("rates", 2)) == 5


def test_what_such_a_flow_was_sent_as_often_as_allowed_is_given_up_in_its_history_too(
    watched: WatchedFolder, rates: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    rates.sensor = replace(rates.sensor, max_attempts=1)
    watched.listen("JoinFlow", waits=JOIN)
    watched.change()
    watched.change()
    both_later(watched, rates, 40)

    def states() -> list[str]:
        return [sensing.find_change(watched.context, f"files/{seq}").chain.state for seq in (2, 3)]

    assert states() == ["sent", "sent"], "it rightly waits for the other sensor"
    rates.change()
    assert all("JoinFlow has not started" in told for told in both_later(watched, rates, 40))
    assert states() == ["undelivered", "undelivered"]
    assert sensing.find_change(rates.context, "rates/2").chain.state == "undelivered"
    lost = sensing.find_change(watched.context, "files/3")
    assert lost.chain.in_words.startswith("undelivered, JoinFlow")
    assert sent(bus) == [("files", 2), ("files", 3), ("rates", 2)]
    sensing.replay(watched.context, lost, by="a person")
    watched.tick()
    assert states() == ["undelivered", "sent"]


def test_who_listens_to_one_sensor_is_sent_again_whatever_another_flow_waits_for(
    watched: WatchedFolder, rates: WatchedFolder, bus: Bus
) -> None:
    assert rates
    watched.listen("JoinFlow", "StarterFlow", waits=JOIN)
    watched.change()
    watched.later(16)
    assert sent(bus) == [("files", 2)] * 2
    watched.take(bus.payloads[0])
    assert watched.later(5000).undelivered == ""
    assert len(sent(bus)) == 2


class ReadOnly(CountingStore):
    """A real store that this process may read, and not write."""

    def create(self, key: str, content: bytes) -> bool:  # noqa: ARG002
        raise JournalError(f"no leave to write {key}")

    def put(self, key: str, content: bytes) -> None:  # noqa: ARG002
        raise JournalError(f"no leave to write {key}")

    delete = put  # type: ignore[assignment]  # it fails before it looks at what it is given


def test_who_can_not_note_a_sending_sends_nothing(watched: WatchedFolder, bus: Bus) -> None:
    bus.answer = lambda _: 400
    watched.listen("StarterFlow")
    watched.change()
    bus.answer = lambda _: 200
    denied = replace(watched, store=ReadOnly(watched.store))
    for _ in range(3):
        seen = denied.later(1)
        assert seen.outcome == "failed"
        assert "Change 2 and those after it are not sent" in seen.reason
        assert "no leave to write" in seen.reason
    assert bus.events == []
    watched.now = denied.now
    watched.tick()
    assert numbers(bus) == [2]
    for _ in range(3):
        assert denied.later(20).outcome == "failed"
    assert numbers(bus) == [2], "nor is it sent again"
    watched.now = denied.now
    watched.tick()
    assert numbers(bus) == [2, 2]


def test_a_sending_that_the_bus_refused_is_none(watched: WatchedFolder, bus: Bus) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=2)
    watched.listen("StarterFlow")
    watched.change()
    bus.answer = lambda _: 400
    for _ in range(3):
        assert "not taken by the bus" in watched.later(16).undelivered
    bus.answer = lambda _: 200
    watched.later(1)
    assert numbers(bus) == [2, 2]


def test_what_piled_up_is_sent_in_a_tenth_of_the_waits_and_sensors_are_looked_at_meanwhile(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    pile_up(watched, 200)
    (watched.root / "data" / "new.csv").write_text("x")
    slow = WaitedFor(watched.store)
    context = replace(watched, store=slow).context
    [seen] = sensing.observe(context)
    assert seen.outcome == "changed"
    assert len(bus.events) < 200, "it looked before all were sent"
    sensing.publish(context, [seen])
    assert numbers(bus) == [*range(2, 203)]
    assert len(slow.requests) < 200 * 5 / 10, len(slow.requests)


def test_a_change_is_recorded_and_sent_in_eight_waits_for_the_store(
    watched: WatchedFolder, bus: Bus
) -> None:
    """One after the other these are eighteen requests: see docs/delivery.md for the order."""
    watched.listen("StarterFlow")
    watched.change()
    watched.take(bus.payloads[-1])
    watched.later(1)
    slow = WaitedFor(watched.store)
    (watched.root / "data" / "new.csv").write_text("x")
    context = replace(watched, store=slow).context
    [seen] = sensing.publish(context, sensing.observe(context))
    assert (seen.outcome, seen.pending) == ("changed", 0)
    assert len(slow.requests) == 8, slow.requests
    assert not [key for key in watched.store.keys("flowproject") if "-trial-" in key]
    slow.requests.clear()
    watched.take(bus.payloads[-1])
    watched.later(1)
    context = replace(watched, store=slow).context
    assert sensing.observe(context)[0].outcome == "unchanged"
    assert len(slow.requests) == 2, slow.requests


def test_who_may_not_remove_what_showed_that_he_can_write_sends_once(
    watched: WatchedFolder, bus: Bus
) -> None:
    class Keeping(CountingStore):
        def __getattr__(self, name: str) -> Any:
            if name == "delete":
                raise JournalError("Nobody may delete")
            return super().__getattr__(name)

    watched.listen("StarterFlow")
    keeping = replace(watched, store=Keeping(watched.store))
    assert keeping.change().pending == 0
    keeping.later(1)
    assert numbers(bus) == [2]


def test_with_every_receipt_nothing_is_left_and_ticks_cost_what_they_always_did(
    watched: WatchedFolder, bus: Bus
) -> None:
    counting = CountingStore(watched.store)
    quiet = replace(watched, store=counting)
    quiet.tick()
    before = list(counting.requests)
    watched.listen("StarterFlow", "Other")
    watched.change()
    for flow in ("StarterFlow", "Other"):
        watched.take(bus.payloads[0], flow)
    watched.later(1)
    counting.requests.clear()
    assert quiet.later(600).outcome == "unchanged"
    assert counting.requests == before
    assert len(bus.events) == 1


def test_the_receipts_of_some_are_not_those_of_all(watched: WatchedFolder, bus: Bus) -> None:
    watched.listen("StarterFlow", "Other")
    watched.change()
    watched.take(bus.payloads[0], "Other")
    watched.later(16)
    assert len(bus.events) == 2


def test_only_who_listened_then_and_listens_now_is_awaited(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("Gone", "StarterFlow")
    watched.change()
    watched.listen("StarterFlow", "New")
    watched.take(bus.payloads[0])
    watched.later(16)
    assert len(bus.events) == 1
    assert watched.journal.head().unresolved == ()


def test_a_change_whose_listener_is_gone_is_told_once_and_handed_to_the_new_one(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("OldFlow", "Other")
    seen = watched.change()
    watched.take(bus.payloads[0], "Other")
    watched.listen("NewFlow", "Other")
    assert watched.later(10).undelivered == "", "a run of it may have begun"
    told = watched.later(6)
    for part in ("sent to OldFlow", "does not listen any more", "replay files/2", "NewFlow, Other"):
        assert part in told.abandoned
    with pytest.raises(TickError, match="does not listen any more"):
        sensing.raise_for_failures([told])
    assert watched.later(1).abandoned == "", "once"
    lost = sensing.find_change(watched.context, "files/2")
    assert lost.chain.in_words == "undelivered, OldFlow does not listen any more"
    sent = sensing.replay(watched.context, lost, by="a person")
    assert (sent.attempt, sent.awaited) == (1, ("NewFlow", "Other"))
    assert watched.take(bus.payloads[-1], "Other", run="2") == "Other/1", "who has it does nothing"
    assert watched.later(31).undelivered == ""
    assert ids(bus) == [seen.id] * 3, "and the new one is awaited"
    assert watched.take(bus.payloads[-1], "NewFlow") == "NewFlow/1"
    watched.later(1)
    assert watched.journal.head().unresolved == ()
    assert sensing.find_change(watched.context, "files/2").chain.in_words == "delivered"


def test_a_listener_that_is_gone_is_named_beside_one_that_never_starts(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("OldFlow", "Deaf")
    watched.change()
    watched.listen("NewFlow", "Deaf")
    told = watched.later(16)
    assert "Deaf has not started for it; nor has OldFlow, which does not listen" in told.undelivered
    lost = sensing.find_change(watched.context, "files/2")
    assert lost.chain.in_words == (
        "undelivered, Deaf has not started and OldFlow does not listen any more"
    )
    sensing.replay(watched.context, lost, by="a person")
    for flow in ("NewFlow", "Deaf"):
        watched.take(bus.payloads[-1], flow)
    assert watched.later(1).undelivered == ""
    assert watched.journal.head().unresolved == ()


def test_many_changes_whose_listener_is_gone_are_told_in_one_sentence(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("OldFlow")
    for _ in range(3):
        watched.change()
    watched.listen("NewFlow")
    told = watched.later(16).abandoned
    assert told.count("does not listen any more") == 1
    assert "Changes 2 to 4 were sent to OldFlow, which did not take them" in told
    assert (
        "`flowproject replay files/2-4` sends them to NewFlow; a flow that has run for them "
        "already does not run again" in told
    )
    assert numbers(bus) == [2, 3, 4]


def test_what_was_given_up_is_told_by_every_tick_also_when_its_listener_is_renamed(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_attempts=1)
    watched.listen("OldFlow", "Other")
    for _ in range(2):
        watched.change()
        watched.take(bus.payloads[-1], "Other")
    assert "2 changes (2 to 3)" in watched.later(16).undelivered
    watched.listen("NewFlow", "Other")
    for _ in range(3):
        told = watched.later(1)
        assert "OldFlow, which does not listen any more, has not started for them" in (
            told.undelivered
        )
        assert "`flowproject replay files/2-3` sends them to NewFlow, Other;" in told.undelivered
    for number in ("files/2", "files/3"):
        lost = sensing.find_change(watched.context, number)
        sensing.replay(watched.context, lost, by="a person")
        assert watched.take(bus.payloads[-1], "NewFlow") == "NewFlow/1"
        assert watched.take(bus.payloads[-1], "Other", run="2") == "Other/1", "it has it"
    assert watched.later(1).undelivered == ""
    assert watched.journal.head().unresolved == ()


def test_what_a_renamed_sensor_left_is_told_by_every_tick_until_it_is_seen_to(
    watched: WatchedFolder, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    watched.change()
    watched.change()
    edited = FilesData(path="data", include=("*",))
    renamed = replace(watched, sensor=replace(watched.sensor, name="days", data=edited))
    for _ in range(3):
        told = renamed.tick()
        assert "No sensor is called 'files' any more, and changes 2 to 3" in told.abandoned
        assert "`flowproject reset files`" in told.delivery
        with pytest.raises(TickError, match="No sensor is called 'files'"):
            sensing.raise_for_failures([told])
    [looked] = sensing.preview(renamed.context)
    assert "changes 2 to 3 of it are not delivered" in looked.abandoned


def test_so_it_is_under_a_name_that_has_a_journal_already(watched: WatchedFolder, bus: Bus) -> None:
    crate = replace(watched, sensor=replace(watched.sensor, name="crate"))
    watched.tick()
    crate.tick()
    bus.answer = lambda _: 400
    watched.change()
    assert "change 2 of it is not delivered" in crate.tick().abandoned
    watched.journal.note_damage(DamagedEntryError(watched.journal.entry_key(2), 2, "torn"))
    watched.store.put(watched.journal.entry_key(2), b"torn")
    assert crate.tick().abandoned == "", "nobody can send what can't be read"


def test_what_arrived_under_the_old_name_is_no_loss_although_no_tick_has_noted_it(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.change()
    renamed = replace(watched, sensor=replace(watched.sensor, name="days"))
    watched.take(bus.payloads[0])
    assert sensing.orphans(renamed.context)[0].unresolved == (3,)
    assert renamed.tick().outcome == "failed"
    watched.take(bus.payloads[1])
    told = renamed.tick()
    assert (told.outcome, told.abandoned) == ("baseline", "")
    sensing.raise_for_failures([told])


def test_a_damaged_entry_hides_nothing_that_is_left_under_an_old_name(
    watched: WatchedFolder, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    watched.change()
    watched.change()
    watched.store.put(watched.journal.entry_key(3), b"torn")
    renamed = replace(watched, sensor=replace(watched.sensor, name="days"))
    assert "change 2 of it is not delivered" in renamed.tick().abandoned


def test_a_listener_that_is_gone_is_told_of_also_when_the_same_tick_has_more_to_deliver(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("OldFlow")
    watched.change()
    watched.listen("NewFlow")
    watched.now += 16 * MINUTE
    told = watched.change()
    assert "sent to OldFlow" in told.abandoned
    assert numbers(bus) == [2, 3]


def test_without_listeners_what_the_bus_took_is_done(watched: WatchedFolder, bus: Bus) -> None:
    watched.change()
    assert watched.journal.head().unresolved == ()
    watched.later(600)
    assert len(bus.events) == 1


def test_changes_are_sent_in_order_and_none_overtakes_one_that_was_refused(
    watched: WatchedFolder, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    for pending in (1, 2, 3):
        seen = watched.change()
        assert seen.pending == pending
        assert seen.undelivered
    bus.answer = lambda _: 200
    assert watched.tick().pending == 0
    assert numbers(bus) == [2, 3, 4]


def test_a_bus_that_is_down_costs_the_same_however_much_waits(
    watched: WatchedFolder, bus: Bus
) -> None:
    bus.answer = lambda _: 400
    counting = CountingStore(watched.store)
    quiet, costs = replace(watched, store=counting), []
    for changes in (2, 8):
        for _ in range(changes):
            watched.change()
        counting.requests.clear()
        quiet.tick()
        costs.append(list(counting.requests))
    assert costs[0] == costs[1]


def test_what_piled_up_is_sent_as_one_event_with_the_difference_of_all(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    watched.listen("StarterFlow")
    watched.change("kept.csv")
    bus.answer = lambda _: 400
    watched.change("a.csv")
    (watched.root / "data" / "kept.csv").write_text("other")
    watched.change("b.csv")
    (watched.root / "data" / "a.csv").unlink()
    watched.change("c.csv")
    bus.answer = lambda _: 200
    watched.tick()
    assert numbers(bus) == [2, 3, 5], "what was decided while the bus was down stays decided"
    last = Change(decode(bus.payloads[-1]["change"]), lambda: watched.store)
    assert (last.first_seq, last.counts) == (4, {"added": 2, "modified": 1, "removed": 1})
    assert [file["key"] for file in last.added] == ["b.csv", "c.csv"]
    assert [edit["key"] for edit in last.modified] == ["kept.csv"]
    assert [file["key"] for file in last.removed] == ["a.csv"]
    assert last.reason.startswith("2 changes at once")
    assert last.previous == 2


def test_a_group_that_the_bus_took_without_saying_so_is_sent_as_the_same_group(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    bus.answer = lambda _: 400
    watched.change()

    def take_and_fail(event: dict[str, Any]) -> int:
        bus.events.append(event)
        return 400

    watched.change()
    bus.answer = take_and_fail
    watched.change()
    bus.answer = lambda _: 200
    watched.change()
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


def test_a_group_is_awaited_as_one(watched: WatchedFolder, bus: Bus) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    watched.listen("StarterFlow")
    bus.answer = lambda _: 400
    watched.change()
    watched.change()
    watched.change()
    bus.answer = lambda _: 200
    watched.tick()
    for payload in bus.payloads:
        watched.take(payload)
    watched.later(1)
    assert watched.journal.head().unresolved == ()
    assert watched.journal.outbox.resolved_numbers() == {known.seq for known in entries(watched)}


def test_a_source_that_flaps_is_held_back_and_loses_nothing(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, max_events_per_hour=2)
    for _ in range(2):
        assert not watched.change().held
    held = watched.change()
    assert "max_events_per_hour" in held.held
    assert "13:00:00 UTC" in held.held
    assert not held.undelivered
    assert "wait" in held.delivery
    sensing.raise_for_failures([held])
    assert numbers(bus) == [2, 3]
    watched.later(59)
    assert numbers(bus) == [2, 3]
    watched.later(1)
    assert numbers(bus) == [2, 3, 4]


@pytest.mark.parametrize("memo", [None, b"", b"{}", b'{"seq": 3}', b"[]", b'"x"'])
def test_what_is_left_to_do_is_found_again_without_the_memo(
    watched: WatchedFolder, bus: Bus, memo: bytes | None
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.change()
    watched.take(bus.payloads[0])
    watched.later(1)
    if memo is None:
        watched.store.delete(f"{watched.journal.location}/head.json")
    else:
        watched.store.put(f"{watched.journal.location}/head.json", memo)
    watched.later(20)
    assert numbers(bus) == [2, 3, 3]
    watched.take(bus.payloads[-1])
    watched.later(1)
    assert watched.journal.head().unresolved == ()


def test_an_old_memo_hides_nothing(watched: WatchedFolder, bus: Bus) -> None:
    watched.listen("StarterFlow")
    key = f"{watched.journal.location}/head.json"
    old = watched.store.get(key)
    assert old is not None
    bus.answer = lambda _: 400
    watched.change()
    watched.change()
    watched.store.put(key, old)
    bus.answer = lambda _: 200
    watched.tick()
    watched.store.put(key, old)
    watched.later(20)
    assert numbers(bus) == [2, 3, 2, 3]


def test_ticks_side_by_side_send_no_change_under_two_ids(watched: WatchedFolder, bus: Bus) -> None:
    watched.listen("StarterFlow")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            (watched.root / "data" / f"{_}.csv").write_text("x")
            list(pool.map(lambda _: watched.tick(), range(4)))
    assert len(set(ids(bus))) == len(set(numbers(bus))) == watched.journal.head().seq - 1
    firsts = list(dict.fromkeys(numbers(bus)))
    assert firsts == sorted(firsts)
    runs = {watched.take(payload, run=str(index)) for index, payload in enumerate(bus.payloads)}
    assert len(runs) == len(firsts), "one run for each change"
    watched.later(1)
    assert watched.journal.head().unresolved == ()


def test_damaged_listeners_fail_the_sensor_and_send_nothing_unawaited(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.store.put(f"{watched.journal.location}/listeners.json", b"{")
    seen = watched.change()
    assert "listeners" in seen.undelivered
    watched.listen("StarterFlow")
    watched.tick()
    assert len(set(ids(bus))) == 1
    assert watched.journal.outbox.mark(entries(watched)[-1]) is not None


def test_what_was_noted_of_forgotten_changes_is_forgotten_with_them(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    watched.listen("StarterFlow")
    for _ in range(3):
        watched.change()
        watched.later(16)
        watched.take(bus.payloads[-1])
        watched.later(1)
    journal = watched.journal
    prune(watched.store, journal, journal.head(), keep=1)
    left = [key.removeprefix(journal.location) for key in watched.store.keys(journal.location)]
    folders = ("published", "sent", "receipts", "delivered", "combined")
    assert {
        folder: sum(f"/{folder}/" in key for key in left) for folder in folders
    } == dict.fromkeys(folders, 1)


def entries(watched: WatchedFolder) -> list[Any]:
    journal = watched.journal
    found = [journal.get(seq) for seq in range(1, journal.head().seq + 1)]
    return [entry for entry in found if entry and entry.is_published]


# ------------------------------------------------------------------ what a deployment makes unheard


def deploy(watched: WatchedFolder, *together: str, alone: tuple[str, ...] = ()) -> None:
    """The sensors of these flows were written anew, so that the bus forgot what waited for them."""
    watched.journal.outbox.record_listeners(
        alone,
        by="test",
        together=together,
        deployed=dict.fromkeys((*together, *alone), watched.now),
        now=watched.now,
    )
    bring_back(watched.journal, together)


def wait_together(watched: WatchedFolder, *flows: str) -> None:
    watched.journal.outbox.record_listeners((), by="test", together=flows, now=watched.now)


def test_what_waited_for_a_flow_of_several_sensors_is_sent_once_more_when_the_bus_forgot_it(
    watched: WatchedFolder, bus: Bus
) -> None:
    wait_together(watched, "Pair")
    seen = watched.change()
    watched.later(60)
    assert numbers(bus) == [2]
    deploy(watched, "Pair")
    watched.later(1)
    assert numbers(bus) == [2]
    watched.later(4)
    assert ids(bus) == [seen.id, seen.id]
    assert {payload["change"]["attempt"] for payload in bus.payloads} == {1}
    watched.later(500)
    assert len(bus.events) == 2
    assert not watched.journal.head().unresolved


def test_what_such_a_flow_has_taken_is_not_sent_again(watched: WatchedFolder, bus: Bus) -> None:
    wait_together(watched, "Pair")
    watched.change()
    watched.take(bus.payloads[0], "Pair")
    deploy(watched, "Pair")
    watched.later(60)
    assert len(bus.events) == 1


def test_of_what_waited_only_the_newest_is_sent_again(watched: WatchedFolder, bus: Bus) -> None:
    """As on the bus, where the newest event of a name waits for the others."""
    wait_together(watched, "Pair")
    watched.change()
    watched.change()
    deploy(watched, "Pair")
    watched.later(60)
    assert numbers(bus) == [2, 3, 3]


def test_a_flow_is_not_told_what_was_sent_before_it_listened(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.change()
    watched.now += MINUTE
    deploy(watched, "Pair")
    watched.later(60)
    assert len(bus.events) == 1


def test_a_flow_that_waited_already_is_known_by_that_when_its_list_changes(
    watched: WatchedFolder, bus: Bus
) -> None:
    wait_together(watched, "Pair")
    watched.change()
    watched.now += MINUTE
    deploy(watched, "Pair", "Other")
    watched.now += MINUTE
    deploy(watched, "Pair", "Other")
    watched.later(60)
    assert len(bus.events) == 2


def test_what_is_sent_while_the_new_sensor_is_made_is_sent_again(
    watched: WatchedFolder, bus: Bus
) -> None:
    deploy(watched, "Pair")
    watched.change()
    watched.later(6)
    assert len(bus.events) == 2
    watched.later(60)
    assert len(bus.events) == 2


def test_a_flow_of_one_sensor_is_not_kept_waiting_for_the_whole_timeout(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    deploy(watched, alone=("StarterFlow",))
    watched.later(4)
    assert len(bus.events) == 1
    watched.later(1)
    assert len(bus.events) == 2
    watched.take(bus.payloads[1])
    watched.later(60)
    assert len(bus.events) == 2


def test_a_short_timeout_makes_that_shorter(watched: WatchedFolder, bus: Bus) -> None:
    watched.sensor = replace(watched.sensor, receipt_timeout=60.0)
    wait_together(watched, "Pair")
    watched.change()
    deploy(watched, "Pair")
    watched.later(1)
    assert len(bus.events) == 2


def test_a_bus_that_is_down_is_asked_again_for_what_it_forgot(
    watched: WatchedFolder, bus: Bus
) -> None:
    wait_together(watched, "Pair")
    watched.change()
    deploy(watched, "Pair")
    bus.answer = lambda _: 400
    watched.later(6)
    bus.answer = lambda _: 200
    watched.later(6)
    assert len([one for one in bus.events if one]) == 2
