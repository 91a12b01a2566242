"""What a run makes of what it is told, where no other run is at hand to show it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from metaflow import current

from flowproject.journal import Store
from flowproject.starting import take


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A flow at its first step, in a run of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(current, "_flow_name", "AFlow")
    monkeypatch.setattr(current, "_run_id", "1")
    return SimpleNamespace(_graph=SimpleNamespace(start_step="start"))


def never() -> Store:
    raise AssertionError("the journal was opened")


def test_a_run_by_hand_asks_nothing_and_goes_on(flow: Any) -> None:
    assert take(flow, flow, never) == []
    assert flow.change_events == []
    after = SimpleNamespace()
    assert take(after, flow, never) == []
    assert vars(after) == {"change_events": []}


def test_a_later_step_does_as_the_first(flow: Any) -> None:
    before = SimpleNamespace(
        change_events=[{"id": "x"}], change_claim={"v": 1, "nothing_because": ["taken"]}
    )
    assert take(flow, before, never) == ["taken"]
    assert (flow.change_events, flow.change_claim) == (before.change_events, before.change_claim)


@pytest.mark.parametrize("pathspec", ["NoFlow/1/end/2", "", None])
def test_if_nothing_is_known_of_the_run_before_this_one_goes_on_and_says_so(
    flow: Any,
    pathspec: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = json.dumps({"pathspec": pathspec})
    monkeypatch.setenv("METAFLOW_ARGO_EVENT_PAYLOAD_run_x", event)
    assert take(flow, flow, never) == []
    assert "can't be told, so this run goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "event",
    ["", "not JSON", "[" * 100_000, "[1]", '{"timestamp": "today"}', '{"change": {"id": "x"}}'],
    ids=lambda event: event[:20],
)
def test_events_of_others_are_no_changes_whatever_they_say(
    flow: Any, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAFLOW_ARGO_EVENT_PAYLOAD_event_x", event)
    monkeypatch.setenv("METAFLOW_ARGO_EVENT_PAYLOAD_event_y", '{"timestamp": 1}')
    assert take(flow, flow, never) == []
    assert flow.change_events == []
