"""The project as boxes and arrows: what looks at what, what starts what, and what is live."""

from pathlib import Path

import pytest

from flowproject.dev.page.context import PageContext
from flowproject.dev.page.graph import Graph, Node, graph
from tests.unit.dev.page.page_context import (
    EVENT,
    TAKER,
    event,
    finished,
    page_context,
    started,
    tick,
)


@pytest.fixture
def page(tmp_path: Path) -> PageContext:
    return page_context(tmp_path, "days", "months")


def box(drawn: Graph, kind: str, title: str) -> Node:
    return next(node for node in drawn.nodes if (node.kind, node.title) == (kind, title))


def test_sources_sensors_events_and_flows_are_four_columns(page: PageContext):
    drawn = graph(page)
    assert [(node.kind, node.title) for node in drawn.nodes] == [
        ("source", "files"),
        ("sensor", "days"),
        ("sensor", "months"),
        ("event", "days_changed"),
        ("event", "months_changed"),
        ("flow", "SensorFlow"),
        ("flow", "TakerFlow"),
    ]
    places = {node.kind: node.x for node in drawn.nodes}
    assert sorted(places.values()) == list(places.values())
    for node in drawn.nodes:
        assert node.x == places[node.kind]
        assert 0 < node.x < node.x + node.width < drawn.width
        assert 0 < node.y < node.y + node.height < drawn.height
    assert len({(node.x, node.y) for node in drawn.nodes}) == len(drawn.nodes)


def test_each_arrow_goes_from_the_side_of_a_box_to_the_next_one_and_says_so(page: PageContext):
    drawn = graph(page)
    assert sorted(edge.words for edge in drawn.edges) == [
        "days_changed starts TakerFlow",
        "sensor days looks at files data",
        "sensor days sends days_changed",
        "sensor months looks at files data",
        "sensor months sends months_changed",
    ]
    last = drawn.edges[-1]
    sender, taker = box(drawn, "event", "days_changed"), box(drawn, "flow", "TakerFlow")
    assert (last.x1, last.y1) == (sender.x + sender.width, sender.y + sender.height / 2)
    assert (last.x2, last.y2) == (taker.x, taker.y + taker.height / 2)


def test_an_event_that_nobody_sends_is_there_under_its_whole_name(tmp_path: Path):
    drawn = graph(page_context(tmp_path, "months", flows=(TAKER,)))
    assert box(drawn, "event", EVENT)
    assert f"{EVENT} starts TakerFlow" in [edge.words for edge in drawn.edges]


def test_what_is_under_way_is_live(page: PageContext):
    page.loop.update(started(3, "SensorFlow/1"))
    page.loop.update(event(2))
    drawn = graph(page)
    assert box(drawn, "flow", "SensorFlow").live
    assert box(drawn, "flow", "SensorFlow").state == "running"
    assert box(drawn, "sensor", "days").live
    assert not box(drawn, "flow", "TakerFlow").live
    assert [edge.live for edge in drawn.edges if "looks at" in edge.words] == [True, True]
    assert box(drawn, "event", "days_changed").subtitle == "1 since the loop began"


def test_boxes_say_how_it_went_and_lead_there(page: PageContext):
    start = started(9, "TakerFlow/7")
    page.loop.update(start)
    page.loop.update(finished(start, 1, ok=False))
    page.loop.update(tick(2, outcome="changed", seq=1, id="c"))
    page.paused["months"] = page.now()
    drawn = graph(page)
    assert box(drawn, "flow", "TakerFlow").href == "/runs/TakerFlow/7"
    assert box(drawn, "flow", "TakerFlow").state == "failed"
    assert box(drawn, "sensor", "days").state == "changed"
    assert box(drawn, "sensor", "days").href == "/sensors/days"
    assert box(drawn, "sensor", "months").state == "paused"


def test_a_project_without_anything_is_an_empty_drawing(tmp_path: Path):
    page = page_context(tmp_path, flows=())
    object.__setattr__(page, "project_context", None)
    drawn = graph(page)
    assert (drawn.nodes, drawn.edges) == ((), ())
    assert drawn.width > 0
