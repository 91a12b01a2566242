"""What the page reads of the journals. These calls block: the server makes them in threads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flowproject.changes.entry import Entry
from flowproject.errors import FlowprojectError, UsageError
from flowproject.journal import Journal, Survey, UnreadableError
from flowproject.sensing import Chain, Found, Scene, chain, find_change, patience_of

__all__ = ["NOTHING", "Damage", "Newest", "Told", "changes", "find", "newest", "place_of"]

CHANGES: Final = 25
"""On one page."""


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The end of a journal: its newest entry, how many changes the bus lacks, or why not."""

    entry: Entry | None = None
    waiting: int = 0
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """An entry that can't be read, and why."""

    seq: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """Some entries, newest first, and the numbers before which older and newer pages begin."""

    chains: tuple[Chain | Damage, ...] = ()
    older: int = 0
    newer: int = 0


NOTHING: Final = Told()


def newest(scene: Scene, sensor: str) -> Newest:
    """The end of the journal of a sensor; of one that can't be read, why."""
    journal = scene.journal(sensor)
    try:
        head = journal.head()
        return Newest(entry=head.entry, waiting=sum(1 for _ in journal.waiting(head)))
    except FlowprojectError as error:
        return Newest(trouble=str(error))


def changes(scene: Scene, sensor: str, before: int = 0) -> Told:
    """One page of the entries with smaller numbers than `before`; 0: the newest.

    Raises:
        JournalError: if the journal can't be read.
    """
    journal = scene.journal(sensor)
    survey = journal.survey()
    numbers = survey.numbers
    start = next((i for i, seq in enumerate(numbers) if seq < before), len(numbers))
    start = start if before else 0
    end = start + CHANGES
    return Told(
        chains=tuple(_chains(scene, journal, survey, numbers[start:end])),
        older=numbers[end - 1] if end < len(numbers) else 0,
        newer=numbers[start - CHANGES] + 1 if start >= CHANGES else numbers[0] + 1 if start else 0,
    )


def find(scene: Scene, sensor: str, seq: int) -> Found:
    """One change, its journal, and what became of it.

    Raises:
        UsageError: if there is no such sensor or number.
        JournalError: if it can't be read.
    """
    return find_change(scene, f"{sensor}/{seq}")


def place_of(scene: Scene, change_id: str) -> tuple[str, int] | None:
    """Sensor and number of the change with this id; None if no journal has it.

    Raises:
        JournalError: if a journal can't be read.
    """
    try:
        entry = find_change(scene, change_id).chain.entry
    except UsageError:
        return None
    return entry.sensor, entry.seq


def _chains(
    scene: Scene, journal: Journal, survey: Survey, numbers: tuple[int, ...]
) -> Iterator[Chain | Damage]:
    patience = patience_of(scene.project.sensors[journal.sensor])
    for seq in numbers:
        try:
            entry = journal.get(seq)
            if entry:  # not pruned since it was listed
                yield chain(survey, entry, patience, scene.clock())
        except UnreadableError as damage:
            yield Damage(seq=seq, reason=str(damage))
