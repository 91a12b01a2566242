"""Starts the flow of one file in a child process, catches it, and describes it in JSON.

The file is executed as Metaflow's users execute it, and its flow is caught after Metaflow has set
it up (configs, mutators, decorators); nothing of it runs. Triggers and parameters are read by the
code that deploys them to Argo, so nothing is guessed. `deploy/compiler.py` asks for more.
"""

import argparse
import io
import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Final

from metaflow import FlowSpec, current

from flowproject.flowfiles.effects import files_of_pure_looks
from flowproject.flowfiles.model import Cron, Dependency, FlowFile, FlowParameter, FlowStep
from flowproject.journal import datastore_root
from flowproject.metaflow_internals import flows
from flowproject.metaflow_internals.argo import FlowOnArgo, read_flow
from flowproject.metaflow_internals.concurrency import make_folder_once
from flowproject.metaflow_internals.datastore import local_root
from flowproject.metaflow_internals.exceptions import MetaflowException, users_error
from flowproject.metaflow_internals.metadata import metadata_place
from flowproject.metaflow_internals.settings import user_name
from flowproject.secrecy import keep_secrets_of_environment, safe

__all__ = ["ProblemError", "answer", "description", "main", "problem", "run_command", "start"]

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


class ProblemError(Exception):
    """Something is wrong with the flow: the message says what."""


# No `Exception`: a file may have `try: Flow() except Exception`, and must not get to see it.
class _Caught(BaseException):  # no error: it carries the result
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


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
        return {"flow": description(flow, path, read_flow(flow)).to_json()}
    except Exception as error:  # noqa: BLE001  # deploy-time functions are the user's code, too
        return {"problem": problem(error, path)}


def answer(ask: Callable[[], dict[str, Any]]) -> None:
    """Print one JSON object, and nothing else: what the flow file prints goes to stderr."""
    with _private_output() as output:
        json.dump(ask(), output)


@contextmanager
def _private_output() -> Iterator[io.TextIOBase]:
    """The standard output for the answer alone: what the flow file prints goes to stderr."""
    # Of the process and not of Python: libraries and programs that a file starts print, too.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        yield answer


def start(path: Path, use: Callable[[Any], Any]) -> Any | None:
    """Start the file: what `use` makes of its flow; nothing if it starts none."""

    def catch(flow: Any) -> None:
        raise _Caught(use(flow))

    flows.intercept_start(catch)
    # Other files of the project are started by other processes at this moment.
    make_folder_once()
    # As `python file.py` has it, which a flow may rely on: `-c` leaves an empty folder there.
    sys.argv = [str(path)]
    sys.path[0] = str(path.parent)
    try:
        names = runpy.run_path(str(path), run_name="__main__")
    except _Caught as caught:
        return caught.result
    except SystemExit:
        return None
    _refuse_unstarted(names)
    return None


def run_command(flow: Any, command: Sequence[str]) -> None:
    """Let Metaflow's command line run a command on the flow; raises `ProblemError` if it fails."""
    # Click prints what it refuses, with its usage, and Metaflow only answers a code.
    complaints = io.StringIO()
    with redirect_stderr(complaints):
        succeeded = flows.run_on_command_line(flow, command)
    if not succeeded:
        raise ProblemError(_last_line(complaints.getvalue()))


def _refuse_unstarted(names: dict[str, Any]) -> None:
    """Say which flow of the file nobody starts: `python file.py run` would do nothing."""
    for name, value in names.items():
        flow = flows.class_under_mutators(value)
        own = isinstance(flow, type) and flow.__module__ == "__main__"
        if own and issubclass(flow, FlowSpec) and "start" in vars(flow):
            message = f"the file never starts its flow. Add: if __name__ == '__main__': {name}()"
            raise ProblemError(message)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "Metaflow refused it without a word"


def _set_up(flow: Any, options: argparse.Namespace) -> Any:
    """The flow after Metaflow's command line has run a harmless command on it."""
    run_command(flow, _command(flow, options))
    return flows.set_up_flow()


def _command(flow: Any, options: argparse.Namespace) -> list[str]:
    # Any command sets the flow up. This one only prints, and that goes to stderr.
    command = ["--quiet", "--no-pylint", "show"]
    if not flows.flow_decorators(flow, "project"):
        return command
    # Only a flow with `@project` has these options, and Metaflow refuses an unknown one.
    branch = ["--branch", options.branch] if options.branch else []
    return [*branch, *(["--production"] if options.production else []), *command]


