"""Makes Metaflow's code package smaller: only what steps need of a project's folder travels.

Metaflow takes every Python file at or below the folder of the flow. What is left out here neither
costs time in front of each step, nor makes a deployed flow another one when it changes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from flowproject.config import FILE
from flowproject.globs import Globs
from flowproject.metaflow_internals.packaging import choose_files, takeable_files

__all__ = ["leave_out", "needed", "project_files", "read_by_steps"]

_OURS: Final = Path(__file__).resolve().parent
# What of flowproject stands above flows: by the layers, nothing that a step imports imports it. A
# change there must not make every deployed flow another one.
_COMMANDS: Final = frozenset({"cli", "deploy", "dev", "scaffold", "testing"})

_FLOW_FILES: Final = Globs(["*flow.py"])
_WORD: Final = re.compile(r"\w+")

_Files = Mapping[str, Path]
"""Name in the package → file."""


def read_by_steps(root: Path) -> list[Path]:
    """The files of the project that every step may read: its configuration and its queries."""
    return [root / FILE, *sorted(root.glob("sql/**/*.sql"))]


def project_files(root: Path) -> dict[str, Path]:
    """Name → file of everything that Metaflow takes from the folder of a project, if it is let."""
    more = {file.relative_to(root).as_posix(): file for file in read_by_steps(root)}
    return takeable_files(root) | more


def leave_out(exclude: Sequence[str]) -> None:
    """Make Metaflow leave out what no step needs, in the code package that it is about to fill."""
    choose_files(
        lambda files, script, asked_for: needed(files, script, exclude, asked_for), _is_command
    )


def needed(
    files: _Files, script: str, exclude: Sequence[str], asked_for: Collection[str] = ()
) -> list[str]:
    """The names of the files that steps of the flow in `script` could use.

    Not among them: what `exclude` matches; flowproject itself, which Metaflow packs as the package
    that it is; environments of Python; and the files of other flows that nothing here names. The
    script is always in, and so is what somebody has asked for.
    """
    asked_for = {script, *asked_for}
    excluded = Globs(exclude).match if exclude else lambda _: False
    # An environment in the folder is tens of thousands of files, and of another system's.
    environments = {
        name.partition("/")[0]
        for name, path in files.items()
        if name.count("/") and _is_environment(path, name)
    }
    usual = [
        name
        for name, path in files.items()
        if name in asked_for
        or not (
            excluded(name)
            or path.resolve().is_relative_to(_OURS)
            or name.partition("/")[0] in environments
        )
    ]
    flows = {name for name in usual if _FLOW_FILES.match(name)} - asked_for
    strangers = _unnamed(files, flows, [name for name in usual if name not in flows])
    return [name for name in usual if name not in strangers]


def _is_command(path: Path) -> bool:
    return path.is_relative_to(_OURS) and path.relative_to(_OURS).parts[0] in _COMMANDS


def _is_environment(path: Path, name: str) -> bool:
    top = path.parents[name.count("/") - 1]
    return (top / "pyvenv.cfg").is_file()


def _unnamed(files: _Files, flows: set[str], others: Sequence[str]) -> set[str]:
    """Those flow files whose module no other file in the package names, in code or in a text."""
    # A step may import another flow at any time, or start it by its file's name: a mere word is
    # enough to keep it. What is kept is searched in its turn.
    flows, look = set(flows), list(others)
    while flows and look:
        path = files[look.pop()]
        words = _words_of(path, path.stat().st_mtime_ns)
        found = {name for name in flows if name.removesuffix(".py") in words}
        flows -= found
        look += found
    return flows


# Each flow of a project asks for the same files; the time is what makes an edited one another.
@cache
def _words_of(path: Path, _: int) -> frozenset[str]:
    """The words of a file as it was written at that time."""
    return frozenset(_WORD.findall(path.read_text(errors="replace")))
