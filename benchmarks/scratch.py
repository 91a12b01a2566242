"""Projects in folders of their own, and runs in them. What is measured is not decided here."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flowproject.sensing import ProjectContext

__all__ = [
    "BRANCH",
    "add_files",
    "bare_flow",
    "copy_project",
    "project_context",
    "run",
    "same_environment_everywhere",
    "tick",
]

_ROOT: Final = Path(__file__).resolve().parent.parent
_USER: Final = "bench"
_PATIENCE: Final = 300

BRANCH: Final = f"user.{_USER}"
"""What Metaflow calls the branch of this user."""

_BARE: Final = """from metaflow import FlowSpec, card, step


class BareFlow(FlowSpec):
{card}    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BareFlow()
"""


def same_environment_everywhere() -> None:
    """Free this process, and so all that it starts, of settings that change what is measured."""
    for name in [name for name in os.environ if name.startswith(("METAFLOW", "PYTHON"))]:
        del os.environ[name]
    os.environ["METAFLOW_USER"] = _USER
    os.environ["METAFLOW_HOME"] = os.devnull  # no profile of whoever runs this


def copy_project(folder: Path, *, config: str = "") -> Path:
    """The folder, with the data, queries and configuration of this repository (or another one)."""
    _own_datastore(folder)
    add_files(folder, "flowproject.toml")
    for name in ("sql", "data"):
        shutil.copytree(_ROOT / name, folder / name)
    if config:
        (folder / "flowproject.toml").write_text(config)
    return folder


def add_files(folder: Path, *names: str) -> Path:
    """The first of these files of the repository's root, copied into the folder with the others."""
    for name in (*names, "baseflow.py"):
        shutil.copy(_ROOT / name, folder)
    return folder / names[0]


def bare_flow(folder: Path, *, card: bool) -> Path:
    """A flow of two steps that do nothing, the first with a blank card or without."""
    _own_datastore(folder)
    flow = folder / "bareflow.py"
    flow.write_text(_BARE.format(card='    @card(type="blank")\n' if card else ""))
    return flow


def run(flow: Path) -> tuple[float, str]:
    """The seconds that `python <flow> run` takes from its start to its end, and its output."""
    begun = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, flow.name, "run"],
        cwd=flow.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if ended.returncode:
        raise RuntimeError(f"{flow.name} failed:\n{ended.stdout}")
    return seconds, ended.stdout


def tick(flow: Path) -> float:
    """The seconds of a whole run of the sensor flow in which every sensor found nothing new."""
    seconds, output = run(flow)
    outcomes = re.findall(r"(?m)^.*\(pid \d+\)\] \w+: (\w+), ", output)
    if set(outcomes) != {"unchanged"}:
        raise RuntimeError(f"this was no unchanged tick:\n{output}")
    return seconds


def project_context(root: Path) -> "ProjectContext":
    """The project in that folder, for ticks inside this process, as the flows of a run see it."""
    from flowproject.config.parse import load
    from flowproject.journal import open_store
    from flowproject.sensing import ProjectContext

    store = open_store(str(root / ".metaflow"))
    return ProjectContext(project=load(root), root=root, store=store, branch=BRANCH)


def _own_datastore(folder: Path) -> None:
    """Metaflow takes the nearest one upwards."""
    (folder / ".metaflow").mkdir(parents=True)
