"""Writing a project into a folder: nothing over what is there, and what to do is said."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from flowproject.errors import ConfigError, UsageError
from flowproject.scaffold.init import STATE_FILE, Package, WrittenState, init, package_here
from flowproject.scaffold.rendering import Answers, render

PACKAGE = Package(line="flowproject @ git+https://git.example/flowproject@c0ffee")
ORDERS = Answers(project_name="shop", example="orders")


def test_all_is_written_and_what_was_written_is_kept_without_the_data(tmp_path: Path) -> None:
    written = init(tmp_path / "new" / "shop", ORDERS, PACKAGE)
    folder = written.folder
    assert written.left == {}
    for path, content in render(ORDERS, PACKAGE.line).items():
        assert (folder / path).read_bytes() == content
        assert path in written.written
    assert (folder / "deploy").stat().st_mode & 0o100
    state = WrittenState.load(folder)
    assert (state.version, state.answers) == (metadata.version("flowproject"), ORDERS)
    assert state.files["starterflow.py"] == (folder / "starterflow.py").read_text()
    assert "data/orders.csv" not in state.files


def test_what_is_there_stays_and_what_it_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pandas\n")
    (tmp_path / "README.md").write_text("Mine.\n")
    (tmp_path / "deploy").symlink_to("nowhere")
    written = init(tmp_path, ORDERS, PACKAGE)
    assert (tmp_path / "README.md").read_text() == "Mine.\n"
    assert (tmp_path / "requirements.txt").read_text() == "pandas\n"
    assert (tmp_path / "deploy").is_symlink()
    assert not (tmp_path / "nowhere").exists()
    assert set(written.left) == {"README.md", "requirements.txt", "deploy"}
    assert PACKAGE.line in written.left["requirements.txt"]
    assert WrittenState.load(tmp_path).left == sorted(written.left)


def test_a_second_time_it_says_how_to_go_on(tmp_path: Path) -> None:
    init(tmp_path, ORDERS, PACKAGE)
    (tmp_path / "deploy").unlink()
    with pytest.raises(UsageError, match="`flowproject upgrade`"):
        init(tmp_path, ORDERS, PACKAGE)
    assert not (tmp_path / "deploy").exists()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("")
    with pytest.raises(UsageError, match=r"can't be written.*shop"):
        init(tmp_path / "shop", ORDERS, PACKAGE)


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "nobody knows"),
        ("{", "can't be read"),
        ("[]", "can't be read"),
        ('{"v": 1}', "can't be read"),
        ('{"v": 99}', "a newer one wrote the file"),
    ],
)
def test_a_state_that_can_not_be_used_says_what_to_do(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ConfigError, match=said):
        WrittenState.load(tmp_path)


class Installed:
    """An installation of flowproject, with what an installer noted of where it came from."""

    version = "1.2.3"

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return json.dumps(self._origin) if self._origin else None


def package(origin: object, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(origin))
    return package_here(["metaflow", "snowflake"])


def test_from_git_it_is_the_commit_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://me:secret@git.example/a/flowproject"
    origin = {"url": url, "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    assert package(origin, monkeypatch) == Package(
        line="flowproject[metaflow,snowflake] @ git+https://git.example/a/flowproject@c0ffee"
    )


def test_from_an_index_it_is_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert package(None, monkeypatch).line == "flowproject[metaflow,snowflake]==1.2.3"


def test_from_a_wheel_it_is_a_copy_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "a folder" / "flowproject-1.2.3-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"a wheel")
    found = package({"url": wheel.as_uri(), "archive_info": {}}, monkeypatch)
    assert found.line == "./wheels/flowproject-1.2.3-py3-none-any.whl[metaflow,snowflake]"
    monkeypatch.undo()
    written = init(tmp_path / "project", ORDERS, found)
    copied = tmp_path / "project" / "wheels" / wheel.name
    assert copied.read_bytes() == b"a wheel"
    assert copied.relative_to(tmp_path / "project").as_posix() in written.written


def test_from_a_clone_the_command_that_makes_the_wheel_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = package({"url": "file:///src/my%20clone", "dir_info": {"editable": True}}, monkeypatch)
    monkeypatch.undo()
    assert found.line.startswith("./wheels/flowproject-1.2.3-")
    steps = init(tmp_path / "project", ORDERS, found).to_do
    assert steps[0].startswith("cd ")
    assert "pip wheel" in steps[1]
    assert "'/src/my clone'" in steps[1]
