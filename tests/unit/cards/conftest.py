"""Ticks to draw, and a view of what was drawn: the JSON that a browser gets."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from metaflow.cards import MetaflowCardComponent

Tick = dict[str, Any]


def make_row(**fields: Any) -> dict[str, Any]:
    """A change as the history of a tick tells it."""
    return {
        "seq": 2,
        "recorded_at": "2026-11-22T11:00:00+00:00",
        "outcome": "changed",
        "reason": "31 added",
        "value": 1096,
        "total": 1096,
        "state": "delivered",
        "taken_by": [],
        **fields,
    }


def make_tick(**fields: Any) -> Tick:
    """An unchanged tick of a sensor with items, with other fields laid over it."""
    return {
        "v": 1,
        "sensor": "weather",
        "event_name": "weather_changed",
        "outcome": "unchanged",
        "reason": "the same 1,096 items",
        "value": 1096,
        "previous": 1096,
        "id": "",
        "seq": 0,
        "counts": {},
        "total": 1096,
        "sample": {},
        "history": [
            make_row(seq=2),
            make_row(
                seq=1,
                recorded_at="2026-11-21T12:00:00+00:00",
                outcome="baseline",
                reason="first look, remembered: 1,065 items",
                value=1065,
                total=1065,
                state="",
            ),
        ],
        "trail": [["2026-11-21T12:00:00+00:00", 1065], ["2026-11-22T11:00:00+00:00", 1096]],
        "cost": {"seconds": 0.012, "requests": 0, "bytes": 48211, "rows": 1096},
        "query": "SELECT * FROM weather",
        "source": "duckdb",
        "at": "2026-11-22T12:00:00+00:00",
        "pending": 0,
        "undelivered": "",
        "exit_code": 0,
        **fields,
    }


class Drawn:
    """Components as the JSON that Metaflow puts into the card's page."""

    def __init__(self, components: Sequence[MetaflowCardComponent]) -> None:
        self.parts = [component.render() for component in components]
        # A browser's JSON has no NaN: one would cost the whole page.
        self.json = json.dumps(self.parts, allow_nan=False)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [part for part in _walk(self.parts) if part["type"] == kind]

    @property
    def banner(self) -> dict[str, Any]:
        return self.of("valueBox")[0]

    @property
    def titles(self) -> list[str]:
        return [part["title"] for part in self.of("section")]

    @property
    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        return [
            (part["columns"], [[_plain(cell) for cell in row] for row in part["data"]])
            for part in self.of("table")
        ]

    def facts(self, index: int) -> dict[str, str]:
        """The table without headers as a dictionary."""
        columns, rows = self.tables[index]
        assert columns == ["", ""]
        return dict(rows)

    @property
    def fences(self) -> list[str]:
        """The texts given to Markdown, without the style sheet."""
        sources = [part["source"] for part in self.of("markdown")]
        return [source.strip("\n") for source in sources if "<style>" not in source]


def _plain(cell: str) -> str:
    assert isinstance(cell, str), "a cell that is no text could be drawn as a component"
    return cell.replace("\N{NO-BREAK SPACE}", " ")


def _walk(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield part
        yield from _walk(part.get("contents", []))


@pytest.fixture
def tick() -> Callable[..., Tick]:
    return make_tick


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    return make_row


@pytest.fixture
def draw() -> Callable[[Sequence[MetaflowCardComponent]], Drawn]:
    return Drawn
