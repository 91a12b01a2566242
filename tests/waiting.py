"""What every source of files and objects must do with what waits for too long."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.config import Data, Project, Schedule, Sensor
from flowproject.errors import TickError
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick

__all__ = ["hold_for_too_long"]

HOUR = dt.timedelta(hours=1)
POLICIES = ("report", "fail", "release")


def hold_for_too_long(root: Path, data: Callable[..., Data], put: Callable[[str], None]) -> None:
    """Three sensors on one folder, each with another `after_max_wait`; `put` makes a file there."""
    now = dt.datetime.now(dt.UTC)
    sensors = {
        policy: Sensor(
            name=policy,
            data=data(marker="_SUCCESS", max_wait=5400.0, after_max_wait=policy),
            event_name=policy,
        )
        for policy in POLICIES
    }
    context = ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors=sensors),
        root=root,
        store=open_store(str(root / "journals")),
        branch="user.tester",
    )

    def tick(hours: float) -> dict[str, Tick]:
        at: Any = replace(context, clock=lambda: now + hours * HOUR)
        return {seen.sensor: seen for seen in sensing.observe(at)}

    put("h=0/a")
    tick(0)
    put("h=1/a")
    early = tick(1)
    assert {seen.outcome for seen in early.values()} == {"settling"}
    sensing.raise_for_failures([*early.values()])
    late = tick(2)
    outcomes = {name: seen.outcome for name, seen in late.items()}
    assert outcomes == {"report": "settling", "fail": "settling", "release": "changed"}
    told = "1 item waits, the oldest since"
    assert (told in late["report"].late, late["report"].overdue) == (True, "")
    assert (told in late["fail"].overdue, late["fail"].late) == (True, "")
    assert "1 unfinished, after max_wait: waiting for '_SUCCESS'" in late["release"].reason
    assert late["release"].counts["added"] == 1
    sensing.raise_for_failures([late["report"], late["release"]])
    with pytest.raises(TickError, match="longer than max_wait: waiting for '_SUCCESS'"):
        sensing.raise_for_failures([late["fail"]])
    put("h=1/_SUCCESS")
    done = tick(2)
    assert {name: seen.counts.get("added") for name, seen in done.items()} == {
        "report": 2,
        "fail": 2,
        "release": 1,
    }
    assert {seen.outcome for seen in tick(2).values()} == {"unchanged"}
