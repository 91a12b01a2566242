"""The whole chain of a change, found and replayed, on each kind of store and with a real bus."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowproject import sensing
from flowproject.changes.difference import Difference
from flowproject.cli.delivery import delivery_lines
from flowproject.config import FilesData, Sensor
from flowproject.errors import DeliveryError, UsageError
from flowproject.journal import Store
from flowproject.sensing import Chain, FoundChange
from tests.journals import CountingStore
from tests.world import MINUTE, Bus, World


@pytest.fixture
def world(tmp_path: Path, store: Store) -> World:
    (tmp_path / "data").mkdir()
    sensor = Sensor(name="files", data=FilesData(path="data"), event_name="e", max_attempts=2)
    world = World(tmp_path, store, sensor)
    world.tick()
    return world


def find(world: World, text: str = "files/2") -> FoundChange:
    return sensing.find_change(world.scene, text)


def told(world: World, text: str = "files/2") -> Chain:
    return find(world, text).chain


def again(world: World, text: str = "files/2") -> sensing.Replay:
    return sensing.replay(world.scene, find(world, text), by="a person")


def test_a_change_is_waiting_then_sent_then_delivered(world: World, bus: Bus) -> None:
    world.listen("StarterFlow")
    bus.answer = lambda _: 400
    world.change()
    assert told(world).in_words == "waiting"
    bus.answer = lambda _: 200
    world.tick()
    sent = told(world)
    assert sent.in_words == "sent, awaits StarterFlow"
    assert sent.due == "2026-06-01T12:15:00+00:00"
    world.take(bus.payloads[-1])
    assert told(world).in_words == "delivered", "also before a tick has noted it"
    world.tick()
    delivered = told(world).to_json()
    assert delivered["state"] == "delivered"
    assert [receipt["run"] for receipt in delivered["receipts"]] == ["StarterFlow/1"]  # type: ignore[union-attr, index, call-overload]


def test_a_run_that_has_not_started_in_time_is_told_with_where_to_look(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.change()
    world.now += 14 * MINUTE
    assert told(world).in_words == "sent, awaits StarterFlow"
    world.now += MINUTE
    late = told(world)
    words = "sent, no run of StarterFlow has started since 2026-06-01 12:00 UTC"
    assert (late.state, late.in_words) == ("sent", words), "also before a tick has sent it again"
    assert late.to_json()["late_since"] == "2026-06-01T12:00:00+00:00"
    lines = "\n".join(delivery_lines(late))
    assert "Likely StarterFlow is not deployed here" in lines
    assert "`kubectl get workflows`" in lines
    world.tick()
    assert told(world).in_words == words
    world.later(60)
    assert "Likely StarterFlow is not deployed" in "\n".join(delivery_lines(told(world)))
    assert told(world).state == "undelivered"
    world.take(bus.payloads[-1])
    assert (told(world).in_words, told(world).late_since) == ("delivered", "")


def test_without_a_listener_it_says_so(world: World, bus: Bus) -> None:
    world.change()
    assert len(bus.events) == 1
    assert told(world).in_words == "no listener"


def test_it_is_undelivered_after_all_sendings_and_a_replay_delivers_it(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.change()
    world.later(20)
    assert "StarterFlow has not started" in world.later(60).undelivered
    lost = told(world)
    assert lost.in_words == "undelivered, StarterFlow has not started"
    assert [sending.number for sending in lost.sendings] == [1, 2]
    assert again(world).attempt == 1, "nobody took it: who starts late for it must do nothing"
    assert world.tick().undelivered == ""
    since = "sent, no run of StarterFlow has started since 2026-06-01 12:00 UTC"
    assert told(world).in_words == since
    world.take(bus.payloads[-1])
    world.tick()
    assert told(world).in_words == "delivered"
    assert not world.journal.head().unresolved


def test_a_replay_has_the_id_and_a_new_attempt_and_is_sent_again_by_ticks(
    world: World, bus: Bus
) -> None:
    world.listen("StarterFlow")
    world.change()
    world.take(bus.payloads[-1])
    world.tick()
    replayed = again(world, told(world).entry.id[:6])
    assert (replayed.attempt, replayed.awaited) == (2, ("StarterFlow",))
    world.later(20)
    first, *others = bus.payloads
    assert [payload["id"] for payload in others] == [first["id"]] * 2
    assert [payload["change"]["attempt"] for payload in others] == [2, 2]
    assert [(one.attempt, one.number) for one in told(world).sendings] == [
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 2),
    ]


@pytest.mark.parametrize("flows", [["StarterFlow"], []])
def test_an_attempt_that_the_bus_refused_is_used_by_the_next_replay(
    world: World, bus: Bus, flows: list[str]
) -> None:
    world.listen(*flows)
    world.change()
    world.take(bus.payloads[-1])
    bus.answer = lambda _: 400
    with pytest.raises(DeliveryError):
        again(world)
    assert told(world).in_words.endswith("attempt 2")
    bus.answer = lambda _: 200
    assert again(world).attempt == 2
    assert [payload["change"]["attempt"] for payload in bus.payloads] == [1, 2]


@pytest.mark.parametrize("flows", [["StarterFlow"], []])
def test_an_attempt_that_was_opened_and_not_sent_is_sent_by_a_tick(
    world: World, bus: Bus, flows: list[str]
) -> None:
    world.listen(*flows)
    world.change()
    world.take(bus.payloads[-1])
    bus.answer = lambda _: 400
    with pytest.raises(DeliveryError):
        again(world)
    assert "not taken by the bus" in world.tick().undelivered
    bus.answer = lambda _: 200
    world.tick()
    assert bus.payloads[-1]["change"]["attempt"] == 2
    number = len(bus.payloads)
    world.tick()
    assert len(bus.payloads) == number


def test_of_changes_sent_together_the_event_that_carried_them_is_replayed(
    world: World, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sensor = replace(world.sensor, coalesce=True)
    with monkeypatch.context() as without_bus:
        without_bus.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
        world.change()
        world.change()
    world.tick()
    assert told(world, "files/2").carried_by == 3
    assert told(world, "files/2").in_words == "no listener, sent with change 3"
    replayed = again(world)
    assert (replayed.mark.first, replayed.mark.seq) == (2, 3)
    assert bus.payloads[-1]["change"]["seq"] == 3
    assert bus.payloads[-1]["change"]["first_seq"] == 2


def test_what_was_never_sent_is_not_replayed(world: World, bus: Bus) -> None:
    with pytest.raises(UsageError, match="is a baseline, and that is never sent"):
        again(world, "files/1")
    bus.answer = lambda _: 400
    world.change()
    with pytest.raises(UsageError, match="the next tick with an event bus sends it"):
        again(world)


def test_without_a_bus_nothing_is_opened(
    world: World, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change()
    monkeypatch.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
    with pytest.raises(UsageError, match="no event bus is configured"):
        again(world)
    assert len(bus.events) == 1
    assert told(world).attempt == 1


@pytest.mark.parametrize(
    "text, said",
    [
        ("files/9", "was never recorded"),
        ("file/1", "Did you mean 'files'?"),
        ("abc", "names no change"),
        ("0123456789", "There is no change '0123456789'"),
    ],
)
def test_what_names_no_change_is_a_usage_error(world: World, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(world, text)
    assert said in str(caught.value)


def test_a_pruned_change_is_told(world: World, bus: Bus) -> None:
    world.change()
    world.change()
    world.store.delete(world.journal.entry_key(1))
    assert len(bus.events) == 2
    with pytest.raises(UsageError, match="is not in the journal any more"):
        find(world, "files/1")


def test_a_beginning_that_two_changes_have_is_told(world: World, bus: Bus) -> None:
    world.change()
    entry = told(world).entry
    twin = replace(entry, seq=3, outcome="changed")
    world.journal.record(twin, None, Difference())
    assert len(bus.events) == 1
    with pytest.raises(UsageError, match="is the beginning of 2 ids.*files/3.*files/2"):
        find(world, entry.id[:8])


def test_a_history_costs_a_few_requests_and_three_for_each_change(world: World, bus: Bus) -> None:
    world.listen("StarterFlow")
    for _ in range(3):
        world.change()
        world.take(bus.payloads[-1])
    world.tick()
    counting = CountingStore(world.store)
    scene = replace(world.scene, store=counting)  # type: ignore[arg-type]
    journal = scene.journal("files")
    index = journal.index()
    assert counting.requests == ["keys", "get"]
    for seq in index.numbers:
        entry = journal.get(seq)
        assert entry
        sensing.chain(index, entry, sensing.patience_of(world.sensor), scene.clock())
    assert counting.requests[2:] == ["get"] * (3 * 3 + 1)
