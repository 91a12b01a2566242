"""The card of a tick: what it says, in which order, and that it stays small."""

from typing import Any

import pytest

from flowproject.cards import sensor_card


def changed(tick: Any, **fields: Any):
    counts = {"added": 31, "modified": 0, "removed": 0}
    rows = [{"date": f"2015-01-{day:02}", "wind": 2.5} for day in range(1, 11)]
    told = {
        "outcome": "changed",
        "reason": "31 added",
        "value": 1127,
        "id": "ab" * 16,
        "seq": 3,
        "counts": counts,
        "total": 1127,
        "sample": {"added": rows, "modified": [], "removed": []},
    }
    return tick(**{**told, **fields})


def failed(tick: Any, **fields: Any):
    reason = "The query failed: no column prise.\nDid you mean 'price'?"
    told = {"outcome": "failed", "reason": reason, "value": None, "previous": None}
    empty = {"total": None, "trail": [], "history": [], "cost": {}, "query": "", "exit_code": 3}
    return tick(**{"sensor": "orders", **told, **empty, **fields})


def test_headline_of_one_sensor_says_what_it_did(tick: Any, draw: Any):
    banner = draw(sensor_card([changed(tick)])).banner

    assert (banner["value"], banner["subtitle"], banner["theme"]) == (
        "weather changed",
        "31 added",
        "success",
    )
    assert banner["title"] == "tick of 2026-11-22 12:00:00 UTC"


@pytest.mark.parametrize(
    "outcomes,words,theme",
    [
        (["unchanged"] * 3, "Nothing changed", "default"),
        (["unchanged", "changed", "unchanged"], "1 of 3 sensors changed", "success"),
        (["unchanged", "changed", "failed"], "1 of 3 sensors failed, 1 changed", "danger"),
        (["baseline", "baseline"], "2 of 2 sensors set a baseline", "default"),
        (["settling", "superseded"], "1 of 2 sensors superseded, 1 settling", "default"),
        (["forced", "unchanged"], "1 of 2 sensors forced", "success"),
        ([], "No sensor looked at", "default"),
    ],
)
def test_headline_of_several_counts_outcomes_the_most_pressing_first(
    tick: Any, draw: Any, outcomes: list[str], words: str, theme: str
):
    banner = draw(sensor_card([tick(outcome=outcome) for outcome in outcomes])).banner

    assert (banner["value"], banner["theme"]) == (words, theme)


def test_summary_has_a_row_for_each_sensor_with_word_and_symbol(tick: Any, draw: Any):
    columns, rows = draw(sensor_card([tick(sensor="a"), changed(tick), failed(tick)])).tables[0]

    assert columns == ["sensor", "outcome", "reason", "holds", "last change", "took"]
    last = "2026-11-22 11:00 UTC: 31 added"
    assert rows == [
        ["orders", "✕ failed", "The query failed: no column prise.", "—", "—", "—"],
        ["weather", "● changed", "31 added", "1,096 → 1,127 items", last, "12 ms"],
        ["a", "○ unchanged", "the same 1,096 items", "1,096 items", last, "12 ms"],
    ]


def test_changed_sensor_tells_from_what_to_what_at_what_cost_and_which_event(tick: Any, draw: Any):
    card = draw(sensor_card([changed(tick)]))

    assert card.titles == ["● weather changed"]
    assert card.facts(0) == {
        "holds": "1,096 → 1,127 items",
        "change": f"number 3, id {'ab' * 16}",
        "event": "weather_changed",
        "read": "1,096 rows, 48.2 kB, in 12 ms",
    }
    assert card.fences == ["```language-sql\nSELECT * FROM weather\n```"]


def test_columns_that_changed_are_named(tick: Any, draw: Any):
    columns = {"added": {}, "modified": {}, "removed": {"wind": "DOUBLE"}}
    facts = draw(sensor_card([changed(tick, columns_change=columns)])).facts(0)
    assert facts["columns"] == "wind DOUBLE removed"


def test_a_modified_text_that_differs_far_behind_shows_where(tick: Any, draw: Any):
    texts = [f"{'the same beginning, ' * 9}{end}" for end in ("old", "new")]
    edit = {"key": "a", "old": {"text": texts[0]}, "new": {"text": texts[1]}}
    counts = {"added": 0, "modified": 1, "removed": 0}
    card = draw(sensor_card([changed(tick, counts=counts, sample={"modified": [edit]})]))
    [[_, _, before, after]] = card.tables[1][1]
    assert before.endswith("beginning, old")
    assert after.endswith("beginning, new")


def test_the_id_of_a_query_is_shown_where_a_server_has_one(tick: Any, draw: Any):
    spent = {"seconds": 0.012, "rows": 3, "query_id": "01b2c3d4-0000-0000-0000-000000000001"}
    facts = draw(sensor_card([tick(cost=spent)])).facts(0)
    assert facts["query id"] == "01b2c3d4-0000-0000-0000-000000000001"
    assert "query id" not in draw(sensor_card([tick()])).facts(0)


