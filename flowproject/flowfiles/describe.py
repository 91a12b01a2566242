"""Child process that prints the description of one flow file.

Metaflow sets the flow up (configs, mutators, decorators), and nothing of it runs. Triggers and
parameters are then read by the code that deploys them to Argo, so nothing is guessed here.
"""

import argparse
from pathlib import Path
from typing import Any, Final

from flowproject.flowfiles.child import ProblemError, answer, problem, run_command, start
from flowproject.flowfiles.model import Cron, Dependency, FlowFile, FlowParameter, FlowStep

__all__ = ["description", "main"]

_UPPER_CASE: Final = (
    "parameter {name!r} has upper-case letters: Metaflow looks up the parameters of a flow with "
    "@trigger in lower case, and can't deploy it to Argo. Write Parameter({lower!r})"
)

_FIELDS: Final = 5
_RESET_KEYS: Final = frozenset({"cron", "timezone"})
_RESET: Final = (
    "the reset_at of its trigger, {reset!r}, is not what Metaflow reads: it takes 'cron' and "
    "'timezone', and compiles anything else to nothing, silently. Write "
    '"reset_at": {{"cron": "0 3 * * *", "timezone": "UTC"}}, for example'
)


def main() -> None:
    """Print one JSON object: `flow`, `problem`, or neither for a file that starts no flow."""
    options = _parse_arguments()
    answer(lambda: _describe(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--branch")
    parser.add_argument("--production", action="store_true")
    return parser.parse_args()


def _describe(options: argparse.Namespace) -> dict[str, Any]:
    path: Path = options.file.resolve()
    try:
        flow = start(path, lambda flow: _set_up(flow, options))
    except Exception as error:  # noqa: BLE001  # a user's file may raise whatever it likes
        return {"problem": problem(error, path)}
    if flow is None:
        return {}
    try:
        return {"flow": description(flow, path, _argo(flow)).to_json()}
    except Exception as error:  # noqa: BLE001  # deploy-time functions are the user's code, too
        return {"problem": problem(error, path)}


def _set_up(flow: Any, options: argparse.Namespace) -> Any:
    """The flow after Metaflow's command line has run a harmless command on it."""
    run_command(flow, _command(flow, options))
    from metaflow.system_context import system_context

    return system_context.flow


def _command(flow: Any, options: argparse.Namespace) -> list[str]:
    command = ["--quiet", "--no-pylint", "show"]
    if "project" not in flow._flow_decorators:  # noqa: SLF001  # Metaflow has no public way
        return command
    branch = ["--branch", options.branch] if options.branch else []
    return [*branch, *(["--production"] if options.production else []), *command]


def description(flow: Any, path: Path, argo: Any) -> FlowFile:
    """The flow as `argo` understands it, which is Metaflow's `ArgoWorkflows` of that flow."""
    from metaflow import current
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows
    from metaflow.plugins.datastores.local_storage import LocalStorage
    from metaflow.system_context import system_context
    from metaflow.util import get_username

    from flowproject.journal import datastore_root

    parameters = tuple(_parameter(item) for item in argo.parameters.values())
    dependencies = tuple(_dependency(trigger) for trigger in argo.triggers)
    _refuse_upper_case(dependencies, parameters)
    ours = any(base.__module__.partition(".")[0] == "flowproject" for base in type(flow).__mro__)
    return FlowFile(
        name=flow.name,
        path=path,
        project=current.get("project_name") or "",
        branch=current.get("branch_name") or "",
        owner=get_username() or "",
        schedule=_schedule(flow, *ArgoWorkflows._get_schedule(argo)),  # noqa: SLF001  # also where it is paused
        dependencies=dependencies,
        reset=_reset(argo.trigger_options or {}),
        parameters=parameters,
        steps=tuple(_step(getattr(flow, name)) for name in flow._graph.sorted_nodes),  # noqa: SLF001
        end_step=getattr(flow._graph, "end_step", "end"),  # noqa: SLF001
        metadata=system_context.metadata.metadata_str(),
        local_root=LocalStorage.get_datastore_root_from_config(lambda *_, **__: None),
        datastore=datastore_root(),
        inherits_ours=ours,
        sensors=tuple(getattr(flow, "sensors", ())) if ours else (),
    )


def _argo(flow: Any) -> Any:
    """Metaflow's own compiler to Argo, given only the flow: the parts used need nothing else.

    Its constructor would want a code package on S3 and a cluster's settings.
    """
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    argo = ArgoWorkflows.__new__(ArgoWorkflows)
    argo.flow = flow
    argo.parameters = argo._process_parameters()  # noqa: SLF001
    argo.triggers, argo.trigger_options = argo._process_triggers()  # noqa: SLF001
    return argo


def _parameter(item: dict[str, Any]) -> FlowParameter:
    return FlowParameter(
        name=item["name"],
        required=bool(item["is_required"]),
        type=item["type"],
        has_default=item["value"] != "null",
    )


def _step(step: Any) -> FlowStep:
    mutators = {type(one).__name__ for one in step.config_decorators}
    environments = [one for one in step.decorators if one.name in {"conda", "pypi"}]
    return FlowStep(
        name=step.name,
        marks=tuple(sorted(mutators | {one.name for one in step.decorators})),
        is_bare=any(str(one.attributes.get("disabled")).lower() == "true" for one in environments),
    )


def _dependency(trigger: dict[str, Any]) -> Dependency:
    return Dependency(
        event=trigger["name"],
        type=trigger["type"],
        alias=trigger["sanitized_name"],
        parameters=dict(sorted(trigger.get("parameters", {}).items())),
        filters={key: str(value) for key, value in trigger.get("filters", {}).items() if value},
        flow=trigger.get("flow", ""),
    )


def _refuse_upper_case(
    dependencies: tuple[Dependency, ...], parameters: tuple[FlowParameter, ...]
) -> None:
    mapped = {name for dependency in dependencies for name in dependency.parameters}
    for parameter in parameters:
        lower = parameter.name.lower()
        if lower in mapped and lower != parameter.name:
            raise ProblemError(_UPPER_CASE.format(name=parameter.name, lower=lower))


def _schedule(flow: Any, expression: str | None, timezone: str | None) -> Cron | None:
    if not expression:
        return None
    [decorator] = flow._flow_decorators["schedule"][:1]  # noqa: SLF001
    left_out = " ".join(decorator.schedule.split()[_FIELDS:])
    return Cron(expression=expression, timezone=timezone or "", left_out=left_out)


def _reset(options: dict[str, Any]) -> Cron | None:
    """When waiting events are forgotten. What Metaflow would silently leave out is refused."""
    reset = options.get("reset_at") or {}
    if not reset:
        return None
    if not isinstance(reset, dict) or not reset.get("cron") or reset.keys() - _RESET_KEYS:
        raise ProblemError(_RESET.format(reset=reset))
    return Cron(expression=reset["cron"], timezone=reset.get("timezone") or "")
