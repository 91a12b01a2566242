"""Keeps Metaflow's processes from harming each other when several look at flow files at once.

Metaflow is made for one command at a time. Uses `LocalStorage.get_datastore_root_from_config`,
`production_token._path`, `CondaEnvironment.init_environment` and METAFLOW_TOKEN_HOME.
"""

import fcntl
import functools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from metaflow.plugins.datastores.local_storage import LocalStorage
from metaflow.plugins.pypi.conda_environment import CondaEnvironment

__all__ = ["make_folder_once", "own_tokens", "resolve_in_turn"]

_LOCK: Final = "flowproject.lock"


def make_folder_once() -> None:
    """Make it no error, from here on, that another process makes the local datastore's folder."""
    original = LocalStorage.get_datastore_root_from_config.__func__

    @functools.wraps(original)
    def root(cls: Any, *arguments: Any, **options: Any) -> Any:
        # Metaflow looks for the folder, and then makes it without `exist_ok`: of two flows that are
        # described side by side in a new project, one would fail.
        with suppress(FileExistsError):
            return original(cls, *arguments, **options)
        return original(cls, *arguments, **options)

    LocalStorage.get_datastore_root_from_config = classmethod(root)


@contextmanager
def own_tokens() -> Iterator[None]:
    """Keep production tokens in files of this process inside; then the user gets them.

    Each file of the user's is replaced at once, or left as it is.
    """
    # Not at the top: `import metaflow` does not load it, and only a compiler needs it.
    from metaflow.plugins.aws.step_functions import production_token

    # Metaflow reads and rewrites one file for all flows of a project and branch, in place, so that
    # a neighbour meets half of it.
    shared = production_token._path  # noqa: SLF001

    # Not METAFLOW_TOKEN_HOME: Metaflow would install its resolver of environments there, too.
    with tempfile.TemporaryDirectory() as folder:

        def own(prefix: str) -> str:
            path = Path(folder, prefix)
            if not path.exists() and (known := _tokens(Path(shared(prefix)))):
                path.write_text(known)
            return str(path)

        production_token._path = own  # noqa: SLF001
        try:
            yield
        finally:
            production_token._path = shared  # noqa: SLF001
        for path in Path(folder).iterdir():
            _replace(Path(shared(path.name)), path.read_text())


def resolve_in_turn() -> None:
    """Have environments made, from here on, while no other process of this user makes any."""
    # Flows of a project share them: their folders are named after the packages. Metaflow tells its
    # resolver to lock nothing, and writes notes into these folders that a neighbour reads.
    original = CondaEnvironment.init_environment

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **options: Any) -> None:
        with _alone():
            original(self, *arguments, **options)

    CondaEnvironment.init_environment = init


@contextmanager
def _alone() -> Iterator[None]:
    """Inside, no other process of this user is inside."""
    told = os.environ.get("METAFLOW_TOKEN_HOME") or os.environ.get("METAFLOW_HOME")
    home = Path(told or "~/.metaflowconfig").expanduser()
    home.mkdir(parents=True, exist_ok=True)
    with (home / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system unlocks it when the process ends, however
        yield


def _tokens(path: Path) -> str:
    """The text of a file of tokens; empty if there is none, or what it has is no JSON object."""
    try:
        text = path.read_text()
        return text if isinstance(json.loads(text), dict) else ""
    except (OSError, ValueError):
        return ""


def _replace(path: Path, text: str) -> None:
    """Write the file at once or not at all."""
    if _tokens(path) == text:
        return
    # A home that can't be written is no failure: the token stands in what was deployed.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:
            new.write(text)
        Path(new.name).replace(path)
