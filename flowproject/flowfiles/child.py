"""What a child process does with one flow file: start its flow, catch it, and answer in JSON.

The file is executed as Metaflow's users execute it, and the flow that it starts is caught after
Metaflow has set it up. What is asked of the flow stands elsewhere.
"""

import io
import json
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from flowproject.flowfiles.sharing import make_folder_once
from flowproject.secrecy import keep_secrets_of_environment, safe

__all__ = ["ProblemError", "answer", "problem", "run_command", "start"]


class ProblemError(Exception):
    """Something is wrong with the flow: the message says what."""


class _Caught(BaseException):  # not an error: carries the result past the user's code
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def answer(ask: Callable[[], dict[str, Any]]) -> None:
    """Print one JSON object, and nothing else: what the flow file prints goes to stderr."""
    with _private_output() as output:
        json.dump(ask(), output)


def start(path: Path, use: Callable[[Any], Any]) -> Any | None:
    """What `use` makes of the flow that the file starts; nothing if it starts none."""
    from metaflow import FlowSpec

    original = FlowSpec.__init__

    def catch(self: Any, use_cli: bool = True) -> None:  # noqa: FBT001, FBT002
        original(self, use_cli=False)
        if use_cli:
            raise _Caught(use(self))

    FlowSpec.__init__ = catch
    make_folder_once()
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
    from metaflow import parameters

    complaints = io.StringIO()
    with parameters.flow_context(type(flow)), redirect_stderr(complaints):
        # Metaflow adds the options of the flow's decorators when this module is first imported.
        from metaflow import cli

        code = cli.main(flow, args=list(command), handle_exceptions=False)
    if code:
        raise ProblemError(_last_line(complaints.getvalue()))


def problem(error: Exception, path: Path) -> dict[str, Any]:
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

    keep_secrets_of_environment()
    if isinstance(error, (ProblemError, MetaflowException)):
        return safe(str(error.args[0] if error.args else getattr(error, "message", error)))
    return safe(traceback.format_exception_only(error)[-1].strip())


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "Metaflow refused it without a word"


def _refuse_unstarted(names: dict[str, Any]) -> None:
    """Say which flow of the file nobody starts: `python file.py run` would do nothing."""
    from metaflow import FlowSpec
    from metaflow.user_decorators.user_flow_decorator import FlowMutator

    for name, value in names.items():
        flow = value._flow_cls if isinstance(value, FlowMutator) else value  # noqa: SLF001
        own = isinstance(flow, type) and flow.__module__ == "__main__"
        if own and issubclass(flow, FlowSpec) and "start" in vars(flow):
            message = f"the file never starts its flow. Add: if __name__ == '__main__': {name}()"
            raise ProblemError(message)


@contextmanager
def _private_output() -> Iterator[io.TextIOBase]:
    """The standard output for the answer alone: what the flow file prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        yield answer
