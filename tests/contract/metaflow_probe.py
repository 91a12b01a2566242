"""A flow that uses Metaflow's inside as flowproject does, without flowproject, and what it saw.

`python metaflow_probe.py run` runs it; its last step fails, on purpose. `python metaflow_probe.py
look ID` sets it up, makes its code package, asks the client of that run, and prints facts as JSON.
"""

import json
import sys
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from typing import Any

import metaflow
from metaflow import (
    Config,
    FlowMutator,
    FlowSpec,
    Parameter,
    Run,
    StepMutator,
    current,
    parameters,
    project,
    retry,
    schedule,
    step,
    trigger,
    user_step_decorator,
)
from metaflow._vendor import click
from metaflow.cards import get_cards
from metaflow.events import Trigger
from metaflow.metadata_provider import MetaDatum
from metaflow.packaging_sys import ContentType
from metaflow.system_context import system_context

SEEN: dict[str, Any] = {}
EVENT = {"name": "orders", "id": "1", "timestamp": 1, "type": "event"}


@user_step_decorator
def go_straight(
    step_name: str,  # noqa: ARG001  # Metaflow's interface
    flow: Any,  # noqa: ARG001
    inputs: Any,  # noqa: ARG001
) -> Iterator[Callable[..., None]]:
    def go(flow: Any, _: Any = None) -> None:
        flow._transition = (["end"], None)

    yield go


class mark(StepMutator):  # noqa: N801
    def mutate(self, mutable_step: Any) -> None:
        pass


class look(FlowMutator):  # noqa: N801
    def pre_mutate(self, mutable_flow: Any) -> None:
        SEEN["mutated class"] = mutable_flow._flow_cls.__name__

    def add_to_package(self) -> Iterator[tuple[str, str, Any]]:
        package = system_context.package
        SEEN["script"] = package._flow.script_name
        modules = package._mfcontent._files_from_modules
        SEEN["modules"] = isinstance(modules, dict) and all(isinstance(one, str) for one in modules)
        found = package._user_code_tuples
        package._user_code_tuples = lambda: [one for one in found() if one[1] != "other.py"]
        yield "query.sql", "sql/query.sql", ContentType.USER_CONTENT
        SEEN["asked for"] = package._user_content_from_addl  # filled after this


def doubled(parameter: Any, deploy_mode: bool) -> dict[str, Any]:  # noqa: FBT001
    """The options of a parameter that is read as twice what is given."""
    options = type(parameter).option_kwargs(parameter, deploy_mode)
    declared = click.types.convert_type(options["type"])
    converting = copy(declared)
    converting.convert = lambda *given: 2 * declared.convert(*given)
    return {**options, "type": converting}


class Sees:
    @classmethod
    def _get_parameters(cls) -> Iterator[tuple[str, Any]]:
        for name, parameter in super()._get_parameters():
            SEEN.setdefault("parameters", {})[name] = parameter.IS_CONFIG_PARAMETER
            if name == "amount":
                parameter.option_kwargs = partial(doubled, parameter)
            yield name, parameter


def note(name: str, value: str) -> None:
    datum = MetaDatum(
        field=name, value=value, type=name, tags=[f"attempt_id:{current.retry_count}"]
    )
    system_context.metadata.register_metadata(
        current.run_id, current.step_name, current.task_id, [datum]
    )


@look
@project(name="probe")
@schedule(cron="5 4 * * ? 2030", timezone="Europe/Berlin")
@trigger(
    event={"name": "orders", "parameters": {"amount": "value"}},
    options={"reset_at": {"cron": "0 3 * * *"}},
)
class ProbeFlow(Sees, FlowSpec):
    settings = Config("settings", default_value="{}")
    amount = Parameter("amount", type=int, default=1)
    text = Parameter("text", default=lambda _: "now")

    @retry(times=0)
    @mark
    @step
    def start(self) -> None:
        note("probe", "noted")
        note("execution-triggers", json.dumps([EVENT]))
        current._update_env({"trigger": Trigger([EVENT])})
        self.trigger_name = current.trigger.event.name
        self.root = str(self._datastore._storage_impl.datastore_root)
        self.next(self.middle)

    @go_straight
    @step
    def middle(self) -> None:
        self.next(self.end)

    @step
    def end(self) -> None:
        raise ValueError("on purpose")


