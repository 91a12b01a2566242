"""`flowproject reset`: asks, forgets the baseline, keeps the history, and mends what is damaged."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli.context import open_context
from flowproject.errors import TickError
from flowproject.sensing import ProjectContext, observe, raise_for_failures


class Person(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_it_asks_and_goes_on_with_a_yes(
    flowproject: Any, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    monkeypatch.setattr(sys, "stdin", Person("y\n"))
    answer = flowproject("reset", "days")
    assert answer.code == 0
    assert "Forget what 'days' looked like on branch user.tester?" in answer.err
    assert [seen.outcome for seen in tick()] == ["baseline", "unchanged"]


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_anything_but_a_yes_leaves_everything_as_it_is(
    flowproject: Any, tick: Any, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    tick()
    monkeypatch.setattr(sys, "stdin", Person(typed))
    answer = flowproject("reset", "days")
    assert (answer.code, answer.out.strip()) == (1, "")
    assert answer.err.endswith("Nothing was done.\n")
    assert [seen.outcome for seen in tick()] == ["unchanged", "unchanged"]


def test_with_nobody_to_ask_it_says_how_to_go_on(
    flowproject: Any, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    answer = flowproject("reset", "days")
    assert answer.code == 64
    assert "`--yes`" in answer.err
    assert [seen.outcome for seen in tick()] == ["unchanged", "unchanged"]


def test_the_history_stays_and_so_do_changes_still_to_be_sent(
    flowproject: Any, root: Path, tick: Any
) -> None:
    tick()
    (root / "data" / "b.csv").write_text("x")
    tick()
    entry = json.loads(flowproject("reset", "days", "--yes", "--json").out)
    assert (entry["seq"], entry["outcome"]) == (3, "reset")
    [days, _] = tick()
    assert (days.outcome, days.pending) == ("baseline", 1)
    history = json.loads(flowproject("history", "days", "--json").out)
    assert [entry["outcome"] for entry in history] == ["baseline", "reset", "changed", "baseline"]


@pytest.mark.parametrize("damaged", [[2], [1], [1, 2]])
def test_a_damaged_entry_does_not_prevent_it(
    flowproject: Any, root: Path, tick: Any, context: ProjectContext, damaged: list[int]
) -> None:
    tick()
    (root / "data" / "b.csv").write_text("x")
    tick()
    for seq in damaged:
        context.store.put(context.journal("days").entry_key(seq), b"torn")
    assert flowproject("reset", "days", "--yes").code == 0
    assert [seen.outcome for seen in tick()] == ["baseline", "unchanged"]
    history = json.loads(flowproject("history", "days", "--json").out)
    assert {entry["seq"] for entry in history if entry["outcome"] == "damaged"} == set(damaged)


def test_it_is_the_way_out_when_every_entry_is_damaged(
    flowproject: Any, tick: Any, context: ProjectContext
) -> None:
    tick()
    context.store.put(context.journal("days").entry_key(1), b"torn")
    assert [tick()[0].outcome for _ in range(2)] == ["failed", "failed"]
    assert flowproject("reset", "days", "--yes").code == 0
    assert tick()[0].outcome == "baseline"


def test_an_unknown_sensor_is_a_usage_error(flowproject: Any, root: Path) -> None:
    assert root.is_dir()
    answer = flowproject("reset", "month", "--yes")
    assert answer.code == 64
    assert "Did you mean 'months'?" in answer.err


def test_cards_still_tell_what_came_before(flowproject: Any, tick: Any) -> None:
    tick()
    assert flowproject("reset", "days", "--yes").code == 0
    seen, _ = tick()
    assert [told["outcome"] for told in seen.history] == ["baseline", "reset", "baseline"]


def test_what_a_sensor_left_that_is_not_configured_any_more_is_told_and_given_up(
    flowproject: Any, tick: Any, context: ProjectContext
) -> None:
    project = context.root / "flowproject.toml"
    before = project.read_text()
    tick()
    (context.root / "data" / "new.csv").write_text("x")
    tick()
    assert [entry.seq for entry in context.journal("days").waiting(context.journal("days").head())]
    project.write_text(before.replace("[sensors.days]", "[sensors.dates]"))
    told = flowproject("check")
    assert told.code == 0
    assert "No sensor is called 'days' any more, and change 2 of it is not delivered" in " ".join(
        told.out.split()
    )
    assert flowproject("reset", "days").code == 64, "it asks"
    given_up = flowproject("reset", "days", "--yes")
    assert (given_up.code, given_up.out) == (
        0,
        "days: 2 given up; nothing of it is left to deliver.\n",
    )
    assert "days" not in flowproject("check").out.replace("data", "")


def test_of_a_project_renamed_below_a_shared_datastore_what_it_left_is_told_in_doubt(
    flowproject: Any, root: Path
) -> None:
    """Metaflow takes the `.metaflow` of any folder above, and there other projects have theirs."""
    (root / ".metaflow").rename(root.parent / ".metaflow")
    context = open_context()
    observe(context)
    (root / "data" / "new.csv").write_text("x")
    observe(context)
    project = root / "flowproject.toml"
    before = project.read_text()
    project.write_text(before.replace('"demo"', '"other"'))
    told = " ".join(flowproject("check").out.split())
    assert "change 2 of sensor 'days' of a project 'demo', not delivered. If that is" in told
    ticks = observe(open_context())
    assert "`flowproject move demo/days days`" in ticks[0].abandoned
    with pytest.raises(TickError, match="of a project 'demo', not delivered"):
        raise_for_failures(ticks)
    assert observe(open_context())[0].abandoned == "", (
        "nobody can tell whose it is: it is said once"
    )
    sibling = root.parent / "sibling"
    sibling.mkdir()
    (sibling / "flowproject.toml").write_text(before)
    assert "'demo'" not in flowproject("check").out, "it is that project's"


def test_what_a_project_left_under_another_name_is_told_in_its_own_folder(
    flowproject: Any, tick: Any, context: ProjectContext
) -> None:
    project = context.root / "flowproject.toml"
    tick()
    (context.root / "data" / "new.csv").write_text("x")
    tick()
    project.write_text(project.read_text().replace('"demo"', '"other"'))
    assert "'demo/days'" in flowproject("check").out
    assert flowproject("reset", "demo/days", "--yes").code == 0
    assert "demo/days" not in flowproject("check").out
