"""The local loop with real flows, real processes and events posted over HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flowproject.dev.loop import Loop, Result, Settings
from flowproject.dev.messages import (
    EventDropped,
    EventWaiting,
    LeftRun,
    LoopStarted,
    LoopStopped,
    Message,
    RunFinished,
    RunPrinted,
    RunSkipped,
    RunStarted,
    TickFinished,
    Warned,
    line,
)
from flowproject.dev.records import known_here, runs_recorded, work_folder
from tests.running_loop import PATIENCE, RunningLoop, alive, wait_for

pytestmark = pytest.mark.usefixtures("warm_children")
COLD = sys.executable
"""For loops that are killed: what works for a warm one ends a moment after it."""

HEAD = """
import json, os, sys, time
from metaflow import *

def say(what):
    print("SAID " + json.dumps(what))

"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    return tmp_path


def write(root: Path, name: str, header: str, start: str = "pass") -> None:
    """A flow of two steps that knows nothing of flowproject."""
    body = dedent(header).strip("\n")
    steps = f"""
    @step
    def start(self):
        {start}
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    {name}()
"""
    (root / f"{name.lower()}flow.py").write_text(f"{HEAD}{body}\n{steps}")


@contextmanager
def running(root: Path, **settings: Any) -> Iterator[RunningLoop]:
    watched = RunningLoop(lambda tell: Loop(root, listener=tell, settings=Settings(**settings)))
    try:
        yield watched
    finally:
        watched.stop()


def until_idle(root: Path, **settings: Any) -> tuple[Result, RunningLoop]:
    chosen = Settings(until_idle=True, **settings)
    watched = RunningLoop(lambda tell: Loop(root, listener=tell, settings=chosen))
    return watched.end(), watched


# ------------------------------------------------------------------------------------- @trigger


def test_an_event_starts_a_flow_with_its_mapped_parameters_and_current_trigger(root: Path):
    write(
        root,
        "Mapped",
        """
        @trigger(events=[{"name": "orders", "parameters": {"rows": "n", "region": "area",
                                                           "extra": "more", "note": "note"}}])
        class Mapped(FlowSpec):
            rows = Parameter("rows", type=int, required=True)
            region = Parameter("region", default="all")
            extra = Parameter("extra", type=JSONType, default="{}")
            note = Parameter("note", default="none")
        """,
        "say([self.rows, self.region, self.extra, self.note,"
        " current.trigger.event.name, current.trigger['orders'].id])",
    )
    with running(root) as loop:
        loop.post("orders", n=7, more={"a": [1, "é"]}, area="it's 'quoted'\\ here")
        (run,) = loop.wait(RunFinished)
    assert run.ok, run.tail
    expected = [7, "it's 'quoted'\\ here", {"a": [1, "é"]}, "none", "orders", "id-orders"]
    assert loop.said() == [expected]
    (started,) = loop.all(RunStarted)
    assert (started.cause, started.events, started.run_id) == ("orders", ["id-orders"], run.run_id)
    assert "SAID" in run.log.read_text()


def test_one_event_sets_every_parameter_of_its_name_without_a_mapping(root: Path):
    write(
        root,
        "Auto",
        """
        @trigger(event="e")
        class Auto(FlowSpec):
            alpha = Parameter("alpha", default="a")
            flag = Parameter("with-dash", default=False)
        """,
        "say([self.alpha, self.flag])",
    )
    with running(root) as loop:
        loop.post("e", **{"alpha": "set", "with-dash": True})
        assert loop.wait(RunFinished)[0].ok
    assert loop.said() == [["set", True]]


def test_a_missing_required_value_is_explained_where_a_cluster_says_nothing(root: Path):
    write(
        root,
        "Needy",
        """
        @trigger(event="e")
        class Needy(FlowSpec):
            alpha = Parameter("alpha", required=True)
        """,
    )
    with running(root) as loop:
        loop.post("e", beta=1)
        loop.post("f")
        missing, unheard = loop.wait(EventDropped, many=2)
    assert (missing.flow, missing.event) == ("Needy", "e")
    assert "no 'alpha' for the required parameter 'alpha'" in missing.reason
    assert (unheard.flow, unheard.event) == ("", "f")
    assert loop.all(RunStarted) == []


