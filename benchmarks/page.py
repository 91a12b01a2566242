"""What the page of the local loop costs: many items, a long history, an idle loop, the sources."""

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.costs import Limit
from benchmarks.figures import Figure
from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import BRANCH, add_files, copy_project, project_context, run
from benchmarks.served import Served, served
from flowproject.changes.entry import Entry, change_id
from flowproject.dev.messages import EventReceived, RunFinished, RunStarted, TickFinished
from flowproject.dev.page.context import PageContext
from flowproject.dev.page.state import LoopState
from flowproject.flowfiles import Cron, FlowFile
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.object_rows import object_rows

__all__ = ["measure"]

_MANY, _MANY_IF_QUICK, _FEW = 1_000_000, 10_000, 10
_LONG, _LONG_IF_QUICK, _SHORT = 10_000, 500, 100
_ROUNDS: Final = 25
_ROUNDS_OF_TICKS: Final = 9
_TICKS: Final = 5
_WINDOW: Final = 100_000
_IDLE, _IDLE_IF_QUICK = 180, 3
_SENSORS: Final = 20
_MINUTE: Final = dt.timedelta(minutes=1)
_START: Final = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
_FILES: Final = """project_name = "weather"

[data]
type = "files"
path = "data"

[sensors.few]

[sensors.many]
"""
_EVERY_MINUTE: Final = """project_name = "weather"

[data]
type = "duckdb"
query = "sensor"
key = ["date"]

[sensor]
cron_schedule = "* * * * *"
"""


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """A change of many items over one of few, a long history over a short one, and two limits."""
    root = copy_project(folder / "page", config=_FILES)
    with _watching(root / "data") as asked:
        yield from _views(root, quick=quick)
    yield Limit(
        what="accesses to the sources of the sensors, while all of the above was shown",
        amount=len(asked),
        most=0,
        unit="accesses",
    )
    yield _idle(folder / "idle", quick=quick)


def _views(root: Path, *, quick: bool) -> Iterator[Comparison]:
    items, history = (_MANY_IF_QUICK, _LONG_IF_QUICK) if quick else (_MANY, _LONG)
    for sensor, number in (("few", _FEW), ("many", items)):
        _record(root, sensor, number)
    with served(_context(root, _History())) as page:
        many, few = in_turn(
            lambda: page.get("/sensors/many/changes/1"),
            lambda: page.get("/sensors/few/changes/1"),
            rounds=_ROUNDS,
            quick=quick,
        )
    yield Comparison(
        ours_is=f"the page of a change with {items:,} items",
        peer_is=f"the page of a change with {_FEW} items",
        fair_because="both are whole pages over HTTP, from the connection to the last byte, and "
        "show their first items, of which the one has fifty and the other ten",
        ours=many,
        peer=few,
        goal=2.0,
    )
    with _followed(root, history) as long, _followed(root, _SHORT) as short:
        slow, fast = in_turn(long, short, rounds=_ROUNDS_OF_TICKS, quick=quick)
    yield Comparison(
        ours_is=f"CPU of the server for a tick, after {history:,} ticks, one page open",
        peer_is=f"the same after {_SHORT} ticks",
        fair_because="a tick a minute in both, every tenth a change that starts a run. The page is "
        "followed by another process, which fetches every piece of the overview whenever the "
        f"live stream tells it to; what counts is this process's CPU, a {_TICKS}th of that of "
        f"{_TICKS} ticks",
        ours=slow,
        peer=fast,
        goal=1.1,
    )


# -------------------------------------------------------------------------------- what is there


def _record(root: Path, sensor: str, number: int) -> None:
    """A change that adds so many objects, as the first entry of the sensor's journal."""
    built = _objects(number)
    place = project_context(root)
    names: dict[str, Any] = {
        "project": place.project.project_name,
        "branch": BRANCH,
        "sensor": sensor,
        "seq": 1,
    }
    entry = Entry(
        **names,
        id=change_id(**names, previous="", fingerprint=built.fingerprint),
        outcome="changed",
        reason=f"{number:,} added",
        fingerprint=built.fingerprint,
        counts=built.difference.counts,
        total=number,
        recorded_at=_START.isoformat(),
        run="SensorFlow/1",
    )
    place.journal(sensor).record(entry, built.items, built.difference)


def _objects(number: int) -> Built:
    builder = TableBuilder(None, view="bench")
    low = None
    for start in range(0, number, _WINDOW):
        keys = [f"raw/{one:09}.csv" for one in range(start, min(start + _WINDOW, number))]
        size = len(keys)
        rows = object_rows(
            [key.encode() for key in keys], [1] * size, ["etag"] * size, [_START] * size
        )
        builder.put(low, keys[-1], listed=size, digest=keys[-1], rows=rows)
        low = keys[-1]
    return builder.finish()


