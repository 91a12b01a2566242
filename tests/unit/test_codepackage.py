"""Which files of a project's folder travel to where its steps run."""

from pathlib import Path

from flowproject.codepackage import needed


def test_the_file_of_a_flow_travels_whatever_is_excluded(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("oneflow.py", "helper.py", "tests/test_one.py")}
    for path in files.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert needed(files, "oneflow.py", ["*.py", "tests/**"]) == ["oneflow.py"]
