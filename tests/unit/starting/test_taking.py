"""What a run makes of what it is told, where no other run is at hand to show it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from metaflow import current

from flowproject.errors import FlowError
from flowproject.journal import Store
from flowproject.starting import take
from flowproject.starting.run_start import event_changes


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


SENT = {
    "v": 1,
    "id": "0123456789abcdef0123456789abcdef",
    "project": "p",
    "branch": "user.a",
    "sensor": "s",
    "seq": 1,
    "attempt": 1,
    "first_seq": 1,
    "reason": "because",
    "value": 2,
    "previous": None,
    "counts": {"added": 1, "modified": 0, "removed": 0},
    "entry": "flowproject/p/user.a/s/entries/1.json",
}


def carry(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    event = json.dumps({"name": "e", "change": change})
    monkeypatch.setenv("METAFLOW_ARGO_EVENT_PAYLOAD_event_x", event)


@pytest.mark.parametrize(
    "name, value",
    [
        ("project", ".."),
        ("project", "a/b"),
        ("branch", ""),
        ("sensor", "a\nb"),
        ("id", 7),
        ("seq", "1"),
        ("seq", True),
        ("attempt", 0),
        ("first_seq", -1),
        ("counts", None),
        ("counts", {"added": "1"}),
    ],
)
def test_an_event_that_no_sensor_has_sent_is_refused_in_words(
    flow: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    carry(monkeypatch, {**SENT, name: value})
    with pytest.raises(FlowError, match=f"a change with {name} .* no sensor has sent it"):
        take(flow, flow, never)


@pytest.mark.parametrize("name", ["project", "branch", "counts", "reason", "value", "previous"])
def test_an_event_that_lacks_what_a_sensor_says_is_refused_in_words(
    flow: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    carry(monkeypatch, {key: value for key, value in SENT.items() if key != name})
    with pytest.raises(FlowError, match=f"no '{name}', so no sensor has sent it"):
        take(flow, flow, never)


def test_what_a_sensor_has_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    carry(monkeypatch, SENT)
    assert event_changes() == [SENT]
