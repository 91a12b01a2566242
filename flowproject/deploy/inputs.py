"""What goes into a compilation, as a fingerprint: if it is the same, the result would be, too.

Written on the template of a flow together with what must be known of the flow without compiling
it. What the flow read of its own accord was seen when it was compiled (`reads`).
"""

import hashlib
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import metaflow

import flowproject
from flowproject.codepackage import needed, project_files
from flowproject.deploy.compiled import Compiled
from flowproject.deploy.objects import CRON, TEMPLATE, Found, Object
from flowproject.deploy.reads import Reads
from flowproject.flowfiles import FlowFile
from flowproject.metaflow_internals.settings import configuration

__all__ = ["Inputs", "known_flow"]

_OF_NO_MATTER: Final = frozenset({"METAFLOW_USER", "METAFLOW_HOME", "METAFLOW_TOKEN_HOME"})


class Inputs:
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

    def fingerprint(self, flow_file: Path, reads: Reads) -> str:
        """The same as long as compiling the flow gives the same."""
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

    def noted(self, compiled: Compiled, *, since: float) -> Compiled:
        """The flow with its fingerprint, unless something that it read was written `since`."""
        if not compiled.reads:
            return compiled
        reads = Reads.from_json(compiled.reads)
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
                "python": [sys.version, sys.platform],
                "installed": _installed(),
                "environment": environment,
                "configuration": configuration(),
                "packages": [_digest_of_package(one) for one in (metaflow, flowproject)],
            }
        )

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = _digest_of(path)
        return self._digests[path]


def known_flow(
    flow_file: Path, inputs: Inputs, ours: Sequence[Found], tags: tuple[str, ...]
) -> Compiled | None:
    """The flow as it is on the cluster, if compiling it would give the same; else nothing.

    `ours` is what is there of this project and branch. If an object of the flow is missing or is
    another than it was, the flow is compiled, so that it can be written.
    """
    for template in ours:
        known = _known(template) if template.kind == TEMPLATE else {}
        if known.get("file") != flow_file.name:
            continue
        try:
            reads = Reads.from_json(known["reads"])
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
        if sorted(one.kind for one in objects) != sorted(prints):
            return None
        if template.annotations["flowproject/inputs"] != inputs.fingerprint(flow_file, reads):
            return None
        return Compiled(
            flow=flow,
            name=template.name,
            objects=tuple(_as_found(one, schedule) for one in objects),
            files=files,
            package=(),
            tags=tags,
            known=prints,
        )
    return None


def _known(template: Found) -> Mapping[str, Any]:
    try:
        known = json.loads(template.annotations.get("flowproject/known", ""))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def _as_found(one: Found, schedule: Mapping[str, Any]) -> Object:
    metadata = {"name": one.name, "annotations": dict(one.annotations)}
    spec = schedule if one.kind == CRON else {}
    return Object(kind=one.kind, namespace=one.namespace, body={"metadata": metadata, "spec": spec})


@cache
def _installed() -> list[str]:
    """Names and versions of what is installed, as the folders of its metadata are called."""
    places = {place for place in sys.path if place and Path(place).is_dir()}
    found = (name for place in places for name in os.listdir(place))  # noqa: PTH208  # names only
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
