"""Start flows as child processes: command, environment, log file, and a clean end.

Each run is a process group of its own, so that it can be ended with everything it started. Its
output goes straight to a file, which the launcher follows: a run outlives a loop that is killed.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from flowproject.dev.messages import Listener, RunFinished, RunPrinted, RunStarted
from flowproject.dev.records import RunRecord, locked_log, prune, work_folder
from flowproject.flowfiles import FlowFile
from flowproject.metaflow_internals.argo import EVENT_VARIABLE
from flowproject.sensing import SENSORS_ONLY

__all__ = ["Launcher", "Order", "child_environment", "logs_folder", "plain_text"]

_TAG: Final = "flowproject:dev"
_TRIGGERED: Final = "flowproject.dev.triggered.triggered"
# Bytes of a line that are told: a progress bar that never ends its line would fill the memory.
_LONGEST_LINE: Final = 64 * 1024
# Lines of a failed run that are shown: a traceback of a step, and what came just before it.
_TAIL: Final = 15
_CHUNK: Final = 64 * 1024
# Seconds between two looks at the output of a run: no system tells everywhere that a file grew.
_PAUSE: Final = 0.1

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, kw_only=True)
class Order:
    """One run to be started."""

    flow: FlowFile
    cause: str
    """`schedule`, `page`, or the names of the events."""
    events: tuple[str, ...] = ()
    """The ids of the events."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables that carry its events."""
    sensors: tuple[str, ...] | None = None
    """The sensors that it may look at; None: all of its own."""
    is_only_one: bool = False
    """Whether no other look of its flow begins before its end."""
    resumes: str = ""
    """The id of the run that it goes on with; empty: it begins anew."""


@dataclass(kw_only=True)
class _RunOutput:
    """What a run has printed so far."""

    run_id: str = ""
    rest: bytes = b""
    tail: list[str] = field(default_factory=list)


class Launcher:
    """Starts runs, at most `limit` at a time, and tells what becomes of them."""

    def __init__(
        self,
        *,
        url: str,
        root: Path,
        loop: str,
        options: tuple[str, ...],
        limit: int,
        emit: Listener,
        now: Callable[[], datetime],
    ) -> None:
        self._url = url
        self._root = root
        self._loop = loop
        self._options = options
        self._slots = asyncio.Semaphore(limit)
        self._emit = emit
        self._now = now
        self._numbers = count(1)
        self._groups: set[int] = set()
        self._closed = False

    async def run(self, order: Order) -> RunFinished | None:
        """Run to the end and say how it ended. Waits for a free slot; None if closed meanwhile."""
        async with self._slots:
            if self._closed:
                return None
            begun = time.monotonic()
            record = self._record(order)
            output = _RunOutput()
            try:
                code = await self._execute(order, record, output)
            # 127 is what a shell says of a command that it could not start.
            except (OSError, ValueError) as error:  # no room for a process; a NUL in an argument
                output.tail.append(f"The run could not be started: {error}")
                code = 127
            finished = RunFinished(
                at=self._now(),
                flow=order.flow.name,
                run_id=output.run_id,
                cause=order.cause,
                ok=code == 0,
                seconds=time.monotonic() - begun,
                exit_code=code,
                log=record.log,
                tail=output.tail if code else [],
            )
            self._emit(finished)
            return finished

    async def watch(self, record: RunRecord) -> None:
        """Tell what a run prints that another loop has started, until it has ended."""
        # What it printed before was told by the loop that started it.
        size = record.log.stat().st_size
        ending = asyncio.create_task(_gone(record))
        try:
            await self._follow(record, _RunOutput(run_id=record.run_id), ending, start=size)
        finally:
            ending.cancel()

    def close(self) -> None:
        """Start no more runs."""
        self._closed = True

    def kill(self, number: signal.Signals) -> None:
        """Send the signal to every process of every run."""
        for group in self._groups:
            _signal(group, number)

    async def _execute(self, order: Order, record: RunRecord, output: _RunOutput) -> int:
        logs = record.log.parent
        logs.mkdir(parents=True, exist_ok=True)
        # Before the new log is there, so that it is not among those that are counted.
        prune(logs.parent)
        # The record is written while the log is locked: a loop that starts at this moment must not
        # find a run that nobody seems to execute.
        with locked_log(record.log) as log:
            record.write()
            child = await asyncio.create_subprocess_exec(
                *_command(order, self._options, record.id_file),
                # Flows read files beside themselves, and on a cluster the code package is the
                # working directory.
                cwd=order.flow.path.parent,
                env=_environment(order, self._url),
                # A prompt (a debugger's, a password's) would wait for a terminal that shows other
                # things.
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal reaches the loop alone, which lets runs
                # end in good order, and a run is ended with all that it has started.
                start_new_session=True,
            )
        self._groups.add(child.pid)
        record = replace(record, pid=child.pid)
        try:
            record.write()
            ending = asyncio.create_task(child.wait())
            await self._follow(record, output, ending)
            code = await ending
        finally:
            self._groups.discard(child.pid)
            # What a run leaves behind would be gone with its pods on a cluster.
            _signal(child.pid, signal.SIGTERM)
        # A run that a signal ended has not failed by itself: nothing of it says why it stopped.
        record.end("unfinished" if code < 0 else "failed" if code else "succeeded")
        return code

    async def _follow(
        self, record: RunRecord, output: _RunOutput, ending: "asyncio.Task[Any]", start: int = 0
    ) -> None:
        """Tell what a run prints, from this byte of its log on, until it has ended."""
        with record.log.open("rb") as log:
            log.seek(start)
            over = False
            while not over:
                await asyncio.wait({ending}, timeout=_PAUSE)
                over = ending.done()  # before what it printed is read, so that all of it is
                if not output.run_id:
                    self._notice_run_id(record, output)
                while chunk := log.read(_CHUNK):
                    *lines, rest = (output.rest + chunk).split(b"\n")
                    # A line without an end is cut: the log has all of it.
                    output.rest = rest[-_LONGEST_LINE:]
                    for line in lines:
                        self._print(record, output, line[-_LONGEST_LINE:])
                    # A run that prints a lot must not keep the bus and the page from answering.
                    await asyncio.sleep(0)
        self._print(record, output, output.rest)

    def _notice_run_id(self, record: RunRecord, output: _RunOutput) -> None:
        output.run_id = record.run_id
        if output.run_id:
            self._emit(
                RunStarted(
                    at=self._now(),
                    flow=record.flow,
                    run_id=output.run_id,
                    cause=record.cause,
                    events=list(record.events),
                    sensors=None if record.sensors is None else list(record.sensors),
                    pid=record.pid,
                    log=record.log,
                )
            )

    def _print(self, record: RunRecord, output: _RunOutput, line: bytes) -> None:
        text = plain_text(line.decode(errors="replace")).rstrip()
        if not text:
            return
        output.tail = [*output.tail[1 - _TAIL :], text]
        self._emit(RunPrinted(at=self._now(), flow=record.flow, run_id=output.run_id, line=text))

    def _record(self, order: Order) -> RunRecord:
        now = self._now()
        name = f"{now:%Y%m%dT%H%M%S}-{order.flow.name}-{os.getpid()}-{next(self._numbers)}.log"
        return RunRecord(
            flow=order.flow.name,
            cause=order.cause,
            events=order.events,
            sensors=order.sensors,
            started=now.isoformat(),
            loop=self._loop,
            project=str(self._root),
            options=self._options,
            log=logs_folder(order.flow) / name,
        )


