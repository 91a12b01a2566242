"""The top of a listener's card: what started the run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flowproject.cards import change_card, idle_card

Started = Callable[..., SimpleNamespace]


@pytest.fixture
def started() -> Started:
    """A change of 31 items, with other facts laid over it."""
    facts = {
        "id": "ab" * 16,
        "seq": 2,
        "first_seq": 2,
        "attempt": 1,
        "sensor": "weather",
        "reason": "31 added",
        "value": 1127,
        "previous": 1096,
        "counts": {"added": 31, "modified": 0, "removed": 0},
        "sample": {"added": [{"date": f"2015-01-{day:02}"} for day in range(1, 11)]},
        "columns": {},
        "recorded_at": "2026-11-22T12:00:00+00:00",
        "run": "SensorFlow/7",
    }
    return lambda **others: SimpleNamespace(**{**facts, **others})


def test_run_started_by_hand_says_so(draw: Any):
    card = draw(change_card(None))

    assert card.banner["value"] == "Started by hand"
    assert card.tables == []


def test_run_started_by_a_change_tells_which_why_and_from_what_to_what(draw: Any, started: Started):
    card = draw(change_card(started()))

    assert card.banner["title"] == "why this run: weather changed"
    assert card.banner["value"] == "31 added"
    assert card.banner["subtitle"] == f"Change 2 of sensor weather, id {'ab' * 16}"
    assert card.facts(0) == {
        "before": "1096",
        "now": "1127",
        "items": "31 added",
        "recorded": "2026-11-22 12:00:00 UTC by SensorFlow/7",
    }


def test_the_first_few_items_of_each_kind_are_shown(draw: Any, started: Started):
    edit = {"key": "a", "old": {"wind": 1}, "new": {"wind": 2}}
    counts = {"added": 31, "modified": 1, "removed": 0}
    sample = {**started().sample, "modified": [edit]}
    _, added, modified = draw(change_card(started(counts=counts, sample=sample))).tables

    assert added[0] == ["31 added", "date"]
    assert added[1][0] == ["+", "2015-01-01"]
    assert len(added[1]) == 6
    assert added[1][-1] == ["…", "and 26 more"]
    assert modified[1] == [["~", "a", "wind: 1", "wind: 2"]]


def test_changes_that_came_together_and_replays_say_so(draw: Any, started: Started):
    facts = draw(change_card(started(first_seq=1, attempt=2))).facts(0)

    assert facts["together"] == "changes 1 to 2, sent as one"
    assert facts["attempt"] == "2: it was replayed"


def test_an_event_of_an_older_version_has_less_to_tell(draw: Any, started: Started):
    card = draw(change_card(started(sample={}, recorded_at="", run="")))

    assert card.facts(0).keys() == {"before", "now", "items"}
    assert card.tables[1] == (["31 added"], [["…"]])


def test_watched_value_has_no_counts_and_is_never_markup(draw: Any, started: Started):
    evil = "<img src=x onerror=alert(1)>" * 100
    texts = dict.fromkeys(("id", "sensor", "reason", "value", "recorded_at", "run"), evil)
    change = started(**texts, previous=None, counts={"added": 0}, sample={"added": [{evil: evil}]})
    card = draw(change_card(change))

    assert card.facts(0).keys() == {"before", "now", "recorded"}
    assert card.facts(0)["before"] == "—"
    assert card.fences == []
    assert len(card.json) < 4000


def test_a_change_without_words_is_drawn(draw: Any, started: Started):
    texts = dict.fromkeys(("id", "sensor", "reason", "value", "previous", "run"), "")

    assert draw(change_card(started(**texts, counts={}))).banner["value"] == "—"


def test_a_run_that_does_nothing_says_so_and_why_of_each_change(draw: Any):
    card = draw(idle_card(["change 1 was taken", "change 2 was taken"]))

    assert card.banner["value"] == "Nothing to do"
    assert [part["text"] for part in card.of("text")] == [
        "change 1 was taken",
        "change 2 was taken",
    ]


def test_columns_that_changed_are_named(draw: Any, started: Started):
    modified = {"v": {"old": "BIGINT", "new": "VARCHAR"}}
    columns = {"added": {"w": "DATE"}, "modified": modified, "removed": {}}
    card = draw(change_card(started(columns=columns)))
    assert card.facts(0)["columns"] == "v BIGINT → VARCHAR, w DATE added"


def test_values_that_differ_far_behind_show_where(draw: Any, started: Started):
    text = "the same beginning, " * 9
    facts = draw(change_card(started(previous=f"{text}old", value=f"{text}new"))).facts(0)
    assert facts["before"].endswith("beginning, old")
    assert facts["now"].endswith("beginning, new")
