"""How soon the local loop takes up a file that lands, and what it takes while nothing moves."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.running_loop import RunningLoop
from benchmarks.scratch import add_files, copy_project, run
from flowproject.dev.loop import Settings
from flowproject.dev.messages import RunPrinted, TickFinished

__all__ = ["measure"]

_ROUNDS: Final = 5
_PATIENCE: Final = 180
_LOOKS, _EVERY = 6, 10
_LOOKS_IF_QUICK, _EVERY_IF_QUICK = 1, 2
_HERE: Final = Path(__file__).resolve().parent.parent
# As each loop did before it looked ahead: with it a run is not what a look sees (docs/local-loop).
_RUNS_ALWAYS: Final = {"METAFLOW_RUN_UNUSED": "1"}


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """Both, each beside the same without looks ahead of runs."""
    yield _landing(folder, quick=quick)
    yield _idle(folder, quick=quick)


def _landing(folder: Path, *, quick: bool) -> Comparison:
    watched, unwatched = (copy_project(folder / name) for name in ("watched", "unwatched"))
    add_files(watched, "sensorflow.py", "starterflow.py", "forecast.py")
    # By another name it is no flow of the loop, which so hears of no file, and it is run by hand.
    add_files(unwatched, "sensorflow.py", "starterflow.py", "forecast.py")
    sensor = (unwatched / "sensorflow.py").rename(unwatched / "sensor.py")
    seldom = Settings(every=3600)
    ours, peer = RunningLoop(watched, seldom), RunningLoop(unwatched, seldom)
    run(sensor)

    def by_hand() -> None:
        _by_hand(sensor, peer.url, _land(unwatched))

    try:
        _wait_for_lookout(ours, watched)
        found = in_turn(
            lambda: _seconds_until_heard(ours, lambda: _land(watched)),
            lambda: _seconds_until_heard(peer, by_hand),
            rounds=_ROUNDS,
            quick=quick,
        )
    finally:
        ours.stop()
        peer.stop()
    return Comparison(
        ours_is="from a file that lands to the first line of the flow that listens",
        peer_is="`python sensorflow.py run`, started by hand at that moment, to that line",
        fair_because="the same project in two folders, the same file, and a loop with the same bus "
        "and listener in both; by hand somebody sits there and types in the very moment, in ours "
        "the system's event, the wait until the write is whole and the look before the run are "
        "all within the time",
        ours=found[0],
        peer=found[1],
        goal=1.5,
    )


_numbers = count(1)


def _land(root: Path) -> Path:
    """A file that was not there, with one row."""
    day = next(_numbers)
    header = next((root / "data" / "weather").glob("*.csv")).read_text().splitlines()[:2]
    row = f"{2030 + day // 365}-01-01," + header[1].partition(",")[2]
    path = root / "data" / "weather" / f"{root.name}-{day}.csv"
    path.write_text(f"{header[0]}\n{row.replace('-01-01', f'-01-{1 + day % 28:02}')}\n")
    return path


def _by_hand(sensor: Path, bus: str, _: Path) -> None:
    environment = {**os.environ, "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": bus}
    subprocess.run(
        [sys.executable, sensor.name, "run"],
        cwd=sensor.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )


def _wait_for_lookout(loop: RunningLoop, root: Path) -> None:
    """Return once a file that is touched is looked at without a run."""
    written = next((root / "data" / "weather").glob("*.csv"))
    deadline = time.monotonic() + _PATIENCE
    while not loop.has_told(lambda one: isinstance(one, TickFinished) and not one.run_id):
        if time.monotonic() > deadline:
            raise RuntimeError("nothing was looked at ahead of a run")
        os.utime(written)
        time.sleep(1)


def _seconds_until_heard(loop: RunningLoop, do: Callable[[], object]) -> float:
    """From what is done to the first line of StarterFlow; returns when that run is over."""
    loop.forget()
    begun = perf_counter()
    doing = threading.Thread(target=do)
    doing.start()
    mine = "StarterFlow"
    at, _ = loop.wait(lambda one: isinstance(one, RunPrinted) and one.flow == mine)
    loop.wait_for_success(mine)
    doing.join()
    time.sleep(2)  # what the loop reads of the run must not slow down the next one
    return at - begun


def _idle(folder: Path, *, quick: bool) -> Comparison:
    root = copy_project(folder / "idle")
    run(add_files(root, "sensorflow.py"))  # the baseline
    looks, every = (_LOOKS_IF_QUICK, _EVERY_IF_QUICK) if quick else (_LOOKS, _EVERY)
    found = in_turn(
        lambda: _cpu(root, looks, every, {}),
        lambda: _cpu(root, looks, every, _RUNS_ALWAYS),
        rounds=2,
        quick=quick,
    )
    return Comparison(
        ours_is=f"CPU of an idle loop with one sensor every {every} s, in {looks * every} s",
        peer_is="the same loop that starts a run for each look, as it did before",
        fair_because="the processor's time of the loop, its page and all that it starts, from the "
        f"end of one look to that of the {looks}th after it, so that both have as many, and all "
        "that is between them; the peer is the same code, told by its environment that a run is "
        "not what a look sees",
        ours=found[0],
        peer=found[1],
        goal=0.1,
    )


def _cpu(root: Path, looks: int, every: int, environment: dict[str, str]) -> float:
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.idle", str(_PATIENCE), "tick", str(every), str(looks)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(_HERE), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    _, of_all, had = said.split()
    if int(had) < looks:
        raise RuntimeError(f"{had} looks in {_PATIENCE} s, and not {looks}")
    return float(of_all)
