"""The files that `flowproject init` gives: those of this repository's root, and sound ones."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from flowproject.config.data import DATA_TYPES
from flowproject.config.keys import keys_of
from flowproject.config.parse import parse_config
from flowproject.scaffold.rendering import CI, EXAMPLES, Answers, render

ROOT = Path(__file__).parents[3]
PACKAGE = "flowproject[metaflow] @ git+https://git.example/flowproject@c0ffee"
OURS = Answers(project_name="weather", ci="github")
AS_HERE = {
    "schema": "#:schema ./flowproject.schema.json\n",
    "install": "make .venv/.runtime",
    "install_in_ci": """\
      env:
        RUNTIME: ${{ env.DEPLOY_TO == 'outerbounds' && 'requirements-outerbounds.lock' || 'requirements.lock' }}
      run: make RUNTIME="$RUNTIME" .venv/.runtime""",  # noqa: E501
}
# What this repository is besides a project: the library that projects install.
NOT_OF_A_PROJECT = {
    ".gitignore",
    ".github/workflows/ci.yml",
    "README.md",
    "pyproject.toml",
    "requirements.txt",
    "tests/test_starterflow.py",
}


def empty(kind: str) -> Answers:
    """An empty project that watches a source of this type, with just what it needs."""
    keys = keys_of(DATA_TYPES[kind])
    data = {"type": kind, **{name: "somewhere" for name, key in keys.items() if key.required}}
    if "key" in keys and isinstance(keys["key"].default, tuple):
        data["key"] = ["id"]
    return Answers(project_name="mine", example="empty", data=data, table="orders")


EVERY = [
    *(Answers(project_name="mine", example=one, ci=ci) for one in EXAMPLES[:2] for ci in CI),
    *(empty(kind) for kind in DATA_TYPES),
]


def ids(answers: Answers) -> str:
    return f"{answers.example} {answers.ci} {answers.source}"


def test_this_repository_is_what_init_gives() -> None:
    files = render(OURS, PACKAGE, **AS_HERE)
    assert set(files) > NOT_OF_A_PROJECT
    for path in files.keys() - NOT_OF_A_PROJECT:
        rendered = (ROOT / "flowproject" / "scaffold" / "templates").as_posix()
        assert (ROOT / path).read_bytes() == files[path], f"{path}: let it agree with {rendered}"


@pytest.mark.parametrize("answers", EVERY, ids=ids)
def test_a_project_is_at_most_twenty_files_and_every_answer_has_its_place(answers: Answers) -> None:
    files = render(answers, PACKAGE)
    assert len(files) < 20  # and one that says what was written
    assert not [path for path, content in files.items() if b"%%" in content]
    assert parse_config(files["flowproject.toml"].decode())["project_name"] == "mine"
    assert PACKAGE in files["requirements.txt"].decode().splitlines()
    for path, content in files.items():
        if path.endswith(".py"):
            compile(content, path, "exec")
        elif path.endswith(".yml"):
            assert yaml.safe_load(content)
    assert tomllib.loads(files["pyproject.toml"].decode())["tool"]["ruff"]


def test_no_page_says_to_install_from_an_index() -> None:
    for answers in EVERY:
        assert b"pip install flowproject" not in b"".join(render(answers, PACKAGE).values())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every project that can be, a folder each."""
    folder = tmp_path_factory.mktemp("projects")
    for number, answers in enumerate(EVERY):
        for path, content in render(answers, PACKAGE).items():
            file = folder / str(number) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return folder


def tool(name: str, *arguments: str, cwd: Path) -> str:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_flows_and_tests_are_as_the_projects_own_rules_want_them(written: Path) -> None:
    assert tool("ruff", "check", ".", cwd=written) == ""
    assert tool("ruff", "format", "--check", ".", cwd=written) == ""


def test_the_workflows_mean_what_they_say(written: Path) -> None:
    project = next(path for path in written.iterdir() if (path / ".github").exists())
    workflows = sorted(str(path) for path in project.glob(".github/workflows/*.yml"))
    assert len(workflows) == 2
    assert tool("actionlint", "-shellcheck=", "-pyflakes=", *workflows, cwd=project) == ""
    assert tool("zizmor", "--offline", "--quiet", ".github", cwd=project) == ""


@pytest.mark.thorough
@pytest.mark.parametrize("example", EXAMPLES)
def test_flows_and_tests_have_the_types_that_the_projects_own_settings_ask_for(
    written: Path, example: str
) -> None:
    number = next(place for place, one in enumerate(EVERY) if one.example == example)
    cache = f"--cache-dir={written / 'cache'}"
    assert tool("mypy", cache, cwd=written / str(number)) == ""
