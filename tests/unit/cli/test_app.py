"""What becomes of failures: an exit code for each kind, a message, and never a traceback."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from metaflow.exception import MetaflowException

from flowproject import errors
from flowproject.cli.app import COMMANDS
from flowproject.errors import FlowprojectError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, FlowprojectError)
    and kind is not FlowprojectError
]


@pytest.mark.parametrize("name, module, short", [(name, *of) for name, of in COMMANDS.items()])
def test_the_list_of_commands_says_of_each_what_it_says_of_itself(
    name: str, module: str, short: str
) -> None:
    command = getattr(import_module(f"flowproject.cli.{module}"), name)
    first, _, _ = (inspect.getdoc(command) or "").partition("\n\n")
    assert short == " ".join(first.split())


@pytest.fixture
def fail_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `preview` fail with an exception."""

    def arrange(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("flowproject.cli.preview.open_context", fail)

    return arrange


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_failure_has_its_exit_code_and_is_told_on_stderr(
    flowproject: Any, fail_with: Any, kind: type[FlowprojectError]
) -> None:
    fail_with(kind("It broke", fix="Mend it"))
    answer = flowproject("preview", "--json")
    assert (answer.code, answer.out) == (kind.exit_code, "")
    assert answer.err == f"{kind.headline}: It broke. Mend it.\n"


def test_no_two_kinds_share_an_exit_code_and_help_lists_them_all(flowproject: Any) -> None:
    codes = {kind.exit_code for kind in KINDS}
    assert len(codes) == len(KINDS)
    listed = " ".join(flowproject("--help").out.split()).partition("Exit codes:")[2]
    assert codes | {0, 1, 70, 130} == set(map(int, re.findall(r"\d+", listed)))


def test_a_failure_of_metaflow_is_told_in_a_line(flowproject: Any, fail_with: Any) -> None:
    fail_with(MetaflowException("no such thing"))
    answer = flowproject("preview")
    assert (answer.code, answer.err) == (1, "Flow failed: no such thing\n")


def test_a_bug_leaves_a_report_with_versions_and_traceback_and_no_password(
    flowproject: Any, fail_with: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fail_with(ZeroDivisionError("at https://me:secret@host/x"))
    answer = flowproject("preview")
    assert answer.code == 70
    assert "Traceback" not in answer.err
    [report] = tmp_path.glob("flowproject-*.txt")
    assert str(report) in answer.err
    text = report.read_text()
    assert "flowproject " in text
    assert "metaflow " in text
    assert "Traceback" in text
    assert "https://***@host/x" in text
    assert "secret" not in text + answer.err


def test_messages_cannot_drive_the_terminal(flowproject: Any, fail_with: Any) -> None:
    fail_with(errors.SourceError("file '\x1b]0;owned\x07.csv'"))
    assert flowproject("preview").err == "Source error: file '\\x1b]0;owned\\x07.csv'.\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["previe"],
            "`flowproject previe` is no command. Commands: init, .* Did you mean 'preview'?",
        ),
        (
            ["preview", "--jsn"],
            "`flowproject preview` has no option '--jsn'. .* Did you mean '--json'?",
        ),
        (
            ["history", "--limit", "many"],
            "--limit of `flowproject history`: it is to be a valid integer",
        ),
        (
            ["history", "--limit", "0"],
            "--limit of `flowproject history`: .* greater than or equal to 1",
        ),
        (
            ["history", "--limit"],
            "--limit needs a value. See `flowproject --help`",
        ),
        (["history", "a", "b"], "does not know what 'b' is for. It takes SENSOR"),
        (["why"], r"`flowproject why` needs RUN\|CHANGE. It is: "),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_what_is_allowed_and_where_to_look(
    flowproject: Any, arguments: list[str], said: str
) -> None:
    answer = flowproject(*arguments)
    assert (answer.code, answer.out) == (64, "")
    assert re.match(rf"Usage error: .*{said}", answer.err)
    assert re.search(rf"See `flowproject( {arguments[0]})? --help`\n$", answer.err)


def test_without_a_command_the_help_is_printed(flowproject: Any) -> None:
    answer = flowproject()
    assert answer.code == 64
    assert "preview" in answer.out + answer.err


def test_the_version_is_printed(flowproject: Any) -> None:
    answer = flowproject("--version")
    assert answer.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", answer.out)


@pytest.mark.parametrize(
    "command",
    [["check"], ["preview"], ["history"], ["why", "F/1"], ["reset", "x"], ["schema"], ["dev"]],
)
def test_outside_a_project_a_command_says_so(
    flowproject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = flowproject(*command)
    assert (answer.code, answer.out) == (2, "")
    assert f"There is no flowproject.toml in {tmp_path} or a folder above" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_no_bug(
    flowproject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    answer = flowproject("preview")
    assert answer.code == 64
    assert "does not exist any more" in answer.err


def test_a_folder_inside_the_project_will_do(
    flowproject: Any, root: Path, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    monkeypatch.chdir(root / "data")
    assert "first look" in flowproject("history", "days").out
    assert not (root / "data" / ".metaflow").exists()


@pytest.mark.parametrize("user", ["a/../b", "a/b", "a\\b", "a\nb"])
@pytest.mark.parametrize("command", ["history", "preview"])
def test_a_user_whose_branch_is_no_folder_is_refused(
    flowproject: Any, root: Path, monkeypatch: pytest.MonkeyPatch, user: str, command: str
) -> None:
    assert root.is_dir()
    monkeypatch.setenv("METAFLOW_USER", user)
    monkeypatch.setattr("metaflow.util.get_username", lambda: user)
    answer = flowproject(command)
    assert (answer.code, "METAFLOW_USER" in answer.err) == (64, True), answer.err