def test_watched_value_is_shown_with_the_one_before(tick: Any, draw: Any):
    fields = {"value": "2015-01-31", "previous": "2014-12-31", "total": None, "counts": {}}
    card = draw(sensor_card([changed(tick, **fields, sample={})]))

    assert card.facts(0)["holds"] == "2014-12-31 → 2015-01-31"


def test_baseline_names_no_event_because_none_is_sent(tick: Any, row: Any, draw: Any):
    first = row(seq=1, outcome="baseline", state="")
    card = draw(sensor_card([tick(outcome="baseline", seq=1, previous=None, history=[first])]))

    assert card.titles == ["◇ weather set a baseline"]
    assert card.facts(0).keys() == {"holds", "read"}


def test_failed_sensor_shows_its_whole_error_before_anything_else(tick: Any, draw: Any):
    card = draw(sensor_card([changed(tick), failed(tick)]))
    first = card.of("section")[0]

    assert first["title"] == "✕ orders failed"
    assert [part["type"] for part in first["contents"]] == ["markdown"]
    assert card.fences[0] == (
        "```language-error\nThe query failed: no column prise.\nDid you mean 'price'?\n```"
    )


def test_unchanged_tick_is_short(tick: Any, draw: Any):
    card = draw(sensor_card([tick()]))

    assert [part["type"] for part in card.of("section")[0]["contents"]] == [
        "table",
        "vegaChart",
        "table",
        "markdown",
    ]
    assert len(card.json) < 7000


def test_unchanged_tick_says_when_the_last_change_was_and_what(tick: Any, draw: Any):
    card = draw(sensor_card([tick()]))

    assert card.facts(0)["last change"] == "2026-11-22 11:00 UTC: 31 added"
    assert card.banner["subtitle"] == (
        "the same 1,096 items. Last change: 2026-11-22 11:00 UTC: 31 added"
    )


def test_without_a_change_since_the_first_look_it_says_that(tick: Any, row: Any, draw: Any):
    first = row(seq=1, outcome="baseline", state="")
    card = draw(sensor_card([tick(history=[first])]))

    assert card.facts(0)["last change"] == "none since 2026-11-22 11:00 UTC"


def test_history_lists_the_newest_changes_and_what_became_of_each(tick: Any, row: Any, draw: Any):
    history = [
        row(seq=5, state="waiting"),
        row(seq=4, state="sent", outcome="forced"),
        row(seq=3, taken_by=["StarterFlow/7", "Other/8"]),
        row(seq=2, state="no listener", total=None, value={"left_out_bytes": 48211}),
        row(seq=1, state="", outcome="baseline"),
    ]
    columns, rows = draw(sensor_card([tick(history=history)])).tables[1]

    assert columns == ["no.", "recorded (UTC)", "outcome", "reason", "value", "delivery"]
    assert rows[0] == [
        "5",
        "2026-11-22 11:00",
        "● changed",
        "31 added",
        "1,096 items",
        "waiting",
    ]
    assert [told[2] for told in rows[1:]] == ["▶ forced", "● changed", "● changed", "◇ baseline"]
    assert [told[5] for told in rows[1:]] == [
        "sent",
        "taken by StarterFlow/7, Other/8",
        "no listener",
        "—",
    ]
    assert rows[3][4] == "(48.2 kB, left out)"


def test_the_change_of_this_tick_is_about_to_be_sent_and_is_not_the_last_one(
    tick: Any, row: Any, draw: Any
):
    history = [row(seq=3, state="waiting", reason="new"), row(seq=2, reason="old")]
    card = draw(sensor_card([changed(tick, history=history), tick(sensor="a")]))

    assert card.tables[0][1][0][4] == "2026-11-22 11:00 UTC: old"
    assert card.tables[3][1][0][5] == "to be sent by the next step"


def test_failed_sensor_shows_what_was_known_before(tick: Any, row: Any, draw: Any):
    known = {"trail": tick()["trail"], "history": [row(seq=2), row(seq=1)]}
    card = draw(sensor_card([failed(tick, **known)]))

    assert card.facts(0) == {"last change": "2026-11-22 11:00 UTC: 31 added"}
    assert card.of("vegaChart")[0]["spec"]["encoding"]["y"]["axis"]["title"] == "items"
    assert len(card.tables[1][1]) == 2


def test_history_is_a_step_chart_of_items_with_titled_axes(tick: Any, draw: Any):
    [chart] = draw(sensor_card([tick()])).of("vegaChart")
    axes = chart["spec"]["encoding"]

    assert chart["spec"]["mark"]["interpolate"] == "step-after"
    assert [point["y"] for point in chart["spec"]["data"]["values"]] == [1065, 1096, 1096]
    assert axes["x"]["axis"]["title"] == "time (UTC)"
    assert axes["y"]["axis"]["title"] == "items"


