"""How much later an event's run begins than the same run started by hand."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from metaflow.integrations import ArgoEvent

from benchmarks.pairs import Comparison, in_turn
from benchmarks.running_loop import RunningLoop
from benchmarks.scratch import BRANCH, add_files, copy_project, project_context
from flowproject.changes.payload import payload
from flowproject.dev.messages import RunPrinted
from flowproject.events import full_name
from flowproject.sensing import observe

__all__ = ["measure"]

_ROUNDS: Final = 7
_PATIENCE: Final = 60
_LOOKING_BACK: Final = 0.5
"""Seconds in which the loop still reads what the run concluded; the next run must not feel it."""

_HEARD: Final = """from metaflow import FlowSpec, step, trigger


@trigger(event="bench")
class HeardFlow(FlowSpec):
    @step
    def start(self):
        print("heard")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    HeardFlow()
"""
_FAIR: Final = (
    "the time by hand begins when the process is started, by the same interpreter, with its output "
    "in a pipe as the loop has it; ours begins before the connection to the bus and contains the "
    "event's whole way. Both runs go on to their end before the next begins"
)


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """From the POST to a line of output, over the time to that line of a run started by hand."""
    root = copy_project(folder / "project")
    starter = add_files(root, "starterflow.py", "forecast.py")
    heard = root / "heardflow.py"
    heard.write_text(_HEARD)
    event = full_name("weather_changed", project="weather", branch=BRANCH)
    change = _change(root)
    with _listening(root) as loop:
        ours, peer = in_turn(
            lambda: _seconds_until(loop, "", event, change),
            lambda: _by_hand(starter, ""),
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is="from POST to the first line of StarterFlow",
            peer_is="`python starterflow.py run` to its first line",
            fair_because=_FAIR,
            ours=ours,
            peer=peer,
            goal=1.2,
        )
        ours, peer = in_turn(
            lambda: _seconds_until(loop, "heard", "bench", {"id": "1"}),
            lambda: _by_hand(heard, "heard"),
            rounds=_ROUNDS,
            quick=quick,
        )
        yield Comparison(
            ours_is="from POST to the first line that a bare flow's own step prints",
            peer_is="the bare flow by hand to that line",
            fair_because="what a person waits for: the step has begun. The flow knows nothing of "
            "flowproject, so nothing of ours makes the run by hand slower",
            ours=ours,
            peer=peer,
            goal=1.2,
        )


def _seconds_until(loop: RunningLoop, text: str, event: str, facts: Mapping[str, Any]) -> float:
    """From the POST to the first line with `text`; returns when the run is over."""
    loop.forget()
    begun = perf_counter()
    with redirect_stderr(StringIO()):  # it says so each time
        ArgoEvent(name=event, url=loop.url).publish(payload=dict(facts), ignore_errors=False)
    at, printed = loop.wait(lambda told: isinstance(told, RunPrinted) and text in told.line)
    loop.wait_for_success(printed.flow)
    time.sleep(_LOOKING_BACK)
    return at - begun


@contextmanager
def _listening(root: Path) -> Iterator[RunningLoop]:
    loop = RunningLoop(root)
    try:
        yield loop
    finally:
        loop.stop()


def _by_hand(flow: Path, text: str) -> float:
    """The seconds from the start of the run to its first line with `text`."""
    begun = perf_counter()
    with subprocess.Popen(
        [sys.executable, str(flow), "run"],
        cwd=flow.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        output = child.stdout or ()
        seconds = [perf_counter() - begun for line in output if text in line]
    if child.returncode:
        raise RuntimeError(f"{flow.name} failed with exit code {child.returncode}")
    return seconds[0]


def _change(root: Path) -> Mapping[str, Any]:
    """What the event of a month of new rows says, recorded in the project's journal."""
    place = project_context(root)
    observe(place)
    shutil.copy(root / "data/incoming/2015-01.csv", root / "data/weather")
    [tick] = observe(place)
    journal = place.journal(tick.sensor)
    entry = journal.get(tick.seq)
    if entry is None:
        raise RuntimeError(f"no change was recorded: {tick}")
    return payload(entry, payload_key="value", location=journal.entry_key(entry.seq))
