"""Describes Argo's objects of a deployment: as they would be written, and as they are found. Pure.

Metaflow leaves Argo's own defaults in place: a schedule starts a run beside one that still goes on,
and a sensor asks once for its workflow. What we add to them stands here, too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

__all__ = [
    "CRON",
    "DEFAULT_BUS",
    "KINDS",
    "SENSOR",
    "TEMPLATE",
    "ArgoObject",
    "DeployedObject",
    "Kind",
    "ScheduleField",
    "hears_one_event_only",
    "waits_for",
    "with_policies",
    "with_times_in",
    "with_trigger_of",
]

Kind = str
"""`workflowtemplates`, `cronworkflows` or `sensors`: as the API spells them."""

DEFAULT_BUS: Final = "default"
"""What Argo Events calls the bus of a namespace if a sensor names none."""

TEMPLATE: Final = "workflowtemplates"
CRON: Final = "cronworkflows"
SENSOR: Final = "sensors"

KINDS: Final[Mapping[Kind, str]] = {TEMPLATE: "template", CRON: "cron", SENSOR: "sensor"}
"""What of Argo's objects a deployment consists of, and what people are told of it."""


@dataclass(frozen=True, kw_only=True)
class ArgoObject:
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
class DeployedObject:
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
        """What it was in `CompiledFlow.fingerprints` when we wrote it; empty if others did.

        Of a template that could not run any more it is empty, too: it is to be written anew.
        """
        return "" if self.package_is_gone else self.annotations.get("flowproject/fingerprint", "")


ScheduleField = Literal["schedule", "schedules"]
"""Where a CronWorkflow has its times: the first until Argo Workflows 3.7, the second since 3.6."""

# Argo's word for: no run is started while the one before goes on.
_NO_OVERLAP: Final = "Forbid"

# After 1 s, and each time a fifth later: 16 minutes in all, the last wait 2.7 minutes. The control
# plane of a managed cluster is away for less while it is upgraded.
_RETRY: Final[Mapping[str, Any]] = {"steps": 30, "duration": "1s", "factor": 1.2, "jitter": 0.1}

# Annotations of a sensor's pod that stay the same from one deployment to the next.
_OF_THE_FLOW: Final = frozenset(
    {
        "metaflow/branch_name",
        "metaflow/flow_name",
        "metaflow/project_flow_name",
        "metaflow/project_name",
    }
)


def hears_one_event_only(bus: Mapping[str, object]) -> bool:
    """Whether the bus is of the old kind, NATS Streaming, which can't tell our events apart.

    All events of Metaflow have one source and one name for Argo, and a sensor on such a bus may
    wait for only one of those.
    """
    return "nats" in bus


def with_policies(one: ArgoObject, pushes: Mapping[str, str] | None = None) -> ArgoObject:
    """The object with our policies in it; a template stays as it is.

    `pushes` are events of which each is enough, by the names of their dependencies.
    """
    spec = one.body.get("spec") or {}
    if one.kind == CRON:
        return one.with_spec(_schedule(spec))
    return one.with_spec(_sensor(spec, pushes or {})) if one.kind == SENSOR else one


def waits_for(spec: Mapping[str, Any]) -> Any:
    """Give what Argo Events must find unchanged in a sensor, or it drops the events that wait.

    The dependencies in any order, each as it is defined, and the conditions of its triggers.
    """
    dependencies = sorted(spec.get("dependencies") or [], key=lambda one: str(one.get("name")))
    return dependencies, [
        (one["template"].get("name"), one["template"].get("conditions", ""))
        for one in spec.get("triggers") or []
    ]


def with_times_in(field: ScheduleField, one: ArgoObject) -> ArgoObject:
    """The object with the time of its schedule in this field; what is no schedule stays.

    Metaflow gives a flow one time.
    """
    if one.kind != CRON:
        return one
    # A version that knows both fields refuses, or runs twice, what has both.
    spec = {**one.body["spec"]}
    single, several = spec.pop("schedule", None), spec.pop("schedules", None)
    times = several or ([single] if single else [])
    if field == "schedules":
        return one.with_spec({**spec, "schedules": times})
    return one.with_spec({**spec, "schedule": times[0] if times else ""})