@pytest.mark.parametrize("trail", [[], [["2026-11-22T12:00:00+00:00", None]], [["soon", 3]]])
def test_history_without_numbers_has_no_chart(tick: Any, draw: Any, trail: list[Any]):
    assert draw(sensor_card([tick(trail=trail)])).of("vegaChart") == []


def test_differences_are_bounded_and_say_how_many_more(tick: Any, draw: Any):
    rows = [{"id": number} for number in range(50)]
    counts = {"added": 1244, "modified": 0, "removed": 11}
    sample = {"added": rows, "removed": rows[:10]}
    _, added, removed, _ = draw(sensor_card([changed(tick, counts=counts, sample=sample)])).tables

    assert added[0] == ["1,244 added", "id"]
    assert len(added[1]) == 11
    assert added[1][-1] == ["…", "and 1,234 more"]
    assert removed[1][-1] == ["…", "and 1 more"]
    assert removed[1][0] == ["−", "0"]  # noqa: RUF001  # a minus sign


def test_modified_rows_show_only_the_columns_that_differ(tick: Any, draw: Any):
    pair = {
        "key": "2014-05-01",
        "old": {"date": "2014-05-01", "wind": 2.5, "weather": None},
        "new": {"date": "2014-05-01", "wind": 2.6, "weather": "fog"},
    }
    counts = {"added": 0, "modified": 1, "removed": 0}
    card = draw(sensor_card([changed(tick, counts=counts, sample={"modified": [pair]})]))

    assert card.tables[1] == (
        ["1 modified", "what", "from", "to"],
        [["~", "2014-05-01", "wind: 2.5, weather: —", "wind: 2.6, weather: fog"]],
    )


def test_wide_rows_show_their_first_columns(tick: Any, draw: Any):
    row = {f"column {number}": number for number in range(20)}
    counts = {"added": 1, "modified": 0, "removed": 0}
    card = draw(sensor_card([changed(tick, counts=counts, sample={"added": [row]})]))
    columns, rows = card.tables[1]

    assert columns[-1] == "and 12 more columns"
    assert rows == [["+", *(str(number) for number in range(8)), "…"]]


def test_earlier_changes_that_wait_for_the_bus_are_news(tick: Any, draw: Any):
    quiet = [tick(sensor=f"s{number}") for number in range(4)]
    card = draw(sensor_card([*quiet, tick(pending=2)]))

    assert card.titles == ["○ weather unchanged"]
    assert [part["text"] for part in card.of("text")] == ["2 earlier changes still to be sent."]
    assert card.banner["subtitle"] == "weather: the same 1,096 items"


def test_the_change_of_this_tick_does_not_count_as_waiting(tick: Any, draw: Any):
    assert draw(sensor_card([changed(tick, pending=1)])).of("text") == []


def test_of_many_sensors_those_with_news_come_first_and_the_rest_in_one_table(tick: Any, draw: Any):
    quiet = [tick(sensor=f"s{number}") for number in range(98)]
    card = draw(sensor_card([*quiet, changed(tick), failed(tick)]))

    assert card.titles == ["✕ orders failed", "● weather changed", "○ unchanged: 98 sensors"]
    assert [row[0] for row in card.tables[0][1]] == ["orders", "weather"]
    assert len(card.tables[-1][1]) == 98


def test_a_hundred_changed_sensors_have_twenty_sections(tick: Any, draw: Any):
    card = draw(sensor_card([changed(tick, sensor=f"s{number}") for number in range(100)]))

    assert len(card.titles) == 20
    assert len(card.json) < 500_000
    assert len(card.tables[0][1]) == 100
    assert card.of("text")[-1]["text"] == "And 80 more sensors, told in the table above."


def test_a_thousand_sensors_fit_on_a_card(tick: Any, draw: Any):
    card = draw(sensor_card([tick(sensor=f"s{number}") for number in range(1000)]))

    assert len(card.tables[0][1]) == 200
    assert card.of("text")[-1]["text"] == "And 800 more sensors, not listed."


def test_a_tick_with_least_of_everything_is_drawn(draw: Any):
    bare = {"sensor": "s", "outcome": "failed", "reason": "", "at": "", "event_name": ""}

    assert draw(sensor_card([bare])).banner["value"] == "s failed"


def test_what_is_held_back_is_said_with_its_reason(tick: Any, draw: Any):
    card = draw(
        sensor_card([tick(pending=2, held="60 events within an hour are all that is allowed")])
    )
    assert "2 earlier changes still to be sent. Held back: 60 events within an hour" in card.json
    assert card.banner["theme"] != "danger"


def test_what_can_not_be_delivered_is_the_first_thing_to_see(tick: Any, draw: Any):
    card = draw(
        sensor_card(
            [tick(undelivered="Change 7 was sent 5 times, and AFlow has not started for it")]
        )
    )
    assert "Not delivered: Change 7 was sent 5 times" in card.json
    assert card.banner["value"] == "Nothing changed; not delivered"
    assert card.banner["subtitle"].startswith("weather: Change 7 was sent 5 times")
    assert card.banner["theme"] == "danger"
