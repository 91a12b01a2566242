"""Runs the `flowproject` command: finds the subcommand, and turns a failure into an exit code."""

import os
import platform
import re
import sys
import tempfile
import traceback
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import typer.main
from typer.core import MarkupMode, TyperGroup

from flowproject.cli.output import plain
from flowproject.errors import (
    ConfigError,
    DeliveryError,
    DeployError,
    FlowError,
    FlowprojectError,
    JournalError,
    QueryError,
    SourceError,
    TickError,
    UsageError,
    closest,
)
from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.packages import missing_for_import
from flowproject.secrecy import safe

__all__ = ["load_command", "main"]

# Codes of failures stand with their classes, in `errors`; these are of what is no failure of ours.
# 70 is EX_SOFTWARE of sysexits.h; 130 and 141 are what shells report of SIGINT and SIGPIPE.
REFUSED: Final = 1
BUG: Final = 70
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_KINDS: Final[tuple[type[FlowprojectError], ...]] = (
    ConfigError,
    QueryError,
    SourceError,
    JournalError,
    DeliveryError,
    FlowError,
    TickError,
    DeployError,
    UsageError,
)
# In the help, so that a script's author need not look for the page.
_CODES: Final = ", ".join(f"{kind.exit_code} {kind.headline.lower()}" for kind in _KINDS)

# Each command: the module that has it, as a function of the same name, and the first paragraph of
# its docstring. That stands here too, because the list of all commands is printed, and completed by
# a shell, without importing the modules: they bring the web server, git and the cluster.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("init", "Write a project into a folder, and nothing over what is there."),
    "upgrade": (
        "init",
        "Show what this version changes in the files that init wrote; with --apply change them.",
    ),
    "check": ("check", "Check configuration, SQL and flow files."),
    "preview": ("preview", "Look at every source; write and send nothing."),
    "dev": ("dev", "Run the whole loop here, until Ctrl-C."),
    "history": ("history", "List the changes that sensors recorded."),
    "why": ("why", "Say which change started a run."),
    "replay": ("delivery", "Send changes anew, each with its id, in this order."),
    "skip": ("delivery", "Let the next changes pass, with flows that take them in order."),
    "move": (
        "journal",
        "Move the journal of a sensor that was renamed, or whose project was, to its new name.",
    ),
    "reset": (
        "journal",
        "Forget the baseline of a sensor. Its history stays, and so do changes still to be sent.",
    ),
    "deploy": ("deploy", "Deploy every flow file of the project to Argo Workflows."),
    "teardown": (
        "teardown",
        "Remove everything of a git branch from Argo Workflows and Argo Events.",
    ),
    "gc": (
        "teardown",
        "Show the deployments whose git branches are gone, and with --apply remove them.",
    ),
    "schema": ("generate", "Write the JSON Schema of flowproject.toml."),
    "docs": ("generate", "Write the reference page of flowproject.toml."),
}


# Typer draws boxes whatever it writes to; in a pipe and in a log they are noise.
_MARKUP: Final[MarkupMode] = "rich" if sys.stdout.isatty() else None


