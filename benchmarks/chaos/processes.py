"""The rounds of which every tick and run is a process: started, and their books."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from benchmarks.chaos.books import Books
from benchmarks.chaos.ledger import Effect, Ledger
from benchmarks.chaos.ours import Ours
from benchmarks.chaos.story import Place

__all__ = ["processes"]


def processes(
    place: Place, *, seed: int, faults: int, tell: Callable[[Books], None] = lambda _: None
) -> Books:
    """The books of as many rounds as it takes to inject so many faults into processes.

    Raises:
        RuntimeError: if they could not be played to the end.
    """
    begun = time.monotonic()
    books = Books()
    command = [sys.executable, "-m", "benchmarks.chaos.zygote"]
    arguments = [str(place.folder), place.root, str(seed), str(faults)]
    with subprocess.Popen(
        [*command, *arguments],
        env=os.environ | place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        for line in child.stdout or ():
            books.add(_books(place, json.loads(line)))
            tell(books)
        said = child.stderr.read() if child.stderr else ""
    if child.returncode:
        raise RuntimeError(f"the processes ended with {child.returncode}: {said}")
    books.seconds = time.monotonic() - begun
    return books


def _books(place: Place, account: dict[str, Any]) -> Books:
    """What one round came to: the journal, the bus and the ledger compared."""
    books = Books(
        rounds=1,
        ticks=account["ticks"],
        made=len(account["made"]),
        sendings=len(account["taken"]),
        runs=account["runs"],
        suppressed=account["suppressed"],
        faults=+Counter(account["injected"]),
    )
    ledger = Ledger()
    ledger.effects = [Effect(**effect) for effect in account["effects"]]
    world = SimpleNamespace(root=place.folder / account["name"], made=account["made"])
    settings = {**account, "place": place, "ledger": ledger, "world": world, "worlds": [world]}
    story: Any = SimpleNamespace(**settings, now=dt.datetime.now(dt.UTC))
    ours = Ours(story)
    ours.look_once_more()
    ours.account(books)
    books.problems = [
        f"{place.name}, processes, round {account['seed']}: {problem}" for problem in books.problems
    ]
    return books
