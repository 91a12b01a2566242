"""A small project in a folder of its own, and the commands as a user types them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowproject import sensing
from flowproject.cli import main
from flowproject.cli.context import open_context
from flowproject.sensing import ProjectContext, Tick

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "data"

[sensors.days]

[sensors.months]
data = { path = "months" }
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two sensors on folders, and a datastore in it."""
    root = tmp_path / "project"
    for folder in (".metaflow", "data", "months"):
        (root / folder).mkdir(parents=True)
    (root / "flowproject.toml").write_text(CONFIG)
    (root / "data" / "a.csv").write_text("1")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def flowproject(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command `flowproject`, in this process."""

    def command(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main([*arguments])
        out, err = capsys.readouterr()
        return Answer(code=code, out=out, err=err)

    return command


@pytest.fixture
def context(root: Path) -> ProjectContext:
    """What the commands look at, for looking behind them."""
    assert root.is_dir()
    return open_context()


@pytest.fixture
def tick(context: ProjectContext) -> Callable[[], list[Tick]]:
    """One tick of every sensor; there is no bus."""
    return lambda: sensing.publish(context, sensing.observe(context))
