"""A table for people, tabs for pipes, JSON for machines, progress for those who wait."""

import json
import sys

import pytest

from flowproject.changes.observation import Progress
from flowproject.cli.output import plain, print_json, print_lines, print_table, working

HEADERS = ["name", "state", "run"]
ROWS = [["a", "ok", "r1"], ["[bold]b\nc", "error", "r2"]]


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output and error that take themselves for a terminal of 60 columns."""
    assert capsys, "it puts the streams in place, of whose class the next line is"
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


def test_a_pipe_gets_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADERS, ROWS, title="not here", spare=1)
    assert capsys.readouterr().out == "name\tstate\trun\na\tok\tr1\n[bold]b c\terror\tr2\n"


def test_a_pipe_gets_the_headers_of_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADERS, [], empty="nothing")
    assert capsys.readouterr().out == "name\tstate\trun\n"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_a_table_and_markup_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADERS, ROWS, title="The title")
    out = capsys.readouterr().out
    assert "The title" in out
    assert "[bold]b" in out
    assert "\t" not in out


@pytest.mark.usefixtures("terminal")
def test_a_narrow_terminal_does_without_spare_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_table(HEADERS, ROWS, spare=1)
    assert "r1" not in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "150")
    print_table(HEADERS, ROWS, spare=1)
    assert "r1" in capsys.readouterr().out


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_words_for_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEADERS, [], title="The title", empty="nothing yet")
    assert capsys.readouterr().out == "The title\nnothing yet\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"a": "ü\x1b"}])
    out = capsys.readouterr().out
    assert json.loads(out) == [{"a": "ü\x1b"}]
    assert out.isascii()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("äöü → 日本 ✓", "äöü → 日本 ✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("\udc80", "\\udc80"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_lines_are_printed_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(["a\x1b", "b"])
    assert capsys.readouterr().out == "a\\x1b\nb\n"


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Looking"):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("terminal")
def test_progress_on_a_terminal_goes_to_stderr_and_away_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with working("Looking at [data]"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert "Looking at [data]" in err
    assert err.endswith("\x1b[2K"), "the line is wiped"


@pytest.mark.usefixtures("terminal")
def test_a_long_look_gets_a_bar_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Looking") as report:
        report("lake", Progress(seen=1_200_000, expected=2_000_000))
        report("lake", Progress(seen=1_500_000, expected=2_000_000))
    assert "1,500,000 items" in capsys.readouterr().err


def test_a_long_look_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Looking") as report:
        report("lake", Progress(seen=1))
    assert capsys.readouterr() == ("", "")
