"""What `import flowproject` adds to `import metaflow`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import copy_project

__all__ = ["measure"]

_ROUNDS: Final = 21
_CHILD: Final = """
from time import perf_counter
begun = perf_counter()
import {package}
print(perf_counter() - begun)
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """The import of ours, which contains Metaflow's, over Metaflow's alone."""
    root = copy_project(folder / "project")
    ours, peer = in_turn(
        lambda: _seconds("flowproject", root),
        lambda: _seconds("metaflow", root),
        rounds=_ROUNDS,
        quick=quick,
    )
    yield Comparison(
        ours_is="`import flowproject`",
        peer_is="`import metaflow`",
        fair_because="each in a fresh interpreter, from compiled bytecode, in a project's folder; "
        "only the import is timed, not the start of the interpreter that both share",
        ours=ours,
        peer=peer,
        goal=1.25,
    )


def _seconds(package: str, root: Path) -> float:
    child = subprocess.run(
        [sys.executable, "-c", _CHILD.format(package=package)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(child.stdout)
