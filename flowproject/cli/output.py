"""Prints what commands say: a table on a terminal, plain lines in a pipe, JSON for machines.

Results go to standard output; progress, questions and failures to standard error, `--json` or not.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from flowproject.changes.observation import Progress as Look
from flowproject.changes.observation import Report, ignore_progress
from flowproject.errors import UsageError
from flowproject.secrecy import hide, keep_secrets_of_environment, safe

__all__ = ["AsJson", "ask", "plain", "print_json", "print_lines", "print_table", "working"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON for machines; failures are text on stderr.")
]

# Columns of a terminal; in fewer, the last columns of a table would be folded to single letters.
_WIDE: Final = 120
# A space that does not break is what `isprintable` refuses and tables use.
_HARMLESS: Final = "\n\t\u00a0"
_STYLES: Final = {
    "ok": "green",
    "note": "cyan",
    "error": "bold red",
    "changed": "bold green",
    "failed": "bold red",
    "damaged": "bold red",
}


def ask(question: str, why: str) -> None:
    """Ask a person, and return if the answer is yes; `why` is told where there is nobody to ask.

    Raises:
        Abort: if the answer is anything else.
        UsageError: if there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            f"{why}, and there is nobody to ask",
            where="Standard input is no terminal",
            fix="Add `--yes`",
        )
    typer.confirm(question, abort=True, err=True)


def print_json(document: Any) -> None:
    """Print one JSON document: what is in it stays as it is, but for secrets that are known."""
    keep_secrets_of_environment()
    # Only known secrets: what merely looks like one may be data, which a program wants as it is.
    print(hide(json.dumps(document, indent=2)))


def print_lines(lines: Sequence[str]) -> None:
    """Print lines of text."""
    for line in lines:
        print(plain(line))


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    empty: str = "",
    spare: int = 0,
) -> None:
    """Print rows as a table on a terminal, and as lines with tabs elsewhere.

    `empty` is what a person reads instead of a table without rows; the last `spare` columns are
    those that a narrow terminal does without. The title goes to standard error where the rows go
    to a program.
    """
    if not sys.stdout.isatty():
        if title:
            print(plain(title), file=sys.stderr)
        # Tabs, and one line for a row: what `cut` and `awk` take apart.
        print_lines(["\t".join(map(_one_line, row)) for row in (headers, *rows)])
    elif rows:
        _draw(headers, rows, title, spare)
    else:
        print_lines([line for line in (title, empty) if line])


def plain(text: str) -> str:
    """The text without secrets, and with control characters spelled out.

    Data must not drive a reader's terminal.
    """
    return "".join(
        char if char.isprintable() or char in _HARMLESS else char.encode("unicode_escape").decode()
        for char in safe(text)
    )


@contextmanager
def working(what: str) -> Iterator[Report]:
    """Tell on a terminal what takes its time and how long it has taken; nothing elsewhere.

    What it gives takes the word of looks that say how far they are, and draws a bar for each.
    """
    # A bar in a log of a CI is thousands of lines of control characters.
    if not sys.stderr.isatty():
        yield ignore_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[seen]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        looks = {"": progress.add_task(what, total=None, seen="")}

        def report(sensor: str, look: Look) -> None:
            # A look that is quick never says how far it is, and gets no bar.
            if sensor not in looks:
                looks[sensor] = progress.add_task(plain(sensor), total=None, seen="")
            progress.update(
                looks[sensor],
                completed=look.seen,
                total=look.expected or None,
                seen=f"{look.seen:,} items",
            )

        yield report


def _draw(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str, spare: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shown = len(headers) - (spare if console.width < _WIDE else 0)
    table = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for header in headers[:shown]:
        table.add_column(header, overflow="fold")
    for row in rows:
        # Text, not markup: what a source holds may look like markup.
        cells = [Text(plain(cell), style=_STYLES.get(cell, "")) for cell in row[:shown]]
        table.add_row(*cells)
    console.print(table)


def _one_line(cell: str) -> str:
    return " ".join(cell.split())
