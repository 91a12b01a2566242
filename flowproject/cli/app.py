"""The `flowproject` command: its subcommands, and what becomes of their failures."""

import os
import platform
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final

import typer

from flowproject.cli.check import check
from flowproject.cli.deploy import deploy
from flowproject.cli.dev import dev
from flowproject.cli.generate import docs, schema
from flowproject.cli.history import history
from flowproject.cli.move import move
from flowproject.cli.output import plain
from flowproject.cli.preview import preview
from flowproject.cli.replay import replay
from flowproject.cli.reset import reset
from flowproject.cli.skip import skip
from flowproject.cli.teardown import gc, teardown
from flowproject.cli.why import why
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
)
from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.secrecy import safe

__all__ = ["main"]

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
_CODES: Final = ", ".join(f"{kind.exit_code} {kind.headline.lower()}" for kind in _KINDS)

_app = typer.Typer(
    name="flowproject",
    help="Watch data, notice changes, and start the right Metaflow flows with the change in hand.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    epilog=f"Exit codes: 0 done, {REFUSED} refused by you or by Metaflow, {_CODES}, {BUG} a bug of "
    f"ours, {INTERRUPTED} interrupted. With several failures it is the highest of theirs.",
)
for command in (
    *(check, preview, dev, history, why, replay, skip, move, reset),
    *(deploy, teardown, gc),
    *(schema, docs),
):
    _app.command()(command)


def main(arguments: list[str] | None = None) -> int:
    """The exit code of `flowproject` with these arguments (default: the command line's)."""
    _tolerate_narrow_encodings()
    try:
        result = _app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Typer makes the second of the first
        # Whoever read our output has enough; what is left in the buffer has no reader.
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
        case MetaflowException():
            _say(f"{error.headline}: {error.message}")
            return REFUSED
        case typer.Abort():
            _say("Nothing was done.")
            return REFUSED
        case typer.TyperException():
            # Without arguments there is no message: the help was printed.
            if message := error.format_message():
                _say(f"{message}\nSee `flowproject --help`.")
            return UsageError.exit_code
    _say(f"This is a bug of flowproject: {type(error).__name__}: {error}. Report: {_report()}")
    return BUG


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
