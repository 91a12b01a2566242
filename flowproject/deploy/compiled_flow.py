"""Holds what Metaflow deploys of one flow, as plain data with a fingerprint that stays the same.

Pure. What always moves is no part of the fingerprint: the code package's address, the commit that
Metaflow notes in it, the production token, who deploys and when. What is left is compared.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from flowproject.deploy.objects import (
    CRON,
    SENSOR,
    TEMPLATE,
    ArgoObject,
    Kind,
    ScheduleField,
    with_policies,
    with_times_in,
)
from flowproject.flowfiles import FlowFile

__all__ = ["PACKAGE", "CompiledFlow", "compiled_from", "essence_of", "is_moving_tag"]

PACKAGE: Final = "package "
"""What stands before the name of a package, among the files that travel."""

# Metaflow writes these anew at each deployment, so of a flow that did not change they differ.
_MOVING_ANNOTATIONS: Final = frozenset(
    {"metaflow/deployment_timestamp", "metaflow/owner", "metaflow/production_token"}
)
_MOVING_VARIABLES: Final = frozenset(
    {
        "METAFLOW_CODE_SHA",
        "METAFLOW_CODE_URL",
        "METAFLOW_OWNER",
        "METAFLOW_PRODUCTION_TOKEN",
        "METAFLOW_VERSION",  # it has the commit and the user in it; Metaflow itself is in the files
        "USER",
    }
)
# Lists of Argo whose items have names or must all hold. Metaflow writes some in the order of a set,
# so what it deployed without us would look like a change.
_UNORDERED: Final = frozenset({"exprs", "parameters"})

# Of a flow's description: what another machine has otherwise.
_HERE_ONLY: Final = frozenset({"local_root", "looks_in", "metadata", "owner", "path"})

# Tags of ours that say where a flow comes from (`revision.tags_of`).
_MOVING_TAGS: Final = ("git_commit:", "ci_run:")


@dataclass(frozen=True, kw_only=True)
class CompiledFlow:
    """One flow, compiled for one branch."""

    flow: FlowFile
    name: str
    """Of its template on Argo Workflows."""

    objects: tuple[ArgoObject, ...]
    files: Mapping[str, str]
    """File of the project, or package → digest of what goes to the cluster."""

    package: tuple[str, ...]
    """Address and hash of the code package."""

    tags: tuple[str, ...]
    inputs: str = ""
    """Fingerprint of what went into the compilation; empty if that can't be known."""

    reads: Mapping[str, Any] = field(default_factory=dict)
    """What of it the flow read of its own accord, by name."""

    known: Mapping[Kind, str] = field(default_factory=dict)
    """The fingerprints of its objects, if they are on the cluster and it was not compiled anew."""

    @property
    def schedule_field(self) -> str:
        """Where its schedule has its time; empty without one."""
        specs = [one.body["spec"] for one in self.objects if one.kind == CRON]
        return next(("schedules" if "schedules" in spec else "schedule" for spec in specs), "")

    @property
    def starts_on_events(self) -> bool:
        """Whether its triggers were compiled; left out where foreign events are."""
        return any(one.kind == SENSOR for one in self.objects)

    @property
    def is_listener(self) -> bool:
        """Whether events start it; who sends them goes live after it."""
        return bool(self.flow.dependencies)

    @cached_property
    def essence(self) -> dict[Kind, Any]:
        """Give, by kind, what must not differ of an object, without what always moves."""
        return {one.kind: essence_of(one.body, self.package, self.tags) for one in self.objects}

    @cached_property
    def fingerprints(self) -> dict[Kind, str]:
        """Give, by kind, a digest that stays while nothing of the object changes that matters.

        The template's is that of the files as well: it is what takes them to the cluster.
        """
        # A flow that was not compiled has no objects to compute them from.
        return dict(self.known) or {
            kind: _digest([essence, self.files if kind == TEMPLATE else {}])
            for kind, essence in self.essence.items()
        }

    def with_times_in(self, field: ScheduleField) -> "CompiledFlow":
        """The flow with the time of its schedule in the field that the cluster keeps."""
        return replace(self, objects=tuple(with_times_in(field, one) for one in self.objects))

    def annotated(self, more: Mapping[str, str]) -> "CompiledFlow":
        """The flow with annotations on every object, by which it is recognised on the cluster."""
        # It has its annotations from the deployment that wrote it.
        if self.known:
            return self
        of_template = {
            "flowproject/files": json.dumps(self.files),
            # A flow stays as it is as long as its package exists: the next deployment asks for
            # that.
            "flowproject/package": next(iter(self.package), ""),
            **self._inputs(),
        }
        return replace(
            self,
            objects=tuple(
                one.with_annotations(
                    {"flowproject/fingerprint": self.fingerprints[one.kind], **more}
                    | (of_template if one.kind == TEMPLATE else {})
                )
                for one in self.objects
            ),
        )

    def _inputs(self) -> dict[str, str]:
        """By what the next deployment knows the flow without compiling it."""
        if not self.inputs:
            return {}
        flow = {key: value for key, value in self.flow.to_json().items() if key not in _HERE_ONLY}
        told = {
            "file": self.flow.path.name,
            "flow": flow,
            "objects": self.fingerprints,
            "reads": self.reads,
            "schedule_field": self.schedule_field,
        }
        return {"flowproject/inputs": self.inputs, "flowproject/known": json.dumps(told)}


