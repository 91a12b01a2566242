"""The loop looks before it runs: real flows, files that land, and a process that dies or hangs."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.config.parse import load
from flowproject.dev import lookout as lookouts
from flowproject.dev.lookout import Lookout, Sighting
from flowproject.dev.loop import Loop, Settings
from flowproject.dev.messages import RunFinished, RunStarted, TickFinished, Warned, line
from flowproject.dev.records import work_folder
from flowproject.flowfiles import FlowFile, describe_flows
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, observe
from tests.running_loop import PATIENCE, RunningLoop, alive, wait_for

COLD = sys.executable
GIVEN_UP = "the process that looks ahead died three times; runs look instead"


def loop_in(project: Path) -> RunningLoop:
    (project / "starterflow.py").unlink()
    return RunningLoop(lambda tell: Loop(project, listener=tell, settings=Settings(every=3600)))


@pytest.mark.usefixtures("warm_children")
def test_a_file_that_lands_is_looked_at_at_once_and_starts_a_run_if_something_changed(
    project: Path,
):
    running = loop_in(project)
    try:
        running.wait(RunFinished)
        [first] = running.wait(TickFinished)
        assert (first.outcome, first.run_id != "") == ("baseline", True)
        written = next((project / "data" / "weather").iterdir())
        # Until the process beside the loop is there, nobody hears of it.
        deadline = time.monotonic() + 60
        while len(running.all(TickFinished)) == 1 and time.monotonic() < deadline:
            os.utime(written)
            time.sleep(4)  # seldom enough that a look finds the file at rest
        looked = running.wait(TickFinished, 2)[1]
        assert (looked.outcome, looked.run_id, looked.total) == ("unchanged", "", first.total)
        assert len(running.all(RunStarted)) == 1
        shutil.copy(project / "data" / "incoming" / "2015-01.csv", project / "data" / "weather")
        run = running.wait(RunStarted, 2)[1]
        assert (run.cause, run.sensors) == ("files", ["weather"])
        running.wait(RunFinished, 2)
        changed = wait_for(lambda: [t for t in running.all(TickFinished) if t.seq == 2])
        assert line(changed[0]).endswith("weather  changed: 31 added")
        # Of code that was edited nobody knows what a look says of it.
        with (project / "sensorflow.py").open("a") as file:
            file.write("\n# edited\n")
        os.utime(written)
        running.wait(RunFinished, 3)
        assert "its code was edited" in running.all(Warned)[-1].message
    finally:
        running.stop()


def with_lookout(
    project: Path,
    use: Callable[[Lookout, FlowFile], Coroutine[Any, Any, None]],
    *,
    begins: bool = True,
) -> list[str]:
    """Use a lookout beside this project, whose journal has a first entry: what it warned of."""
    warned: list[str] = []
    flows = describe_flows(project)
    flow = next(one for one in flows if one.name == "SensorFlow")

    async def work() -> None:
        lookout = Lookout(
            project,
            flows,
            since=time.time(),
            moved=lambda _: None,
            warn=lambda _, message: warned.append(message),
        )
        assert not lookout.knows(flow), "it has not begun"
        if begins:
            await lookout.watch()
        try:
            await use(lookout, flow)
        finally:
            await lookout.close()

    asyncio.run(work())
    return warned


def baseline(project: Path) -> None:
    [flow] = [one for one in describe_flows(project) if one.name == "SensorFlow"]
    store = open_store(flow.datastore)
    observe(ProjectContext(project=load(project), root=project, store=store, branch=flow.branch))


def test_a_process_that_is_killed_or_hangs_costs_a_run_and_no_more(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lookouts, "_PATIENCE", 60.0)
    baseline(project)
    # A signal must reach the process itself, and not what stands in for a warm one.
    monkeypatch.setattr(sys, "executable", COLD)

    async def use(lookout: Lookout, flow: FlowFile) -> None:
        assert lookout.knows(flow)
        seen = await lookout.look(flow, None)
        assert isinstance(seen, Sighting)
        assert ([tick["sensor"] for tick in seen.ticks], seen.due) == (["weather"], ())
        nothing = Sighting(ticks=[], due=())
        assert await lookout.look(flow, ()) == nothing, "all are paused"
        assert await lookout.look(replace(flow, sensors=("weather",)), ("of another",)) == nothing
        process = lookout._process
        assert process
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(lookouts, "_PATIENCE", 0.5)
        assert await lookout.look(flow, None) is None, "a run is to find out"
        monkeypatch.setattr(lookouts, "_PATIENCE", 60.0)
        assert await process.wait() == -signal.SIGKILL
        assert await lookout.look(flow, None) is not None, "another has taken its place"
        again = lookout._process
        assert again
        asked = asyncio.create_task(lookout.look(flow, None))
        await asyncio.sleep(0)
        again.kill()
        assert await asked is None
        assert await lookout.look(flow, None) is not None

    assert with_lookout(project, use) == []


@pytest.mark.usefixtures("warm_children")
def test_one_that_always_dies_is_done_without(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookouts, "_CHILD", "import sys; sys.exit(1)")

    async def use(lookout: Lookout, flow: FlowFile) -> None:
        assert not lookout.knows(flow)
        assert await lookout.look(flow, None) is None
        async with asyncio.timeout(PATIENCE):
            while lookout._deaths < 3:  # noqa: ASYNC110  # it tries again by itself
                await asyncio.sleep(0.05)
        assert await lookout.look(flow, None) is None

    [message] = with_lookout(project, use)
    assert message == GIVEN_UP


@pytest.mark.usefixtures("warm_children")
def test_one_that_can_not_be_made_or_dies_over_its_answer_is_waited_for_by_nobody(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    half = "import sys; sys.stdin.readline(); sys.stdout.write('{\"id\": 1, '); sys.stdout.flush()"
    monkeypatch.setattr(lookouts, "_CHILD", half)

    async def use(lookout: Lookout, flow: FlowFile) -> None:
        async with asyncio.timeout(PATIENCE / 2):
            assert await lookout.look(flow, None) is None
        log = work_folder(flow.local_root) / "lookout.log"
        log.unlink()
        log.mkdir()
        assert await lookout.look(flow, None) is None, "a run is to find out"

    assert with_lookout(project, use, begins=False) in ([], [GIVEN_UP])


# It answers nothing, and so does what it has started, to which its output belongs as well.
SILENT = """
import subprocess, sys, time
started = subprocess.Popen(["sleep", "600"], start_new_session={aside})
print(started.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.usefixtures("warm_children")
@pytest.mark.parametrize("aside", [False, True])
def test_it_ends_at_once_when_nothing_was_answered_yet(
    project: Path, monkeypatch: pytest.MonkeyPatch, *, aside: bool
):
    monkeypatch.setattr(lookouts, "_CHILD", SILENT.format(aside=aside))

    async def use(lookout: Lookout, flow: FlowFile) -> None:
        log = work_folder(flow.local_root) / "lookout.log"
        beginning = asyncio.create_task(lookout.watch())
        begun = lambda: log.exists() and log.read_text().endswith("\n")  # noqa: E731
        await asyncio.to_thread(wait_for, begun)
        started = int(log.read_text())
        async with asyncio.timeout(10):
            await lookout.close()
            await beginning
        if aside:
            os.kill(started, signal.SIGKILL)
        await asyncio.to_thread(wait_for, lambda: not alive(started))

    assert with_lookout(project, use, begins=False) == []


# It says at its first look that it is used up, and begins to hear when it may.
USED_UP = """
import json, sys, time
from pathlib import Path
for line in sys.stdin:
    asked = json.loads(line)
    while not asked["looks"] and not Path({go!r}).exists():
        time.sleep(0.02)
    print(json.dumps({{"id": asked["id"], "within": 60}}), flush=True)
    print(json.dumps({{"id": asked["id"], "ticks": [], "used_up": asked["looks"]}}), flush=True)
"""


@pytest.mark.usefixtures("warm_children")
def test_another_hears_before_one_that_is_used_up_is_deaf(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    go = tmp_path / "go"
    go.touch()
    monkeypatch.setattr(lookouts, "_CHILD", USED_UP.format(go=str(go)))

    async def use(lookout: Lookout, flow: FlowFile) -> None:
        first = lookout._process
        assert first
        go.unlink()
        await lookout.look(flow, None)
        async with asyncio.timeout(PATIENCE):
            while lookout._process in (None, first) or not lookout._asked:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert first.returncode is None
            go.touch()
            assert await first.wait() == -signal.SIGKILL

    assert with_lookout(project, use) == []
