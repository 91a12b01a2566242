"""Child process that prints the description of one flow file.

The file is executed as Metaflow's users execute it, and the flow that it starts is caught after
Metaflow has set it up (configs, mutators, decorators) and before anything runs. Triggers and
parameters are then read by the code that deploys them to Argo, so nothing is guessed here.
"""

import argparse
import io
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Final

from flowproject.flowfiles.model import Cron, Dependency, FlowFile, FlowParameter

__all__ = ["main"]

_UPPER_CASE: Final = (
    "parameter {name!r} has upper-case letters: Metaflow looks up the parameters of a flow with "
    "@trigger in lower case, and can't deploy it to Argo. Write Parameter({lower!r})"
)


class _ProblemError(Exception):
    """Something is wrong with the flow: the message says what."""


class _Caught(BaseException):  # not an error: carries the flow past the user's code
    def __init__(self, flow: Any) -> None:  # Metaflow has no types
        super().__init__()
        self.flow = flow


def main() -> None:
    """Print one JSON object: `flow`, `problem`, or neither for a file that starts no flow."""
    options = _parse_arguments()
    with _private_output() as answer:
        json.dump(_describe(options), answer)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--branch")
    parser.add_argument("--production", action="store_true")
    return parser.parse_args()


@contextmanager
def _private_output() -> Iterator[io.TextIOBase]:
    """The standard output for the answer alone: what the flow file prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        yield answer


def _describe(options: argparse.Namespace) -> dict[str, Any]:
    path: Path = options.file.resolve()
    try:
        flow = _start(path, options)
    except Exception as error:  # noqa: BLE001  # a user's file may raise whatever it likes
        return {"problem": _problem(error, path)}
    if flow is None:
        return {}
    try:
        return {"flow": _description(flow, path).to_json()}
    except Exception as error:  # noqa: BLE001  # deploy-time functions are the user's code, too
        return {"problem": _problem(error, path)}


def _start(path: Path, options: argparse.Namespace) -> Any | None:
    """The flow that the file starts, set up by Metaflow; nothing if it starts none."""
    from metaflow import FlowSpec

    original = FlowSpec.__init__

    def catch(self: Any, use_cli: bool = True) -> None:  # noqa: FBT001, FBT002
        original(self, use_cli=False)
        if use_cli:
            raise _Caught(_set_up(self, options))

    FlowSpec.__init__ = catch
    sys.argv = [str(path)]
    sys.path[0] = str(path.parent)
    try:
        names = runpy.run_path(str(path), run_name="__main__")
    except _Caught as caught:
        return caught.flow
    except SystemExit:
        return None
    _refuse_unstarted(names)
    return None


def _set_up(flow: Any, options: argparse.Namespace) -> Any:
    """The flow after Metaflow's command line has run a harmless command on it."""
    from metaflow import parameters

    complaints = io.StringIO()
    with parameters.flow_context(type(flow)), redirect_stderr(complaints):
        # Metaflow adds the options of the flow's decorators when this module is first imported.
        from metaflow import cli

        code = cli.main(flow, args=_command(flow, options), handle_exceptions=False)
    if code:
        raise _ProblemError(_last_line(complaints.getvalue()))
    from metaflow.system_context import system_context

    return system_context.flow


def _refuse_unstarted(names: dict[str, Any]) -> None:
    """Say which flow of the file nobody starts: `python file.py run` would do nothing."""
    from metaflow import FlowSpec
    from metaflow.user_decorators.user_flow_decorator import FlowMutator

    for name, value in names.items():
        flow = value._flow_cls if isinstance(value, FlowMutator) else value  # noqa: SLF001
        own = isinstance(flow, type) and flow.__module__ == "__main__"
        if own and issubclass(flow, FlowSpec) and "start" in vars(flow):
            message = f"the file never starts its flow. Add: if __name__ == '__main__': {name}()"
            raise _ProblemError(message)


def _command(flow: Any, options: argparse.Namespace) -> list[str]:
    command = ["--quiet", "--no-pylint", "show"]
    if "project" not in flow._flow_decorators:  # noqa: SLF001  # Metaflow has no public way
        return command
    branch = ["--branch", options.branch] if options.branch else []
    return [*branch, *(["--production"] if options.production else []), *command]


def _description(flow: Any, path: Path) -> FlowFile:
    from metaflow import current
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows
    from metaflow.plugins.datastores.local_storage import LocalStorage
    from metaflow.system_context import system_context
    from metaflow.util import get_username

    from flowproject.journal import datastore_root

    argo = _argo(ArgoWorkflows, flow)
    parameters = tuple(_parameter(item) for item in argo.parameters.values())
    triggers, trigger_options = argo._process_triggers()  # noqa: SLF001
    dependencies = tuple(_dependency(trigger) for trigger in triggers)
    _refuse_upper_case(dependencies, parameters)
    return FlowFile(
        name=flow.name,
        path=path,
        project=current.get("project_name") or "",
        branch=current.get("branch_name") or "",
        owner=get_username() or "",
        schedule=_cron(*argo._get_schedule()),  # noqa: SLF001
        dependencies=dependencies,
        reset=_reset(trigger_options or {}),
        parameters=parameters,
        end_step=getattr(flow._graph, "end_step", "end"),  # noqa: SLF001
        metadata=system_context.metadata.metadata_str(),
        local_root=LocalStorage.get_datastore_root_from_config(lambda *_, **__: None),
        datastore=datastore_root(),
        inherits_ours=any(
            base.__module__.partition(".")[0] == "flowproject" for base in type(flow).__mro__
        ),
    )


def _argo(compiler: Any, flow: Any) -> Any:
    """Metaflow's own compiler to Argo, given only the flow: the parts used need nothing else.

    Its constructor would want a code package on S3 and a cluster's settings.
    """
    argo = compiler.__new__(compiler)
    argo.flow = flow
    argo.parameters = argo._process_parameters()  # noqa: SLF001
    return argo


def _parameter(item: dict[str, Any]) -> FlowParameter:
    return FlowParameter(
        name=item["name"],
        required=bool(item["is_required"]),
        type=item["type"],
        has_default=item["value"] != "null",
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
            raise _ProblemError(_UPPER_CASE.format(name=parameter.name, lower=lower))


def _cron(expression: str | None, timezone: str | None) -> Cron | None:
    return Cron(expression=expression, timezone=timezone or "") if expression else None


def _reset(options: dict[str, Any]) -> Cron | None:
    reset = options.get("reset_at") or {}
    return _cron(reset.get("cron"), reset.get("timezone"))


def _problem(error: Exception, path: Path) -> dict[str, Any]:
    """What went wrong in one line, and the line of the user's file nearest to it."""
    from metaflow.exception import ParameterFieldFailed

    if isinstance(error, ParameterFieldFailed) and isinstance(error.__context__, Exception):
        error = error.__context__  # Metaflow's own message is a whole traceback
    if isinstance(error, SyntaxError) and error.filename:
        return {"what": f"SyntaxError: {error.msg}", "file": error.filename, "line": error.lineno}
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).parent == path.parent]
    return {
        "what": _message(error),
        "file": mine[-1].filename if mine else str(path),
        "line": (mine[-1].lineno if mine else None) or getattr(error, "line_no", None),
    }


def _message(error: Exception) -> str:
    from metaflow.exception import MetaflowException

    if isinstance(error, (_ProblemError, MetaflowException)):
        return str(error.args[0] if error.args else getattr(error, "message", error))
    return traceback.format_exception_only(error)[-1].strip()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "Metaflow refused it without a word"