def compiled_from(answer: Mapping[str, Any], tags: tuple[str, ...]) -> CompiledFlow:
    """Make a compiled flow of what the compiler's child process answered."""
    flow = FlowFile.from_json(answer["flow"])
    owner = {
        # Metaflow's own notes, also where it makes none: a schedule has but its name.
        "metaflow/project_name": flow.project,
        "metaflow/branch_name": flow.branch,
        "metaflow/flow_name": flow.name,
    }
    objects = (
        ArgoObject(kind=one["plural"], namespace=one["namespace"], body=one["body"])
        for one in answer["objects"]
    )
    pushes = {one.alias: one.event for one in flow.awaited} if flow.pushes else {}
    return CompiledFlow(
        flow=flow,
        name=answer["name"],
        # Metaflow keeps a suspended schedule where there is none any more.
        objects=tuple(
            with_policies(one.with_annotations(owner), pushes)
            for one in objects
            if not one.body["spec"].get("suspend")
        ),
        files=answer["files"],
        package=tuple(answer["package"]),
        tags=tags,
        reads=answer.get("reads") or {},
    )


def essence_of(body: Mapping[str, Any], package: tuple[str, ...], tags: tuple[str, ...]) -> Any:
    """Give what must not differ of an object: annotations, labels and specification."""
    url, sha = package or ("", "")
    # In this order: the address contains the key, and the key the hash.
    moving = {url: "<url>", url.partition("://")[2].partition("/")[2]: "<key>", sha: "<sha>"}
    for tag in filter(is_moving_tag, tags):
        # In commands and in a list; whoever deploys by hand has no such tag at all.
        moving |= {f" --tag {tag}": "", f'"{tag}", ': "", f', "{tag}"': "", tag: ""}
    moving.pop("", None)
    metadata = body.get("metadata", {})
    told = {
        "annotations": metadata.get("annotations", {}),
        "labels": metadata.get("labels", {}),
        "spec": body.get("spec", {}),
    }
    return _without_moving(told, moving)


def is_moving_tag(tag: str) -> bool:
    """Whether a tag says where the flow comes from, and nothing of what it does."""
    return tag.startswith(_MOVING_TAGS)


def _without_moving(value: Any, moving: Mapping[str, str]) -> Any:
    """The value without what moves, and without what says nothing."""
    if isinstance(value, Mapping):
        value = {key: _ordered(key, item) for key, item in value.items()}
        kept = {key: item for key, item in value.items() if not _moves(key)}
        settled = {key: _without_moving(item, moving) for key, item in kept.items()}
        # An API server drops what is empty, or writes it out: to it they are the same.
        return {key: item for key, item in settled.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_without_moving(item, moving) for item in value if not _is_moving_variable(item)]
    if isinstance(value, str):
        for text, stand_in in moving.items():
            value = value.replace(text, stand_in)
    return value


def _ordered(key: str, value: Any) -> Any:
    """The value; in one order if it is a list whose order means nothing."""
    if key in _UNORDERED and isinstance(value, list):
        return sorted(value, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _moves(key: str) -> bool:
    return key in _MOVING_ANNOTATIONS or key.startswith("flowproject/")


def _is_moving_variable(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("name") in _MOVING_VARIABLES


def _digest(value: Any) -> str:
    # 128 bits: an annotation has room for them, and nobody tries to make two flows meet.
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