def plain_text(output: str) -> str:
    """The output without the codes that colour it."""
    return _COLOURS.sub("", output)


def logs_folder(flow: FlowFile) -> Path:
    """Where the output of runs is kept: beside what Metaflow itself keeps on this machine."""
    return work_folder(flow.local_root) / "logs"


async def _gone(record: RunRecord) -> None:
    # Nobody but its own loop, which is gone, would be told of its end.
    # Its lock is all that another loop can see: only its own parent could wait for its exit code.
    while record.is_alive:  # noqa: ASYNC110
        await asyncio.sleep(_PAUSE)


def _command(order: Order, options: tuple[str, ...], id_file: Path) -> list[str]:
    flow = order.flow
    # Only where an event started it: without one, `current.trigger` is None on a cluster, too.
    trigger = ["--with", _TRIGGERED] if order.environment else []
    return [
        # The loop's own interpreter: `python` on the PATH may be another, without flowproject.
        sys.executable,
        str(flow.path),
        *(options if flow.project else ()),
        *(("resume", "--origin-run-id", order.resumes) if order.resumes else ("run",)),
        *("--run-id-file", str(id_file)),
        *("--tag", _TAG),
        *trigger,
        *(f"--{name}={text}" for name, text in order.arguments.items()),
    ]


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def child_environment(url: str) -> dict[str, str]:
    """Give the environment of a child process that may publish to the bus at this address."""
    environment = {
        name: text
        for name, text in os.environ.items()
        # A loop may itself be started in a step, or by a test of one: its events and its choice of
        # sensors are not those of its runs.
        if not name.startswith(EVENT_VARIABLE) and name != SENSORS_ONLY
    }
    local = "127.0.0.1,localhost"
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY")
    return {
        **environment,
        "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": url,
        # What Metaflow waits between its attempts doubles; who publishes in earnest retries itself.
        "METAFLOW_SERVICE_RETRY_COUNT": "2",
        # A proxy can't reach this machine's own bus.
        "no_proxy": f"{no_proxy},{local}" if no_proxy else local,
    }


def _environment(order: Order, url: str) -> dict[str, str]:
    return {
        **child_environment(url),
        # `ArgoEvent.safe_publish` publishes only where this says that the run is deployed.
        "ARGO_WORKFLOW_TEMPLATE": order.flow.full_name,
        **({} if order.sensors is None else {SENSORS_ONLY: ",".join(order.sensors)}),
        **order.environment,
    }
