"""Finds what a command works on: the project around the current folder, and its branch."""

from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from flowproject.config import project_root, refuse_two_copies
from flowproject.config.parse import load
from flowproject.dev.records import loops_alive, work_folder
from flowproject.errors import FlowprojectError, JournalError, UsageError
from flowproject.journal import datastore_root
from flowproject.metaflow_internals.datastore import local_root
from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.metaflow_internals.flows import branch_name
from flowproject.sensing import ProjectContext

__all__ = [
    "Branch",
    "GitBranch",
    "Production",
    "complete_sensor",
    "find_root",
    "journal_of",
    "local_bus",
    "loops_folder",
    "open_context",
    "place_of",
]

Branch = Annotated[
    str, typer.Option("--branch", help="Metaflow branch, as in `run --branch` (default: yours).")
]
GitBranch = Annotated[
    str | None, typer.Option("--git-branch", help="The git branch (default: the CI's, or git's).")
]
Production = Annotated[bool, typer.Option("--production", help="The production branch.")]


def find_root() -> Path:
    """The folder of the project around the current folder.

    Never the one around Python's main script: with `python -m flowproject` that is this package.

    Raises:
        ConfigError: if there is no project here, or flowproject is here twice.
        UsageError: if there is no current folder any more.
    """
    try:
        # Not `project_root()` without a start: it begins at the main script.
        here = Path.cwd()
    except FileNotFoundError:
        raise UsageError(
            "The current folder does not exist any more", fix="Change into your project's folder"
        ) from None
    root = project_root(here)
    # Our children import the copy in the folder, and we are the other one.
    refuse_two_copies(root)
    return root


def open_context(branch: str = "", *, production: bool = False) -> ProjectContext:
    """The project around the current folder, on a branch of it.

    Raises:
        ConfigError: if there is no project, or its configuration is wrong.
        UsageError: if Metaflow would refuse the branch.
        JournalError: if the datastore can't be opened.
    """
    root = find_root()
    project = load(root)
    name = _branch_name(project.project_name, branch, production=production)
    place = _datastore(root)
    return ProjectContext.open(root, project=project, branch=name, datastore=place)


def place_of(context: ProjectContext) -> str:
    """Name the project, the branch, and where its journals lie: the title of what is read there."""
    root, here = context.datastore, Path.cwd()
    if "://" not in root and Path(root).is_relative_to(here):
        root = str(Path(root).relative_to(here))
    name = context.project.project_name
    return f"{name}, branch {context.branch}, in {root}/flowproject/{name}/{context.branch}"


def journal_of(context: ProjectContext, sensor: str) -> str:
    """Where a sensor's journal lies, for machines: the datastore, and the path in it."""
    return f"{context.datastore}/{context.journal(sensor).location}"


def loops_folder(root: Path) -> Path:
    """Where the loops of the project in this folder keep their records and those of their runs."""
    # Metaflow looks for a local datastore in the current folder and above.
    with chdir(root):
        return work_folder(local_root())


def complete_sensor(incomplete: str) -> list[str]:
    """The sensors whose names begin so, for the shell's completion; none outside a project."""
    try:
        known = load(find_root()).sensors
    except FlowprojectError:
        return []
    return [name for name in known if name.startswith(incomplete)]


def _datastore(root: Path) -> str:
    """The datastore of flows that run in the project's folder, whichever folder of it this is."""
    try:
        # Metaflow looks for a local datastore in the current folder and above.
        with chdir(root):
            return datastore_root()
    except OSError as error:
        raise JournalError(
            f"There is no datastore, and none can be made: {error.strerror}",
            where=str(root),
            fix="Set METAFLOW_DATASTORE_SYSROOT_LOCAL to a folder that you may write to",
        ) from error


def _branch_name(project: str, branch: str, *, production: bool) -> str:
    """The branch as Metaflow spells it: `user.x`, `test.x`, `prod` or `prod.x`."""
    try:
        return branch_name(project, branch, production=production)
    except MetaflowException as error:
        raise UsageError(
            f"--branch {branch!r} is no Metaflow branch: {error}",
            allowed="Letters, digits and underscores; `test.` is put before it",
            fix="`flowproject history --branch NAME` takes what `run --branch NAME` was given",
        ) from error


def local_bus(context: ProjectContext) -> str:
    """The bus of the loop of this project and branch that runs here; empty if none does."""
    # A machine may run loops of several projects, and of several branches of one.
    wanted = (str(context.root), context.branch)
    loops = loops_alive(loops_folder(context.root))
    return next((loop.bus for loop in loops if (loop.project, loop.branch) == wanted), "")
