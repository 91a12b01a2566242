"""Gives Metaflow on Argo: its names of events, its compiler, the cluster that it is set to.

Uses `_make_namespaced_event_name`; of `ArgoWorkflows` `get_existing_deployment`, `_get_schedule`,
`_process_parameters`, `_process_triggers`, `_compile_workflow_template`; `argo_workflows_cli`;
`ArgoClient`, `KubernetesClient`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from metaflow.plugins.namespaced_events import _make_namespaced_event_name

from flowproject.metaflow_internals.settings import setting

__all__ = [
    "EVENT_VARIABLE",
    "CompilerHooks",
    "Deployed",
    "FlowOnArgo",
    "deployed_annotations",
    "end_event",
    "event_name",
    "hook_compiler",
    "kubernetes_client",
    "name_of_end_event",
    "name_of_event",
    "read_flow",
]

EVENT_VARIABLE: Final = "METAFLOW_ARGO_EVENT_PAYLOAD_"
"""The beginning of the variables that carry the events of a run, each in a step's environment.

Behind it stand the type, `event` or `run`, and the event's name without signs.
"""

Deployed = tuple[str | None, str]
"""Owner and production token of what is deployed."""

Schedule = tuple[str | None, str | None]
"""Expression and time zone."""

Triggers = tuple[list[dict[str, Any]], dict[str, Any] | None]
"""The events that are waited for, and the options of the trigger."""


def event_name(name: str, *, project: str, branch: str) -> str:
    """The name that an event of a project has on the bus, on one of its branches."""
    return str(_make_namespaced_event_name(name, project, branch))


def name_of_event(event: str, *, project: str, branch: str) -> str:
    """The name that `event_name` was given; of other events the whole."""
    return event.removeprefix(f"mfns.{project}.{branch}.")


def end_event(full_name: str) -> str:
    """The event that Metaflow sends when a run of `project.branch.Flow` has succeeded."""
    return f"metaflow.{full_name}.end"


def name_of_end_event(event: str) -> str:
    """The full name of the flow whose end the event tells of."""
    return event.removeprefix("metaflow.").removesuffix(".end")


class FlowOnArgo(NamedTuple):
    """What of a flow Metaflow writes into what it deploys to Argo."""

    parameters: tuple[Mapping[str, Any], ...]
    triggers: tuple[Mapping[str, Any], ...]
    trigger_options: Mapping[str, Any]
    schedule: Schedule


def read_flow(flow: Any) -> FlowOnArgo:
    """What Metaflow's own compiler to Argo makes of a flow that is set up."""
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    # Its constructor would want a code package on S3 and a cluster's settings; the parts that are
    # used here need nothing but the flow.
    argo = ArgoWorkflows.__new__(ArgoWorkflows)
    argo.flow = flow
    argo.parameters = argo._process_parameters()  # noqa: SLF001
    argo.triggers, argo.trigger_options = argo._process_triggers()  # noqa: SLF001
    return _on_argo(argo)


class CompilerHooks(NamedTuple):
    """What is asked while Metaflow compiles a flow to Argo."""

    existing: Callable[[Deployed | None, str], Deployed | None]
    """From owner and token of what is deployed under a name to what Metaflow takes them for."""
    has_schedule: bool
    """Whether the flow is compiled with its schedule."""
    triggers: Callable[[Any, FlowOnArgo], bool]
    """Gets the flow, and says whether it is compiled with its triggers."""
    template: Callable[[str, str, str], None]
    """Gets name, and address and digest of the code package, before the template is made."""


def hook_compiler(hooks: CompilerHooks) -> None:
    """Make `argo-workflows create` ask these hooks from here on."""
    from metaflow.plugins.argo import argo_workflows_cli
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    class HookedCompiler(ArgoWorkflows):  # type: ignore[misc]  # Metaflow ships no types
        @classmethod
        def get_existing_deployment(cls, name: str) -> Deployed | None:
            return hooks.existing(super().get_existing_deployment(name), name)

        def _get_schedule(self) -> Schedule:
            # Compiled without its schedule, a flow never has one: suspended afterwards, it could
            # already have run.
            return super()._get_schedule() if hooks.has_schedule else (None, None)

        def _process_triggers(self) -> Triggers:
            self.triggers, self.trigger_options = super()._process_triggers()
            for trigger in self.triggers:
                # Of one event without a mapping Metaflow maps a set, in the order of its hashes.
                trigger["parameters"] = dict(sorted(trigger.get("parameters", {}).items()))
            if hooks.triggers(self.flow, _on_argo(self)):
                return self.triggers, self.trigger_options
            return [], None

        def _compile_workflow_template(self) -> Any:
            hooks.template(self.name, self.code_package_url, self.code_package_sha)
            return super()._compile_workflow_template()

    # The command has the class by name in its own module, and nowhere else.
    argo_workflows_cli.ArgoWorkflows = HookedCompiler


def _on_argo(argo: Any) -> FlowOnArgo:
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    return FlowOnArgo(
        parameters=tuple(argo.parameters.values()),
        triggers=tuple(argo.triggers),
        trigger_options=argo.trigger_options or {},
        # Of the class itself: a flow that is compiled without its schedule has one all the same.
        schedule=ArgoWorkflows._get_schedule(argo),  # noqa: SLF001
    )


def deployed_annotations(name: str) -> Mapping[str, str]:
    """The annotations of the workflow template of that name; none if there is no template."""
    from metaflow.plugins.argo.argo_client import ArgoClient

    template = ArgoClient(namespace=setting("KUBERNETES_NAMESPACE")).get_workflow_template(name)
    annotations: Mapping[str, str] | None = ((template or {}).get("metadata") or {}).get(
        "annotations"
    )
    return annotations or {}


def kubernetes_client() -> Any:
    """The client for Kubernetes of the cluster that Metaflow is set to, which nobody is asked of.

    Raises:
        ImportError: if the package kubernetes is missing.
    """
    from metaflow.plugins.kubernetes.kubernetes_client import KubernetesClient

    return KubernetesClient().get()
