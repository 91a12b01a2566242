"""A look at a million files of which none or few changed, beside a bare walk of the folder."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.probe import Probe, probe
from benchmarks.scratch import copy_project

__all__ = ["measure"]

_FOLDERS: Final = 1000
_FOLDERS_IF_QUICK: Final = 20
_FILES: Final = 1000
_TOUCHED: Final = 1000
_ROUNDS: Final = 5
_UNCHANGED_MB: Final = 60
_TOUCHED_MB: Final = 250
_CONFIG: Final = """project_name = "bench"

[data]
type = "files"
path = "in"

[sensor]
name = "files"
timeout = "1h"
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """The processors' seconds of both, and the memory of ours."""
    root = copy_project(folder / "files", config=_CONFIG)
    folders = _FOLDERS_IF_QUICK if quick else _FOLDERS
    files = _filled(root / "in", folders)
    touched = min(_TOUCHED, len(files) // 10)
    _tick(root, "baseline")
    turns = iter(range(1, 1_000_000))

    # What a delivery does: some folders are written, whole.
    def some_folders() -> Probe:
        return _touched_tick(root, files[:touched], next(turns))

    # The worst there is: a file of each folder.
    def everywhere() -> Probe:
        return _touched_tick(root, files[:: len(files) // touched], next(turns))

    looks: Sequence[tuple[str, Callable[[], Probe], float | None, int]] = (
        ("nothing changed", lambda: _tick(root, "unchanged"), 1.5, _UNCHANGED_MB),
        (f"{touched:,} touched that lie side by side", some_folders, 2.0, _TOUCHED_MB),
        (f"{touched:,} touched, one of each folder", everywhere, None, _TOUCHED_MB),
    )
    for what, look, goal, most in looks:
        name = f"a tick of {len(files):,} files, {what}"
        ours, peer = in_turn(
            look,
            lambda: probe("benchmarks.peers.scandir_walk", root / "in"),
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is=f"{name}, CPU",
            peer_is="`os.scandir` and the status of each file, CPU",
            fair_because="both are new processes that walk the same folders, a thousand files in "
            "each; the peer keeps nothing; the tick also reads the journal, tells every name, size "
            "and time apart, and records what it finds. Seconds of the processor, and not of the "
            "clock: the machine has others to serve",
            ours=[each.cpu for each in ours],
            peer=[each.cpu for each in peer],
            goal=goal,
        )
        yield Limit(
            what=f"memory of {name}; the peer has {max(each.peak_mb for each in peer):,.0f} MB",
            amount=max(each.peak_mb for each in ours),
            most=most,
            unit="MB",
        )
    shutil.rmtree(root / "in")


def _tick(root: Path, expected: str) -> Probe:
    return probe("benchmarks.own.files_tick", root, expected)


def _touched_tick(root: Path, files: Sequence[str], turn: int) -> Probe:
    for name in files:
        os.utime(name, (turn, turn))
    done = _tick(root, "changed")
    if done.said["counts"] != {"added": 0, "modified": len(files), "removed": 0}:
        raise RuntimeError(f"{len(files)} files were touched, and found was {done.said}")
    return done


def _filled(folder: Path, folders: int) -> list[str]:
    """The names of all files, which are empty: nobody reads them."""
    names = []
    for number in range(folders):
        below = folder / f"day={number:04}"
        below.mkdir(parents=True)
        for part in range(_FILES):
            name = str(below / f"part-{part:05}.parquet")
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
            names.append(name)
    return names
