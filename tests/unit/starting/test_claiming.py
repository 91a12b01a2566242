"""Which run has which change, of one sensor and of several that a flow waits for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.change import Change
from flowproject.changes.difference import Difference, Item
from flowproject.changes.entry import Entry
from flowproject.journal import Journal, Mark, Receipt, Store, open_store
from flowproject.starting.claiming import Taken, claim
from flowproject.starting.run_start import RunStart
from tests.journals import entry as an_entry


class Place:
    """Two sensors whose changes are recorded and sent, and runs of one flow that take them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def journal(self, sensor: str) -> Journal:
        return Journal(self.store, project="demo", branch="user.me", sensor=sensor)

    def send(
        self, sensor: str, *, to: tuple[str, ...] = ("AFlow",), outcome: str = "changed"
    ) -> Any:
        """Record a change, a file that is new, and note it as sent: its event."""
        journal = self.journal(sensor)
        seq = journal.head().seq + 1
        name = f"{sensor}{seq}"
        known = replace(
            an_entry(seq, outcome=outcome, value=seq),
            id=f"{ord(sensor):x}{seq:030x}",
            project="demo",
            branch="user.me",
            sensor=sensor,
            previous=seq - 1,
            counts={"added": 1, "modified": 0, "removed": 0},
        )
        new = Difference(added=(Item(key=name, version="0" * 32, data={"key": name}),))
        recorded = journal.record(known, None, new)
        if recorded.is_published:
            journal.outbox.mark_published([([recorded], _mark(recorded, to))])
        return {
            "project": "demo",
            "branch": "user.me",
            "sensor": sensor,
            "seq": seq,
            "first_seq": seq,
            "id": recorded.id,
        }

    def take(self, run: str, *events: Any) -> Taken:
        """A run of the flow starts for these events."""
        return claim(
            RunStart(changes=[*events], run=f"AFlow/{run}"), flow="AFlow", store=self.store
        )

    def files(self, taken: Taken) -> dict[str, list[str]]:
        """What a run sees as added, by sensor."""
        if taken.nothing_because:
            return {}
        changes = [Change(told, lambda: self.store) for told in taken.changes]
        return {one.sensor: [str(file["key"]) for file in one.added] for one in changes}