def _context(root: Path, history: "_History") -> PageContext:
    looker = FlowFile(
        name="SensorFlow",
        path=root / "sensorflow.py",
        project="weather",
        branch=BRANCH,
        schedule=Cron(expression="* * * * *"),
        inherits_ours=True,
    )
    return PageContext(
        loop=history.loop,
        flows=(looker, FlowFile(name="StarterFlow", path=root / "starterflow.py")),
        project_context=project_context(root),
        due=dict,
        last_due=dict,
        now=lambda: history.now,
        root=root,
    )


@dataclass(kw_only=True)
class _History:
    """A loop state, and a clock that goes on with each tick that it takes in."""

    loop: LoopState = field(default_factory=LoopState)
    now: dt.datetime = _START
    number: int = 0

    def tick(self) -> None:
        """The next minute: a run that looks, and once in ten times what follows from a change."""
        self.now += _MINUTE
        self.number += 1
        run_id = str(self.number)
        self._run("SensorFlow", run_id, "schedule", [])
        changed = self.number % 10 == 0
        found: dict[str, Any] = {"outcome": "unchanged", "reason": "the same"}
        if changed:
            found = {"outcome": "changed", "reason": "1 added", "seq": self.number, "id": run_id}
        told: dict[str, Any] = {
            "flow": "SensorFlow",
            "run_id": run_id,
            "sensor": "few",
            "total": 10,
        }
        if changed:
            event = EventReceived(at=self.now, event="e", id=run_id, flows=["StarterFlow"])
            self.loop.update(event)
            self._run("StarterFlow", run_id, "e", [run_id])
        self.loop.update(TickFinished(at=self.now, **told, **found))

    def _run(self, flow: str, run_id: str, cause: str, events: list[str]) -> None:
        named: dict[str, Any] = {
            "at": self.now,
            "flow": flow,
            "run_id": run_id,
            "cause": cause,
            "log": Path("log"),
        }
        self.loop.update(RunStarted(**named, events=events, pid=1))
        self.loop.update(RunFinished(**named, ok=True, seconds=3.0, exit_code=0))


@contextmanager
def _followed(root: Path, ticks: int) -> Iterator[Callable[[], float]]:
    """A page after so many ticks that somebody looks at: the CPU seconds of another few of them."""
    history = _History()
    for _ in range(ticks):
        history.tick()
    with served(_context(root, history)) as page, page.followed() as renewed:
        renewed()  # what had happened before it was opened
        yield lambda: _cpu_of_ticks(page, history, renewed)


def _cpu_of_ticks(page: Served, history: _History, renewed: Callable[[], None]) -> float:
    begun = time.process_time()
    for _ in range(_TICKS):
        page.there(history.tick)
        renewed()
    return (time.process_time() - begun) / _TICKS


# -------------------------------------------------------------------------------------- two limits


@contextmanager
def _watching(folder: Path) -> Iterator[list[str]]:
    """What this process does to the folder meanwhile."""
    asked: list[str] = []
    watched = [True]

    def update(event: str, arguments: tuple[Any, ...]) -> None:
        if watched and event in {"open", "os.listdir", "os.scandir"} and _is_in(folder, arguments):
            asked.append(event)

    sys.addaudithook(update)
    yield asked
    watched.clear()


def _is_in(folder: Path, arguments: tuple[Any, ...]) -> bool:
    return str(arguments[0]).startswith(str(folder))


def _idle(root: Path, *, quick: bool) -> Limit:
    """The CPU of a loop's own process, while its runs look at sensors every minute."""
    sections = "".join(f"\n[sensors.s{number:02}]\n" for number in range(_SENSORS))
    flow = add_files(copy_project(root, config=_EVERY_MINUTE + sections), "sensorflow.py")
    if not quick:
        run(flow)  # the baselines
    seconds = _IDLE_IF_QUICK if quick else _IDLE
    command = [
        sys.executable,
        "-m",
        "benchmarks.idle",
        str(seconds),
        "started" if quick else "tick",
    ]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    said = subprocess.run(
        command, cwd=root, env=here, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    cpu, _, looks = said.split()
    return Limit(
        what=f"CPU of the loop's own process in {seconds} s, in which it had {looks} looks "
        f"at {_SENSORS} sensors, each once a minute",
        amount=100 * float(cpu) / seconds,
        most=1.0,
        unit="% of a core",
    )
