"""Text from data reaches a card as text: never parsed, never unbounded."""

from typing import Any

import pytest

from flowproject.cards import sensor_card

EVIL = '</pre><img src=x onerror="alert(1)"><script>alert(1)</script> **b** `c` | \n```\n[x](y:z)'
FIELDS = ("sensor", "event_name", "outcome", "reason", "value", "previous", "id", "at")


@pytest.fixture
def hostile(tick: Any):
    """A tick that is evil in every field that holds text."""
    row = {EVIL: EVIL, "type": {"type": "markdown", "source": EVIL}}
    pair = {"key": EVIL, "old": {"a": EVIL}, "new": {"a": [EVIL], EVIL: 1}}
    sample = {"added": [row], "modified": [pair], "removed": [row]}
    trail = [[EVIL, 1], ["2026-11-22T12:00:00+00:00", float("nan")]]
    evil = dict.fromkeys(FIELDS, EVIL) | {"query": EVIL, "total": None, "seq": 1}
    told = dict.fromkeys(("recorded_at", "outcome", "reason", "value", "state"), EVIL)
    known = {**told, "seq": 2, "total": None, "taken_by": [EVIL]}
    history = [{**known, "taken_by": []}, known, known]
    samples = {"sample": sample, "trail": trail, "history": history}
    return lambda **fields: tick(**{**evil, **samples, **fields})


@pytest.mark.parametrize("outcome", ["changed", "failed", "unchanged", EVIL])
def test_only_fences_and_our_style_are_parsed_as_markdown(hostile: Any, draw: Any, outcome: str):
    card = draw(sensor_card([hostile(outcome=outcome), hostile()]))

    parsed = [part["source"] for part in card.of("markdown")]
    assert "onerror" not in parsed[0]
    for source in parsed[1:]:
        fence, *body, end = source.strip("\n").split("\n")
        mark = fence.removesuffix("language-sql").removesuffix("language-error")
        assert end == mark == "`" * len(mark)
        assert not any(mark in line for line in body)


def test_a_fence_is_longer_than_any_run_of_backticks_in_it(tick: Any, draw: Any):
    card = draw(sensor_card([tick(query="SELECT '`````'")]))

    assert card.fences == ["``````language-sql\nSELECT '`````'\n``````"]


def test_a_cell_is_always_text_even_where_a_row_holds_a_component(hostile: Any, draw: Any):
    tables = draw(sensor_card([hostile(outcome="changed")])).tables

    assert len(tables) == 5
    assert tables[1][1][0][2].startswith('{"type": "markdown"')


def test_text_of_ten_megabytes_costs_a_card_of_kilobytes(hostile: Any, draw: Any):
    long = "x" * 10_000_000
    fields = dict.fromkeys((*FIELDS[3:], "sensor", "query"), long)
    row = dict.fromkeys(["a", "b", long[:1_000_000]], long)
    card = draw(sensor_card([hostile(**fields, outcome="changed", sample={"added": [row] * 10})]))

    assert len(card.json) < 20_000
    assert card.fences[0].endswith("x…\n```")


def test_characters_that_hide_or_turn_text_are_made_visible(tick: Any, draw: Any):
    card = draw(sensor_card([tick(reason="a\x00b\x1b[31m\u202ec\ud800d")]))

    assert card.banner["subtitle"].startswith("a�b�[31m�c�d.")
