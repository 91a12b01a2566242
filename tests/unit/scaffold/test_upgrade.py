"""From what one version wrote to what another writes, around the edits of who owns the files."""

from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.errors import UsageError
from flowproject.scaffold import upgrade
from flowproject.scaffold.init import Package, WrittenState, init
from flowproject.scaffold.rendering import Answers
from flowproject.scaffold.upgrade import FileUpgrade, apply_upgrade, plan_upgrade

PACKAGE = Package(line="flowproject @ git+https://git.example/flowproject@c0ffee")
ANSWERS = Answers(project_name="shop", example="orders")
BASE = {
    "mine.py": "one\ntwo\nthree\nfour\nfive\n",
    "same.py": "a\n",
    "edited.py": "a\nb\nc\nd\ne\n",
    "both.py": "a\nb\nc\n",
    "removed.py": "a\n",
    "gone.py": "a\n",
}
NEW = {
    "mine.py": "one\ntwo\nthree\nfour\nfive\nsix\n",
    "same.py": "a\n",
    "edited.py": "a\nb\nc\nd\nE\n",
    "both.py": "a\nB\nc\n",
    "removed.py": "A\n",
    "new.py": "new\n",
    "there.py": "theirs\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that version 0.0.1 wrote, with edits; this version writes `NEW`."""
    for path, text in BASE.items():
        (tmp_path / path).write_text(text)
    WrittenState(version="0.0.1", answers=ANSWERS, files=BASE).save(tmp_path)
    (tmp_path / "edited.py").write_text("mine\nb\nc\nd\ne\n")
    (tmp_path / "both.py").write_text("a\nb, and more\nc\n")
    (tmp_path / "removed.py").unlink()
    (tmp_path / "there.py").write_text("mine\n")
    monkeypatch.setattr(
        upgrade, "render", lambda *_: {path: text.encode() for path, text in NEW.items()}
    )
    return tmp_path


def planned(folder: Path) -> dict[str, FileUpgrade]:
    state = WrittenState.load(folder)
    return {one.path: one for one in plan_upgrade(folder, state, PACKAGE)}


def apply(folder: Path) -> None:
    state = WrittenState.load(folder)
    apply_upgrade(folder, state, PACKAGE, plan_upgrade(folder, state, PACKAGE))


def test_each_file_is_told_by_who_changed_it(project: Path) -> None:
    assert {path: one.kind for path, one in planned(project).items()} == {
        "both.py": "conflict",
        "edited.py": "merged",
        "gone.py": "left",
        "mine.py": "updated",
        "new.py": "added",
        "removed.py": "left",
        "there.py": "left",
    }


def test_a_plan_writes_nothing(project: Path) -> None:
    before = {path.name: path.read_text() for path in project.iterdir()}
    planned(project)
    assert {path.name: path.read_text() for path in project.iterdir()} == before


def test_edits_stay_new_things_come_and_conflicts_show_both(project: Path) -> None:
    apply(project)
    assert (project / "mine.py").read_text() == NEW["mine.py"]
    assert (project / "new.py").read_text() == "new\n"
    assert (project / "edited.py").read_text() == "mine\nb\nc\nd\nE\n"
    assert (project / "there.py").read_text() == "mine\n"
    assert (project / "gone.py").read_text() == "a\n"
    assert not (project / "removed.py").exists()
    both = (project / "both.py").read_text()
    for line in ("<<<<<<< yours", "b, and more", "||||||| flowproject 0.0.1", "B", ">>>>>>>"):
        assert line in both


def test_afterwards_there_is_nothing_to_change_also_if_a_conflict_still_stands(
    project: Path,
) -> None:
    apply(project)
    marked = (project / "both.py").read_text()
    assert {one.kind for one in planned(project).values()} <= {"left"}
    apply(project)
    assert (project / "both.py").read_text() == marked
    assert WrittenState.load(project).version == metadata.version("flowproject")


def test_an_upgrade_that_was_interrupted_goes_on_with_the_rest(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = upgrade.write_over

    def dies(path: Path, content: bytes) -> None:
        if path.name == "mine.py":
            raise OSError(28, "No space left on device")
        write(path, content)

    with monkeypatch.context() as full:
        full.setattr(upgrade, "write_over", dies)
        with pytest.raises(UsageError, match="No space left"):
            apply(project)
    once = (project / "both.py").read_text()
    assert "<<<<<<<" in once
    apply(project)
    assert (project / "both.py").read_text() == once
    assert (project / "mine.py").read_text() == NEW["mine.py"]


def test_a_project_of_a_newer_version_is_left_alone(project: Path) -> None:
    WrittenState(version="99.0", answers=ANSWERS, files=BASE).save(project)
    with pytest.raises(UsageError, match="99.0 wrote the project"):
        planned(project)


def test_a_file_that_is_no_text_is_named(project: Path) -> None:
    (project / "edited.py").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"edited\.py can't be compared: no UTF-8"):
        planned(project)


def test_without_git_only_what_both_changed_can_not_be_merged(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs git, which is not installed"):
        planned(project)
    (project / "edited.py").write_text(BASE["edited.py"])
    (project / "both.py").write_text(BASE["both.py"])
    assert planned(project)["both.py"].kind == "updated"


def test_what_this_version_wrote_itself_is_up_to_date(tmp_path: Path) -> None:
    init(tmp_path, ANSWERS, PACKAGE)
    assert planned(tmp_path) == {}


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "é", "<"]), max_size=8)


@given(base=LINES, mine=LINES, new=LINES, ends=st.sampled_from(["\n", "\r\n"]))
def test_no_line_of_whoever_owns_the_file_is_lost(
    base: list[str],
    mine: list[str],
    new: list[str],
    ends: str,
) -> None:
    """Each line that is in neither of the versions stays as often as it was there."""
    own = [*mine[:2], "my own line", *mine[2:]]
    texts = ["".join(line + ends for line in lines) for lines in (own, base, new)]
    merged, _ = upgrade.merge_texts((texts[0], texts[1], texts[2]), ("yours", "old", "new"), "a.py")
    assert merged.count(f"my own line{ends}") == 1


def test_the_wheel_that_the_requirements_name_comes_along(project: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "downloads" / "flowproject-0.2.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    package = Package(line=f"./wheels/{wheel.name}", wheel=wheel)
    state = WrittenState.load(project)
    apply_upgrade(project, state, package, plan_upgrade(project, state, package))
    assert (project / "wheels" / wheel.name).read_bytes() == b"wheel"
