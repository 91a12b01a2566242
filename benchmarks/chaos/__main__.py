"""Inject faults and print what became of every change; ends with 1 if one was lost or run twice."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.scratch import same_environment_everywhere

if TYPE_CHECKING:
    from benchmarks.chaos.books import Books
    from benchmarks.chaos.campaign import Caught
    from benchmarks.chaos.workers import Workers

_STORES: Final = {"local": ("local",), "s3": ("s3",), "both": ("local", "s3")}
_SHARE_OF_PROCESSES: Final = {"local": 0.1, "s3": 0.03}
_PROBLEMS_SHOWN: Final = 20


def main() -> int:
    """Do what the command line asks for: the exit code."""
    from benchmarks.chaos.workers import quiet

    options = _options()
    same_environment_everywhere()
    quiet()
    with TemporaryDirectory(prefix="flowproject-chaos-") as folder:
        if options.round is not None:
            return _one_round(options, Path(folder))
        if options.mutants:
            return _mutants(options, Path(folder))
        return _campaigns(options, Path(folder))


def _campaigns(options: argparse.Namespace, folder: Path) -> int:
    from benchmarks.chaos.report import faults_table, machine, outcome_table, show

    books: dict[str, Books] = {}
    for store in _STORES[options.store]:
        with _workers(store, folder) as workers:
            few = round(options.faults * _SHARE_OF_PROCESSES[store])
            many = options.faults - few
            begun = time.monotonic()
            with _progress(f"{store}: processes", few) as tell:
                ours = workers.killed(seed=options.seed, faults=few, tell=tell)
            with _progress(f"{store}: flowproject", many) as tell:
                ours.add(workers.rounds("ours", seed=options.seed, faults=many, tell=tell))
            ours.seconds = time.monotonic() - begun
            books[f"{store}: flowproject"] = ours
            if options.scaffold:
                begun = time.monotonic()
                with _progress(f"{store}: the old scaffold", many) as tell:
                    old = workers.rounds("scaffold", seed=options.seed, faults=many, tell=tell)
                old.seconds = time.monotonic() - begun
                books[f"{store}: scaffold"] = old
    problems = [
        problem
        for name, one in books.items()
        for problem in one.problems
        if "flowproject" in name or ": errors: " in problem
    ]
    if options.json:
        print(machine(books, []))
    else:
        show(faults_table(books))
        show(outcome_table(books))
        print(_verdict(problems))
    return int(bool(problems))


def _mutants(options: argparse.Namespace, folder: Path) -> int:
    from benchmarks.chaos.report import machine, mutants_table, show

    caught: list[Caught] = []
    for store in _STORES[options.store]:
        with _workers(store, folder) as workers:
            caught += workers.caught(seed=options.seed)
    if options.json:
        print(machine({}, caught))
    else:
        show(mutants_table(caught))
    return int(not all(one.problems for one in caught))


def _one_round(options: argparse.Namespace, folder: Path) -> int:
    """Play one round again and tell all of it."""
    from benchmarks.chaos.ours import Ours
    from benchmarks.chaos.story import Story
    from benchmarks.chaos.workers import at

    [store] = _STORES[options.store]
    with at(store, folder) as (place, bus):
        story = Story(seed=options.round, place=place, bus=bus, make=Ours)
        try:
            books = story.play()
        finally:
            print("\n".join(story.turns.trace))
    print(_verdict(books.problems))
    return int(not books.is_clean)


@contextmanager
def _workers(store: str, folder: Path) -> "Iterator[Workers]":
    from benchmarks.chaos.workers import Workers

    workers = Workers(store, folder)
    try:
        yield workers
    finally:
        workers.stop()


@contextmanager
def _progress(what: str, faults: int) -> "Iterator[Callable[[Books], None]]":
    """A bar on a terminal; nothing in a pipe."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.__stderr__), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=faults)
        yield lambda books: bar.update(task, completed=books.faults.total())


def _verdict(problems: "list[str]") -> str:
    if not problems:
        return "\nNothing lost, nothing run twice."
    shown = problems[:_PROBLEMS_SHOWN]
    more = len(problems) - len(shown)
    return "\n".join(["", *shown, f"and {more} more" if more else ""])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=3100, help="to inject on each store")
    parser.add_argument("--store", choices=_STORES, default="both")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--mutants", action="store_true", help="are wrong protocols caught?")
    parser.add_argument(
        "--no-scaffold",
        dest="scaffold",
        action="store_false",
        help="without the scaffold that this replaces, in half of the time",
    )
    parser.add_argument("--round", type=int, help="play one again and tell each request of it")
    options = parser.parse_args()
    if options.round is not None and options.store == "both":
        options.store = "local"
    return options


if __name__ == "__main__":
    sys.exit(main())
