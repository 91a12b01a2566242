"""`flowproject history`: every entry of the journal, also around a damaged one."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.difference import Difference
from flowproject.journal import Receipt
from flowproject.sensing import ProjectContext
from tests.journals import WaitedFor, mark
from tests.journals import entry as an_entry


@pytest.fixture
def grown(root: Path, tick: Any) -> Path:
    """A baseline and three changes of the sensor `days`."""
    tick()
    for number in range(3):
        (root / "data" / f"{number}.csv").write_text("x")
        tick()
    return root


def entries(answer: Any) -> list[dict[str, Any]]:
    assert answer.code == 0
    return json.loads(answer.out)


@pytest.mark.usefixtures("grown")
def test_entries_are_listed_newest_first(flowproject: Any) -> None:
    lines = [line.split("\t") for line in flowproject("history", "days").out.splitlines()]
    assert lines[0][:2] == ["sensor", "no."]
    assert [line[1] for line in lines[1:]] == ["4", "3", "2", "1"]
    assert [line[3] for line in lines[1:]] == ["changed"] * 3 + ["baseline"]
    assert [line[6] for line in lines[1:]] == ["waiting"] * 3 + [""]
    assert {len(line) for line in lines} == {9}


@pytest.mark.usefixtures("grown")
def test_json_has_complete_entries(flowproject: Any, context: ProjectContext) -> None:
    found = entries(flowproject("history", "days", "--json"))
    journal = context.journal("days")
    entry = journal.get(4)
    assert entry
    assert found[0].pop("delivery")["state"] == "waiting"
    assert found[0].pop("journal").endswith(f"/.metaflow/{journal.location}")
    assert found[0] == {**entry.to_json(), "published": False}
    assert found[-1]["published"] is None, "a baseline is not for the bus"


@pytest.mark.usefixtures("grown")
def test_what_the_bus_has_is_marked(flowproject: Any, context: ProjectContext) -> None:
    journal = context.journal("days")
    second = journal.get(2)
    assert second
    mark(journal, second)
    found = entries(flowproject("history", "days", "--json"))
    assert [entry["published"] for entry in found] == [False, False, True, None]


@pytest.mark.usefixtures("grown")
def test_the_limit_holds_for_each_sensor(flowproject: Any) -> None:
    found = entries(flowproject("history", "--limit", "1", "--json"))
    assert [(entry["sensor"], entry["seq"]) for entry in found] == [("days", 4), ("months", 1)]


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize("seq", [4, 3, 1])
def test_a_damaged_entry_is_listed_with_what_follows_it(
    flowproject: Any, context: ProjectContext, seq: int
) -> None:
    context.store.put(context.journal("days").entry_key(seq), b"{}")
    found = entries(flowproject("history", "days", "--json"))
    assert [entry["seq"] for entry in found] == [4, 3, 2, 1]
    [damaged] = [entry for entry in found if entry["outcome"] == "damaged"]
    assert damaged["seq"] == seq
    assert context.journal("days").entry_key(seq) in damaged["reason"]
    assert flowproject("history", "days").code == 0


@pytest.mark.usefixtures("grown")
def test_an_entry_that_ticks_pass_over_is_listed_too(
    flowproject: Any, context: ProjectContext, tick: Any
) -> None:
    context.store.put(context.journal("days").entry_key(4), b"torn")
    assert [tick()[0].outcome for _ in range(2)] == ["failed", "changed"]
    found = entries(flowproject("history", "days", "--json"))
    assert [(entry["seq"], entry["outcome"]) for entry in found] == [
        (5, "changed"),
        (4, "damaged"),
        (3, "changed"),
        (2, "changed"),
        (1, "baseline"),
    ]


def test_what_a_sensor_that_is_gone_left_is_listed_and_named_and_can_be_asked_for(
    flowproject: Any, grown: Path
) -> None:
    project = grown / "flowproject.toml"
    project.write_text(project.read_text().replace("[sensors.days]", "[sensors.dates]"))
    all_of_it = flowproject("history")
    assert [line.split("\t")[:2] for line in all_of_it.out.splitlines()[1:]] == [
        ["months", "1"],
        *(["days", seq] for seq in "4321"),
    ]
    assert "changes 2 to 4 of it are not delivered" in all_of_it.err
    found = entries(flowproject("history", "days", "--json"))
    assert len(found) == 4
    assert found[0]["delivery"]["in_words"] == "waiting, and no sensor is left that delivers it"
    told = flowproject("why", "days/3")
    assert (told.code, "Change 3 of sensor 'days':" in told.out) == (0, True)
    change = json.loads(flowproject("why", "days/3", "--json").out)
    assert flowproject("why", change["id"]).out == told.out
    for command in ("replay", "skip"):
        refused = flowproject(command, "days/3")
        assert refused.code == 64
        assert "`flowproject move days NEW-NAME`, and then NEW-NAME/3" in refused.err
    assert flowproject("move", "days", "dates", "--yes").code == 0
    assert "Change 3 of sensor 'dates':" in flowproject("why", "days/3").out, "it went there"
    assert "not delivered" not in flowproject("history").err
    assert flowproject("why", "day/3").code == 64


def test_so_it_is_of_a_project_that_has_another_name_now(flowproject: Any, grown: Path) -> None:
    project = grown / "flowproject.toml"
    project.write_text(project.read_text().replace('"demo"', '"other"'))
    assert "of it are not delivered" in flowproject("history").err
    assert len(entries(flowproject("history", "demo/days", "--json"))) == 4
    assert "Change 3 of sensor 'days':" in flowproject("why", "demo/days/3").out


def test_an_empty_journal_is_an_empty_list(flowproject: Any, root: Path) -> None:
    assert root.is_dir()
    assert entries(flowproject("history", "--json")) == []


def test_another_branch_has_a_history_of_its_own(flowproject: Any, tick: Any) -> None:
    tick()
    assert entries(flowproject("history", "--branch", "other", "--json")) == []
    assert entries(flowproject("history", "--production", "--json")) == []


def test_a_branch_that_metaflow_refuses_is_a_usage_error(flowproject: Any, root: Path) -> None:
    assert root.is_dir()
    answer = flowproject("history", "--branch", "Not Good")
    assert answer.code == 64
    assert "'Not Good' is no Metaflow branch" in answer.err


def test_an_unknown_sensor_is_a_usage_error_with_the_closest_name(
    flowproject: Any, root: Path
) -> None:
    assert root.is_dir()
    answer = flowproject("history", "day")
    assert answer.code == 64
    assert "Did you mean 'days'?" in answer.err


@pytest.mark.usefixtures("grown")
def test_what_became_of_each_change_and_who_took_it_is_told(
    flowproject: Any, context: ProjectContext
) -> None:
    journal = context.journal("days")
    journal.outbox.record_listeners(["AFlow", "BFlow"], by="test")
    for seq in (2, 3):
        entry = journal.get(seq)
        assert entry
        mark(journal, entry, listeners=("AFlow", "BFlow"))
        for flow in ("AFlow", "BFlow")[: 4 - seq]:
            journal.receipts.claim(
                Receipt(seq=seq, id=entry.id, attempt=1, flow=flow, run=f"{flow}/7", at="now")
            )
    lines = [line.split("\t") for line in flowproject("history", "days").out.splitlines()]
    assert [line[6:8] for line in lines[1:]] == [
        ["waiting", ""],
        ["sent, awaits BFlow", "AFlow/7"],
        ["delivered", "AFlow/7, BFlow/7"],
        ["", ""],
    ]


def test_many_changes_are_read_side_by_side(
    flowproject: Any, context: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = context.journal("days")
    journal.outbox.record_listeners(["AFlow"], by="test")
    for seq in range(1, 201):
        recorded = journal.record(replace(an_entry(seq), sensor="days"), None, Difference())
        mark(journal, recorded, listeners=("AFlow",))
        journal.receipts.claim(
            Receipt(seq=seq, id=recorded.id, attempt=1, flow="AFlow", run="AFlow/1", at="then")
        )
    waited = WaitedFor(context.store)
    module = sys.modules["flowproject.cli.history"]
    monkeypatch.setattr(module, "open_context", lambda *_, **__: replace(context, store=waited))
    told = flowproject("history", "days", "--limit", "200", "--json")
    assert [entry["delivery"]["state"] for entry in json.loads(told.out)] == ["delivered"] * 200
    assert len(waited.requests) < 200 * 2 / 10, len(waited.requests)


@pytest.mark.usefixtures("grown")
def test_what_a_newer_version_noted_of_one_change_hides_nothing_else(
    flowproject: Any, context: ProjectContext
) -> None:
    journal = context.journal("days")
    entry = journal.get(2)
    assert entry
    mark(journal, entry)
    [key] = [one for one in context.store.keys(journal.location) if "/published/" in one]
    context.store.put(key, b'{"v": 99, "other": true}')
    answer = flowproject("history", "days", "--json")
    found = entries(answer)
    assert [one["seq"] for one in found] == [4, 3, 2, 1]
    assert found[2]["delivery"]["state"] == "newer format"
    assert "version of flowproject that wrote it" in flowproject("history", "days").err
    context.store.put(journal.entry_key(3), b'{"v": 99, "digest": "of another kind"}')
    found = entries(flowproject("history", "days", "--json"))
    assert [one["outcome"] for one in found] == ["changed", "newer format", "changed", "baseline"]


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize("seq", [4, 2])
def test_a_folder_in_the_place_of_an_entry_is_named_by_everything_that_reads_it(
    flowproject: Any, context: ProjectContext, root: Path, seq: int, tick: Any
) -> None:
    key = context.journal("days").entry_key(seq)
    (root / ".metaflow" / key).unlink()
    (root / ".metaflow" / key).mkdir()
    found = entries(flowproject("history", "days", "--json"))
    assert [one["seq"] for one in found] == [4, 3, 2, 1]
    words = f"{key!r}: a folder is in its place"
    assert words in found[4 - seq]["reason"]
    for command in (("why", f"days/{seq}"), ("replay", f"days/{seq}"), ("preview", "days")):
        answer = flowproject(*command)
        assert (answer.code, words in answer.out + answer.err) == (5, True), command
    if seq == 4:
        assert words in tick()[0].reason
    told = flowproject("check", "--connect")
    assert (words in told.out + told.err) == (seq == 4), "of the end, which a tick reads first"
