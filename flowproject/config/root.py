"""Finds the project: the nearest folder that has `flowproject.toml`, and one flowproject for it.

Apart from the parser, because every step of every run asks for the folder and none for the parser.
"""

import sys
import sysconfig
from pathlib import Path

from flowproject.config.model import FILE
from flowproject.errors import ConfigError

__all__ = ["no_project", "project_root", "refuse_two_copies"]

_OURS = Path(__file__).resolve().parents[1]


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


def refuse_two_copies(root: Path) -> None:
    """Raise `ConfigError` if flows in this folder and what is installed are two flowprojects.

    A folder `flowproject` beside the flows is what they import, whatever is installed. Then
    Metaflow can't tell which files to take to where steps run, and our commands would mix the two.
    """
    beside = root / _OURS.name
    if not (beside / "__init__.py").is_file():
        return
    copy = beside.resolve()
    installed = _OURS if copy != _OURS else _installed()
    if installed is None or installed == copy:
        return
    install = f"{sys.executable} -m pip install --no-deps --editable"
    raise ConfigError(
        f"There are two copies of flowproject: {copy}, which the flows beside it import, and "
        f"{installed}, which is installed",
        where=f"Project in {root}",
        allowed="Only one can travel to where steps run",
        fix=f"To work on the folder's: `{install} {root}`. "
        f"To use the installed one: `mv {beside} {beside}.old`",
    )


def _installed() -> Path | None:
    """The package of an installation; None if there is none, or it leads to a folder elsewhere."""
    # Few processes come here, and looking for an installation takes longer than all else above.
    from importlib import metadata

    try:
        package = Path(str(metadata.distribution(_OURS.name).locate_file(_OURS.name)))
    except metadata.PackageNotFoundError:
        return None
    return package.resolve() if (package / "__init__.py").is_file() else None
