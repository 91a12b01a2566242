"""Chooses what is in the code package that Metaflow takes to where steps run.

Uses `ContentType`, `DEFAULT_SUFFIXES_LIST`, `packaging_sys.utils` (`walk`, `suffix_filter`), and of
`system_context.package`: `user_tuples`, `path_tuples`, `_user_code_tuples`,
`_user_content_from_addl`, `_flow` and `_mfcontent._files_from_modules`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import metaflow
from metaflow.package import DEFAULT_SUFFIXES_LIST
from metaflow.packaging_sys import ContentType
from metaflow.packaging_sys.utils import suffix_filter, walk
from metaflow.system_context import system_context

__all__ = [
    "CODE_FOLDER",
    "METAFLOW_FOLDER",
    "NOTES_FOLDER",
    "choose_files",
    "packaged_files",
    "project_file",
    "project_files",
    "takeable_files",
]

CODE_FOLDER: Final = ".mf_code/"
"""Where packages lie, Metaflow itself among them, in what travels."""

METAFLOW_FOLDER: Final = Path(metaflow.__file__).resolve().parent

NOTES_FOLDER: Final = ".mf_meta/"
"""Where Metaflow notes commit and user, in what travels."""

_Files = Mapping[str, Path]
"""Name in the package → file."""


def takeable_files(root: Path) -> dict[str, Path]:
    """Everything that Metaflow takes from the folder of a flow, if it is let."""
    found = walk(f"{root}/", file_filter=suffix_filter(DEFAULT_SUFFIXES_LIST))
    return {name: Path(path) for path, name in found}


def project_file(file: Path, root: Path) -> tuple[str, str, Any]:
    """What a mutator's `add_to_package` yields for a file of the project's folder."""
    # Without a type Metaflow takes a file for a library's, and puts it into a folder apart.
    return str(file), file.relative_to(root).as_posix(), ContentType.USER_CONTENT


def choose_files(
    choose: Callable[[_Files, str, set[str]], list[str]], is_left_out: Callable[[Path], bool]
) -> None:
    """Decide what goes into the code package that Metaflow is about to fill.

    `choose` gets the project's files, the name of the script, and the names that somebody has
    asked for; it answers the names that stay. `is_left_out` is asked of each file of packages.
    """
    package: Any = system_context.package
    # Metaflow itself can be told suffixes only.
    found = package._user_code_tuples  # noqa: SLF001

    def kept() -> list[tuple[str, str]]:
        files = {name: Path(path) for path, name in found()}
        asked_for = set(package._user_content_from_addl)  # noqa: SLF001
        script = Path(package._flow.script_name).name  # noqa: SLF001
        return [(str(files[name]), name) for name in choose(files, script, asked_for)]

    package._user_code_tuples = kept  # noqa: SLF001
    # What is packed as a package was found before any hook is asked, so it is taken out again.
    modules = package._mfcontent._files_from_modules  # noqa: SLF001
    for path in [path for path in modules if is_left_out(Path(path))]:
        del modules[path]


def project_files() -> Iterator[tuple[str, str]]:
    """Name and path of each file of the project in the code package of this process."""
    for path, name in system_context.package.user_tuples():
        yield name, path


def packaged_files() -> Iterator[tuple[str, str]]:
    """Name and path of each file that travels, those of packages and of Metaflow too."""
    for path, name in system_context.package.path_tuples():
        # What Metaflow writes itself has no path, but a text that says so.
        if Path(path).is_file():
            yield name, path
