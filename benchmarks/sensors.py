"""What a hundred sensors cost in one tick."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import add_files, copy_project, run, tick

__all__ = ["measure"]

_MANY: Final = 100
_MANY_IF_QUICK: Final = 5
_ROUNDS: Final = 7
_CONFIG: Final = """project_name = "weather"

[data]
type = "duckdb"
query = "sensor"
key = ["date"]
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """A whole run with a hundred sensors over one with a single sensor."""
    number = _MANY_IF_QUICK if quick else _MANY
    many, one = _flow(folder / "many", number), _flow(folder / "one", 1)
    slow, fast = in_turn(lambda: tick(many), lambda: tick(one), rounds=_ROUNDS, quick=quick)
    yield Comparison(
        ours_is=f"a tick of {number} sensors, whole run",
        peer_is="a tick of one sensor, whole run",
        fair_because="every sensor runs the query of this repository by itself, over the same "
        "files, and has a journal of its own; nothing is shared between them but the engine",
        ours=slow,
        peer=fast,
        goal=5.0,
    )


def _flow(folder: Path, sensors: int) -> Path:
    """The sensor flow of a project with that many sensors, after their baseline."""
    sections = "".join(f"\n[sensors.s{number:03}]\n" for number in range(sensors))
    flow = add_files(copy_project(folder, config=_CONFIG + sections), "sensorflow.py")
    run(flow)
    return flow
