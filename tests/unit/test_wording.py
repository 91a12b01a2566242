"""Values, costs and moments in words."""

import pytest

from flowproject import wording


@pytest.mark.parametrize(
    "value,text",
    [
        (None, "—"),
        ("", "(empty)"),
        (" \n", "(empty)"),
        ("two\nlines", "two lines"),
        (True, "true"),
        (2014, "2014"),
        (0.1, "0.1"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ({"left_out_bytes": 48211}, "(48.2 kB, left out)"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_any_json_value_is_one_short_line(value: object, text: str):
    assert wording.value_text(value) == text


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0, "<1 ms"),
        (0.0004, "<1 ms"),
        (0.0124, "12 ms"),
        (0.94, "940 ms"),
        (0.97, "1.0 s"),
        (1.23, "1.2 s"),
        (59.97, "1 min 0 s"),
        (119.96, "2 min 0 s"),
        (125, "2 min 5 s"),
    ],
)
def test_durations_are_told_to_two_or_three_digits(seconds: float, text: str):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    "spent,text",
    [
        ({}, "—"),
        ({"rows": 0, "bytes": 0, "requests": 0}, "—"),
        ({"rows": 1, "bytes": 512}, "1 row, 512 bytes"),
        ({"bytes": 48211, "requests": 1}, "48.2 kB, 1 request"),
        ({"rows": 1096, "bytes": 5e18}, "1,096 rows, 5000.0 PB"),
    ],
)
def test_costs_name_only_what_was_spent(spent: dict[str, float], text: str):
    assert wording.cost(spent) == text


@pytest.mark.parametrize(
    "moment,text",
    [
        ("2026-11-22T12:00:05.123+00:00", "2026-11-22 12:00:05 UTC"),
        ("2026-11-22T12:00:05", "2026-11-22 12:00:05 UTC"),
        ("2026-11-22T12:00:05+02:00", "2026-11-22 10:00:05 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_moments_are_told_in_utc(moment: object, text: str):
    assert wording.moment(moment) == text


@pytest.mark.parametrize(
    "previous,value,text", [(1, 2, "1 → 2"), (None, 2, "2"), (2, 2, "2"), (0, None, "0 → —")]
)
def test_a_transition_is_told_only_if_there_was_one(previous: object, value: object, text: str):
    assert wording.transition(previous, value) == text


def test_every_outcome_of_the_vocabulary_has_a_symbol_of_its_own():
    symbols = {symbol for symbol, _ in wording.OUTCOMES.values()}

    assert len(symbols) == len(wording.OUTCOMES) == 7
    assert wording.outcome("changed") == "● changed"
    assert wording.outcome("no such") == "no such"
