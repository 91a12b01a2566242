"""`flowproject preview`: what a tick would do, with nothing written and nothing sent."""

import json
from pathlib import Path
from typing import Any

from flowproject.sensing import ProjectContext


def kept(context: ProjectContext) -> dict[str, bytes | None]:
    return {key: context.store.get(key) for key in context.store.keys("flowproject")}


def test_it_says_what_would_happen_and_writes_nothing(
    flowproject: Any, root: Path, tick: Any, context: ProjectContext
) -> None:
    tick()
    (root / "data" / "b.csv").write_text("x")
    before = kept(context)
    answer = flowproject("preview")
    assert answer.code == 0
    lines = [line.split("\t") for line in answer.out.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["days", "changed", "1 added"],
        ["months", "unchanged", lines[2][2]],
    ]
    assert kept(context) == before


def test_json_has_whole_ticks_of_the_sensors_that_were_named(
    flowproject: Any, root: Path, tick: Any
) -> None:
    tick()
    (root / "data" / "b.csv").write_text("x")
    answer = flowproject("preview", "days", "--json")
    [seen] = json.loads(answer.out)
    assert (seen["v"], seen["outcome"], seen["value"], seen["previous"]) == (1, "changed", 2, 1)
    assert seen["id"] == tick()[0].id, "the id that it will have"


def test_a_source_that_fails_is_listed_and_decides_the_exit_code(
    flowproject: Any, root: Path
) -> None:
    (root / "months").rmdir()
    answer = flowproject("preview", "--json")
    assert answer.code == 4
    assert [seen["outcome"] for seen in json.loads(answer.out)] == ["baseline", "failed"]
    assert answer.err == ""


def test_a_damaged_journal_is_named_and_left_alone(
    flowproject: Any, tick: Any, context: ProjectContext
) -> None:
    tick()
    context.store.put(context.journal("days").entry_key(1), b"torn")
    before = kept(context)
    answer = flowproject("preview", "days")
    assert answer.code == 5
    assert context.journal("days").entry_key(1) in answer.out
    assert kept(context) == before


def test_a_broken_configuration_is_a_message_on_stderr_with_json_too(
    flowproject: Any, root: Path
) -> None:
    (root / "flowproject.toml").write_text("project_name = demo")
    answer = flowproject("preview", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert "line 1, column 16" in answer.err


def test_in_a_pipe_too_it_says_which_journal_it_read(
    flowproject: Any, root: Path, tick: Any
) -> None:
    tick()
    for command in ("preview", "history"):
        answer = flowproject(command)
        assert answer.err.startswith("demo, branch user.")
        assert "in .metaflow/flowproject/demo/user." in answer.err
        assert answer.out.startswith("sensor\t"), "what a program reads is the table alone"
        told = json.loads(flowproject(command, "--json").out)
        assert all(
            one["journal"].startswith(f"{root}/.metaflow/flowproject/demo/user.")
            and one["journal"].endswith(one["sensor"])
            for one in told
        )
        assert len(told) == 2
