"""How `flowproject dev` reads its options; what it does: tests/flows."""

from pathlib import Path
from typing import Any

import pytest

import flowproject.dev.loop
from flowproject.dev.settings import Result, Settings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[Settings]:
    """The settings that the loop was started with."""
    started: list[Settings] = []

    class Loop:
        def __init__(self, where: Path, *, settings: Settings, **_: object) -> None:
            assert where == root
            started.append(settings)

        def run(self) -> Result:
            return Result(reason="idle", runs=(), failed=0, until_idle=True)

    monkeypatch.setattr(flowproject.dev.loop, "Loop", Loop)
    return started


@pytest.mark.parametrize(
    "text, seconds", [("10s", 10), ("10", 10), ("1.5m", 90), ("1h", 3600), ("", 0)]
)
def test_durations_have_units(
    flowproject: Any, told: list[Settings], text: str, seconds: float
) -> None:
    assert flowproject("dev", "--every", text).code == 0
    assert told[0].every == seconds


@pytest.mark.parametrize("text", ["0s", "-1s", "10 days", "often"])
def test_what_is_no_duration_is_a_usage_error(
    flowproject: Any, told: list[Settings], text: str
) -> None:
    answer = flowproject("dev", f"--every={text}")
    assert answer.code == 64
    assert "Such as 10s, 5m or 1h" in answer.err
    assert told == []


def test_options_reach_the_loop(flowproject: Any, told: list[Settings]) -> None:
    assert flowproject("dev", "--until-idle", "--branch", "b", "--max-parallel", "2").code == 0
    assert told == [Settings(until_idle=True, branch="b", max_parallel=2)]
