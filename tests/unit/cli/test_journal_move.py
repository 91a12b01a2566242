"""`flowproject move`: what a renamed sensor left goes on under its new name."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli.context import open_context
from flowproject.sensing import ProjectContext, observe, publish


def rename(root: Path, before: str, after: str) -> None:
    project = root / "flowproject.toml"
    project.write_text(project.read_text().replace(before, after))


def leave_a_change(root: Path, tick: Any) -> None:
    """Record a change that waits, for there is no bus."""
    tick()
    (root / "data" / "new.csv").write_text("x")
    tick()


def ticks() -> dict[str, tuple[str, int]]:
    """One tick under the names of now: outcome, and how many changes wait."""
    context = open_context()
    return {
        seen.sensor: (seen.outcome, seen.pending) for seen in publish(context, observe(context))
    }


def test_what_waits_goes_on_under_the_new_name(
    flowproject: Any, root: Path, tick: Any, context: ProjectContext
) -> None:
    leave_a_change(root, tick)
    rename(root, "[sensors.days]", "[sensors.dates]")
    told = " ".join(flowproject("check").out.split())
    assert "`flowproject move days NEW-NAME` hands it over" in told
    assert ticks()["dates"] == ("failed", 0)
    answer = flowproject("move", "days", "dates", "--yes")
    assert answer.code == 0
    assert answer.out == (
        "The journal of 'days' is that of 'dates' now, and goes on with number 3; the next tick "
        "looks after 2.\n"
    )
    assert ticks() == {"dates": ("unchanged", 1), "months": ("unchanged", 0)}
    assert "days" not in flowproject("check").out.replace("data", "")
    again = flowproject("move", "days", "dates", "--yes", "--json")
    assert json.loads(again.out) == {
        "v": 1,
        "from": "days",
        "to": "dates",
        "seq": 3,
        "unsettled": [2],
        "moved": False,
    }
    history = json.loads(flowproject("history", "dates", "--json").out)
    assert [(one["seq"], one["outcome"]) for one in history] == [
        (3, "moved"),
        (2, "changed"),
        (1, "baseline"),
    ]
    assert context.store.folders("flowproject/demo/user.tester") == ["dates", "days", "months"]


def test_so_it_does_when_the_project_was_renamed(flowproject: Any, root: Path, tick: Any) -> None:
    leave_a_change(root, tick)
    rename(root, '"demo"', '"other"')
    assert "`flowproject move demo/days NEW-NAME`" in " ".join(flowproject("check").out.split())
    assert flowproject("move", "demo/days", "days", "--yes").code == 0
    assert ticks()["days"] == ("unchanged", 1)


def test_it_asks_and_a_no_leaves_everything_as_it_is(
    flowproject: Any, root: Path, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_change(root, tick)
    rename(root, "[sensors.days]", "[sensors.dates]")
    asked = flowproject("move", "days", "dates")
    assert (asked.code, "`--yes`" in asked.err) == (64, True)
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    answer = flowproject("move", "days", "dates")
    assert answer.code == 1
    assert "Move the journal of 'days' (2 of it not delivered) to 'dates'" in answer.err
    assert ticks()["dates"][0] == "failed"


def test_only_what_no_sensor_has_is_moved_and_only_to_a_sensor(
    flowproject: Any, root: Path, tick: Any
) -> None:
    leave_a_change(root, tick)
    has_it = flowproject("move", "days", "months", "--yes")
    assert has_it.code == 64
    assert "There is a sensor 'days', and it keeps its journal" in has_it.err
    rename(root, "[sensors.days]", "[sensors.dates]")
    nobody = flowproject("move", "day", "dates", "--yes")
    assert nobody.code == 64
    assert "There is no journal of 'day'" in nobody.err
    assert "Did you mean 'days'?" in nobody.err
    strange = flowproject("move", "days", "date", "--yes")
    assert (strange.code, "Did you mean 'dates'?" in strange.err) == (64, True)
