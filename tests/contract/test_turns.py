"""A flow that takes changes in order is told of one when the last is over, on each store."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from flowproject import sensing
from flowproject.cards import sensor_card
from flowproject.cli.delivery import delivery_lines
from flowproject.config import FilesData, Sensor
from flowproject.dev.page.changes import change_view
from flowproject.errors import UsageError
from flowproject.journal import DamagedEntryError, Store
from flowproject.sensing.turns import give_next_turn
from tests.journals import CountingStore
from tests.world import Bus, World

LEDGER = "LedgerFlow"
TURNS = "mfns.demo.user.tester.e_for_LedgerFlow"


@pytest.fixture
def world(tmp_path: Path, store: Store) -> World:
    (tmp_path / "data").mkdir()
    sensor = Sensor(name="files", data=FilesData(path="data"), event_name="e", max_attempts=2)
    world = World(tmp_path, store, sensor)
    world.tick()
    listen(world)
    return world


def listen(world: World, *others: str) -> None:
    world.journal.outbox.record_listeners((LEDGER, *others), by="test", in_order=(LEDGER,))


def turns(bus: Bus) -> list[int]:
    """The changes of which the flow was told, in order."""
    return [one["payload"]["change"]["seq"] for one in bus.events if one["name"] == TURNS]


def others(bus: Bus) -> list[int]:
    return [one["payload"]["change"]["seq"] for one in bus.events if one["name"] != TURNS]


def told(world: World, seq: int) -> sensing.Chain:
    return sensing.find_change(world.scene, f"files/{seq}").chain


def end(
    world: World,
    payload: dict[str, Any],
    how: Literal["succeeded", "failed", "skipped"] = "succeeded",
) -> None:
    """A run that has taken an event ends, and tells the next, as `starting.claiming` does."""
    change = payload["change"]
    world.journal.turns.end(
        change["seq"],
        change["id"],
        attempt=change["attempt"],
        flow=LEDGER,
        how=how,
        by="LedgerFlow/1",
        at=world.now.isoformat(),
    )
    give_next_turn(world.sensor, world.journal, [LEDGER], now=world.now, run="LedgerFlow/1")


def turn(bus: Bus, seq: int) -> dict[str, Any]:
    """The newest event that told of the turn of a change."""
    found: list[dict[str, Any]] = [
        one["payload"]
        for one in bus.events
        if (one["name"], one["payload"]["change"]["seq"]) == (TURNS, seq)
    ]
    return found[-1]


def test_it_is_told_of_one_change_after_the_other_and_others_of_all_at_once(
    world: World, bus: Bus
) -> None:
    listen(world, "StarterFlow")
    for _ in range(3):
        world.change()
    assert (others(bus), turns(bus)) == ([2, 3, 4], [2])
    assert turn(bus, 2)["change"]["turn_of"] == LEDGER
    for seq in (2, 3, 4):
        world.take(turn(bus, seq), LEDGER)
        world.tick()
        assert turns(bus)[-1] == seq, "it is taken, and goes on"
        end(world, turn(bus, seq))
    assert turns(bus) == [2, 3, 4], "each run told the next by itself"
    for payload in bus.payloads[:]:
        world.take(payload)
    world.tick()
    assert world.journal.head().unresolved == ()
    counting = CountingStore(world.store)
    replace(world, store=counting).tick()
    assert len(counting.requests) == 3


def test_what_no_run_told_a_tick_tells(world: World, bus: Bus) -> None:
    """The run was gone as soon as it had noted its end, or the bus was away."""
    world.change()
    world.take(turn(bus, 2), LEDGER)
    world.change()
    bus.answer = lambda _: 400
    with pytest.raises(Exception, match="not taken by the bus"):
        end(world, turn(bus, 2))
    bus.answer = lambda _: 200
    bus.events.clear()
    world.tick()
    world.tick()
    assert turns(bus) == [3]


def test_a_run_that_has_not_ended_holds_the_next_back_and_every_tick_says_so(
    world: World, bus: Bus
) -> None:
    world.change()
    world.take(turn(bus, 2), LEDGER, run="7")
    assert world.tick().delivery == "", "nobody waits"
    world.change()
    world.change()
    seen = world.later(1000)
    assert (turns(bus), seen.undelivered, seen.late) == ([2], "", "")
    assert seen.queued == (
        "LedgerFlow takes changes in order, and changes 3 to 4 wait behind change 2, which "
        "LedgerFlow/7 took and has not ended. If that run failed, resume it, or `flowproject "
        "replay files/2`, or let the next ones pass: `flowproject skip files/2`"
    )
    assert seen.queued in seen.delivery
    assert "In order: LedgerFlow takes" in "".join(
        str(one.render()) for one in sensor_card([seen.to_json()])
    )
    assert sensing.waiting_in_order(world.scene) == [f"Sensor 'files': {seen.queued}"]
    assert told(world, 2).in_words == "delivered, 3 to 4 wait for its end"
    assert told(world, 3).in_words == "sent, awaits LedgerFlow (in its turn, behind change 2)"
    assert "LedgerFlow takes changes in order, and is at change 2" in "\n".join(
        delivery_lines(told(world, 4))
    )
    assert told(world, 4).to_json()["behind"] == {LEDGER: 2}
    page = change_view(told(world, 4), None, ())
    assert page.steps[-1].text == "LedgerFlow, in its turn, behind change 2"
    assert [one.name for one in page.actions] == ["replay", "skip"]
    sensing.raise_for_failures([seen])


def test_a_replay_ends_the_turn_of_a_run_that_failed(world: World, bus: Bus) -> None:
    world.change()
    world.take(turn(bus, 2), LEDGER)
    world.change()
    replayed = sensing.replay(world.scene, sensing.find_change(world.scene, "files/2"), by="me")
    assert (replayed.attempt, replayed.later) == (2, ())
    assert turns(bus) == [2, 2]
    again = turn(bus, 2)
    assert (again["change"]["attempt"], again["change"]["turn_of"]) == (2, LEDGER)
    world.tick()
    world.take(again, LEDGER, run="2")
    world.tick()
    assert turns(bus) == [2, 2]
    end(world, again)
    assert turns(bus) == [2, 2, 3]


def test_skipping_a_change_lets_the_next_ones_pass(world: World, bus: Bus) -> None:
    for _ in range(4):
        world.change()
    world.take(turn(bus, 2), LEDGER)
    find = sensing.find_change
    later = sensing.skip(world.scene, find(world.scene, "files/4"), by="me")
    assert (later.next, turns(bus)) == ((), [2]), "its turn had not come"
    skipped = sensing.skip(world.scene, find(world.scene, "files/2"), by="me")
    assert [one.event.mark.seq for one in skipped.next] == [3]
    world.take(turn(bus, 3), LEDGER)
    end(world, turn(bus, 3))
    assert turns(bus) == [2, 3, 5]
    with pytest.raises(UsageError, match="No flow has a turn for change 2"):
        sensing.skip(world.scene, find(world.scene, "files/2"), by="me")
    world.take(turn(bus, 5), LEDGER)
    end(world, turn(bus, 5))
    world.tick()
    assert world.journal.head().unresolved == ()
    states = {one["seq"]: one["state"] for one in world.tick().history}
    # A tick tells from its memo what whoever asks the journal is told.
    assert states == {seq: told(world, seq).state for seq in (1, 2, 3, 4, 5)}
    assert states[4] == "skipped"


def test_what_is_replayed_when_it_was_over_waits_for_nobody_and_holds_nobody(
    world: World, bus: Bus
) -> None:
    world.change()
    world.take(turn(bus, 2), LEDGER)
    end(world, turn(bus, 2))
    world.change()
    world.take(turn(bus, 3), LEDGER)
    sensing.replay(world.scene, sensing.find_change(world.scene, "files/2"), by="me")
    assert turns(bus) == [2, 3, 2]
    end(world, turn(bus, 3))
    world.change()
    assert turns(bus) == [2, 3, 2, 4]
    behind = sensing.replay(world.scene, sensing.find_change(world.scene, "files/4"), by="me")
    assert behind.later == ()
    world.take(turn(bus, 2), LEDGER, run="9")
    world.take(turn(bus, 4), LEDGER)
    end(world, turn(bus, 4))
    world.tick()
    assert world.journal.head().unresolved == (), "its receipt is enough"


def test_a_change_that_waits_for_its_turn_is_not_told_of_by_a_replay(
    world: World, bus: Bus
) -> None:
    world.change()
    world.change()
    replayed = sensing.replay(world.scene, sensing.find_change(world.scene, "files/3"), by="me")
    assert (replayed.attempt, replayed.later, turns(bus)) == (1, (LEDGER,), [2])


def test_a_turn_for_which_no_run_starts_is_told_again_late_and_given_up(
    world: World, bus: Bus
) -> None:
    world.change()
    world.change()
    assert world.later(14).late == ""
    late = world.later(2)
    assert turns(bus) == [2, 2]
    assert late.late.startswith("no run of LedgerFlow has started for change 2, although it was")
    assert told(world, 2).in_words == (
        "sent, awaits LedgerFlow (whose turn it is), 3 waits for its end"
    )
    given_up = world.later(31)
    assert "Change 2 was sent 2 times" in given_up.undelivered
    assert "LedgerFlow has not started" in given_up.undelivered
    assert "3 waits behind change 2, for which it is to start" in given_up.queued
    assert told(world, 2).state == "undelivered"
    assert turns(bus) == [2, 2]
    world.take(turn(bus, 2), LEDGER)
    end(world, turn(bus, 2))
    assert turns(bus) == [2, 2, 3]


def test_of_two_ticks_and_a_run_at_once_one_tells(world: World, bus: Bus) -> None:
    """A tick that looked before another had noted the telling finds the note."""
    world.change()
    world.take(turn(bus, 2), LEDGER)
    world.change()

    class Slow(CountingStore):
        """A real store in which the run ends, and tells, before this tick notes that it does."""

        def create(self, key: str, content: bytes) -> bool:
            if "/turns/" in key:
                end(world, turn(bus, 2), how="skipped")
            return self._store.create(key, content)

    world.journal.turns.end(
        2, turn(bus, 2)["id"], attempt=1, flow=LEDGER, how="succeeded", by="x", at="now"
    )
    replace(world, store=Slow(world.store)).tick()
    assert turns(bus) == [2, 3]


def test_an_older_change_that_nobody_remembers_holds_the_newer_back(world: World, bus: Bus) -> None:
    """The memo was lost in part: who ends a turn must not tell of a later one."""
    for _ in range(3):
        world.change()
    world.take(turn(bus, 2), LEDGER)
    head = world.journal.head()
    forgotten = tuple(one for one in head.awaited if one.mark.seq != 3)
    world.journal.memos.write_head(replace(head, awaited=forgotten))
    end(world, turn(bus, 2))
    assert turns(bus) == [2]
    world.tick()
    assert turns(bus) == [2, 3]
    world.journal.memos.write_head(replace(world.journal.head(), awaited=()))
    world.take(turn(bus, 3), LEDGER)
    end(world, turn(bus, 3))
    world.tick()
    assert turns(bus) == [2, 3, 4]


def test_what_was_sent_before_a_flow_took_changes_in_order_is_over_when_it_is_taken(
    world: World, bus: Bus
) -> None:
    """The run may be of a flow file that knew nothing of turns."""
    world.listen(LEDGER)
    world.change()
    world.change()
    world.take(bus.payloads[0], LEDGER)
    listen(world)
    world.change()
    assert turns(bus) == [3], "the one that it has not taken, by the event that it hears now"
    world.take(turn(bus, 3), LEDGER)
    world.tick()
    assert turns(bus) == [3, 4]
    world.listen(LEDGER)
    world.later(16)
    assert others(bus)[-1] == 4, "and back: it is sent again as to everybody"
    world.take(turn(bus, 4), LEDGER)
    world.tick()
    assert world.journal.head().unresolved == ()


def test_a_change_that_is_damaged_while_it_waits_is_passed_over_when_that_was_said(
    world: World, bus: Bus
) -> None:
    for _ in range(3):
        world.change()
    world.take(turn(bus, 2), LEDGER)
    world.store.put(world.journal.entry_key(3), b"damaged")
    with pytest.raises(DamagedEntryError):
        end(world, turn(bus, 2))
    assert "damaged" in world.tick().reason
    world.tick()
    world.tick()
    assert turns(bus) == [2, 4]
