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
from tests.watched_folder import MINUTE, Bus, WatchedFolder


@pytest.fixture
def watched(tmp_path: Path, store: Store) -> WatchedFolder:
    (tmp_path / "data").mkdir()
    sensor = Sensor(name="files", data=FilesData(path="data"), event_name="e", max_attempts=2)
    watched = WatchedFolder(tmp_path, store, sensor)
    watched.tick()
    return watched


def find(watched: WatchedFolder, text: str = "files/2") -> FoundChange:
    return sensing.find_change(watched.context, text)


def told(watched: WatchedFolder, text: str = "files/2") -> Chain:
    return find(watched, text).chain


def again(watched: WatchedFolder, text: str = "files/2") -> sensing.Replay:
    return sensing.replay(watched.context, find(watched, text), by="a person")


def test_a_change_is_waiting_then_sent_then_delivered(watched: WatchedFolder, bus: Bus) -> None:
    watched.listen("StarterFlow")
    bus.answer = lambda _: 400
    watched.change()
    assert told(watched).in_words == "waiting"
    bus.answer = lambda _: 200
    watched.tick()
    sent = told(watched)
    assert sent.in_words == "sent, awaits StarterFlow"
    assert sent.due == "2026-06-01T12:15:00+00:00"
    watched.take(bus.payloads[-1])
    assert told(watched).in_words == "delivered", "also before a tick has noted it"
    watched.tick()
    delivered = told(watched).to_json()
    assert delivered["state"] == "delivered"
    assert [receipt["run"] for receipt in delivered["receipts"]] == ["StarterFlow/1"]  # type: ignore[union-attr, index, call-overload]