class _LazyGroup(TyperGroup):
    """Imports the module of a command when that command is called or completed, and no other."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else None, rest


def load_command(name: str) -> Any:  # a class of Click, which typer keeps to itself
    """The command of this name, whose module is imported for it."""
    module, _ = COMMANDS[name]
    # Typer makes commands from an application only; one with a single command becomes that.
    alone = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=_MARKUP
    )
    try:
        command = getattr(import_module(f"flowproject.cli.{module}"), name)
    except ModuleNotFoundError as error:
        missing = missing_for_import(error.name or "")
        if missing is None:
            raise
        raise UsageError(
            f"`flowproject {name}` can't begin: {missing.what}",
            where=missing.where,
            allowed=missing.allowed,
            fix=missing.fix,
        ) from error
    alone.command(name)(command)
    return typer.main.get_command(alone)


def _not_loaded() -> None:
    """Stand for a command that is listed, and not called."""


_app = typer.Typer(
    name="flowproject",
    cls=_LazyGroup,
    help="Watch data, notice changes, and start the right Metaflow flows with the change in hand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=_MARKUP,
    epilog=f"Exit codes: 0 done, {REFUSED} refused by you or by Metaflow, {_CODES}, {BUG} a bug of "
    f"ours, {INTERRUPTED} interrupted. With several failures it is the highest of theirs.",
)
for _name, (_, _short) in COMMANDS.items():
    _app.command(_name, help=_short)(_not_loaded)


def main(arguments: list[str] | None = None) -> int:
    """The exit code of `flowproject` with these arguments (default: the command line's)."""
    _tolerate_narrow_encodings()
    try:
        # Not standalone: typer would print failures its own way and exit, with 1 or 2 for all of
        # them.
        result = _app(arguments, standalone_mode=False)
        # Here and not when the interpreter ends: a reader that is gone is found out by this.
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Typer makes the second of the first
        # Whoever read our output has enough; what is left in the buffer has no reader.
        # Else the interpreter flushes the buffer when it ends, and complains of the reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  # told in a line, or kept in a report
        return _tell(error)
    if result == INTERRUPTED:
        _leave()
    return result if isinstance(result, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(_version("flowproject"))
        raise typer.Exit


@_app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _tell(error: Exception) -> int:
    """The exit code of a failure, after it was told."""
    match error:
        case FlowprojectError():
            _say(f"{error.headline}: {error}")
            return error.exit_code
        # After ours, which derive from it: Metaflow's own have no exit code.
        case MetaflowException():
            _say(f"{error.headline}: {error.message}")
            return REFUSED
        case typer.Abort():
            _say("Nothing was done.")
            return REFUSED
        case typer.TyperException():
            # Without arguments there is no message: the help was printed.
            if error.format_message():
                _say(f"{UsageError.headline}: {_misuse(error)}")
            return UsageError.exit_code
    _say(f"This is a bug of flowproject: {type(error).__name__}: {error}. Report: {_report()}")
    return BUG


def _misuse(error: Any) -> UsageError:  # Typer keeps the classes of its errors to itself
    """What is wrong with a command line, in our words."""
    context = getattr(error, "ctx", None)
    # Not its path: that begins with how Python was started.
    named = context.info_name if context is not None and context.parent is not None else ""
    command = f"flowproject {named}".strip()
    what, allowed, near = _in_words(error, command, context)
    return UsageError(what, allowed=f"{allowed} {near}".strip(), fix=f"See `{command} --help`")


def _in_words(error: Any, command: str, context: Any) -> tuple[str, str, str]:
    """What is wrong, what is allowed, and what is near."""
    given, parameter = getattr(error, "option_name", ""), getattr(error, "param", None)
    message = str(error.format_message())
    parameters = list(context.command.params) if context is not None else []
    if hasattr(error, "possibilities"):
        known = sorted({name for one in parameters for name in one.opts if name.startswith("--")})
        what = f"`{command}` has no option {given!r}"
        return what, f"Its options: {', '.join(known)}.", closest(given, known)
    if parameter is not None:
        name = re.sub(r"^[^']*'(.*?)'.*$", r"\1", message, flags=re.DOTALL)
        # It says "Input should be a valid integer, unable to parse string as an integer".
        reason = str(error.message).partition(",")[0].replace("Input should be", "it is to be")
        lacks = hasattr(error, "param_type")
        what = f"`{command}` needs {name}" if lacks else f"{name} of `{command}`: {reason}"
        return what, f"It is: {parameter.help}", ""
    if given:
        return f"{given} needs a value", "", ""  # nothing says which command it is of
    if unknown := _NO_COMMAND.match(message):
        what = f"`flowproject {unknown[1]}` is no command"
        return what, f"Commands: {', '.join(COMMANDS)}.", closest(unknown[1], COMMANDS)
    if extra := _TOO_MANY.match(message):
        takes = [str(one.name).upper() for one in parameters if not one.opts[0].startswith("-")]
        what = f"`{command}` does not know what {extra[1]!r} is for"
        return what, f"It takes {' '.join(takes) or 'options only'}", ""
    return f"`{command}`: {message}", "", ""


_NO_COMMAND: Final = re.compile(r"No such command '(.*?)'\.")
_TOO_MANY: Final = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)")


def _say(message: str) -> None:
    print(plain(message), file=sys.stderr)


def _report() -> Path:
    """The file that the versions and the traceback were written to, without any password."""
    told = "\n".join(
        [
            *(f"{name} {_version(name)}" for name in ("flowproject", "metaflow", "typer")),
            f"Python {sys.version} on {platform.platform()}",
            f"Arguments: {sys.argv[1:]}",
            traceback.format_exc(),
        ]
    )
    # Only its owner may read it, which is how a temporary file is made.
    with tempfile.NamedTemporaryFile(
        "w", prefix="flowproject-", suffix=".txt", encoding="utf-8", delete=False
    ) as file:
        file.write(safe(told))
    return Path(file.name)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed as a package)"


def _tolerate_narrow_encodings() -> None:
    """Print what a terminal's encoding lacks as a question mark, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave() -> None:
    """End the process at once: a source that can't be cancelled would keep it waiting."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)
