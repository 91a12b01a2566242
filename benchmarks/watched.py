"""A bucket of made-up objects and a project that watches it, for the figures about objects."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.costs import Taken
from benchmarks.probe import ENVIRONMENT, probe
from benchmarks.replay import BUCKET, PREFIX, Replay
from benchmarks.scratch import add_files, copy_project

__all__ = ["Watched", "watched"]

_PAGE: Final = 1000
_CONFIG: Final = f"""project_name = "objects"

[data]
type = "s3"
bucket = "{BUCKET}"
key = "{PREFIX}"
endpoint_url = "%s"

[sensor]
name = "objects"
timeout = "1h"
"""


class Watched:
    """The server, and the project in the folder `root`."""

    def __init__(self, server: Replay, root: Path) -> None:
        self.server = server
        self.root = root

    def tick(self, at_once: int, expected: str = "unchanged") -> Taken:
        """One tick of the project, with that outcome."""
        return self._taken("benchmarks.own.tick", self.root, at_once, expected)[0]

    def look(self, at_once: int) -> Taken:
        """The same in a process that has its AWS client."""
        command = ("benchmarks.own.tick", self.root, at_once, "unchanged", self.server.url)
        return self._taken(*command)[0]

    def changed(self, kind: str, at_once: int) -> Taken:
        """One tick after a mutation, every object of which it found."""
        counts = self.server.mutate(kind)._asdict()
        taken, said = self._taken("benchmarks.own.tick", self.root, at_once, "changed")
        if said["counts"] != counts:
            raise RuntimeError(f"{counts} is what happened, {said['counts']} what was found")
        return taken

    def lister(self, module: str, at_once: int, **others: Any) -> Taken:
        """What else lists all objects; `others` are for `probe`."""
        return self._taken(module, self.server.url, at_once, **others)[0]

    def raw_pages(self, at_once: int) -> Taken:
        """Every page's bytes hashed and nothing else."""
        return self.lister("benchmarks.peers.raw_pages", at_once, told=self._starts())

    def columns(self, at_once: int) -> Taken:
        """Every row parsed and dropped."""
        return self.lister("benchmarks.own.columns", at_once, told=self._starts())

    def _starts(self) -> str:
        """The key after which each page starts, as JSON."""
        count = self.server.counts().objects
        return json.dumps(["", *self.server.every(_PAGE)][: -(-count // _PAGE)])

    def _taken(self, *command: Any, **others: Any) -> tuple[Taken, dict[str, Any]]:
        self.server.reset()
        done = probe(*command, **others)
        counts = self.server.counts()
        if done.said["objects"] != counts.objects:
            raise RuntimeError(f"{command} found {done.said} of {counts.objects:,} objects")
        taken = Taken(
            wall=done.wall,
            cpu=done.cpu,
            peak_mb=done.peak_mb,
            requests=counts.requests,
            objects=counts.objects,
        )
        return taken, done.said


@contextmanager
def watched(folder: Path, objects: int) -> Iterator[Watched]:
    """So many objects, and a project that has not looked at them yet."""
    os.environ.update(ENVIRONMENT)  # for flows, which get their environment from this process
    with Replay(objects) as server:
        root = copy_project(folder / "project", config=_CONFIG % server.url)
        add_files(root, "sensorflow.py")
        yield Watched(server, root)
