"""The starter flow's forecast, on days whose temperature is known by construction."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast import ENOUGH_DAYS, HELD_OUT_DAYS, chart_points, in_words, mean_error, predict, split

FIRST = dt.date(2012, 1, 1)


def season(day: dt.date) -> float:
    return 11.0 + 8.0 * math.sin(2 * math.pi * day.toordinal() / 365.25)


def days(count: int, *, start: dt.date = FIRST) -> list[dict[str, object]]:
    dates = [start + dt.timedelta(days=number) for number in range(count)]
    return [{"date": day.isoformat(), "temperature": season(day)} for day in dates]


def dates(rows: Sequence[Mapping[str, object]]) -> list[object]:
    return [row["date"] for row in rows]


def test_the_days_that_arrived_are_judged_from_all_days_before_them() -> None:
    rows = days(ENOUGH_DAYS + 10)
    known, judged = split(rows, [str(row["date"]) for row in rows[-10:]])
    assert dates(known) == dates(rows[:-10])
    assert dates(judged) == dates(rows[-10:])


def test_without_new_days_the_last_ones_are_held_out() -> None:
    rows = days(ENOUGH_DAYS + HELD_OUT_DAYS)
    known, judged = split(rows, [])
    assert len(known) == ENOUGH_DAYS
    assert dates(judged) == dates(rows[-HELD_OUT_DAYS:])


def test_days_that_arrived_before_a_year_was_known_do_not_stop_the_forecast() -> None:
    rows = days(ENOUGH_DAYS + HELD_OUT_DAYS)
    _, judged = split(rows, [str(row["date"]) for row in rows])
    assert dates(judged) == dates(rows[-HELD_OUT_DAYS:])


def test_a_gap_that_is_filled_late_is_judged_without_looking_ahead() -> None:
    rows = days(ENOUGH_DAYS + 100)
    late = rows[ENOUGH_DAYS + 5]
    known, judged = split(rows, [str(late["date"])])
    assert judged == [late]
    assert dates(known) == dates(rows[: ENOUGH_DAYS + 5])


def test_the_order_of_rows_does_not_matter() -> None:
    rows = days(ENOUGH_DAYS + HELD_OUT_DAYS)
    assert split(rows[::-1], []) == split(rows, [])


@pytest.mark.parametrize("count", [0, 1, HELD_OUT_DAYS, ENOUGH_DAYS + HELD_OUT_DAYS - 1])
def test_less_than_a_year_is_refused_with_what_there_is(count: int) -> None:
    with pytest.raises(ValueError, match=rf"{ENOUGH_DAYS} days or more, here are \d+"):
        split(days(count), [])


def test_a_pure_season_is_forecast_without_error() -> None:
    known, judged = split(days(3 * 365), [])
    assert mean_error(predict(known, judged), "forecast") == 0.0


def test_usual_is_the_mean_of_the_same_day_in_earlier_years() -> None:
    known = days(2 * 366 + 365)
    for row in known:
        row["temperature"] = float(str(row["date"])[:4]) - 2000
    judged = [{"date": "2015-03-01", "temperature": 0.0}]
    assert predict(known, judged)[0]["usual"] == 13.0


def test_a_leap_day_never_seen_before_is_usual_on_average() -> None:
    known = [{**row, "temperature": 7.0} for row in days(400, start=dt.date(2013, 1, 1))]
    assert predict(known, [{"date": "2016-02-29", "temperature": 1.0}])[0]["usual"] == 7.0


def test_the_error_is_the_mean_of_absolute_differences() -> None:
    rows = [{"observed": 1.0, "forecast": 2.0}, {"observed": 1.0, "forecast": -1.0}]
    assert mean_error(rows, "forecast") == 1.5


def test_a_chart_has_one_point_for_each_day_and_line() -> None:
    row = {"date": "2015-01-01", "observed": 1.0, "forecast": 2.0, "usual": 3.0}
    assert chart_points([row]) == [
        {"date": "2015-01-01", "temperature (°C)": 1.0, "line": "observed"},
        {"date": "2015-01-01", "temperature (°C)": 2.0, "line": "forecast"},
        {"date": "2015-01-01", "temperature (°C)": 3.0, "line": "usual"},
    ]


JUDGED = [
    {"date": "2015-01-01", "observed": 1.0, "forecast": 2.0, "usual": 4.0},
    {"date": "2015-01-02", "observed": 2.0, "forecast": 2.5, "usual": 3.0},
]


def test_words_name_the_days_that_arrived_and_both_errors() -> None:
    assert in_words(JUDGED, ["2015-01-01", "2015-01-02"]) == (
        "2 days arrived (2015-01-01 to 2015-01-02).\n"
        "Forecast off by 0.75 °C on average; same days of earlier years by 2.0 °C."
    )


@pytest.mark.parametrize("arrived", [[], ["2012-05-05"]])
def test_words_say_that_days_were_held_out(arrived: list[str]) -> None:
    assert in_words(JUDGED, arrived).startswith(
        "No new day: the last 2 days held out (2015-01-01 to 2015-01-02).\n"
    )


def test_words_are_singular_for_one_day() -> None:
    assert in_words(JUDGED[:1], ["2015-01-01"]).startswith("1 day arrived ")


@given(shift=st.floats(-50, 50))
def test_a_warmer_world_warms_the_forecast_by_as_much(shift: float) -> None:
    known, judged = split(days(800), [])
    warmer = [{**row, "temperature": float(str(row["temperature"])) + shift} for row in known]
    plain, warm = predict(known, judged), predict(warmer, judged)
    assert [row["forecast"] for row in warm] == pytest.approx(
        [row["forecast"] + shift for row in plain], abs=0.011
    )
