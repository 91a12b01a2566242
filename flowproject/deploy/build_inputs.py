"""Fingerprints what went into a compilation: if it is the same, the result would be, too.

The fingerprint stands on the template of a flow, together with what must be known of the flow
without compiling it.
"""

# What a flow read of its own accord, beside the files that travel, is recorded in the compiler's
# child process while it compiles: seen, not guessed. What the flow's code asks of the network or
# of other programs can't be compared next time, nor can functions that are called at deploy time.
# Then nothing is recorded, and the flow is compiled each time.

import functools
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import metaflow

import flowproject
from flowproject.codepackage import needed, project_files
from flowproject.deploy.compiled_flow import CompiledFlow
from flowproject.deploy.objects import CRON, TEMPLATE, ArgoObject, DeployedObject
from flowproject.flowfiles import FlowFile, child
from flowproject.metaflow_internals.flows import deploy_time_values, function_of
from flowproject.metaflow_internals.settings import configuration

__all__ = ["BuildInputs", "ReadRecorder", "RecordedReads", "unchanged_flow"]

# So many files, folders and variables are noted: annotations are small.
_MOST: Final = 60

# Compared whole, as one of the packages: each of its files would be noise.
_OURS: Final = Path(flowproject.__file__).resolve().parent
_INSTALLED: Final = "site-packages"

# How the folders are called that Metaflow makes, and removes, while it talks to S3.
_SCRATCH: Final = "metaflow.s3."

# Audit events of Python after which an answer may be another tomorrow.
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
# Another kernel or machine has these otherwise, and no flow is another for it.
_OF_THE_SYSTEM: Final = ("/proc", "/sys", "/dev", "/etc", "/usr/share/zoneinfo")


