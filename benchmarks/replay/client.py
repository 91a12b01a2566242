"""The server's process, as figures and tests hold it."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from benchmarks.replay.mutations import Mutated
from benchmarks.replay.server import CONTROL

__all__ = ["Counts", "Replay"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE: Final = 120


class Counts(NamedTuple):
    """What happened since the last `reset`; `cpu` is the server's own, in seconds."""

    objects: int
    requests: int
    most_at_once: int
    cpu: float


class Replay:
    """`with Replay(1_000_000) as server:` a bucket of so many objects at `server.url`."""

    def __init__(self, objects: int) -> None:
        self._objects = objects

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.replay", str(self._objects)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            raise RuntimeError(f"the replay server ended with code {self._process.wait()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=_PATIENCE)  # closes its standard input: it ends

    def wait_for_each(self, seconds: float) -> None:
        """From now on each request takes that long; they don't wait for each other."""
        self._tell("latency", seconds=seconds)

    def mutate(self, kind: str) -> Mutated:
        """Change the objects: `clustered` or `scattered`, and others each time."""
        return Mutated(**self._tell("mutate", kind=kind))

    def reset(self) -> None:
        """Count from zero."""
        self._tell("reset")

    def counts(self) -> Counts:
        """What was counted."""
        return Counts(**self._tell("counts"))

    def every(self, rows: int) -> list[str]:
        """The last key of each stretch of so many rows."""
        keys: list[str] = self._tell("keys", every=rows)["keys"]
        return keys

    def _tell(self, what: str, **facts: object) -> Any:
        asked = Request(f"{self.url}/{CONTROL}/{what}?{urlencode(facts)}", method="POST")  # noqa: S310
        with urlopen(asked, timeout=_PATIENCE) as answer:  # noqa: S310  # http, and our own
            return json.load(answer)
