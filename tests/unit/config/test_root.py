"""Where the file is looked for, and what is said if it can't be read."""

import sys
from importlib import metadata
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from flowproject.config import FILE, project_root, refuse_two_copies
from flowproject.config.parse import load
from flowproject.errors import ConfigError

ROOT = Path(__file__).parents[3]
TEXT = 'project_name = "w"\n[data]\ntype = "files"\npath = "x"\n'


def test_the_project_of_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(TEXT)
    assert load(tmp_path).project_name == "w"


def test_a_missing_file_names_the_folder_and_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"There is no flowproject.toml in {tmp_path}. "
        "Change into your project's folder, or start a project here: `flowproject init`"
    )


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'# fine\nproject_name = "\xe9"\n')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / FILE} is not UTF-8: byte 0xe9 on line 2. Save the file as UTF-8."
    )


def test_what_can_not_be_opened_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigError, match=r"flowproject\.toml can't be read: Is a directory\."):
        load(tmp_path)


def test_the_nearest_folder_upwards_is_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / FILE).write_text(TEXT)
    (tmp_path / "a" / FILE).write_text(TEXT)
    assert project_root(inner) == tmp_path / "a"


def test_a_folder_without_a_project_above_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"in {tmp_path} or a folder above"):
        project_root(tmp_path)


def test_a_script_finds_its_own_project_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, elsewhere = tmp_path / "here" / "flow.py", tmp_path / "elsewhere"
    for folder in (flow.parent, elsewhere):
        folder.mkdir()
        (folder / FILE).write_text(TEXT)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(flow), raising=False)
    monkeypatch.chdir(elsewhere)
    assert project_root() == flow.parent


def test_a_script_outside_any_project_works_in_the_one_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / FILE).write_text(TEXT)
    script = str(tmp_path / "script.py")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    monkeypatch.chdir(tmp_path / "here")
    assert project_root() == tmp_path / "here"


def test_a_command_installed_with_python_finds_the_project_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path  # pytest is such a command


def test_a_copy_beside_the_flows_that_is_not_what_runs_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "flowproject"
    package.mkdir()
    refuse_two_copies(tmp_path)
    (package / "__init__.py").write_text("")
    with pytest.raises(ConfigError) as caught:
        refuse_two_copies(tmp_path)
    said = str(caught.value)
    assert f"two copies of flowproject: {package}, which the flows beside it import, and " in said
    assert f"--editable {tmp_path}`" in said
    assert said.endswith(f"`mv {package} {package}.old`")


def test_a_clone_whose_own_copy_runs_is_refused_if_another_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    monkeypatch.setattr(metadata, "distribution", lambda _: PathDistribution(installed / "x"))
    refuse_two_copies(ROOT)  # an editable installation has no package of its own
    (installed / "flowproject").mkdir(parents=True)
    (installed / "flowproject" / "__init__.py").write_text("")
    with pytest.raises(ConfigError, match="two copies"):
        refuse_two_copies(ROOT)


def test_a_link_to_what_runs_is_one_copy(tmp_path: Path) -> None:
    (tmp_path / "flowproject").symlink_to(ROOT / "flowproject")
    refuse_two_copies(tmp_path)
