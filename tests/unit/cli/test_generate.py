"""`flowproject schema` and `flowproject docs`: write, or say what is not up to date."""

from pathlib import Path
from typing import Any

import pytest

FILES = [("schema", "flowproject.schema.json"), ("docs", "docs/configuration.md")]


@pytest.mark.parametrize("command, name", FILES)
def test_what_was_written_is_up_to_date(
    flowproject: Any, root: Path, command: str, name: str
) -> None:
    assert flowproject(command).out == f"{name} written.\n"
    assert (root / name).stat().st_size > 1000
    answer = flowproject(command, "--check")
    assert (answer.code, answer.out) == (0, f"{name} is up to date.\n")


@pytest.mark.parametrize("command, name", FILES)
@pytest.mark.parametrize("content", [None, "old"])
def test_a_check_names_what_is_not_up_to_date_and_writes_nothing(
    flowproject: Any, root: Path, command: str, name: str, content: str | None
) -> None:
    file = root / name
    if content:
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    answer = flowproject(command, "--check")
    assert answer.code == 2
    assert name in answer.err
    assert f"`flowproject {command}`" in answer.err
    assert (file.read_text() if file.exists() else None) == content


def test_a_place_that_can_not_be_written_is_no_bug(flowproject: Any, root: Path) -> None:
    (root / "docs").write_text("a file, not a folder")
    answer = flowproject("docs")
    assert answer.code == 2
    assert "can't be written" in answer.err