def _mark(entry: Entry, listeners: tuple[str, ...]) -> Mark:
    return Mark(
        seq=entry.seq,
        id=entry.id,
        first=entry.seq,
        listeners=listeners,
        published_at=entry.recorded_at,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(open_store(str(tmp_path)))


# ------------------------------------------------------------------------------------- one sensor


def test_a_run_has_what_it_is_first_to_claim(place: Place) -> None:
    event = place.send("a")
    assert not place.take("1", event).nothing_because
    assert not place.take("1", event).nothing_because, "a retry is the same run"
    assert "AFlow/1" in place.take("2", event).nothing_because
    assert not place.take("3", place.send("a")).nothing_because


def test_an_event_that_comes_after_its_change_was_replayed_is_nobodys_any_more(
    place: Place,
) -> None:
    event = place.send("a")
    assert not place.take("1", {**event, "attempt": 3}).nothing_because
    for late in (1, 2):
        assert "AFlow/1" in place.take("2", {**event, "attempt": late}).nothing_because
    assert not place.take("3", {**event, "attempt": 4}).nothing_because


def test_what_another_run_has_is_said_with_the_way_to_run_it_again(place: Place) -> None:
    event = place.send("a")
    place.take("1", event)
    taken = place.take("2", event)
    [one] = taken.others
    assert taken.nothing_because == (
        f"change 1 of sensor 'a' was taken by run AFlow/1 at {one.receipt.at} "
        f"(to run it again: `flowproject replay {event['id']}`)"
    )


# -------------------------------------------------------------------------------- several sensors


def test_a_run_has_all_that_each_sensor_saw_since_the_last_run(place: Place) -> None:
    a = [place.send("a") for _ in range(3)]
    b = place.send("b")
    taken = place.take("1", b, a[-1])
    assert place.files(taken) == {"b": ["b1"], "a": ["a1", "a2", "a3"]}
    first = Change(taken.changes[1], lambda: place.store)
    assert (first.first_seq, first.seq, first.previous, first.value) == (1, 3, 0, 3)
    assert first.counts == {"added": 3, "modified": 0, "removed": 0}
    assert first.reason.startswith("3 changes at once")
    a4, b2 = place.send("a"), place.send("b")
    b3 = place.send("b")
    assert place.files(place.take("2", a4, b3)) == {"a": ["a4"], "b": ["b2", "b3"]}
    assert "AFlow/2" in place.take("3", a4, b2).nothing_because


def test_a_newer_change_whose_event_is_still_on_its_way_is_left_to_it(place: Place) -> None:
    a1, b1, a2 = place.send("a"), place.send("b"), place.send("a")
    assert place.files(place.take("1", a1, b1)) == {"a": ["a1"], "b": ["b1"]}
    assert place.files(place.take("2", a2, place.send("b"))) == {"a": ["a2"], "b": ["b2"]}


def test_half_of_a_wait_starts_nothing_and_what_was_lost_is_found(place: Place) -> None:
    """An event that came twice waits for a new one of the other sensor; that one is not taken."""
    a1, b1 = place.send("a"), place.send("b")
    place.take("1", a1, b1)
    b2 = place.send("b")
    nothing = place.take("2", a1, b2)
    assert "sensor 'a' has not changed since run AFlow/1 took change 1" in nothing.nothing_because
    assert place.journal("b").receipts.receivers(2, b2["id"]) == frozenset(), "nobody has it yet"
    place.send("a")
    assert place.files(place.take("3", a1, b2)) == {"a": ["a2"], "b": ["b2"]}, "whichever half came"


def test_of_runs_side_by_side_one_has_everything(place: Place) -> None:
    a1, b1 = place.send("a"), place.send("b")
    a2 = place.send("a")
    assert place.files(place.take("1", a2, b1)) == {"a": ["a1", "a2"], "b": ["b1"]}
    assert "AFlow/1" in place.take("2", a1, b1).nothing_because
    assert place.files(place.take("1", a2, b1)) == {"a": ["a1", "a2"], "b": ["b1"]}, "tried again"


def test_who_dies_behind_the_gate_has_it_when_it_is_tried_again(place: Place) -> None:
    a1, b1 = place.send("a"), place.send("b")
    place.journal("a").receipts.claim(
        Receipt(seq=1, id=a1["id"], attempt=1, flow="AFlow", run="AFlow/1", at="then")
    )
    assert "AFlow/1" in place.take("2", a1, b1).nothing_because
    assert place.files(place.take("1", a1, b1)) == {"a": ["a1"], "b": ["b1"]}


def test_who_dies_behind_the_gate_goes_on_with_what_it_has_though_others_went_on(
    place: Place,
) -> None:
    a1, b1 = place.send("a"), place.send("b")
    place.journal("a").receipts.claim(
        Receipt(seq=1, id=a1["id"], attempt=1, flow="AFlow", run="AFlow/1", at="then")
    )
    a2 = place.send("a")
    assert place.files(place.take("2", a2, b1)) == {"a": ["a2"], "b": ["b1"]}
    assert place.files(place.take("1", a1, b1)) == {"a": ["a1"]}


def test_what_was_sent_before_anyone_knew_that_the_flow_listens_is_not_its_own(
    place: Place,
) -> None:
    for _ in range(2):
        place.send("a", to=("Other",))
    a3, a4 = place.send("a"), place.send("a")
    assert a3["seq"] == 3
    assert place.files(place.take("1", a4, place.send("b"))) == {"a": ["a3", "a4"], "b": ["b1"]}


def test_a_first_look_between_changes_is_no_change(place: Place) -> None:
    place.send("a")
    place.send("a", outcome="reset")
    a3 = place.send("a")
    assert place.files(place.take("1", a3, place.send("b"))) == {"a": ["a1", "a3"], "b": ["b1"]}


def test_a_replay_of_one_half_goes_with_what_is_new_of_the_other(place: Place) -> None:
    a1, b1 = place.send("a"), place.send("b")
    place.take("1", a1, b1)
    b2 = place.send("b")
    assert place.files(place.take("2", {**a1, "attempt": 2}, b2)) == {"a": ["a1"], "b": ["b2"]}
    again = place.take("3", {**a1, "attempt": 2}, place.send("b"))
    assert "took change 1" in again.nothing_because
