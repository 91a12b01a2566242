"""What is said of a change whose run did not do its work, in words, as JSON, and what goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli import delivery, history
from flowproject.cli.delivery import options_of_branch
from flowproject.journal import Receipt
from flowproject.runs import RunOutcome, delivery_of, in_words
from flowproject.sensing import ProjectContext, find_change
from tests.journals import mark

FAILED = RunOutcome(run="PairFlow/7", state="failed", step="end", error="ValueError: no")


@pytest.fixture
def taken(root: Path, tick: Any, context: ProjectContext) -> ProjectContext:
    """Two changes of `days` that one run of a flow took which waits for `months` too."""
    tick()
    journal = context.journal("days")
    for name in ("b", "c"):
        (root / "data" / f"{name}.csv").write_text("x")
        tick()
    journal.outbox.record_listeners(["PairFlow"], by="test", waits={"PairFlow": ["days", "months"]})
    for seq in (2, 3):
        entry = journal.get(seq)
        assert entry
        mark(journal, entry, listeners=("PairFlow",))
        at = "2026-01-01T00:00:00+00:00"
        journal.receipts.claim(
            Receipt(seq=seq, id=entry.id, attempt=1, flow="PairFlow", run="PairFlow/7", at=at)
        )
    return context


@pytest.mark.parametrize(
    "state, told",
    [
        ("succeeded", "delivered"),
        ("running", "delivered"),
        ("failed", "run failed"),
        ("killed", "run killed"),
        ("unfinished", "run unfinished"),
    ],
)
def test_the_state_for_machines_says_what_the_words_say(
    taken: ProjectContext, state: Any, told: str
) -> None:
    known = find_change(taken, "days/3").chain
    outcomes = [RunOutcome(run="PairFlow/7", state=state), RunOutcome(run="A/1", state="succeeded")]
    document = delivery_of(known, outcomes)
    assert document["state"] == told
    assert document["in_words"] == in_words(known, outcomes)
    assert (told == "delivered") == (document["in_words"] == "delivered")


def test_a_step_that_was_killed_is_said_to_have_ended_without_a_word() -> None:
    killed = RunOutcome(run="A/1", state="failed", step="end")
    assert killed.in_words == "run failed in step 'end': it ended without a word"


def test_what_goes_on_with_all_that_a_run_took_is_said_once_and_no_replay_of_a_part(
    taken: ProjectContext, flowproject: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_change(taken, "days/2").chain.of_several == ("PairFlow",)
    monkeypatch.setattr(history, "read_outcomes", lambda _, chains: [[FAILED] for _ in chains])
    resume = "python pairflow.py resume --origin-run-id 7"
    (taken.root / "pairflow.py").write_text("class PairFlow: ...")
    told = flowproject("history", "days").err
    assert f"days/3, days/2, to go on with PairFlow/7: {resume}" in told
    assert "flowproject replay" not in told
    states = [
        entry["delivery"]["state"]
        for entry in json.loads(flowproject("history", "--json").out)
        if entry["sensor"] == "days" and entry["delivery"]
    ]
    assert states[:2] == ["run failed", "run failed"]


def test_a_replay_says_of_a_failed_run_that_it_failed_and_what_goes_on_with_all_of_it(
    taken: ProjectContext, flowproject: Any, bus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bus.url
    assert taken
    monkeypatch.setattr(delivery, "read_outcomes", lambda _, chains: [[FAILED] for _ in chains])
    told = flowproject("replay", "days/2").out
    words = "taken, run failed in step 'end': ValueError: no"
    assert f"It had been {words}: the flows that took it run again." in told
    assert "PairFlow/7 took changes of other sensors too" in told
    assert "resume --origin-run-id 7" in told
    assert "It had been delivered" not in told


@pytest.mark.parametrize(
    "branch, options",
    [
        ("user.me", ()),
        ("test.x", ("--branch", "x")),
        ("prod", ("--production",)),
        ("prod.v2", ("--branch", "v2", "--production")),
    ],
)
def test_a_command_for_a_run_names_its_branch(branch: str, options: tuple[str, ...]) -> None:
    assert options_of_branch(branch) == options