def facts(run_id: str) -> dict[str, Any]:
    started: list[Any] = []
    original = FlowSpec.__init__

    def init(self: Any, use_cli: bool = True) -> None:  # noqa: FBT001, FBT002
        original(self, use_cli=False)
        if use_cli:
            started.append(self)

    FlowSpec.__init__ = init
    stands_for = ProbeFlow._flow_cls.__name__ if isinstance(ProbeFlow, FlowMutator) else "itself"
    ProbeFlow()
    [flow] = started
    with parameters.flow_context(type(flow)):
        from metaflow import cli

        code = cli.main(
            flow, args=["--quiet", "--no-pylint", "package", "list"], handle_exceptions=False
        )
    return {
        "exit code": code or 0,
        "class under mutators": stands_for,
        **of_flow(system_context.flow),
        **of_package(system_context.package),
        **on_argo(system_context.flow),
        **of_run(Run(f"ProbeFlow/{run_id}", _namespace_check=False)),
        "metadata place": system_context.metadata.metadata_str().partition("@")[0],
        **SEEN,
        "asked for": sorted(SEEN["asked for"]),
    }


def of_flow(flow: Any) -> dict[str, Any]:
    node = flow._graph["start"]
    return {
        "flow": type(flow).__name__,
        "steps": list(flow._graph.sorted_nodes),
        "ends": [
            flow._graph.start_step,
            flow._graph.end_step,
        ],
        "node": [node.out_funcs, node.type, bool(node.parallel_step), bool(node.parallel_foreach)],
        "flow decorators": sorted(flow._flow_decorators),
        "trigger": [one.attributes["event"]["name"] for one in flow._flow_decorators["trigger"]],
        "schedule": flow._flow_decorators["schedule"][0].schedule,
        "step decorators": [[one.name, one.attributes["times"]] for one in flow.start.decorators],
        "step mutators": [type(one).__name__ for one in flow.start.config_decorators],
        "deploy-time": [
            callable(getattr(one.kwargs.get("default"), "fun", None))
            for name, one in flow._get_parameters()
            if name == "text"
        ],
    }


def of_package(package: Any) -> dict[str, Any]:
    return {
        "user files": sorted(name for _, name in package.user_tuples()),
        "folders": sorted({name.partition("/")[0] for _, name in package.path_tuples()}),
    }


def on_argo(flow: Any) -> dict[str, Any]:
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    argo = ArgoWorkflows.__new__(ArgoWorkflows)
    argo.flow = flow
    argo.parameters = argo._process_parameters()
    argo.triggers, argo.trigger_options = argo._process_triggers()
    return {
        "argo parameters": [
            [one[key] for key in ("name", "value", "type", "is_required")]
            for one in argo.parameters.values()
        ],
        "argo triggers": [
            {key: one[key] for key in ("name", "type", "parameters")} for one in argo.triggers
        ],
        "argo alias": argo.triggers[0]["sanitized_name"],
        "argo options": argo.trigger_options,
        "argo schedule": list(argo._get_schedule()),
    }


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001  # which it is, is the question
        return f"{type(error).__module__}.{type(error).__name__}"
    return "none"


def of_run(run: Any) -> dict[str, Any]:
    first = run["start"].task
    return {
        "noted": first.metadata_dict.get("probe"),
        "client trigger": run.trigger.event.name,
        "task trigger": first.data.trigger_name,
        "task root": first.data.root,
        "success": [run[name].task["_success"].data for name in ("start", "end")],
        "step of path": first.path_components[2],
        "amount": first.data.amount,
        "without card": error_of(lambda: get_cards(first)),
        "ran": sorted(one.id for one in run),
    }


if __name__ == "__main__":
    if sys.argv[1] == "look":
        run_id = sys.argv.pop()
        del sys.argv[1:]
        printed, sys.stdout = sys.stdout, sys.stderr
        print(json.dumps({**facts(run_id), "version": metaflow.__version__}), file=printed)
    else:
        ProbeFlow()
