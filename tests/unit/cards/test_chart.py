"""Line charts: what is drawn for which points."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from flowproject.cards import line_chart


@pytest.fixture
def spec(draw: Any):
    return lambda *args, **names: draw([line_chart(*args, **names)]).parts[0]["spec"]


def test_each_series_has_its_colour_and_dashes_in_the_order_of_appearance(spec: Any):
    points = [
        {"date": "2015-01-01", "t": value, "line": line}
        for line, value in [("observed", 4.5), ("forecast", 5.0), ("usual", 4.8)]
    ]
    drawn = spec(points, x="date", y="t", series="line", title="January", y_title="°C")
    encoding = drawn["encoding"]

    assert encoding["color"]["scale"]["domain"] == ["observed", "forecast", "usual"]
    assert encoding["strokeDash"]["scale"]["domain"] == ["observed", "forecast", "usual"]
    assert encoding["y"]["axis"]["title"] == "°C"
    assert drawn["title"] == "January"
    assert drawn["width"] == "container"


@pytest.mark.parametrize(
    "moment,at",
    [
        ("2015-01-31", "2015-01-31"),
        (dt.date(2015, 1, 31), "2015-01-31"),
        ("2015-01-31T10:30:00", "2015-01-31 10:30:00 UTC"),
        ("2015-01-31T10:30:00+02:00", "2015-01-31 08:30:00 UTC"),
        (dt.datetime(2015, 1, 31, 8, 30, tzinfo=dt.UTC), "2015-01-31 08:30:00 UTC"),
    ],
)
def test_days_and_moments_are_drawn_in_utc(spec: Any, moment: object, at: str):
    [point] = spec([{"x": moment, "y": 1}], x="x", y="y")["data"]["values"]

    assert point["at"] == at
    assert point["x"].endswith("+00:00")


@pytest.mark.parametrize("number", [1, 1.0, np.float32(1), np.int64(1), Decimal(1)])
def test_any_kind_of_number_is_drawn(spec: Any, number: object):
    [point] = spec([{"x": "2015-01-31", "y": number}], x="x", y="y")["data"]["values"]

    assert point["y"] == 1


@pytest.mark.parametrize("number", [None, "1", True, float("nan"), float("-inf"), 10**400])
def test_what_is_no_number_of_a_browser_is_left_out(spec: Any, number: object):
    assert spec([{"x": "2015-01-31", "y": number}], x="x", y="y")["data"]["values"] == []


@pytest.mark.parametrize("moment", [None, "soon", 20150131])
def test_what_is_no_moment_is_left_out(spec: Any, moment: object):
    assert spec([{"x": moment, "y": 1}], x="x", y="y")["data"]["values"] == []


@pytest.mark.parametrize(
    "last,title,labels",
    [
        ("2015-01-02", "day in 2015", "%b %-d"),
        ("2017-01-01", "day", "%Y-%m-%d"),
        ("2015-01-01T00:05:00", "2015-01-01 (UTC)", "%H:%M:%S"),
        ("2015-01-01T12:00:00", "2015-01-01 (UTC)", "%H:%M"),
        ("2015-01-09T12:00:00", "time (UTC)", "%b %-d %H:%M"),
        ("2015-02-01T12:00:00", "time (UTC)", "%b %-d"),
        ("2017-02-01T12:00:00", "time (UTC)", "%Y-%m-%d"),
    ],
)
def test_labels_of_the_time_axis_fit_its_span(spec: Any, last: str, title: str, labels: str):
    points = [{"x": "2015-01-01", "y": 1}, {"x": last, "y": 2}]
    axis = spec(points, x="x", y="y")["encoding"]["x"]["axis"]

    assert (axis["title"], axis["format"]) == (title, labels)


def test_a_chart_without_points_is_drawn_empty(spec: Any):
    drawn = spec([], x="x", y="y", series="line")

    assert drawn["data"]["values"] == drawn["encoding"]["color"]["scale"]["domain"] == []


def test_points_are_dots_unless_there_are_too_many(spec: Any):
    points = [{"x": "2015-01-31", "y": number} for number in range(100)]

    assert spec(points[:60], x="x", y="y")["mark"]["point"]["filled"] is True
    assert spec(points, x="x", y="y")["mark"]["point"] == "transparent"


def test_names_of_columns_are_never_read_as_paths_or_markup(spec: Any):
    points = [{"a.b[0]": "2015-01-31", "c.d": 1, "e'f": "<b>"}]
    drawn = spec(points, x="a.b[0]", y="c.d", series="e'f")

    assert drawn["data"]["values"] == [
        {"x": "2015-01-31T00:00:00+00:00", "y": 1, "at": "2015-01-31", "series": "<b>"}
    ]
    assert drawn["encoding"]["y"]["axis"]["title"] == "c.d"
