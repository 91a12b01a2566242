"""Cards of a real run, opened in a real browser without a network."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
STORIES = json.loads((HERE / "stories.json").read_text("utf-8"))
EVIL = STORIES["evil"]

See = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def see(look: See, tmp_path_factory: pytest.TempPathFactory) -> See:
    """What a person sees on a card of one run, by the card's id."""
    folder = tmp_path_factory.mktemp("cards")
    environment = {
        **os.environ,
        "CARDS": str(folder),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "PYTHONPATH": str(HERE.parent.parent),
    }
    command = [sys.executable, str(HERE / "card_flow.py"), "--quiet", "run"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=100)

    @cache
    def seen(name: str, width: int = 1280) -> dict[str, Any]:
        return look((folder / f"{name}.html").read_text("utf-8"), width)

    return seen


def test_sensor_card_shows_headline_chart_tables_and_query(see: See):
    page, [tick] = see("changed"), STORIES["changed"]

    assert page["headings"] == ["● weather changed"]
    assert "weather changed" in page["texts"]
    assert page["points"] == len(tick["trail"])
    assert page["cells"][:2] == ["holds", "1,096 → 1,127 items"]
    assert f"number 2, id {tick['id']}" in page["cells"]
    assert page["cells"].count("+") == 10
    assert "and 21 more" in page["cells"]
    assert page["code"] == [tick["query"]]


def test_sensor_card_lists_the_newest_changes_and_what_became_of_them(see: See):
    cells = see("changed")["cells"]

    assert cells[-12:-6] == [
        "2",
        "2026-11-22 12:00",
        "● changed",
        "31 added",
        "1,127 items",
        "to be sent by the next step",
    ]
    assert cells[-1] == "taken by StarterFlow/1795876668549307"


def test_starter_card_tells_what_started_it_and_what_is_different(see: See):
    cells = see("starter")["cells"]

    assert cells[cells.index("recorded") + 1] == (
        "2026-11-22 12:00:00 UTC by SensorFlow/1795876656492111"
    )
    assert cells.count("+") == 5
    assert "and 26 more" in cells
    assert "Started by hand" in see("by_hand")["texts"]


def test_starter_card_draws_a_line_for_each_series(see: See):
    assert see("starter")["lines"] == ["#0072B2", "#D55E00"]


@pytest.mark.parametrize("name", ["changed", "hostile", "starter"])
@pytest.mark.parametrize("width", [1280, 600, 500])
def test_charts_have_room_and_nothing_sticks_out_of_the_window(see: See, name: str, width: int):
    page = see(name, width)

    assert page["page"] <= page["window"]
    assert page["chart"] > width / 2


def test_hostile_text_is_shown_as_it_is(see: See):
    page = see("hostile")
    query, error = STORIES["hostile"][0]["query"], STORIES["hostile"][1]["reason"]

    assert page["code"] == [error[:1999] + "…", query]
    assert EVIL in page["texts"]


@pytest.mark.parametrize("name", ["hostile", "starter"])
def test_hostile_text_never_becomes_an_element_or_runs(see: See, name: str):
    page = see(name)

    assert page["title"].startswith("CardFlow/")
    assert page["foreign"] == []


def test_the_same_text_runs_where_markdown_gets_it(see: See):
    """The control: without it the tests above could pass because the attack is lame."""
    page = see("unguarded")

    assert page["title"] == "OWNED"
    assert page["foreign"] != []
