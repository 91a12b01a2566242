"""The change that a person means: by its id, the beginning of its id, or `sensor/number`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowproject.changes.entry import Entry
from flowproject.config.model import Sensor
from flowproject.errors import UsageError
from flowproject.journal import Journal, JournalIndex, UnreadableError
from flowproject.sensing.chain import Chain, chain, patience_of
from flowproject.sensing.orphans import orphans, scene_of
from flowproject.sensing.scene import Scene

__all__ = ["Found", "find_change"]

_ID: Final = re.compile(r"[0-9a-f]{6,32}")
_NUMBERED: Final = re.compile(r"((?:[^/]+/)?[^/]+)/(\d+)")
_ALLOWED: Final = "A change is written as its id, at least 6 digits of it, or as sensor/number"
_LIST: Final = "`flowproject history` lists the changes"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A change, its sensor and journal, and what became of it.

    `former` is how a command is told of the journal, if no sensor stands for it any more: then
    `sensor` is another.
    """

    sensor: Sensor
    journal: Journal
    chain: Chain
    former: str = ""

    def require_sensor(self) -> None:
        """Nothing, if a sensor stands for the journal.

        Raises:
            UsageError: if none does.
        """
        if self.former:
            seq = self.chain.entry.seq
            raise UsageError(
                f"No sensor is called {self.former!r} any more, so nothing is done about its "
                f"change {seq}",
                where=self.journal.location,
                allowed="The sensor that it is now has to have its journal first",
                fix=f"`flowproject move {self.former} NEW-NAME`, and then NEW-NAME/{seq}; or give "
                f"up what is left: `flowproject reset {self.former}`",
            )


def find_change(scene: Scene, text: str) -> Found:
    """The change that `text` means, on the branch of the scene.

    Raises:
        UsageError: if it means none, or several.
        JournalError: if the journal can't be read.
    """
    if numbered := _NUMBERED.fullmatch(text):
        place, name = scene_of(scene, numbered[1])
        [sensor] = place.sensors([name])
        one = _numbered(place, sensor, int(numbered[2]))
        return one if place is scene else replace(one, former=numbered[1])
    if not _ID.fullmatch(text):
        raise UsageError(f"{text!r} names no change", allowed=_ALLOWED, fix=_LIST)
    found = [one for sensor in scene.sensors() for one in _with_id(scene, sensor, text)]
    if not found:
        found = [
            replace(one, former=left.name)
            for left in orphans(scene)
            for place, name in [scene_of(scene, left.name)]
            for one in _with_id(place, place.project.sensors[name], text)
        ]
    if not found:
        raise UsageError(
            f"There is no change {text!r}",
            where=f"Journals of branch {scene.branch}",
            allowed="A journal keeps the newest 500 entries, and each branch has its own",
            fix=f"{_LIST}; another branch: `--branch` or `--production`",
        )
    if len(found) > 1:
        raise _ambiguous(text, found)
    return found[0]


def _numbered(scene: Scene, sensor: Sensor, seq: int) -> Found:
    journal = scene.journal(sensor.name)
    entry = journal.get(seq)
    if entry is None:
        index = journal.index()
        newest = index.numbers[0] if index.numbers else 0
        pruned = 0 < seq <= newest
        raise UsageError(
            f"Number {seq} of sensor {sensor.name!r} "
            + ("is not in the journal any more" if pruned else "was never recorded"),
            where=journal.location,
            allowed=f"Numbers {index.numbers[-1]} to {newest}" if newest else "It is empty",
            fix=f"`flowproject history {sensor.name}`",
        )
    return _found(scene, sensor, journal, journal.index(), entry)


def _with_id(scene: Scene, sensor: Sensor, start: str) -> Iterator[Found]:
    journal = scene.journal(sensor.name)
    index = journal.index()
    for entry in _entries(journal, index, start):
        if entry.id.startswith(start):
            yield _found(scene, sensor, journal, index, entry)


def _entries(journal: Journal, index: JournalIndex, start: str) -> Iterator[Entry]:
    """Those of which the id may be meant: only what was sent has its id in a name."""
    for seq in index.numbers:
        if not index.ids.get(seq, start).startswith(start):
            continue
        try:
            entry = journal.get(seq)
        except UnreadableError:
            continue  # nobody can tell its id, and `history` shows that it is there
        if entry:
            yield entry


def _found(
    scene: Scene, sensor: Sensor, journal: Journal, index: JournalIndex, entry: Entry
) -> Found:
    told = chain(index, entry, patience_of(sensor), scene.clock())
    return Found(sensor=sensor, journal=journal, chain=told)


def _ambiguous(text: str, found: Sequence[Found]) -> UsageError:
    entries = [one.chain.entry for one in found]
    return UsageError(
        f"{text!r} is the beginning of {len(found)} ids",
        where=", ".join(f"{entry.sensor}/{entry.seq} ({entry.id})" for entry in entries),
        fix=f"Write more digits, or {entries[0].sensor}/{entries[0].seq}",
    )
