"""`python starterflow.py run` on the real weather: by hand, and for a change."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from flowproject import sensing
from flowproject.changes.payload import payload
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def weather(new_project: Callable[..., Any]) -> Any:
    return new_project((ROOT / "flowproject.toml").read_text(), demo=True)


def test_by_hand_it_holds_out_the_last_month_and_says_so(weather: Any) -> None:
    run = weather.run("starterflow.py")
    assert run.code == 0
    assert "Started by hand" in run.lines
    assert any(line.startswith("No new day: the last 31 days held out") for line in run.lines)
    assert any(line.startswith("Forecast off by ") for line in run.lines)


def test_for_a_change_it_judges_the_forecast_on_the_days_that_arrived(weather: Any) -> None:
    context = weather.context()
    sensing.observe(context)
    shutil.copy(ROOT / "data" / "incoming" / "2015-01.csv", weather.root / "data" / "weather")
    [tick] = sensing.observe(context)
    assert (tick.outcome, tick.reason) == ("changed", "31 added")
    entry = context.journal("weather").get(tick.seq)
    assert entry
    message = payload(entry, payload_key="value", location="")
    event = json.dumps({"name": "x", "timestamp": 1, **message})
    run = weather.run("starterflow.py", METAFLOW_ARGO_EVENT_PAYLOAD_event_x=event)
    assert run.code == 0
    assert "<change 2 of sensor 'weather': 31 added>" in run.lines
    assert "31 days arrived (2015-01-01 to 2015-01-31)." in run.lines
