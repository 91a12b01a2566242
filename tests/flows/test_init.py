"""What `flowproject init` writes, run: its own test, and the tick of its sensor."""

import runpy
from pathlib import Path

import pytest

from flowproject.scaffold.init import Package, init
from flowproject.scaffold.rendering import Answers
from flowproject.testing import ProjectCopy

FILES = Answers(project_name="mine", example="empty", data={"type": "files", "path": "data"})


@pytest.mark.parametrize(
    "answers",
    [
        Answers(project_name="mine", example="orders"),
        pytest.param(Answers(project_name="mine"), marks=pytest.mark.thorough),
        pytest.param(FILES, marks=pytest.mark.thorough),
    ],
    ids=lambda answers: answers.example,
)
def test_the_test_of_a_project_passes_and_its_sensor_looks(
    answers: Answers, tmp_path: Path, flow_interpreter: str
) -> None:
    root = tmp_path / "mine"
    init(root, answers, Package(line="flowproject"))
    names = runpy.run_path(str(root / "tests" / "test_starterflow.py"))
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    for number, use in enumerate((test, looks)):
        folder = tmp_path / f"copy {number}"
        copy = ProjectCopy.of(root, folder, interpreter=flow_interpreter)
        use(copy)
        copy.close()


def looks(copy: ProjectCopy) -> None:
    assert copy.tick().outcome == "baseline"
