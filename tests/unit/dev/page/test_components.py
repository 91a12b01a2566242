"""The small pieces: sparklines, links of actions, words and symbols."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.dev.page.components import (
    action,
    address,
    change_address,
    clock,
    run_address,
    sensor_address,
    sparkline,
    urgency,
)

NUMBERS = st.lists(st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12), min_size=2, max_size=50)


@given(NUMBERS)
def test_a_sparkline_stays_in_its_box_and_goes_from_left_to_right(numbers: list[float]):
    line = sparkline(numbers, "items")
    assert line
    points = [tuple(map(float, point.split(","))) for point in line.points.split()]
    assert len(points) == 2 * len(numbers)
    assert all(0 <= x <= 100 and 2 <= y <= 22 for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    heights = [y for _, y in points[::2]]
    assert heights[numbers.index(max(numbers))] == min(heights)


@pytest.mark.parametrize("numbers", [[], [1]])
def test_a_line_needs_two_numbers(numbers: list[float]):
    assert sparkline(numbers, "items") is None


def test_a_sparkline_says_in_words_what_it_shows():
    line = sparkline([1000, 1200, 1127], "items")
    assert line
    assert line.words == "items: 1,000 to 1,127 in 3 recorded looks"


def test_what_never_moved_is_a_line_in_the_middle():
    line = sparkline([5, 5], "value")
    assert line
    assert {point.split(",")[1] for point in line.points.split()} == {"12.0"}


@pytest.mark.parametrize(
    "parts, query, text",
    [
        ((), {}, "/"),
        (("sensors", "a b"), {}, "/sensors/a%20b"),
        (("sensors", "../x?y#z"), {}, "/sensors/..%2Fx%3Fy%23z"),
        (("sensors", 'ä"<'), {}, "/sensors/%C3%A4%22%3C"),
        (
            ("actions", "tick"),
            {"sensor": "a&b=c", "no": "", "none": None},
            "/actions/tick?sensor=a%26b%3Dc",
        ),
        (("s",), {"start": 0}, "/s?start=0"),
    ],
)
def test_addresses_are_escaped_and_empty_values_left_out(
    parts: tuple[str, ...], query: dict[str, Any], text: str
):
    assert address(*parts, **query) == text


def test_everything_has_an_address():
    assert sensor_address("days") == "/sensors/days"
    assert change_address("days", 7) == "/sensors/days/changes/7"
    assert run_address("SensorFlow/17") == "/runs/SensorFlow/17"
    assert action("replay", "Replay", change="days/7").href == "/actions/replay?change=days%2F7"


@pytest.mark.parametrize("name", ["by hand", "argo-x/1", "", "no flow/1", "1Flow/2"])
def test_what_is_no_run_leads_nowhere(name: str):
    assert run_address(name) == ""


def test_failures_press_most_and_what_is_unknown_least():
    assert urgency("failed") < urgency("running") < urgency("changed") < urgency("unchanged")
    assert urgency("unchanged") < urgency("nobody knows")


def test_moments_of_other_days_have_their_date():
    today = dt.datetime.now().astimezone()
    assert clock(today.isoformat()) == f"{today:%H:%M:%S}"
    assert clock("2024-02-03T12:00:00+00:00").startswith("2024-02-0")
    assert clock("") == ""
