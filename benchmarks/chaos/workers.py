"""Rounds on all cores: each worker is a process with a store, a server and a bus of its own.

Which rounds are played follows from the seed and from how many faults there are to be, whatever
the number of workers: books are added in the order of the seeds, and those beyond are left out.
"""

import logging
import multiprocessing
import multiprocessing.util
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from benchmarks.chaos.books import Books
from benchmarks.chaos.bus import Bus
from benchmarks.chaos.campaign import Caught, campaign, catch, running_bus
from benchmarks.chaos.mutants import MUTANTS
from benchmarks.chaos.ours import Ours
from benchmarks.chaos.place import local, moto, on_s3
from benchmarks.chaos.processes import processes
from benchmarks.chaos.scaffold import Scaffold
from benchmarks.chaos.story import Place

__all__ = ["Workers", "at", "quiet"]

_ROUNDS: Final = 3
"""Rounds of one task: few, so that no worker waits long for another at the end."""

Tell = Callable[[Books], None]


@contextmanager
def at(store: str, folder: Path) -> Iterator[tuple[Place, Bus]]:
    """A place of this kind, and a bus for this process."""
    with ExitStack() as stack:
        mine = Path(mkdtemp(prefix=f"{store}-", dir=folder))
        if store == "local":
            place = stack.enter_context(local(mine))
        else:
            place = stack.enter_context(on_s3(mine, stack.enter_context(moto())))
        yield place, stack.enter_context(running_bus())


def quiet() -> None:
    """Make this process one that tells nothing, and asks a bus that fails once in a tick."""
    os.environ["METAFLOW_SERVICE_RETRY_COUNT"] = "1"
    logging.disable(logging.CRITICAL)  # memos that could not be written are what this is about


class Workers:
    """As many processes as there are cores, at one kind of store."""

    def __init__(self, store: str, folder: Path) -> None:
        self._count = os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(
            self._count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(store, folder),
        )

    def stop(self) -> None:
        """End them."""
        self._pool.shutdown(cancel_futures=True)

    def rounds(self, system: str, *, seed: int, faults: int, tell: Tell) -> Books:
        """The books of as many rounds of a system as it takes to inject so many faults."""
        books = Books()
        ahead: deque[Future[list[Books]]] = deque()
        for first in count(seed, _ROUNDS):
            ahead.append(self._pool.submit(_play, system, first))
            if len(ahead) <= 2 * self._count:
                continue
            for one in ahead.popleft().result():
                if books.faults.total() < faults:
                    books.add(one)
            tell(books)
            if books.faults.total() >= faults:
                break
        for left in ahead:
            left.cancel()
        return books

    def killed(self, *, seed: int, faults: int, tell: Tell) -> Books:
        """The books of rounds of which every tick and run is a process."""
        books = Books()
        part = -(-faults // self._count)
        tasks = [
            self._pool.submit(_kill, seed + 1000 * number, part) for number in range(self._count)
        ]
        for task in tasks:
            books.add(task.result())
            tell(books)
        return books

    def caught(self, *, seed: int) -> list[Caught]:
        """What each mutant did first."""
        tasks = [self._pool.submit(_catch, number, seed) for number in range(len(MUTANTS))]
        return [task.result() for task in tasks]


_here: list[tuple[Place, Bus]] = []
"""Where this worker works."""


def _begin(store: str, folder: Path) -> None:
    quiet()
    stack = ExitStack()
    _here.append(stack.enter_context(at(store, folder)))
    # What a pool's process registers with `atexit` runs after its threads have ended by themselves.
    multiprocessing.util.Finalize(None, stack.close, exitpriority=1)


def _play(system: str, first: int) -> list[Books]:
    [(place, bus)] = _here
    make, plot = (Scaffold, "") if system == "scaffold" else (Ours, None)
    return [
        campaign(make, place=place, bus=bus, seed=seed, rounds=1, plot=plot)
        for seed in range(first, first + _ROUNDS)
    ]


def _kill(seed: int, faults: int) -> Books:
    [(place, _)] = _here
    return processes(place, seed=seed, faults=faults)


def _catch(number: int, seed: int) -> Caught:
    [(place, bus)] = _here
    return catch(MUTANTS[number], place=place, bus=bus, seed=seed)
