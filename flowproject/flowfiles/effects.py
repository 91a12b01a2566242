"""Says whether a flow does nothing but look at its sensors and tell: then a look says it all.

What such a run would find can be found without it, so the local loop looks before it starts one.
A flow that does anything else is never stood in for. Read from its source, and nothing of it runs.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import flowproject
from flowproject.metaflow_internals import flows

__all__ = ["files_of_pure_looks"]

_OURS: Final = "flowproject"
# They say where a step's packages come from, how it is tried again and what is shown of it. Others
# may run it elsewhere or give it variables: what this machine sees would say nothing of that.
_STEP_MARKS: Final = frozenset(
    {"_take_changes", "card", "catch", "conda", "pypi", "resources", "retry", "timeout"}
)
_FLOW_MARKS: Final = frozenset({"conda_base", "project", "pypi_base", "schedule", "trigger"})
_DEFINITIONS: Final = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.If)
_FALSE: Final = frozenset({"", "0", '""', "False", "false", "null"})


def files_of_pure_looks(flow: Any, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The files whose code makes a flow that only looks and tells; empty if it does more.

    `parameters` are the texts of the defaults.
    """
    base: type = flows.class_under_mutators(flowproject.BaseFlow)
    # A property may name other sensors at each run.
    sensors = inspect.getattr_static(type(flow), "sensors", None)
    if not isinstance(flow, base) or not isinstance(sensors, tuple | list):
        return ()
    if {*flows.flow_marks(flow)} - _FLOW_MARKS:
        return ()
    if not all(_is_look(flow, step, parameters) for step in flows.step_names(flow)):
        return ()
    kinds = [kind for kind in type(flow).__mro__ if _is_users(kind)]
    # With another configuration, or an observe() of its own, it looks at what we can't know.
    promised = frozenset(dir(base)) - {"sensors"}
    # The file that is run has no name among the modules: its steps know where they stand.
    files = {kind: inspect.getfile(_some_function(kind)) for kind in kinds}
    for kind, file in files.items():
        body = ast.parse(Path(file).read_text(encoding="utf-8")).body
        if not _only_defines(body) or _names(body, kind) & promised:
            return ()
    return tuple(sorted({*files.values()}))


def _some_function(kind: type) -> Any:
    functions = (one for one in vars(kind).values() if inspect.isfunction(one))
    return next(functions, kind)


def _names(body: Sequence[ast.stmt], kind: type) -> frozenset[str]:
    """What a class defines, by its source: Metaflow writes more into it."""
    [found] = [one for one in body if isinstance(one, ast.ClassDef) and one.name == kind.__name__]
    return frozenset(
        name.id if isinstance(name, ast.Name) else name.name
        for statement in found.body
        for name in ast.walk(statement)
        if (isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store))
        or isinstance(name, ast.FunctionDef)
    )


def _is_users(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in (_OURS, "metaflow", "builtins")


def _only_defines(body: Sequence[ast.stmt]) -> bool:
    """Whether importing a file does nothing by itself."""
    return all(
        isinstance(node, _DEFINITIONS)
        # A docstring, or a constant: what is called for its value may do anything.
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign | ast.AnnAssign) and not _calls(node))
        for node in body
    )


def _calls(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def _is_look(flow: Any, step: str, parameters: Mapping[str, str]) -> bool:
    """Whether a step does nothing but observe, publish and go on."""
    marks = {one.name for one in flows.step_decorators(flow, step)} | {
        *flows.step_mutators(flow, step)
    }
    if marks - _STEP_MARKS:
        return False
    source = textwrap.dedent(inspect.getsource(getattr(type(flow), step)))
    [function] = ast.parse(source).body
    if not isinstance(function, ast.FunctionDef) or len(function.args.args) != 1:
        return False
    return all(_is_harmless(flow, node, parameters) for node in function.body)


def _is_harmless(flow: Any, node: ast.stmt, parameters: Mapping[str, str]) -> bool:
    if isinstance(node, ast.Pass):
        return True
    if isinstance(node, ast.Assign):
        return all(map(_is_own, node.targets)) and _is_observing(flow, node.value, parameters)
    if not isinstance(node, ast.Expr):
        return False
    call = node.value
    if isinstance(call, ast.Constant):
        return True
    return _is_call(call, "publish", "next") and all(map(_is_own, _arguments(call)))


def _is_observing(flow: Any, value: ast.expr, parameters: Mapping[str, str]) -> bool:
    """Whether it is `self.observe()`, forced by nothing but a parameter that is not set."""
    if not _is_call(value, "observe") or not isinstance(value, ast.Call) or value.args:
        return False
    return all(
        one.arg == "force" and _is_own(one.value) and _is_unset(flow, one.value, parameters)
        for one in value.keywords
    )


def _is_unset(flow: Any, value: ast.expr, parameters: Mapping[str, str]) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else ""
    parameter = getattr(type(flow), name, None)
    return parameters.get(getattr(parameter, "name", ""), "unknown") in _FALSE


def _is_call(node: ast.expr, *names: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and _is_own(node.func)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in names
    )


def _arguments(call: ast.expr) -> Iterator[ast.expr]:
    if isinstance(call, ast.Call):
        yield from call.args
        yield from (one.value for one in call.keywords)


def _is_own(node: ast.expr) -> bool:
    """Whether it is `self.name`."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
