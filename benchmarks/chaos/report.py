"""The books as tables, for a terminal, for a pipe and for machines."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.chaos.books import Books
from benchmarks.chaos.campaign import Caught
from benchmarks.chaos.faults import KINDS

__all__ = ["faults_table", "machine", "mutants_table", "outcome_table", "show"]

_OUTCOMES: Final = {
    "faults injected": lambda books: books.faults.total(),
    "rounds": lambda books: books.rounds,
    "ticks": lambda books: books.ticks,
    "changes made": lambda books: books.made,
    "changes recorded (one may hold several made)": lambda books: books.recorded,
    "delivered: the bus has them": lambda books: books.delivered,
    "sendings that the bus took": lambda books: books.sendings,
    "runs started": lambda books: books.runs,
    "receipts": lambda books: books.receipts,
    "duplicates suppressed": lambda books: books.suppressed,
    "failed runs resumed": lambda books: books.resumed,
    "work repeated by the retry of its own run": lambda books: books.repeated,
    "undelivered, said so, and replayed": lambda books: books.replayed,
    "made and never recorded": lambda books: books.unrecorded,
    "LOST (change and flow)": lambda books: books.lost,
    "  and no later run made up for it": lambda books: books.unseen,
    "RUN TWICE in effect (change and flow)": lambda books: books.twice,
    "first sent out of order": lambda books: books.misordered,
    "worked for before an older one was over": lambda books: books.overtaken,
    "sent under more than one id": lambda books: books.renamed,
    "sent while nothing could be noted": lambda books: books.unnoted,
    "told before it was complete": lambda books: books.unfinished,
    "undelivered, and not named": lambda books: books.unnamed,
    "sensors not at rest in the end": lambda books: books.unsettled,
    "unexpected errors": lambda books: books.errors,
    "seconds": lambda books: round(books.seconds),
}
_NOT_OF_THE_SCAFFOLD: Final = (
    "receipts",
    "duplicates suppressed",
    "undelivered, said so, and replayed",
    "made and never recorded",
    "first sent out of order",
    "worked for before an older one was over",
    "sent under more than one id",
    "sent while nothing could be noted",
    "told before it was complete",
    "undelivered, and not named",
    "sensors not at rest in the end",
)
Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""A title, what stands above the columns, and rows."""


def outcome_table(books: Mapping[str, Books]) -> Table:
    """What became of the changes, with a column for each campaign."""
    rows = [
        (what, *(_number(name, what, count(one)) for name, one in books.items()))
        for what, count in _OUTCOMES.items()
    ]
    return "What became of the changes", ["", *books], rows


def faults_table(books: Mapping[str, Books]) -> Table:
    """How often each kind of fault was injected."""
    kinds = dict.fromkeys((*KINDS, *(kind for one in books.values() for kind in one.faults)))
    rows = [(kind, *(f"{one.faults[kind]:,}" for one in books.values())) for kind in sorted(kinds)]
    return "Faults injected", ["", *books], rows


def mutants_table(caught: Sequence[Caught]) -> Table:
    """Which round caught each mutant, and by what."""
    rows = [
        (
            one.mutant,
            one.store,
            str(one.seed) if one.problems else "NOT CAUGHT",
            str(one.rounds),
            one.problems[0].partition(": ")[2] if one.problems else "",
        )
        for one in caught
    ]
    return "Mutants", ["mutant", "store", "caught by round", "rounds", "what it did first"], rows


def _number(campaign: str, what: str, number: int) -> str:
    return "-" if "scaffold" in campaign and what in _NOT_OF_THE_SCAFFOLD else f"{number:,}"


def show(table: Table) -> None:
    """Print a table: drawn on a terminal, plain in a pipe."""
    title, head, rows = table
    if sys.stdout.isatty():
        _draw(title, head, rows)
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    print(f"\n{title}\n")
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *map(_aligned, row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def _aligned(cell: str, width: int) -> str:
    return (
        cell.rjust(width) if cell.replace(",", "").isdigit() or cell == "-" else cell.ljust(width)
    )


def _draw(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table as Drawing

    drawing = Drawing(title=title, title_justify="left")
    for number, name in enumerate(head):
        drawing.add_column(name, justify="right" if number and rows[0][1].isdigit() else "left")
    for row in rows:
        drawing.add_row(*row)
    Console().print(drawing)


def machine(books: Mapping[str, Books], caught: Sequence[Caught]) -> str:
    """All of it as JSON."""
    document: dict[str, Any] = {
        "v": 1,
        "campaigns": {name: vars(one) for name, one in books.items()},
        "mutants": [asdict(one) for one in caught],
    }
    return json.dumps(document, indent=1)
