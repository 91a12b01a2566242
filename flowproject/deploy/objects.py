"""Argo's objects of a deployment: as they would be written, and as they are found. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

__all__ = ["CRON", "KINDS", "SENSOR", "TEMPLATE", "Found", "Kind", "Object"]

Kind = str
"""`workflowtemplates`, `cronworkflows` or `sensors`: as the API spells them."""

TEMPLATE: Final = "workflowtemplates"
CRON: Final = "cronworkflows"
SENSOR: Final = "sensors"

KINDS: Final[Mapping[Kind, str]] = {TEMPLATE: "template", CRON: "cron", SENSOR: "sensor"}
"""What of Argo's objects a deployment consists of, and what people are told of it."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """One object that Metaflow would write to the cluster."""

    kind: Kind
    namespace: str
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that it has on the cluster."""
        return str(self.body["metadata"]["name"])

    def with_spec(self, spec: Mapping[str, Any]) -> Self:
        """The same object with another specification."""
        return replace(self, body={**self.body, "spec": spec})

    def with_annotations(self, more: Mapping[str, str]) -> Self:
        """The same object with more annotations."""
        metadata = self.body["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **more}
        return replace(
            self, body={**self.body, "metadata": {**metadata, "annotations": annotations}}
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """One of Argo's objects on the cluster: what is known of it without reading it whole."""

    kind: Kind
    name: str
    namespace: str
    version: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    package_is_gone: bool = False
    """Whether the code package that a template's pods would download is not there any more."""

    @property
    def flow(self) -> str:
        """The flow that it belongs to, as Metaflow noted it; empty if it is not Metaflow's."""
        return self.annotations.get("metaflow/flow_name", "")

    @property
    def project(self) -> str:
        """The project of the flow."""
        return self.annotations.get("metaflow/project_name", "")

    @property
    def branch(self) -> str:
        """The branch of the flow, as Metaflow spells it."""
        return self.annotations.get("metaflow/branch_name", "")

    @property
    def package(self) -> str:
        """The address of the code package of a template, as flowproject noted it."""
        return self.annotations.get("flowproject/package", "")

    @property
    def fingerprint(self) -> str:
        """What it was in `Compiled.fingerprints` when flowproject wrote it; empty if others did.

        Of a template that could not run any more it is empty, too: it is to be written anew.
        """
        return "" if self.package_is_gone else self.annotations.get("flowproject/fingerprint", "")
