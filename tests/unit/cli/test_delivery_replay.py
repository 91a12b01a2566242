"""`flowproject replay`, and `flowproject why` of a change: what they say, and in which form."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli.context import loops_folder
from flowproject.dev.records import LoopRecord, register_loop
from flowproject.journal import Receipt
from flowproject.sensing import ProjectContext


@pytest.fixture
def sent(root: Path, tick: Any, bus: Any) -> Any:
    """A change of the sensor `days` that the bus has taken."""
    tick()
    (root / "data" / "b.csv").write_text("x")
    tick()
    return bus


def test_it_sends_the_change_as_a_new_attempt_and_says_so(flowproject: Any, sent: Any) -> None:
    answer = flowproject("replay", "days/2")
    assert answer.code == 0
    assert f"days: change 2, id {sent.payloads[0]['id']}, was sent as attempt 2." in answer.out
    assert "No flow is known to listen" in answer.out
    assert [payload["change"]["attempt"] for payload in sent.payloads] == [1, 2]


def test_several_changes_and_ranges_of_them_are_sent_in_order(
    flowproject: Any, sent: Any, root: Path, tick: Any
) -> None:
    for name in "cde":
        (root / "data" / f"{name}.csv").write_text("x")
        tick()
    answer = flowproject("replay", "days/5", "days/2-4")
    assert answer.code == 0
    assert [payload["change"]["seq"] for payload in sent.payloads[4:]] == [5, 2, 3, 4]
    assert [line.count("was sent as attempt 2") for line in answer.out.splitlines()].count(1) == 4
    told = json.loads(flowproject("replay", "days/2-3", "--json").out)
    assert [one["seq"] for one in told] == [2, 3]
    before = len(sent.payloads)
    for wrong in ("days/4-2", "days/1-3", "days/2-9999"):
        assert flowproject("replay", wrong).code == 64
    assert len(sent.payloads) == before, "nothing is sent if one of them is wrong"


def test_for_machines_it_is_one_document(
    flowproject: Any, sent: Any, context: ProjectContext
) -> None:
    context.journal("days").outbox.record_listeners(["AFlow"], by="test")
    told = json.loads(flowproject("replay", sent.payloads[0]["id"][:8], "--json").out)
    assert (told["v"], told["sensor"], told["seq"], told["attempt"]) == (1, "days", 2, 2)
    assert told["event"]["id"] == told["id"] == sent.payloads[0]["id"]


def test_what_a_listener_has_not_taken_is_sent_once_more_in_the_same_attempt(
    flowproject: Any, sent: Any, context: ProjectContext, root: Path, tick: Any
) -> None:
    journal = context.journal("days")
    journal.outbox.record_listeners(["AFlow", "Other"], by="test")
    (root / "data" / "c.csv").write_text("x")
    tick()
    change = sent.payloads[-1]["change"]

    def take(flow: str, attempt: int) -> None:
        journal.receipts.claim(
            Receipt(
                seq=3, id=change["id"], attempt=attempt, flow=flow, run=f"{flow}/1", at="2026-01-01"
            )
        )

    take("AFlow", 1)
    assert "Other had not started for it" in flowproject("replay", "days/3").out
    take("Other", 1)
    told = flowproject("replay", "days/3").out
    assert "attempt 2" in told
    assert "It had been delivered" in told
    assert [payload["change"]["attempt"] for payload in sent.payloads[-3:]] == [1, 1, 2]


def test_without_a_bus_or_a_loop_that_runs_here_it_is_said_what_to_start(
    flowproject: Any, sent: Any, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that is gone, or is another branch's, is none, although its record is there."""
    monkeypatch.setattr("metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL", None)
    folder = loops_folder(context.root)
    loop = LoopRecord(
        project=str(context.root),
        branch=context.branch,
        options=(),
        bus=sent.url,
        pid=1,
        started=1.0,
    )
    with register_loop(folder, loop) as name:
        content = (folder / "loops" / name).read_bytes()
    (folder / "loops" / name).write_bytes(content)  # as a loop leaves it that is killed
    with register_loop(folder, replace(loop, branch="user.other", started=2.0)):
        answer = flowproject("replay", "days/2")
    assert answer.code == 64
    assert "Start `flowproject dev` in another terminal" in answer.err
    with register_loop(folder, replace(loop, started=3.0)):
        assert flowproject("replay", "days/2").code == 0
    assert len(sent.payloads) == 2


def test_a_bus_that_refuses_is_a_delivery_error(flowproject: Any, sent: Any) -> None:
    sent.answer = lambda _: 400
    answer = flowproject("replay", "days/2")
    assert answer.code == 6
    assert "was not taken by the bus" in answer.err


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("change", ["days/1", "days/7", "day/2", "months/1", "zz", "aaaaaaaaaa"])
def test_what_can_not_be_replayed_is_a_usage_error(flowproject: Any, change: str) -> None:
    assert flowproject("replay", change).code == 64


def test_why_tells_the_chain_of_a_change(flowproject: Any, sent: Any) -> None:
    flowproject("replay", "days/2")
    lines = flowproject("why", "days/2").out.splitlines()
    assert lines[0] == "Change 2 of sensor 'days':"
    names = [line[2:12].strip() for line in lines[1:]]
    assert names == [
        "reason",
        "value",
        "items",
        "id",
        "recorded",
        "event",
        "sent",
        "replayed",
        "sent",
        "state",
    ]
    assert lines[-1].endswith("no listener, attempt 2")
    told = json.loads(flowproject("why", sent.payloads[0]["id"], "--json").out)
    assert told["seq"] == 2
    assert [one["attempt"] for one in told["delivery"]["sendings"]] == [1, 2, 2]


@pytest.mark.usefixtures("sent")
def test_why_of_a_baseline_says_that_it_is_none_to_be_sent(flowproject: Any) -> None:
    assert flowproject("why", "days/1").out.startswith("Entry (baseline) 1 of sensor 'days':")


def test_why_of_what_waits_says_who_sends_it(flowproject: Any, root: Path, tick: Any) -> None:
    tick()
    (root / "data" / "b.csv").write_text("x")
    tick()
    assert "the next tick with an event bus sends it" in flowproject("why", "days/2").out
