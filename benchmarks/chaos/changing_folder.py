"""The data that change: a folder of files.

The guarantee is for what a tick can see. A change that comes and goes between two ticks is not
seen by anybody, so here nothing comes and goes: each change is an item of its own, which is new,
gone or other than before, and stays so. So each change that was made must turn up in the journal.
"""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["MARKER", "ChangingFolder"]

MARKER: Final = "_SUCCESS"
_AT_FIRST: Final = 12


class ChangingFolder:
    """A folder with some files, in which each change is one atomic step.

    With `clock`, files are dated by it. With `by_folder`, each delivery is a folder of its own,
    which is written part by part and finished by a marker.
    """

    def __init__(
        self,
        folder: Path,
        dice: Random,
        *,
        name: str = "data",
        clock: Callable[[], dt.datetime] | None = None,
        by_folder: bool = False,
    ) -> None:
        self.root = folder
        self.made: list[str] = []
        self._dice = dice
        self._clock = clock
        self._by_folder = by_folder
        self._unfinished: dict[str, int] = {}
        self._data = folder / name
        self._data.mkdir(parents=True)
        self._untouched = [f"old-{number:02}.csv" for number in range(_AT_FIRST)]
        for one in self._untouched:
            (self._data / one).write_text("x")

    def change(self) -> None:
        """Make one change, of an item that no other change touches."""
        if self._by_folder:
            self._change_a_folder()
            return
        kinds = ("added", "modified", "removed") if self._untouched else ("added",)
        kind = self._dice.choice(kinds)
        name = f"new-{len(self.made):03}.csv" if kind == "added" else self._untouched.pop()
        if kind == "removed":
            (self._data / name).unlink()
        else:
            self._write(name)
        self.made.append(name)

    def finish(self) -> None:
        """Finish what is begun, so that nothing need wait any more."""
        while self._unfinished:
            self._finish(next(iter(self._unfinished)))

    def _change_a_folder(self) -> None:
        """Begin one, go on with one, or finish one."""
        begun = [*self._unfinished]
        if not begun or self._dice.random() < 1 / 3:
            folder = f"d-{len(self.made):03}"
            (self._data / folder).mkdir()
            self._unfinished[folder] = 0
        else:
            folder = self._dice.choice(begun)
        if self._unfinished[folder] and self._dice.random() < 1 / 2:
            self._finish(folder)
            return
        self._unfinished[folder] += 1
        self._make(f"{folder}/part-{self._unfinished[folder]}.csv")

    def _finish(self, folder: str) -> None:
        del self._unfinished[folder]
        self._make(f"{folder}/{MARKER}")

    def _make(self, name: str) -> None:
        self._write(name)
        self.made.append(name)

    def _write(self, name: str) -> None:
        staged = self.root / f"staged-{os.getpid()}"
        staged.write_text("x" * (2 + len(self.made)))
        if self._clock:
            moment = self._clock().timestamp()
            os.utime(staged, (moment, moment))
        staged.rename(self._data / name)