def test_a_run_that_has_not_started_in_time_is_told_with_where_to_look(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.now += 14 * MINUTE
    assert told(watched).in_words == "sent, awaits StarterFlow"
    watched.now += MINUTE
    late = told(watched)
    words = "sent, no run of StarterFlow has started since 2026-06-01 12:00 UTC"
    assert (late.state, late.in_words) == ("sent", words), "also before a tick has sent it again"
    assert late.to_json()["late_since"] == "2026-06-01T12:00:00+00:00"
    lines = "\n".join(delivery_lines(late))
    assert "Likely StarterFlow is not deployed here" in lines
    assert "`kubectl get workflows`" in lines
    watched.tick()
    assert told(watched).in_words == words
    watched.later(60)
    assert "Likely StarterFlow is not deployed" in "\n".join(delivery_lines(told(watched)))
    assert told(watched).state == "undelivered"
    watched.take(bus.payloads[-1])
    assert (told(watched).in_words, told(watched).late_since) == ("delivered", "")


def test_without_a_listener_it_says_so(watched: WatchedFolder, bus: Bus) -> None:
    watched.change()
    assert len(bus.events) == 1
    assert told(watched).in_words == "no listener"


def test_it_is_undelivered_after_all_sendings_and_a_replay_delivers_it(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.later(20)
    assert "StarterFlow has not started" in watched.later(60).undelivered
    lost = told(watched)
    assert lost.in_words == "undelivered, StarterFlow has not started"
    assert [sending.number for sending in lost.sendings] == [1, 2]
    assert again(watched).attempt == 1, "nobody took it: who starts late for it must do nothing"
    assert watched.tick().undelivered == ""
    since = "sent, no run of StarterFlow has started since 2026-06-01 12:00 UTC"
    assert told(watched).in_words == since
    watched.take(bus.payloads[-1])
    watched.tick()
    assert told(watched).in_words == "delivered"
    assert not watched.journal.head().unresolved


def test_a_replay_has_the_id_and_a_new_attempt_and_is_sent_again_by_ticks(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    watched.change()
    watched.take(bus.payloads[-1])
    watched.tick()
    replayed = again(watched, told(watched).entry.id[:6])
    assert (replayed.attempt, replayed.awaited) == (2, ("StarterFlow",))
    watched.later(20)
    first, *others = bus.payloads
    assert [payload["id"] for payload in others] == [first["id"]] * 2
    assert [payload["change"]["attempt"] for payload in others] == [2, 2]
    assert [(one.attempt, one.number) for one in told(watched).sendings] == [
        (1, 1),
        (2, 0),
        (2, 1),
        (2, 2),
    ]


@pytest.mark.parametrize("flows", [["StarterFlow"], []])
def test_an_attempt_that_the_bus_refused_is_used_by_the_next_replay(
    watched: WatchedFolder, bus: Bus, flows: list[str]
) -> None:
    watched.listen(*flows)
    watched.change()
    watched.take(bus.payloads[-1])
    bus.answer = lambda _: 400
    with pytest.raises(DeliveryError):
        again(watched)
    assert told(watched).in_words.endswith("attempt 2")
    bus.answer = lambda _: 200
    assert again(watched).attempt == 2
    assert [payload["change"]["attempt"] for payload in bus.payloads] == [1, 2]


@pytest.mark.parametrize("flows", [["StarterFlow"], []])
def test_an_attempt_that_was_opened_and_not_sent_is_sent_by_a_tick(
    watched: WatchedFolder, bus: Bus, flows: list[str]
) -> None:
    watched.listen(*flows)
    watched.change()
    watched.take(bus.payloads[-1])
    bus.answer = lambda _: 400
    with pytest.raises(DeliveryError):
        again(watched)
    assert "not taken by the bus" in watched.tick().undelivered
    bus.answer = lambda _: 200
    watched.tick()
    assert bus.payloads[-1]["change"]["attempt"] == 2
    number = len(bus.payloads)
    watched.tick()
    assert len(bus.payloads) == number


def test_of_changes_sent_together_the_event_that_carried_them_is_replayed(
    watched: WatchedFolder, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.sensor = replace(watched.sensor, coalesce=True)
    with monkeypatch.context() as without_bus:
        without_bus.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
        watched.change()
        watched.change()
    watched.tick()
    assert told(watched, "files/2").carried_by == 3
    assert told(watched, "files/2").in_words == "no listener, sent with change 3"
    replayed = again(watched)
    assert (replayed.mark.first, replayed.mark.seq) == (2, 3)
    assert bus.payloads[-1]["change"]["seq"] == 3
    assert bus.payloads[-1]["change"]["first_seq"] == 2


def test_what_was_never_sent_is_not_replayed(watched: WatchedFolder, bus: Bus) -> None:
    with pytest.raises(UsageError, match="is a baseline, and that is never sent"):
        again(watched, "files/1")
    bus.answer = lambda _: 400
    watched.change()
    with pytest.raises(UsageError, match="the next tick with an event bus sends it"):
        again(watched)


def test_without_a_bus_nothing_is_opened(
    watched: WatchedFolder, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.change()
    monkeypatch.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
    with pytest.raises(UsageError, match="no event bus is configured"):
        again(watched)
    assert len(bus.events) == 1
    assert told(watched).attempt == 1


@pytest.mark.parametrize(
    "text, said",
    [
        ("files/9", "was never recorded"),
        ("file/1", "Did you mean 'files'?"),
        ("abc", "names no change"),
        ("0123456789", "There is no change '0123456789'"),
    ],
)
def test_what_names_no_change_is_a_usage_error(
    watched: WatchedFolder, text: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(watched, text)
    assert said in str(caught.value)


def test_a_pruned_change_is_told(watched: WatchedFolder, bus: Bus) -> None:
    watched.change()
    watched.change()
    watched.store.delete(watched.journal.entry_key(1))
    assert len(bus.events) == 2
    with pytest.raises(UsageError, match="is not in the journal any more"):
        find(watched, "files/1")


def test_a_beginning_that_two_changes_have_is_told(watched: WatchedFolder, bus: Bus) -> None:
    watched.change()
    entry = told(watched).entry
    twin = replace(entry, seq=3, outcome="changed")
    watched.journal.record(twin, None, Difference())
    assert len(bus.events) == 1
    with pytest.raises(UsageError, match="is the beginning of 2 ids.*files/3.*files/2"):
        find(watched, entry.id[:8])


def test_a_history_costs_a_few_requests_and_three_for_each_change(
    watched: WatchedFolder, bus: Bus
) -> None:
    watched.listen("StarterFlow")
    for _ in range(3):
        watched.change()
        watched.take(bus.payloads[-1])
    watched.tick()
    counting = CountingStore(watched.store)
    context = replace(watched.context, store=counting)  # type: ignore[arg-type]
    journal = context.journal("files")
    index = journal.index()
    assert counting.requests == ["keys", "get"]
    for seq in index.numbers:
        entry = journal.get(seq)
        assert entry
        sensing.chain(index, entry, sensing.patience_of(watched.sensor), context.clock())
    assert counting.requests[2:] == ["get"] * (3 * 3 + 1)
