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
from typing import Any, Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import add_files, copy_project, run
from flowproject.dev.loop import Loop, Settings
from flowproject.dev.messages import LoopStarted, Message, RunFinished, RunPrinted, TickFinished

__all__ = ["measure"]

_ROUNDS: Final = 5
_PATIENCE: Final = 180
_IDLE, _IDLE_IF_QUICK = 60, 5
_EVERY: Final = 10
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
    ours, peer = _Listening(watched), _Listening(unwatched)
    run(sensor)
    try:
        ours.wait_for_lookout(watched)
        found = in_turn(
            lambda: ours.seconds_until_heard(lambda: _land(watched)),
            lambda: peer.seconds_until_heard(lambda: _by_hand(sensor, peer.url, _land(unwatched))),
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


class _Listening:
    """A loop in a thread of its own, and what it told."""

    def __init__(self, root: Path) -> None:
        self._loop = Loop(root, listener=self._hear, settings=Settings(every=3600))
        self._told: list[tuple[float, Message]] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()
        started: LoopStarted = self._await(lambda one: isinstance(one, LoopStarted))[1]
        self.url = started.url

    def wait_for_lookout(self, root: Path) -> None:
        """Return once a file that is touched is looked at without a run."""
        written = next((root / "data" / "weather").glob("*.csv"))
        deadline = time.monotonic() + _PATIENCE
        while not any(isinstance(one, TickFinished) and not one.run_id for _, one in self._told):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing was looked at ahead of a run: {self._told}")
            os.utime(written)
            time.sleep(1)

    def seconds_until_heard(self, do: Callable[[], object]) -> float:
        """From what is done to the first line of StarterFlow; returns when that run is over."""
        self._told.clear()
        begun = perf_counter()
        doing = threading.Thread(target=do)
        doing.start()
        mine = "StarterFlow"
        at, _ = self._await(lambda one: isinstance(one, RunPrinted) and one.flow == mine)
        _, finished = self._await(lambda one: isinstance(one, RunFinished) and one.flow == mine)
        doing.join()
        if not finished.ok:
            raise RuntimeError("\n".join(finished.tail))
        time.sleep(2)  # what the loop reads of the run must not slow down the next one
        return at - begun

    def stop(self) -> None:
        """Return when nothing of it is left."""
        self._loop.stop()
        self._thread.join(_PATIENCE)

    def _hear(self, message: Message) -> None:
        with self._news:
            self._told.append((perf_counter(), message))
            self._news.notify_all()

    def _await(self, wanted: Callable[[Message], bool]) -> tuple[float, Any]:
        def found() -> tuple[float, Message] | None:
            return next(((at, told) for at, told in self._told if wanted(told)), None)

        with self._news:
            answer = self._news.wait_for(found, _PATIENCE)
        if answer is None:
            raise RuntimeError(f"the loop did not tell it, but: {self._told}")
        return answer


def _idle(folder: Path, *, quick: bool) -> Comparison:
    root = copy_project(folder / "idle")
    run(add_files(root, "sensorflow.py"))  # the baseline
    seconds = _IDLE_IF_QUICK if quick else _IDLE
    found = in_turn(
        lambda: _cpu(root, seconds, {}),
        lambda: _cpu(root, seconds, _RUNS_ALWAYS),
        rounds=2,
        quick=quick,
    )
    return Comparison(
        ours_is=f"CPU of a loop for each look at a sensor, one every {_EVERY} s, all else idle",
        peer_is="the same loop that starts a run for each look, as it did before",
        fair_because=f"the processor's time of the loop and of all that it starts in {seconds} s, "
        "from the first tick on, by the number of looks in them, for on a busy machine a run takes "
        "longer than the time between two; the peer is the same code, told by its environment that "
        "a run is not what a look sees",
        ours=found[0],
        peer=found[1],
        goal=0.1,
    )


def _cpu(root: Path, seconds: float, environment: dict[str, str]) -> float:
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.idle", str(seconds), "tick", str(_EVERY)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(_HERE), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    _, of_all, looks = said.split()
    if not int(looks):
        raise RuntimeError("nothing was looked at")
    return float(of_all) / int(looks)
