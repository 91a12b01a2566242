"""What happened becomes a bounded drawing: marks in lanes, ties between what one change caused."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.dev.page.components import urgency
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.overview import SPANS, Lane, Timeline, timeline
from tests.unit.dev.page.page_context import (
    NOW,
    event,
    finished,
    loop_began,
    page_context,
    started,
    tick,
)

OUTCOMES = ["unchanged", "changed", "failed", "forced", "baseline", "settling", "superseded"]
AGO = st.integers(0, 2 * 86_400) | st.floats(0, 600)


@pytest.fixture
def page(tmp_path: Path) -> PageContext:
    return page_context(tmp_path, "days", "months")


def lane(drawn: Timeline, name: str) -> Lane:
    return next(lane for lane in drawn.lanes if lane.name == name)


@given(
    ticks=st.lists(st.tuples(AGO, st.sampled_from(OUTCOMES)), max_size=60),
    events=st.lists(AGO, max_size=20),
    runs=st.lists(st.tuples(AGO, st.none() | st.floats(0, 7200)), max_size=20),
    span=st.sampled_from(["", *SPANS]),
)
def test_whatever_happened_it_is_bounded_and_within_the_drawing(
    tmp_path_factory: Any, ticks: Any, events: Any, runs: Any, span: str
):
    page = page_context(tmp_path_factory.mktemp("p"), "days")
    loop = page.loop
    for seconds, outcome in sorted(ticks, reverse=True):
        loop.update(tick(seconds, outcome=outcome))
    for seconds in sorted(events, reverse=True):
        loop.update(event(seconds))
    for number, (seconds, took) in enumerate(sorted(runs, key=lambda run: run[0], reverse=True)):
        start = started(seconds, f"TakerFlow/{number}")
        loop.update(start)
        if took is not None and took <= seconds:
            loop.update(finished(start, took))
    drawn = timeline(page, span)
    start = dt.datetime.fromisoformat(drawn.start)
    for row in drawn.lanes:
        assert len(row.marks) <= 120
        for mark in row.marks:
            assert 0 <= mark.x <= 100
            assert mark.width >= 0
    inside = [(ago, outcome) for ago, outcome in ticks if tick(ago).at >= start]
    assert sum(mark.count for mark in lane(drawn, "days").marks) == len(inside)
    worst = min((outcome for _, outcome in inside), key=urgency, default="")
    assert (worst in {mark.outcome for mark in lane(drawn, "days").marks}) == bool(inside)
    assert all(0 <= label.x <= 100 for label in drawn.labels)


def test_ten_thousand_ticks_are_at_most_120_marks_a_lane(page: PageContext):
    for number in range(10_000):
        page.loop.update(tick((10_000 - number) * 0.3))
    [days, months, *_] = timeline(page, "1h").lanes
    assert len(days.marks) == 100  # 3,000 seconds of 3,600
    assert sum(mark.count for mark in days.marks) == 10_000
    assert months.marks == ()


def test_of_what_is_close_together_the_most_pressing_is_shown_and_the_others_counted(
    page: PageContext,
):
    page.loop.update(tick(20.2, outcome="unchanged"))
    page.loop.update(tick(20.1, outcome="failed", reason="boom\nand more"))
    page.loop.update(tick(20.0, outcome="changed", seq=3, id="c"))
    [mark] = lane(timeline(page, "1h"), "days").marks
    assert (mark.outcome, mark.count) == ("failed", 3)
    assert "boom" in mark.words
    assert mark.words.endswith(", and 2 more")
    assert "\n" not in mark.words


def test_a_change_its_event_and_its_run_are_tied_and_share_their_chain(page: PageContext):
    loop = page.loop
    loop.update(tick(40, sensor="months", outcome="changed", seq=7, id="c7"))
    loop.update(event(38, id="c7"))
    start = started(36, "TakerFlow/1", "c7")
    loop.update(start)
    loop.update(finished(start, 6))
    drawn = timeline(page, "5m")
    names = [row.name for row in drawn.lanes]
    assert names == ["days", "months", "event bus", "SensorFlow", "TakerFlow"]
    assert [(tie.from_lane, tie.to_lane, tie.chain) for tie in drawn.ties] == [
        (1, 2, "c7"),
        (2, 4, "c7"),
    ]
    for name in ("months", "event bus", "TakerFlow"):
        assert [mark.chain for mark in lane(drawn, name).marks] == ["c7"]
    assert lane(drawn, "months").marks[0].href == "/sensors/months/changes/7"
    assert lane(drawn, "event bus").marks[0].href == "/sensors/months/changes/7"
    [run] = lane(drawn, "TakerFlow").marks
    assert (run.outcome, run.href) == ("succeeded", "/runs/TakerFlow/1")
    assert run.width == pytest.approx(2, abs=0.01)  # 6 of 300 seconds


IDS = st.sampled_from(["", "a", "b", "c"])


@given(
    ticks=st.lists(st.tuples(st.integers(0, 400), IDS), max_size=15),
    events=st.lists(st.tuples(st.integers(0, 400), IDS), max_size=15),
    runs=st.lists(st.tuples(st.integers(0, 400), st.lists(IDS, max_size=2)), max_size=8),
)
def test_ties_are_only_between_what_one_change_caused(
    tmp_path_factory: Any, ticks: Any, events: Any, runs: Any
):
    page = page_context(tmp_path_factory.mktemp("p"), "days")
    loop = page.loop
    for seconds, chain in sorted(ticks, reverse=True):
        loop.update(tick(seconds, id=chain, seq=1 if chain else 0))
    for seconds, chain in sorted(events, reverse=True):
        loop.update(event(seconds, id=chain))
    for number, (seconds, chains) in enumerate(sorted(runs, key=lambda r: r[0], reverse=True)):
        loop.update(started(seconds, f"TakerFlow/{number}", *chains))
    drawn = timeline(page, "5m")
    assert len(drawn.ties) <= 200
    for tie in drawn.ties:
        assert tie.chain
        assert (drawn.lanes[tie.from_lane].kind, drawn.lanes[tie.to_lane].kind) in {
            ("ticks", "events"),
            ("events", "runs"),
        }
        told = {one for _, one in ticks if one} | {one for _, ones in runs for one in ones}
        assert tie.chain in told
        assert tie.chain in {one for _, one in events}


def test_there_are_at_most_two_hundred_ties(page: PageContext):
    for number in range(300):
        page.loop.update(tick(250 - number / 2, id=str(number), seq=number + 1))
        page.loop.update(event(250 - number / 2, id=str(number)))
    ties = timeline(page, "5m").ties
    assert len(ties) == 200
    assert ties[0].chain == "299"


def test_a_run_that_began_long_ago_is_there_while_it_runs_and_when_it_ended_in_the_span(
    page: PageContext,
):
    loop = page.loop
    goes_on, ended, long_over = (
        started(5000, "TakerFlow/1"),
        started(4000, "TakerFlow/2"),
        started(3900, "TakerFlow/3"),
    )
    for run in (goes_on, ended, long_over):
        loop.update(run)
    loop.update(finished(ended, 3900))  # 100 seconds ago
    loop.update(finished(long_over, 1))
    marks = lane(timeline(page, "5m"), "TakerFlow").marks
    assert sum(mark.count for mark in marks) == 2
    assert marks[0].outcome == "running"
    assert marks[0].width == 100


@pytest.mark.parametrize("span, seconds", SPANS.items())
def test_labels_are_round_moments_and_few(page: PageContext, span: str, seconds: int):
    drawn = timeline(page, span)
    assert 1 <= len(drawn.labels) <= 8
    places = [label.x for label in drawn.labels]
    assert places == sorted(places)
    for label in drawn.labels:
        at = dt.datetime.fromisoformat(drawn.start) + dt.timedelta(seconds=seconds * label.x / 100)
        near = dt.timedelta(seconds=seconds * 0.0002)
        assert abs(at - round_moment(at, seconds)) <= near


def round_moment(at: dt.datetime, span: int) -> dt.datetime:
    """The nearest whole minute, quarter of an hour, hour or day."""
    step = 60 if span <= 900 else 900 if span <= 3600 else 3600 if span < 86400 * 2 else 86400
    seconds = round(at.timestamp() / step) * step
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def test_labels_of_days_are_midnights_of_the_loops_own_zone(tmp_path: Path):
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    page = page_context(tmp_path, "days")
    object.__setattr__(page, "now", lambda: NOW.astimezone(zone))
    drawn = timeline(page, "1w")
    start = dt.datetime.fromisoformat(drawn.start)
    for label in drawn.labels:
        at = start + dt.timedelta(seconds=604_800 * label.x / 100)
        assert abs((at.hour * 60 + at.minute + 720) % 1440 - 720) <= 2


@pytest.mark.parametrize(
    "seconds, span", [(0, "5m"), (299, "5m"), (301, "15m"), (901, "1h"), (90_000, "1h")]
)
def test_without_a_span_it_shows_what_fits_up_to_an_hour(
    page: PageContext, seconds: int, span: str
):
    page.loop.update(loop_began(seconds))
    for wish in ("", "5 parsecs"):
        drawn = timeline(page, wish)
        assert [link.text for link in drawn.spans if not link.href] == [span]
    assert timeline(page, "1d").spans[0].href == "/?span=5m"
