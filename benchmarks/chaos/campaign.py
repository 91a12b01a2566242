"""Many rounds, until enough faults were injected: of flowproject, of the scaffold, of a mutant."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from benchmarks.chaos.books import Books
from benchmarks.chaos.bus import Bus
from benchmarks.chaos.mutants import Mutant
from benchmarks.chaos.sender import one_process
from benchmarks.chaos.story import Place, Story, System

__all__ = ["Caught", "campaign", "catch", "running_bus"]

_MOST_ROUNDS_OF_A_MUTANT = 200
_HARM = ("lost", "twice", "overtaken", "unrecorded", "unnoted", "unfinished", "unnamed")


@dataclass(frozen=True, kw_only=True)
class Caught:
    """The first round in which a mutant did harm, and what; no problems if there is none."""

    mutant: str
    store: str
    seed: int
    rounds: int
    problems: list[str]


@contextmanager
def running_bus() -> Iterator[Bus]:
    """A bus, to which everything in this process is sent."""
    bus = Bus()
    try:
        with one_process(bus):
            yield bus
    finally:
        bus.stop()


def campaign(
    make: Callable[[Story], System],
    *,
    place: Place,
    bus: Bus,
    seed: int,
    faults: int = 0,
    rounds: int = 0,
    plot: str | None = None,
    tell: Callable[[Books], None] = lambda _: None,
) -> Books:
    """The books of as many rounds as it takes to inject so many `faults`, or of so many `rounds`.

    The same seeds give the same plan: the first round has `seed`, the next one the next number.
    `plot` is what each is about (None: what its seed says).
    """
    begun = time.monotonic()
    books = Books()
    for number in count(seed):
        if books.rounds >= rounds and books.faults.total() >= faults:
            break
        books.add(_played(Story(seed=number, place=place, bus=bus, make=make, plot=plot)))
        tell(books)
    books.seconds = time.monotonic() - begun
    return books


def catch(mutant: Mutant, *, place: Place, bus: Bus, seed: int) -> Caught:
    """What the first round shows in which a mutant does harm."""
    with mutant.patch():
        for number in range(seed, seed + _MOST_ROUNDS_OF_A_MUTANT):
            story = Story(seed=number, place=place, bus=bus, make=mutant.make, plot=mutant.plot)
            books = _played(story)
            if harm := [each for each in books.problems if _is_harm(each)]:
                break
        else:
            harm = []
    return Caught(
        mutant=mutant.name,
        store=place.name,
        seed=number,
        rounds=number - seed + 1,
        problems=harm,
    )


def _is_harm(problem: str) -> bool:
    """Whether a change was lost, silently given up, sent without an end or run twice."""
    return any(f": {kind}: " in problem for kind in _HARM)


def _played(story: Story) -> Books:
    try:
        return story.play()
    except Exception as error:  # noqa: BLE001  # an error of the code under test is a result
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
        books = Books(rounds=1, faults=story.faults.injected)
        books.wrong("errors", f"{type(error).__name__}: {error} ({where})")
        books.problems = [f"{story.place.name}, round {story.seed}: {books.problems[0]}"]
        return books
