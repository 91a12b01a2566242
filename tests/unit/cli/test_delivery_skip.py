"""`flowproject skip`: what it says, and in which form; what it does is told in `tests/contract`."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowproject.journal import Receipt
from flowproject.sensing import ProjectContext


@pytest.fixture
def waiting(root: Path, tick: Any, bus: Any, context: ProjectContext) -> Any:
    """Two changes of the sensor `days`, of which a flow that takes them in order has one."""
    tick()
    journal = context.journal("days")
    journal.outbox.record_listeners(["AFlow"], by="test", in_order=["AFlow"])
    for name in ("b", "c"):
        (root / "data" / f"{name}.csv").write_text("x")
        tick()
    change = bus.payloads[0]["change"]
    journal.receipts.claim(
        Receipt(seq=2, id=change["id"], attempt=1, flow="AFlow", run="AFlow/1", at="2026-01-01")
    )
    return bus


def test_it_says_whose_turn_ends_and_what_is_next(flowproject: Any, waiting: Any) -> None:
    before = waiting.payloads[:]
    answer = flowproject("skip", "days/2")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "days: AFlow waits for the end of change 2 no more.",
        "AFlow was told of the next one, change 3.",
    ]
    [told] = waiting.payloads[len(before) :]
    assert (told["change"]["seq"], told["change"]["turn_of"]) == (3, "AFlow")


def test_for_machines_it_is_one_document(flowproject: Any, waiting: Any) -> None:
    told = json.loads(flowproject("skip", "days/2", "--json").out)
    assert (told["sensor"], told["seq"], told["flows"]) == ("days", 2, ["AFlow"])
    assert told["next"] == {"AFlow": 3}
    assert told["id"] == waiting.payloads[0]["id"]


def test_without_a_bus_the_next_tick_tells(
    flowproject: Any, waiting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
    before = len(waiting.payloads)
    assert (
        "The next one is told by a tick, when every turn before it is over"
        in flowproject("skip", "days/2").out
    )
    assert len(waiting.payloads) == before


def test_what_is_skipped_twice_or_has_no_turn_is_refused(flowproject: Any, waiting: Any) -> None:
    assert flowproject("skip", "days/2").code == 0
    answer = flowproject("skip", "days/2")
    assert answer.code == 64
    assert "No flow has a turn for change 2 of sensor 'days' that is to end" in answer.err
    assert len(waiting.payloads) > 0


@pytest.mark.usefixtures("waiting")
def test_history_says_of_a_change_that_it_was_skipped(flowproject: Any) -> None:
    told = flowproject("skip", "days/3").out
    assert "when every turn before it is over: `flowproject history days` says" in told
    [newest, *_] = json.loads(flowproject("history", "--json").out)
    delivery = newest["delivery"]
    assert (newest["seq"], delivery["state"], delivery["skipped"]) == (3, "skipped", ["AFlow"])
    assert delivery["in_words"] == "skipped, so that AFlow does not take it"


def test_what_is_replayed_after_it_was_skipped_is_awaited_again(
    flowproject: Any, waiting: Any
) -> None:
    before = len(waiting.payloads)
    flowproject("skip", "days/3")
    assert flowproject("replay", "days/3").code == 0
    assert len(waiting.payloads) > before
    [newest, *_] = json.loads(flowproject("history", "--json").out)
    delivery = newest["delivery"]
    assert (delivery["attempt"], delivery["state"], delivery["skipped"]) == (2, "sent", [])