def test_several_events_start_one_run_with_the_latest_of_each_over_a_restart(root: Path):
    write(
        root,
        "Both",
        """
        @trigger(events=[{"name": "a", "parameters": {"x": "value"}}, "b"])
        class Both(FlowSpec):
            x = Parameter("x", default="none")
        """,
        "say([self.x, sorted(event.name for event in current.trigger.events)])",
    )
    with running(root) as loop:
        loop.post("a", value="old")
        loop.post("a", value="new")
        assert [waiting.missing for waiting in loop.wait(EventWaiting, many=2)] == [["b"], ["b"]]
    with running(root) as loop:
        loop.post("b")
        assert loop.wait(RunFinished)[0].ok
        loop.post("b")
        assert loop.wait(EventWaiting)[0].missing == ["a"]
    assert loop.said() == [["new", ["a", "b"]]]


def test_the_trigger_is_there_in_every_step_of_every_attempt(root: Path):
    (root / "fanflow.py").write_text(
        HEAD
        + dedent("""
        @trigger(event="e")
        class Fan(FlowSpec):
            @retry(times=1, minutes_between_retries=0)
            @step
            def start(self):
                say(["start", current.retry_count, current.trigger.event.id])
                if current.retry_count == 0:
                    raise ValueError("once")
                self.items = ["x", "y"]
                self.next(self.each, foreach="items")

            @step
            def each(self):
                say(["each", self.input, current.trigger.event.id])
                self.next(self.join)

            @step
            def join(self, inputs):
                say(["join", len(list(inputs)), current.trigger.event.id])
                self.next(self.end)

            @step
            def end(self):
                say(["end", 0, current.trigger.event.id])

        if __name__ == "__main__":
            Fan()
        """)
    )
    with running(root) as loop:
        loop.post("e")
        (run,) = loop.wait(RunFinished)
    assert run.ok, run.tail
    steps = [["start", 0], ["start", 1], ["each", "x"], ["each", "y"], ["join", 2], ["end", 0]]
    assert sorted(map(str, loop.said())) == sorted(str([*step, "id-e"]) for step in steps)
    assert recorded_trigger(root, f"Fan/{run.run_id}") == "e"