@dataclass(frozen=True, kw_only=True)
class RecordedReads:
    """Names of files, folders and variables; their contents are those of the day."""

    files: tuple[str, ...] = ()
    """Relative to the project's folder where they are in it, else absolute."""

    folders: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The names in plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` was made from; for anything else a `TypeError` or `AttributeError`."""
        return cls(**{name: tuple(map(str, names)) for name, names in data.items()})


class ReadRecorder:
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
        # It can't be taken off again: the process ends with the compilation.
        sys.addaudithook(self._on_audit_event)

    def reads(
        self, flow: Any, own: Collection[str], others: Collection[str]
    ) -> RecordedReads | None:
        """What was read and does not travel; nothing if it can't be known, or is too much.

        `own` are the files of the project that travel, whose content is known anyway; `others` are
        the files of packages that travel as well.
        """
        if self._unknowable or _asks_at_deploy_time(flow):
            return None
        # What was imported from a cache of byte code was never opened as a file.
        modules = {getattr(one, "__file__", None) for one in list(sys.modules.values())}
        known = {os.path.realpath(name) for name in own}
        files = {self._noted(name) for name in {*self._files, *modules, *others} if name}
        files = {name for name in files if name and str(self._root / name) not in known}
        # A package may get another file.
        folders = {self._noted(name) for name in self._folders | set(map(os.path.dirname, others))}
        if len(files) + len(folders) + len(self._variables) > _MOST:
            return None
        return RecordedReads(
            files=tuple(sorted(files)),
            folders=tuple(sorted(filter(None, folders))),
            variables=tuple(sorted(self._variables)),
        )

    def _on_audit_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        try:
            self._take(event, arguments)
        # An exception in an audit hook would stop what was going on, in the flow's own code.
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
        """Whether code of the project is what asks, directly or through a library."""
        # Not `importing`: what Python itself asks while it looks for a module does not count.
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

        # On the class: `os.environ` is one object that others have imported by name.
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


# Whoever deploys, and from where: a laptop and the CI compile the same.
_OF_NO_MATTER: Final = frozenset({"METAFLOW_USER", "METAFLOW_HOME", "METAFLOW_TOKEN_HOME"})


class BuildInputs:
    """The inputs of all flows of a project, for one branch; files are read once."""

    def __init__(
        self,
        root: Path,
        *,
        options: Sequence[str],
        variables: Collection[str],
        exclude: Sequence[str],
    ) -> None:
        """Take what is known before any flow is looked at.

        Args:
            root: the folder of the project.
            options: what the compiler is told, without the tags that always move.
            variables: names of environment variables that the compiler is told to read.
            exclude: patterns of files that do not travel.
        """
        self._root = root.resolve()
        self._options = [*options]
        self._variables = variables
        self._exclude = exclude
        self._digests: dict[Path, str] = {}

    def fingerprint(self, flow_file: Path, reads: RecordedReads) -> str:
        """A digest that stays as long as compiling the flow gives the same."""
        names = needed(self._files, flow_file.name, self._exclude)
        told = {
            "of every flow": self._common,
            "script": flow_file.name,
            "travelling": {name: self._digest(self._files[name]) for name in names},
            "files": {name: self._digest(self._root / name) for name in reads.files},
            "folders": {name: _names_in(self._root / name) for name in reads.folders},
            "variables": {name: os.environ.get(name) for name in reads.variables},
        }
        return _hash(told)

    def look(self) -> None:
        """Read every file of the project now: what is edited meanwhile then counts as changed."""
        flows = (name for name in self._files if "/" not in name)
        for name in {*needed(self._files, "", self._exclude), *flows}:
            self._digest(self._files[name])

    def noted(self, compiled: CompiledFlow, *, since: float) -> CompiledFlow:
        """The flow with its fingerprint, unless something that it read was written `since`."""
        if not compiled.reads:
            return compiled
        reads = RecordedReads.from_json(compiled.reads)
        # Which of two contents the flow saw can't be told.
        if any(_written(self._root / name) >= since for name in reads.files):
            return compiled
        return replace(compiled, inputs=self.fingerprint(compiled.flow.path, reads))

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        return project_files(self._root)

    @cached_property
    def _common(self) -> str:
        environment = {
            name: text
            for name, text in os.environ.items()
            if name in self._variables
            or (name.startswith("METAFLOW_") and name not in _OF_NO_MATTER)
        }
        return _hash(
            {
                "options": self._options,
                # Another Python pickles, and resolves packages, otherwise.
                "python": [sys.version, sys.platform],
                "installed": _installed(),
                "environment": environment,
                "configuration": configuration(),
                # Whole, and not by version: who works on flowproject has one version all day.
                "packages": [_digest_of_package(one) for one in (metaflow, flowproject)],
            }
        )

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = _digest_of(path)
        return self._digests[path]


def unchanged_flow(
    flow_file: Path, inputs: BuildInputs, ours: Sequence[DeployedObject], tags: tuple[str, ...]
) -> CompiledFlow | None:
    """The flow as it is on the cluster, if compiling it would give the same; else nothing.

    `ours` is what is there of this project and branch. If an object of the flow is missing or is
    another than it was, the flow is compiled, so that it can be written.
    """
    for template in ours:
        known = _known(template) if template.kind == TEMPLATE else {}
        if known.get("file") != flow_file.name:
            continue
        try:
            reads = RecordedReads.from_json(known["reads"])
            flow = FlowFile.from_json({**known["flow"], "path": str(flow_file)})
            prints: dict[str, str] = dict(known["objects"])
            schedule = {known["schedule_field"]: ()}
            files = dict(json.loads(template.annotations.get("flowproject/files", "{}")))
        # Another version wrote it, or somebody.
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        objects = [
            one for one in ours if one.flow == flow.name and prints.get(one.kind) == one.fingerprint
        ]
        # One is missing, or is another: it is to be written, and for that compiled.
        if sorted(one.kind for one in objects) != sorted(prints):
            return None
        if template.annotations["flowproject/inputs"] != inputs.fingerprint(flow_file, reads):
            return None
        return CompiledFlow(
            flow=flow,
            name=template.name,
            objects=tuple(_as_found(one, schedule) for one in objects),
            files=files,
            package=(),
            tags=tags,
            known=prints,
        )
    return None


def _known(template: DeployedObject) -> Mapping[str, Any]:
    try:
        known = json.loads(template.annotations.get("flowproject/known", ""))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _as_found(one: DeployedObject, schedule: Mapping[str, Any]) -> ArgoObject:
    metadata = {"name": one.name, "annotations": dict(one.annotations)}
    spec = schedule if one.kind == CRON else {}
    return ArgoObject(
        kind=one.kind, namespace=one.namespace, body={"metadata": metadata, "spec": spec}
    )


@cache
def _installed() -> list[str]:
    """Names and versions of what is installed, as the folders of its metadata are called."""
    places = {place for place in sys.path if place and Path(place).is_dir()}
    found = (name for place in places for name in os.listdir(place))  # noqa: PTH208  # names only
    # Reading metadata of hundreds of packages takes a second; their folders' names have the
    # versions.
    return sorted({name for name in found if name.endswith((".dist-info", ".egg-info"))})


def _digest_of_package(module: Any) -> str:
    place = Path(module.__file__).resolve().parent
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return _hash([(path.relative_to(place).as_posix(), _digest_of(path)) for path in files])


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    except OSError:
        return []


def _hash(told: Any) -> str:
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
