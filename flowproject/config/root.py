"""Finds the project: the nearest folder that has `flowproject.toml`.

Apart from the parser, because every step of every run asks for the folder and none for the parser.
"""

import sys
import sysconfig
from pathlib import Path

from flowproject.config.model import FILE
from flowproject.errors import ConfigError

__all__ = ["no_project", "project_root"]


def project_root(start: Path | None = None) -> Path:
    """The nearest folder that has `flowproject.toml`, going up from `start`.

    Without `start`: up from the script that Python was started with, so that a flow finds its
    project from any folder, and then up from the current folder.
    """
    # A flow is run from wherever its author stands; its file says which project it is of.
    starts = [start.resolve()] if start else [*_script_folder(), Path.cwd()]
    for folder in starts:
        for candidate in (folder, *folder.parents):
            if (candidate / FILE).is_file():
                return candidate
    raise no_project(starts, " or a folder above")


def _script_folder() -> list[Path]:
    """The folder of the main script; none if that is a command installed with Python's packages."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if not script:
        return []
    folder = Path(script).resolve().parent
    # `flowproject` and `pytest` stand in Python's own folders, and belong to no project.
    installed = (sysconfig.get_path(name) for name in ("scripts", "purelib", "stdlib"))
    return [] if any(folder.is_relative_to(place) for place in installed) else [folder]


def no_project(searched: list[Path], more: str = "") -> ConfigError:
    """The error that says in which folders no project was found, and how one begins."""
    folders = " and ".join(dict.fromkeys(str(folder.resolve()) for folder in searched))
    return ConfigError(
        f"There is no {FILE} in {folders}{more}",
        fix="Change into your project's folder, or start a project here: `flowproject init`",
    )
