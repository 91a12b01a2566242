"""The data that change: a folder of files.

The guarantee is for what a tick can see. A change that comes and goes between two ticks is not
seen by anybody, so here nothing comes and goes: each change is an item of its own, which is new,
gone or other than before, and stays so. So each change that was made must turn up in the journal.
"""

import os
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["World"]

_AT_FIRST: Final = 12


class World:
    """A folder with some files, in which each change is one atomic step."""

    def __init__(self, folder: Path, dice: Random) -> None:
        self.root = folder
        self.made: list[str] = []
        self._dice = dice
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        self._untouched = [f"old-{number:02}.csv" for number in range(_AT_FIRST)]
        for name in self._untouched:
            (self._data / name).write_text("x")

    def change(self) -> None:
        """Make one change, of an item that no other change touches."""
        kinds = ("added", "modified", "removed") if self._untouched else ("added",)
        kind = self._dice.choice(kinds)
        name = f"new-{len(self.made):03}.csv" if kind == "added" else self._untouched.pop()
        if kind == "removed":
            (self._data / name).unlink()
        else:
            self._write(name)
        self.made.append(name)

    def _write(self, name: str) -> None:
        staged = self.root / f"staged-{os.getpid()}"
        staged.write_text("x" * (2 + len(self.made)))
        staged.rename(self._data / name)
