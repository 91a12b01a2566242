"""The top of a listener's card: what started the run."""

from types import SimpleNamespace
from typing import Any

from flowproject.cards import change_card, idle_card


def test_run_started_by_hand_says_so(draw: Any):
    card = draw(change_card(None))

    assert card.banner["value"] == "Started by hand"
    assert len(card.parts) == 1


def test_run_started_by_a_change_tells_which_why_and_from_what_to_what(draw: Any):
    change = SimpleNamespace(
        id="ab" * 16,
        seq=2,
        sensor="weather",
        reason="31 added",
        value=1127,
        previous=1096,
        counts={"added": 31, "modified": 0, "removed": 0},
    )
    card = draw(change_card(change))

    assert card.banner["title"] == "why this run: weather changed"
    assert card.banner["value"] == "31 added"
    assert card.banner["subtitle"] == f"Change 2 of sensor weather, id {'ab' * 16}"
    assert card.facts(0) == {
        "before": "1096",
        "now": "1127",
        "added": "31",
        "modified": "0",
        "removed": "0",
    }


def test_watched_value_has_no_counts_and_is_never_markup(draw: Any):
    evil = "<img src=x onerror=alert(1)>" * 100
    change = SimpleNamespace(
        id=evil, seq=2, sensor=evil, reason=evil, value=evil, previous=None, counts={"added": 0}
    )
    card = draw(change_card(change))

    assert card.facts(0).keys() == {"before", "now"}
    assert card.facts(0)["before"] == "—"
    assert card.of("markdown") == []
    assert len(card.json) < 1500


def test_a_change_without_words_is_drawn(draw: Any):
    change = SimpleNamespace(id="", seq=1, sensor="", reason="", value="", previous="", counts={})

    assert draw(change_card(change)).banner["value"] == "—"


def test_a_run_that_does_nothing_says_so_and_why_of_each_change(draw: Any):
    card = draw(idle_card(["change 1 was taken", "change 2 was taken"]))

    assert card.banner["value"] == "Nothing to do"
    assert [part["text"] for part in card.of("text")] == [
        "change 1 was taken",
        "change 2 was taken",
    ]