def with_trigger_of(making: str, sensor: ArgoObject) -> ArgoObject:
    """The sensor with triggers of this making; empty for the names that Metaflow gives.

    Removing a sensor leaves on the bus what waited for it, and how far it had read. Made anew with
    a trigger of the same name it would take that up, and be fed all that was sent meanwhile. Argo
    Events drops both when it finds a trigger of another name.
    """
    if not making:
        return sensor
    spec = sensor.body["spec"]
    triggers = [
        {**one, "template": {**one["template"], "name": f"{one['template']['name']}-{making}"}}
        for one in spec["triggers"]
    ]
    return sensor.with_spec({**spec, "triggers": triggers}).with_annotations(
        {"flowproject/trigger": making}
    )


def _schedule(spec: Mapping[str, Any]) -> dict[str, Any]:
    # Two ticks of a sensor at once would look, and record, the same; the later one only waits.
    return {**spec, "concurrencyPolicy": _NO_OVERLAP}


def _sensor(spec: Mapping[str, Any], pushes: Mapping[str, str]) -> dict[str, Any]:
    names = [one["name"] for one in spec.get("dependencies") or []]
    triggers = [_trigger(one, names, pushes) for one in spec.get("triggers") or []]
    return {**spec, "template": _pod(spec.get("template") or {}), "triggers": triggers}


def _trigger(
    trigger: Mapping[str, Any], dependencies: list[str], pushes: Mapping[str, str]
) -> dict[str, Any]:
    # Argo Events keeps what waits, and how far it has read, by the names of the dependencies, and
    # drops both when the expression of the trigger changes. Left empty it never changes: what was
    # read long ago would come again when the list is again what it was. Sorted, so that an order
    # says nothing.
    needed = sorted(name for name in dependencies if name not in pushes)
    if any_of := sorted(name for name in dependencies if name in pushes):
        needed.append(any_of[0] if len(any_of) == 1 else f"({' || '.join(any_of)})")
    template = {**trigger["template"], "conditions": " && ".join(needed)}
    return {
        **trigger,
        "template": _without_payloads(template, pushes) if pushes else template,
        # A run takes a change once, whoever tells it twice; so a sensor may rather ask too often.
        "atLeastOnce": True,
        # Argo Events asks once by default: a control plane that is away for a moment loses the run.
        "retryStrategy": dict(_RETRY),
    }


def _without_payloads(template: Mapping[str, Any], pushes: Mapping[str, str]) -> dict[str, Any]:
    """The trigger's template with nothing of an event but its name: a push says no more.

    Nobody encodes what comes from elsewhere, and on its way to a pod some of it would be replaced.
    """
    k8s = template["k8s"]
    named = [
        {**one, "src": _name_alone(one["src"], pushes[one["src"]["dependencyName"]])}
        if one["src"]["dependencyName"] in pushes
        else one
        for one in k8s.get("parameters") or []
    ]
    return {**template, "k8s": {**k8s, "parameters": named}}


def _name_alone(source: Mapping[str, Any], event: str) -> dict[str, Any]:
    kept = {key: value for key, value in source.items() if key != "dataKey"}
    return {**kept, "dataTemplate": json.dumps({"name": event})}


def _pod(template: Mapping[str, Any]) -> dict[str, Any]:
    """The pod of a sensor, without annotations that always move."""
    # Each change of a sensor's specification restarts it, and Metaflow writes the time of the
    # deployment there, the token, and the description of the flow.
    metadata = template.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    kept = {key: text for key, text in annotations.items() if key in _OF_THE_FLOW}
    return {**template, "metadata": {**metadata, "annotations": kept}}
