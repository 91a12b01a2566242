"""How `flowproject dev` reads its options; what it does: tests/flows."""

import threading
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowproject.cli import dev as command
from flowproject.dev.loop import PageSettings, Result, Settings
from flowproject.dev.messages import Listener, LoopStarted


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

    monkeypatch.setattr(command, "Loop", Loop)
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


def test_the_page_is_for_this_machine_alone_unless_told_otherwise(
    flowproject: Any, told: list[Settings]
) -> None:
    assert flowproject("dev").code == 0
    assert flowproject("dev", "--page-port", "4711", "--token", "sesame").code == 0
    assert [settings.page for settings in told] == [
        PageSettings(host="127.0.0.1", port=0, token=""),
        PageSettings(host="127.0.0.1", port=4711, token="sesame"),  # noqa: S106  # of a test
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_names_of_this_machine_need_no_token(
    flowproject: Any, told: list[Settings], host: str
) -> None:
    assert flowproject("dev", "--host", host).code == 0
    assert told[0].page == PageSettings(host=host)


def test_a_page_for_others_has_a_token_that_nobody_can_guess(
    flowproject: Any, told: list[Settings]
) -> None:
    for _ in range(2):
        assert flowproject("dev", "--host", "0.0.0.0").code == 0  # noqa: S104  # what is tested
    tokens = {settings.page.token for settings in told if settings.page}
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 24


def test_a_loop_that_ends_by_itself_has_a_page_only_if_it_is_opened(
    flowproject: Any, told: list[Settings]
) -> None:
    assert flowproject("dev", "--until-idle").code == 0
    assert flowproject("dev", "--until-idle", "--open").code == 0
    assert [settings.page is None for settings in told] == [True, False]


@pytest.mark.parametrize("option", ["--open", "--json"])
def test_the_page_is_opened_in_the_browser_if_that_is_wanted(
    flowproject: Any, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    opened = option == "--open"
    shown: list[str] = []
    done = threading.Event()

    class Loop:
        def __init__(self, _: Path, *, listener: Listener, **__: object) -> None:
            at = datetime(2026, 11, 28, tzinfo=UTC)
            listener(
                LoopStarted(at=at, url="http://b/event", logs=Path(), page="http://p/?token=t")
            )

        def run(self) -> Result:
            assert done.wait(10)
            return Result(reason="idle", runs=(), failed=0, until_idle=True)

    def open_page(address: str) -> None:
        shown.append(address)
        done.set()

    monkeypatch.setattr(command, "Loop", Loop)
    monkeypatch.setattr(webbrowser, "open", open_page)
    if not opened:
        done.set()
    assert flowproject("dev", option).code == 0
    assert shown == (["http://p/?token=t"] if opened else [])


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port_is_refused(flowproject: Any, told: list[Settings], port: str) -> None:
    assert flowproject("dev", f"--page-port={port}").code == 64
    assert told == []
