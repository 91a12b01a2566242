"""What all processes of one run of the tests share: a folder, and what the first to want it starts.

With pytest-xdist a run is several processes. The first begins it: there the folder is made, and at
its end whatever was started in the folder is ended, and the folder removed.
"""

import atexit
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["begin", "end_with_the_run", "one_at_a_time", "owner", "shared_folder"]

_FOLDER: Final = "FLOWPROJECT_TESTS_FOLDER"
_OWNER: Final = "owner"
_PROCESSES: Final = "processes"


def begin(environ: MutableMapping[str, str]) -> Path:
    """The folder of the run that these variables tell of; without one, a run begins here."""
    if _FOLDER not in environ:
        environ[_FOLDER] = tempfile.mkdtemp(prefix="flowproject-tests-")
        folder = Path(environ[_FOLDER])
        (folder / _OWNER).write_text(str(os.getpid()))
        (folder / _PROCESSES).mkdir()
        atexit.register(_end, folder, os.getpid())
    return Path(environ[_FOLDER])


def shared_folder() -> Path:
    """The folder of the run that this process belongs to."""
    return Path(os.environ[_FOLDER])


def owner() -> int:
    """The process that began the run."""
    return int((shared_folder() / _OWNER).read_text())


@contextmanager
def one_at_a_time(name: str) -> Iterator[Path]:
    """A folder for what has this name, and meanwhile no other process of the run is here."""
    folder = shared_folder() / name
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        yield folder


def end_with_the_run(process: int, *leaves: str) -> None:
    """Kill a process, which leads a session, when the run ends; then remove what it leaves.

    `leaves` are patterns of names in /tmp.
    """
    (shared_folder() / _PROCESSES / str(process)).write_text("\n".join(leaves))


def _end(folder: Path, process: int) -> None:
    if os.getpid() != process:  # a fork is not the run
        return
    for note in (folder / _PROCESSES).iterdir():
        number = int(note.name)
        with suppress(ProcessLookupError):
            if os.getsid(number) == number:  # it is still the one that was started
                os.killpg(number, signal.SIGKILL)
        for pattern in note.read_text().splitlines():
            for left in Path("/tmp").glob(pattern):  # noqa: S108  # where programs have their own
                left.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