def test_the_trigger_is_there_in_a_run_that_is_resumed_with_its_event(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    fail = "say(current.trigger.event.id); assert 'GOOD' in os.environ"
    write(root, "Again", '@trigger(event="e")\nclass Again(FlowSpec):', fail)
    payload = json.dumps({"name": "e", "id": "id-e"})
    monkeypatch.setenv("METAFLOW_ARGO_EVENT_PAYLOAD_event_e_0000", payload)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        attach = ("--with", "flowproject.dev.triggered.triggered")
        line = [sys.executable, "againflow.py", *arguments, *attach]
        return subprocess.run(line, capture_output=True, text=True, cwd=root, check=False)

    assert command("run").returncode == 1
    monkeypatch.setenv("GOOD", "yes")
    resumed = command("resume")
    assert (resumed.returncode, 'SAID "id-e"' in resumed.stdout) == (0, True), resumed


def recorded_trigger(root: Path, run: str) -> str:
    """What a user's own program sees in the client afterwards."""
    code = f"import metaflow; print(metaflow.Run({run!r}).trigger.event.name)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    return shown.stdout.strip()


def test_what_a_cluster_would_change_about_a_value_is_told(root: Path):
    write(
        root,
        "Town",
        """
        @trigger(event="e")
        class Town(FlowSpec):
            town = Parameter("town", default="")
        """,
        "say(self.town)",
    )
    with running(root) as loop:
        loop.post("e", town="Zürich")
        assert "JSON escapes" in loop.wait(Warned)[0].message
        loop.wait(RunFinished)
    assert loop.said() == ["Z\\u00fcrich"]


# -------------------------------------------------------------- runs that follow from other runs


def test_a_flow_that_waits_for_another_to_finish_starts_after_it(root: Path):
    scheduled = '@schedule(daily=True)\n@project(name="p")\nclass Up(FlowSpec):'
    write(root, "Up", scheduled, "self.result = 42")
    write(
        root,
        "Down",
        '@project(name="p")\n@trigger_on_finish(flow="Up")\nclass Down(FlowSpec):',
        "say([current.trigger.run.data.result, current.trigger['Up'].id])",
    )
    result, loop = until_idle(root, branch="x")
    assert [run.flow for run in result.runs] == ["Up", "Down"]
    assert result.ok, result.runs
    assert loop.said() == [[42, result.runs[0].run_id]]
    assert result.runs[1].cause == "metaflow.p.test.x.Up.end"


def test_a_flow_publishes_to_the_bus_as_it_does_on_a_cluster(root: Path):
    publish = (
        "from metaflow.integrations import ArgoEvent; "
        "ArgoEvent('safe', payload={'n': 1}).safe_publish(ignore_errors=False); "
        "ArgoEvent('plain').publish(ignore_errors=False)"
    )
    write(root, "Sender", "@schedule(daily=True)\nclass Sender(FlowSpec):", publish)
    write(root, "Taker", '@trigger(events=["safe", "plain"])\nclass Taker(FlowSpec):')
    result, _ = until_idle(root)
    assert ([run.flow for run in result.runs], result.ok) == (["Sender", "Taker"], True)


def test_a_failed_run_shows_its_last_words_and_starts_nothing(root: Path):
    write(root, "Up", "@schedule(daily=True)\nclass Up(FlowSpec):", "raise ValueError('boom')")
    write(root, "Down", '@trigger_on_finish(flow="Up")\nclass Down(FlowSpec):')
    result, _ = until_idle(root)
    (run,) = result.runs
    assert (run.flow, run.ok, result.ok, result.exit_code) == ("Up", False, False, 7)
    assert any("ValueError: boom" in text for text in run.tail)


def test_a_project_with_nothing_to_do_is_idle_at_once(root: Path):
    result, loop = until_idle(root)
    assert (result.reason, result.ok, result.exit_code) == ("idle", True, 0)
    assert [type(item) for item in loop.told] == [LoopStarted, LoopStopped]


def test_sensors_tell_their_ticks(root: Path):
    (root / "sensing.py").write_text(
        "from metaflow import FlowSpec\n"
        "class Ours(FlowSpec):\n    pass\n"
        "Ours.__module__ = 'flowproject.baseflow'\n"
    )
    header = "from sensing import Ours\n@schedule(daily=True)\nclass Sensors(Ours):"
    tick = {"v": 1, "sensor": "s", "outcome": "changed", "reason": "3 rows"}
    ticks = f"self.ticks = [{tick!r}]"
    write(root, "Sensors", header, ticks)
    _, loop = until_idle(root)
    (told,) = loop.all(TickFinished)
    assert (told.sensor, told.outcome, told.reason) == ("s", "changed", "3 rows")


# --------------------------------------------------------------------- schedules and their limits


class Clock:
    """A clock that jumps to every due time at once, or past it, a given number of times."""

    def __init__(self, jumps: int, past: timedelta = timedelta()) -> None:
        self._now = datetime(2024, 1, 1, tzinfo=UTC)
        self._jumps = jumps
        self._past = past
        self.until: list[datetime] = []

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, when: datetime) -> None:
        import asyncio

        self.until.append(when)
        if len(self.until) > self._jumps:
            await asyncio.Event().wait()
        self._now = when + self._past


def test_a_flow_that_is_still_running_is_not_started_again_but_makes_up_the_last_time(root: Path):
    slow = "time.sleep(2)"
    write(root, "Slow", "@schedule(cron='*/5 * * * *')\nclass Slow(FlowSpec):", slow)
    clock = Clock(jumps=3)
    watched = RunningLoop(
        lambda tell: Loop(root, listener=tell, settings=Settings(grace=30), clock=clock)
    )
    skipped = watched.wait(RunSkipped, many=2)
    assert "is made up when it is" in skipped[-1].reason
    watched.wait(RunStarted, many=2)
    result = watched.stop()
    assert [run.ok for run in result.runs] == [True, True]
    assert clock.until[1] - clock.until[0] == timedelta(minutes=5)