def description(flow: Any, path: Path, on_argo: FlowOnArgo) -> FlowFile:
    """Describe the flow that Metaflow has set up, with what its compiler to Argo makes of it."""
    parameters = tuple(_parameter(item) for item in on_argo.parameters)
    dependencies = tuple(_dependency(trigger) for trigger in on_argo.triggers)
    _refuse_upper_case(dependencies, parameters)
    # By the module, for a project may inherit from a base of its own that inherits from ours.
    ours = any(base.__module__.partition(".")[0] == "flowproject" for base in type(flow).__mro__)
    return FlowFile(
        name=flow.name,
        path=path,
        project=current.get("project_name") or "",
        branch=current.get("branch_name") or "",
        owner=user_name() or "",
        schedule=_schedule(flow, *on_argo.schedule),
        dependencies=dependencies,
        reset=_reset(on_argo.trigger_options),
        parameters=parameters,
        steps=tuple(_step(flow, name) for name in flows.step_names(flow)),
        end_step=flows.end_step(flow),
        metadata=metadata_place(),
        local_root=local_root(),
        datastore=datastore_root(),
        inherits_ours=ours,
        sensors=tuple(getattr(flow, "sensors", ())) if ours else (),
        pushes=dict(getattr(flow, "_pushes", {})) if ours else {},
        looks_in=_looks_in(flow, on_argo) if ours else (),
    )


def _looks_in(flow: Any, on_argo: FlowOnArgo) -> tuple[str, ...]:
    defaults = {item["name"]: str(item["value"]) for item in on_argo.parameters}
    if not on_argo.schedule[0]:
        return ()
    try:
        return files_of_pure_looks(flow, defaults)
    # Code without a source to read, or in words of another Python: it may do anything.
    except (OSError, SyntaxError, TypeError, ValueError):
        return ()


def _parameter(item: Mapping[str, Any]) -> FlowParameter:
    return FlowParameter(
        name=item["name"],
        required=bool(item["is_required"]),
        type=item["type"],
        # Metaflow writes this where there is no default, or None.
        has_default=item["value"] != "null",
    )


def _step(flow: Any, name: str) -> FlowStep:
    decorators = flows.step_decorators(flow, name)
    # As text: from `--with` or the configuration it may be one.
    environments = [one for one in decorators if one.name in {"conda", "pypi"}]
    return FlowStep(
        name=name,
        marks=tuple(sorted({*flows.step_mutators(flow, name), *(one.name for one in decorators)})),
        is_bare=any(str(one.attributes.get("disabled")).lower() == "true" for one in environments),
    )


def _dependency(trigger: Mapping[str, Any]) -> Dependency:
    return Dependency(
        event=trigger["name"],
        type=trigger["type"],
        alias=trigger["sanitized_name"],
        # Sorted, for Metaflow maps the parameters of an event without a mapping from a set.
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
    left_out = " ".join(flows.written_schedule(flow).split()[_FIELDS:])
    return Cron(expression=expression, timezone=timezone or "", left_out=left_out)


def _reset(options: Mapping[str, Any]) -> Cron | None:
    """When waiting events are forgotten. What Metaflow would silently leave out is refused."""
    reset = options.get("reset_at") or {}
    if not reset:
        return None
    if not isinstance(reset, dict) or not reset.get("cron") or reset.keys() - _RESET_KEYS:
        raise ProblemError(_RESET.format(reset=reset))
    return Cron(expression=reset["cron"], timezone=reset.get("timezone") or "")


def problem(error: Exception, path: Path) -> dict[str, Any]:
    """What went wrong in one line, and the line of the user's file nearest to it."""
    error = users_error(error)
    if isinstance(error, SyntaxError) and error.filename:
        return {"what": f"SyntaxError: {error.msg}", "file": error.filename, "line": error.lineno}
    frames = traceback.extract_tb(error.__traceback__)
    # An error is often raised in a library: the user's own line is the one to look at.
    mine = [frame for frame in frames if Path(frame.filename).parent == path.parent]
    return {
        "what": _message(error),
        "file": mine[-1].filename if mine else str(path),
        "line": (mine[-1].lineno if mine else None) or getattr(error, "line_no", None),
    }


def _message(error: Exception) -> str:
    keep_secrets_of_environment()
    if isinstance(error, (ProblemError, MetaflowException)):
        return safe(str(error.args[0] if error.args else getattr(error, "message", error)))
    return safe(traceback.format_exception_only(error)[-1].strip())
