"""What a flow reads while it is compiled, beside the files that travel: seen, not guessed.

Runs in the compiler's child process. What the flow's own code asks of the network or of other
programs can't be compared next time; neither can functions that are called at deploy time. Then
nothing is answered, and the flow is compiled each time.
"""

import functools
import os
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import flowproject
from flowproject.flowfiles import child
from flowproject.metaflow_internals.flows import deploy_time_values, function_of

__all__ = ["Reads", "Recorder"]

_MOST: Final = 60
"""So many files, folders and variables are noted: annotations are small."""

_OURS: Final = Path(flowproject.__file__).resolve().parent
_INSTALLED: Final = "site-packages"

_SCRATCH: Final = "metaflow.s3."
"""How the folders are called that Metaflow makes, and removes, while it talks to S3."""

_UNKNOWABLE: Final = frozenset(
    {
        "os.exec",
        "os.posix_spawn",
        "os.system",
        "socket.connect",
        "sqlite3.connect",
        "subprocess.Popen",
    }
)
_OF_THE_SYSTEM: Final = ("/proc", "/sys", "/dev", "/etc", "/usr/share/zoneinfo")


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Names of files, folders and variables; their contents are those of the day."""

    files: tuple[str, ...] = ()
    """Relative to the project's folder where they are in it, else absolute."""

    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` was made from; for anything else a `TypeError` or `AttributeError`."""
        return cls(**{name: tuple(map(str, names)) for name, names in data.items()})


class Recorder:
    """Listens to this process, from when it is made until it ends."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: set[str] = set()
        self._asked_for: set[str] = set()
        self._folders: set[str] = set()
        self._variables: set[str] = set()
        self._of_user: dict[str, bool] = {}
        self._unknowable = False
        self._elsewhere = tuple(_places_of_others())
        self._watch_environment()
        sys.addaudithook(self._hear)

    def reads(self, flow: Any, own: Collection[str], others: Collection[str]) -> Reads | None:
        """What was read and does not travel; nothing if it can't be known, or is too much.

        `own` are the files of the project that travel, whose content is known anyway; `others` are
        the files of packages that travel as well.
        """
        if self._unknowable or _asks_at_deploy_time(flow):
            return None
        modules = {getattr(one, "__file__", None) for one in list(sys.modules.values())}
        known = {os.path.realpath(name) for name in own}
        files = {self._noted(name) for name in {*self._files, *modules, *others} if name}
        files = {name for name in files if name and str(self._root / name) not in known}
        # A package may get another file.
        folders = {self._noted(name) for name in self._folders | set(map(os.path.dirname, others))}
        if len(files) + len(folders) + len(self._variables) > _MOST:
            return None
        return Reads(
            files=tuple(sorted(files)),
            folders=tuple(sorted(filter(None, folders))),
            variables=tuple(sorted(self._variables)),
        )

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        try:
            self._take(event, arguments)
        except (OSError, TypeError, ValueError):  # never the flow's business
            self._unknowable = True

    def _take(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, _, flags = arguments
            if not isinstance(name, int) and flags & os.O_ACCMODE == os.O_RDONLY:
                self._files.add(_absolute(name))
                if self._is_asked_by_user(importing=False):
                    self._asked_for.add(os.path.realpath(_absolute(name)))
        elif event in {"os.listdir", "os.scandir"} and self._is_asked_by_user(importing=False):
            [folder] = arguments
            self._folders.add(_absolute("." if folder is None else folder))
        elif event in _UNKNOWABLE and self._is_asked_by_user(importing=True):
            self._unknowable = True

    def _noted(self, name: str) -> str:
        """The name as it is noted; empty if it is nobody's business."""
        path = Path(os.path.realpath(name))
        if path.suffix == ".pyc" or path.is_relative_to(_OURS) or _INSTALLED in path.parts:
            return ""
        if path.is_relative_to(self._root):
            inner = path.relative_to(self._root)
            # Of git and Metaflow's own folder everything moves; a file `.env` may mean something.
            hidden = any(part.startswith((".", _SCRATCH)) for part in inner.parts[:-1])
            hidden |= inner.name.startswith(_SCRATCH)
            return "" if hidden else inner.as_posix()
        others = str(path) not in self._asked_for and any(map(path.is_relative_to, self._elsewhere))
        return "" if others else str(path)

    def _is_asked_by_user(self, *, importing: bool) -> bool:
        """Whether code of the project is what asks, directly or through a library.

        Not `importing`: what Python itself asks while it looks for a module does not count.
        """
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # there is no other way
        while frame is not None and frame.f_code.co_filename != child.__file__:
            file = frame.f_code.co_filename
            if not importing and "importlib" in file:
                return False
            if file not in self._of_user:
                self._of_user[file] = self._is_of_user(Path(file))
            if self._of_user[file]:
                return True
            frame = frame.f_back
        return False

    def _is_of_user(self, file: Path) -> bool:
        mine = file.is_relative_to(self._root) and not file.is_relative_to(_OURS)
        return mine and _INSTALLED not in file.parts

    def _watch_environment(self) -> None:
        kind: Any = type(os.environ)
        ask = kind.__getitem__

        def watched(environment: Any, name: str) -> str:
            if self._is_asked_by_user(importing=True):
                self._variables.add(os.fsdecode(name))  # `os.environb` asks in bytes
            value: str = ask(environment, name)
            return value

        kind.__getitem__ = watched


def _absolute(name: str | bytes | os.PathLike[str]) -> str:
    told = os.fsdecode(name)
    return told if told.startswith(os.sep) else str(Path.cwd() / told)


def _places_of_others() -> Iterator[str]:
    """Where Python, packages, Metaflow and the system keep what they read for themselves."""
    yield from {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    yield from {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix)}
    yield from _OF_THE_SYSTEM
    yield os.path.realpath(tempfile.gettempdir())
    home = Path.home()
    yield from (str(home / name) for name in (".aws", ".azure", ".config", ".kube"))
    yield str(Path(os.environ.get("METAFLOW_HOME", "~/.metaflowconfig")).expanduser())
    for name in ("KUBECONFIG", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        yield from filter(None, os.environ.get(name, "").split(os.pathsep))


def _asks_at_deploy_time(flow: Any) -> bool:
    """Whether a function of the user's is called meanwhile: its next answer may be another."""
    return any(map(_has_function, deploy_time_values(flow)))


def _has_function(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_function, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_has_function, value))
    function = function_of(value)
    while isinstance(function, functools.partial):  # as Metaflow's own `namespaced_event_name`
        function = function.func
    return callable(function) and not getattr(function, "__module__", "").startswith("metaflow.")