def test_what_was_due_while_the_machine_slept_is_made_up_within_an_hour_and_told_after_it(
    root: Path,
):
    write(root, "Hourly", "@schedule(cron='0 */12 * * *')\nclass Hourly(FlowSpec):")
    for past, told in ((timedelta(minutes=58), RunStarted), (timedelta(hours=3), RunSkipped)):
        clock = Clock(jumps=1, past=past)
        watched = RunningLoop(
            lambda tell, clock=clock: Loop(
                root, listener=tell, settings=Settings(grace=30), clock=clock
            )
        )
        assert len(watched.wait(told)) == 1
        result = watched.stop()
        assert len(result.runs) == (told is RunStarted)
    [skipped] = watched.all(RunSkipped)
    assert skipped.reason.endswith("is more than 59 minutes ago")


def test_a_schedule_that_is_never_due_is_warned_of_and_hinders_nothing(root: Path):
    write(root, "Never", "@schedule(cron='0 0 30 2 *')\nclass Never(FlowSpec):")
    with running(root) as loop:
        [warned] = loop.wait(Warned)
        assert (warned.flow, "is never due" in warned.message) == ("Never", True)
        [started] = loop.all(LoopStarted)
        assert started.schedules == {"Never": "by '0 0 30 2 *', never"}


def test_an_interval_takes_the_place_of_the_schedule_and_begins_at_once(root: Path):
    write(root, "Quick", "@schedule(daily=True)\nclass Quick(FlowSpec):")
    with running(root, every=1.0) as loop:
        (started,) = loop.wait(LoopStarted)
        assert started.schedules == {"Quick": "every 1 s"}
        loop.wait(RunFinished, many=2)


def test_no_more_runs_than_allowed_go_on_at_the_same_time(root: Path):
    busy = "say(['begin', time.time()]); time.sleep(0.3); say(['end', time.time()])"
    for name in ("One", "Two", "Three"):
        write(root, name, f"@schedule(daily=True)\nclass {name}(FlowSpec):", busy)
    result, loop = until_idle(root, max_parallel=1)
    assert result.ok
    assert [word for word, _ in sorted(loop.said(), key=lambda item: item[1])] == [
        "begin",
        "end",
    ] * 3


# ------------------------------------------------------------------------------------ the end


