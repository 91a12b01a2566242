"""Reads and changes a flow in memory: how it starts, its steps, decorators and parameters.

Uses `FlowSpec.__init__`, `_get_parameters`, `_graph`, `_flow_decorators`, `_transition`,
`_control_mapper_tasks`; `_flow_cls` of mutators; `cli.main`, `parameters.flow_context`, `plugins`,
`config_parameters`, `format_name`, `click`; `option_kwargs`, `kwargs` of a `Parameter`; `current`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, NamedTuple

from metaflow import FlowMutator, FlowSpec, IncludeFile, Parameter, current, parameters
from metaflow._vendor import click
from metaflow.events import Trigger
from metaflow.plugins import STEP_DECORATORS
from metaflow.plugins.project_decorator import format_name
from metaflow.system_context import system_context
from metaflow.user_configs.config_parameters import (
    resolve_delayed_evaluator,
    unpack_delayed_evaluator,
)

from flowproject.metaflow_internals.settings import name_user, user_name

__all__ = [
    "AttachedDecorator",
    "PreparedParameters",
    "StepNode",
    "branch_name",
    "class_under_mutators",
    "convert_parameter",
    "deploy_time_values",
    "end_step",
    "flow_decorators",
    "flow_marks",
    "function_of",
    "go_straight_to",
    "intercept_start",
    "is_plain_parameter",
    "known_step_decorators",
    "mutated_class",
    "name_parallel_tasks",
    "resolved_attributes",
    "run_on_command_line",
    "set_trigger",
    "set_up_flow",
    "start_step",
    "step_decorators",
    "step_mutators",
    "step_names",
    "step_node",
    "written_schedule",
]

# How a flow is started and set up.


def intercept_start(use: Callable[[Any], None]) -> None:
    """Hand a flow that its file starts, from here on, to `use`, not to Metaflow's command line."""
    original = FlowSpec.__init__

    def init(self: Any, use_cli: bool = True) -> None:  # noqa: FBT001, FBT002  # Metaflow's own
        original(self, use_cli=False)
        if use_cli:
            use(self)

    FlowSpec.__init__ = init


def run_on_command_line(flow: Any, command: Sequence[str]) -> bool:
    """Let Metaflow's command line run a command on the flow; answers whether it succeeded.

    What it complains of goes to standard error; what a user's code raises is raised here.
    """
    with parameters.flow_context(type(flow)):
        # Metaflow adds the options of the flow's decorators when this module is first imported.
        from metaflow import cli

        # What comes back is for `sys.exit`: nothing, a number, or a text.
        return not cli.main(flow, args=list(command), handle_exceptions=False)


def set_up_flow() -> Any:
    """The flow of this process after Metaflow's command line has set it up."""
    # Another object than the one that was started: Metaflow makes it once its mutators are through.
    return system_context.flow


def mutated_class(mutable_flow: Any) -> Any:
    """The class of the flow that a mutator is given to change."""
    return mutable_flow._flow_cls  # noqa: SLF001


def class_under_mutators(value: Any) -> Any:
    """The class of a flow, out of the mutator that stands in its place; else the value itself."""
    # Metaflow leaves the mutator in the place of the class until its command line runs.
    return value._flow_cls if isinstance(value, FlowMutator) else value  # noqa: SLF001


def branch_name(project: str, branch: str, *, production: bool) -> str:
    """The branch as Metaflow spells it: `user.x`, `test.x`, `prod` or `prod.x`.

    Raises:
        MetaflowException: if Metaflow would refuse it.
    """
    # A command may ask before any flow is imported, which would see to it.
    name_user()
    _, name = format_name("Flow", project, production, branch or None, user_name())
    return str(name)


def set_trigger(events: Sequence[Mapping[str, object]]) -> None:
    """Make `current.trigger` of this task say that these events started the run."""
    current._update_env({"trigger": Trigger(events)})  # noqa: SLF001  # as Metaflow's own decorator does


# The graph of its steps. Named tuples here and in `argo.py`, for every step of every run imports
# these modules, and to make a dataclass takes five times as long.


class StepNode(NamedTuple):
    """One step as Metaflow's parser of the flow's code understands it."""

    ways: tuple[str, ...]
    """The names of the steps that may come next."""
    type: str
    """`linear`, `split`, `split-switch`, `foreach`, `join`, `start`, `end`."""
    is_parallel: bool
    """Whether it runs on several nodes at once (`@parallel`)."""
    starts_parallel: bool
    """Whether what comes next does."""


def step_node(flow: Any, step: str) -> StepNode:
    """What the graph of the flow says of a step."""
    node = flow._graph[step]  # noqa: SLF001
    return StepNode(
        ways=tuple(node.out_funcs),
        type=node.type,
        is_parallel=bool(node.parallel_step),
        starts_parallel=bool(node.parallel_foreach),
    )


def start_step(flow: Any) -> str:
    """The name of the flow's first step."""
    # Not always `start`: a flow may mark another.
    return str(flow._graph.start_step)  # noqa: SLF001


def end_step(flow: Any) -> str:
    """The name of the flow's last step."""
    return str(flow._graph.end_step)  # noqa: SLF001