PROGRAM = """
import sys
from pathlib import Path
from flowproject.dev.loop import Loop
from flowproject.dev.records import runs_recorded, work_folder
from flowproject.dev.messages import line
from flowproject.dev.loop import Settings
loop = Loop(Path.cwd(), listener=lambda h: print(line(h) or ".", flush=True),
            settings=Settings(every=100.0, grace=float(sys.argv[1])))
sys.exit(loop.run().exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_loop_and_leaves_no_process_behind(root: Path, number: signal.Signals):
    mark = root / "pid"
    sleep = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", sleep)
    command = [COLD, "-c", PROGRAM, "0.2"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as loop:
        # It may be there and empty.
        task = wait_for(lambda: mark.exists() and int(mark.read_text() or 0))
        loop.send_signal(number)
        output, _ = loop.communicate(timeout=PATIENCE)
    assert loop.returncode == 130, output
    assert "stopping   1 run may go on" in output
    assert "stopped    interrupted" in output
    wait_for(lambda: not alive(task))


def test_a_run_may_finish_within_the_grace_period(root: Path):
    mark = root / "begun"
    sleep = f"open({str(mark)!r}, 'w').close(); time.sleep(0.5)"
    write(root, "Short", "@schedule(daily=True)\nclass Short(FlowSpec):", sleep)
    with running(root, every=100.0, grace=PATIENCE) as loop:
        wait_for(mark.exists)
    assert [run.ok for run in loop.all(RunFinished)] == [True]


def test_a_listener_that_fails_ends_the_loop_in_good_order(root: Path):
    mark = root / "pid"
    sleep = f"open({str(mark)!r}, 'w').write(str(os.getpid())); print('hi'); time.sleep(60)"
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", sleep)

    def closed(message: Message) -> None:
        if isinstance(message, RunPrinted) and message.line.endswith(" hi"):
            raise BrokenPipeError

    settings = Settings(until_idle=True, grace=0.1)
    with pytest.raises(BrokenPipeError):
        Loop(root, listener=closed, settings=settings).run()
    wait_for(lambda: not alive(int(mark.read_text())))


@contextmanager
def killed_loop(root: Path, mark: Path) -> Iterator[None]:
    """A loop that is killed while a run of its own, which makes this mark, is in its first step."""
    command = [COLD, "-c", PROGRAM, "0.2"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as loop:
        wait_for(mark.exists)
        loop.kill()
    yield


def test_a_run_outlives_its_loop_and_the_next_loop_sees_to_it(root: Path):
    mark, go = root / "begun", root / "go"
    start = (
        f"open({str(mark)!r}, 'w').close(); print('one', flush=True)\n"
        f"        while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "        print('two', flush=True)"
    )
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", start)
    write(root, "Next", "@trigger_on_finish(flow='Long')\nclass Next(FlowSpec):")
    with killed_loop(root, mark), running(root, every=100.0) as loop:
        (left,) = loop.wait(LeftRun)
        assert (left.flow, left.state, left.cause) == ("Long", "running", "schedule")
        assert alive(left.pid)
        (skipped,) = loop.wait(RunSkipped)
        assert "its previous scheduled run is not over" in skipped.reason
        go.touch()
        assert loop.wait(LeftRun, many=2)[1].state == "succeeded"
        assert loop.wait(RunFinished)[0].flow == "Next"
    assert "two" in left.log.read_text()
    assert any(printed.line.endswith("two") for printed in loop.all(RunPrinted))


def test_a_loop_until_idle_waits_for_what_a_killed_one_left_and_says_if_that_failed(root: Path):
    mark, go = root / "begun", root / "go"
    start = (
        f"open({str(mark)!r}, 'w').close()\n"
        f"        while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "        raise ValueError('boom')"
    )
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", start)
    settings = Settings(until_idle=True)
    with killed_loop(root, mark):
        loop = RunningLoop(lambda tell: Loop(root, listener=tell, settings=settings))
        loop.wait(RunSkipped)
        go.touch()
        result = loop.end()
    assert [left.state for left in loop.all(LeftRun)] == ["running", "failed"]
    assert (result.failed, result.exit_code) == (1, 7)


def test_a_run_that_ended_while_no_loop_was_there_is_named_once_by_the_next(root: Path):
    mark, go = root / "begun", root / "go"
    start = (
        f"open({str(mark)!r}, 'w').close()\n"
        f"        while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "        print('late', flush=True); raise ValueError('boom')"
    )
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", start)
    with killed_loop(root, mark):
        go.touch()
        (record,) = [*runs_recorded(work_folder(root / ".metaflow"))]
        wait_for(lambda: not record.is_alive)
        path = root / "longflow.py"
        path.write_text(path.read_text().replace("daily=True", "cron='0 0 1 1 *'"))
        with running(root) as loop:
            (left,) = loop.wait(LeftRun)
        with running(root) as another:
            another.wait(LoopStarted)
    assert (left.state, left.run_id) == ("failed", record.run_id)
    assert left.resume == f"python longflow.py resume --origin-run-id {record.run_id}"
    assert "ValueError: boom" in left.log.read_text()
    assert another.all(LeftRun) == []


def test_a_run_that_was_killed_as_its_loop_was_is_named(root: Path):
    mark = root / "pid"
    sleep = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    write(root, "Long", "@schedule(cron='0 0 1 1 *')\nclass Long(FlowSpec):", sleep)
    command = [COLD, "-c", PROGRAM, "0.2"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as loop:
        wait_for(mark.exists)
        loop.kill()
    (record,) = [*runs_recorded(work_folder(root / ".metaflow"))]
    os.killpg(record.pid, signal.SIGKILL)
    wait_for(lambda: not record.is_alive)
    with running(root) as watched:
        (left,) = watched.wait(LeftRun)
    assert left.state == "unfinished"
    assert "was KILLED" in line(left)


def test_a_run_that_is_killed_beside_a_loop_that_goes_on_is_not_called_failed(root: Path):
    mark = root / "pid"
    sleep = f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    write(root, "Long", "@schedule(daily=True)\nclass Long(FlowSpec):", sleep)
    with running(root, every=100.0) as loop:
        wait_for(mark.exists)
        (record,) = [*runs_recorded(work_folder(root / ".metaflow"))]
        os.killpg(record.pid, signal.SIGKILL)
        (finished,) = loop.wait(RunFinished)
    assert (finished.ok, finished.exit_code) == (False, -signal.SIGKILL)
    assert known_here(work_folder(root / ".metaflow")) == {f"Long/{record.run_id}": "killed"}