def step_names(flow: Any) -> tuple[str, ...]:
    """The names of the flow's steps, each after those that it follows."""
    return tuple(flow._graph.sorted_nodes)  # noqa: SLF001


def go_straight_to(flow: Any, steps: Sequence[str]) -> None:
    """Go on with these steps, as `self.next` would, which asks a switch for its condition."""
    flow._transition = (list(steps), None)  # noqa: SLF001


def name_parallel_tasks(flow: Any, tasks: Sequence[str]) -> None:
    """Name the tasks, as `run/step/task`, that the join after a `@parallel` step waits for."""
    flow._control_mapper_tasks = list(tasks)  # noqa: SLF001


# Its decorators.


class AttachedDecorator(NamedTuple):
    """A decorator of a flow or of a step, with what it was given."""

    name: str
    attributes: Mapping[str, Any]


def flow_decorators(flow: Any, name: str) -> list[AttachedDecorator]:
    """The decorators of that name on the flow."""
    # A dict of lists: of several classes one inherits from another, each may have one.
    return [_attached(one) for one in flow._flow_decorators.get(name, [])]  # noqa: SLF001


def flow_marks(flow: Any) -> list[str]:
    """The names of the decorators on the flow, those that mutators have added among them."""
    return [name for name, ones in flow._flow_decorators.items() if ones]  # noqa: SLF001


def written_schedule(flow: Any) -> str:
    """The schedule as `@schedule` has it for AWS, from which Metaflow makes that for Argo."""
    return str(flow._flow_decorators["schedule"][0].schedule)  # noqa: SLF001


def step_decorators(flow: Any, step: str) -> list[AttachedDecorator]:
    """The decorators on a step, Metaflow's and those that mutators have added."""
    return [_attached(one) for one in getattr(flow, step).decorators]


def step_mutators(flow: Any, step: str) -> list[str]:
    """The names of the mutators on a step."""
    return [type(one).__name__ for one in getattr(flow, step).config_decorators]


def known_step_decorators() -> list[str]:
    """The names that `--with` takes, sorted; Metaflow's own helpers are not among them."""
    return sorted({one.name for one in STEP_DECORATORS if not one.name.endswith("_internal")})


def resolved_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a decorator is given, with the values of the configuration for each `config_expr`."""
    unpacked, _ = unpack_delayed_evaluator(dict(attributes))
    resolved: dict[str, Any] = resolve_delayed_evaluator(unpacked, to_dict=True)
    return resolved


def _attached(decorator: Any) -> AttachedDecorator:
    return AttachedDecorator(name=decorator.name, attributes=decorator.attributes)


# Its parameters.


class PreparedParameters:
    """A base beside `FlowSpec`: each parameter is prepared before Metaflow gets to see it.

    Not by a mutator: those of others, which come later, may add parameters.
    """

    @classmethod
    def _prepare_parameter(cls, parameter: Any) -> None:
        """Change the parameter in place."""
        raise NotImplementedError

    @classmethod
    def _get_parameters(cls) -> Iterator[tuple[str, Any]]:
        for name, parameter in super()._get_parameters():  # type: ignore[misc]  # FlowSpec's
            cls._prepare_parameter(parameter)
            yield name, parameter


def is_plain_parameter(parameter: Any) -> bool:
    """Whether it is a `Parameter`; a flow has files and configurations in the same place."""
    plain = isinstance(parameter, Parameter) and not isinstance(parameter, IncludeFile)
    return plain and not parameter.IS_CONFIG_PARAMETER


def convert_parameter(parameter: Any, convert: Callable[[Any, Any, Any, Any], Any]) -> None:
    """Let `convert` make the value of a parameter from what the command line is given.

    It gets the declared type of click's, the value, the option and click's context.
    """
    # On the instance: Metaflow's compilers go by `parameter.kwargs`, and see it unchanged.
    parameter.option_kwargs = partial(_option_kwargs, parameter, convert)


def deploy_time_values(flow: Any) -> list[Any]:
    """What may be computed when the flow is deployed: defaults of parameters, and triggers."""
    defaults = [one.kwargs.get("default") for _, one in flow._get_parameters()]  # noqa: SLF001
    triggers = [
        one.attributes
        for name in ("trigger", "trigger_on_finish")
        for one in flow_decorators(flow, name)
    ]
    return [*defaults, *triggers]


def function_of(value: Any) -> Any:
    """The user's function, where Metaflow has wrapped one to call it at deploy time."""
    return getattr(value, "fun", value)


def _option_kwargs(
    parameter: Any,
    convert: Callable[[Any, Any, Any, Any], Any],
    deploy_mode: bool,  # noqa: FBT001  # Metaflow's own
) -> dict[str, Any]:
    """What Metaflow gives `click` for the option, with a type that converts in its own way."""
    options = type(parameter).option_kwargs(parameter, deploy_mode)
    declared = click.types.convert_type(options["type"])
    # A copy with another way to convert: Metaflow's Runner knows types by their very class.
    converting = copy(declared)
    converting.convert = partial(convert, declared)
    return {**options, "type": converting}
