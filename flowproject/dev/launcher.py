"""Runs of flows as child processes: command, environment, log file, and a clean end.

Each run is a process group of its own, so that it can be ended with everything it started.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Final

from flowproject.dev.happenings import Listener, RunFinished, RunPrinted, RunStarted
from flowproject.flowfiles import FlowFile
from flowproject.sensing import SENSORS_ONLY

__all__ = ["Launcher", "Order", "child_environment", "logs_folder", "plain_text"]

_TAG: Final = "flowproject:dev"
_TRIGGERED: Final = "flowproject.dev.triggered.triggered"
_CARRIER: Final = "METAFLOW_ARGO_EVENT_PAYLOAD_"
_KEPT_LOGS: Final = 500
_LONGEST_LINE: Final = 64 * 1024
_TAIL: Final = 15
_DRAIN: Final = 1.0
"""Seconds to read what is left of the output: a process left behind may hold it open."""

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


@dataclass(kw_only=True)
class _Output:
    """What a run has printed so far."""

    run_id: str = ""
    rest: bytes = b""
    tail: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The files of a run that the launcher writes and reads."""

    log: Path
    id_file: Path


class Launcher:
    """Starts runs, at most `limit` at a time, and tells what becomes of them."""

    def __init__(
        self,
        *,
        url: str,
        options: tuple[str, ...],
        limit: int,
        tell: Listener,
        now: Callable[[], datetime],
    ) -> None:
        self._url = url
        self._options = options
        self._slots = asyncio.Semaphore(limit)
        self._tell = tell
        self._now = now
        self._numbers = count(1)
        self._groups: set[int] = set()
        self._closed = False

    async def run(self, order: Order) -> RunFinished | None:
        """How the run ended. Waits for a free slot first; nothing if it was closed meanwhile."""
        async with self._slots:
            if self._closed:
                return None
            begun = time.monotonic()
            place = self._place(order.flow)
            output = _Output()
            try:
                code = await self._execute(order, place, output)
            except (OSError, ValueError) as error:  # no room for a process; a NUL in an argument
                output.tail.append(f"The run could not be started: {error}")
                code = 127
            finally:
                place.id_file.unlink(missing_ok=True)
            finished = RunFinished(
                at=self._now(),
                flow=order.flow.name,
                run_id=output.run_id,
                cause=order.cause,
                ok=code == 0,
                seconds=time.monotonic() - begun,
                exit_code=code,
                log=place.log,
                tail=output.tail if code else [],
            )
            self._tell(finished)
            return finished

    def close(self) -> None:
        """Start no more runs."""
        self._closed = True

    def kill(self, number: signal.Signals) -> None:
        """Send the signal to every process of every run."""
        for group in self._groups:
            _signal(group, number)

    async def _execute(self, order: Order, place: _Place, output: _Output) -> int:
        child = await asyncio.create_subprocess_exec(
            *_command(order, self._options, place.id_file),
            cwd=order.flow.path.parent,
            env=_environment(order, self._url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._groups.add(child.pid)
        try:
            reading = asyncio.create_task(self._read(child, order, place, output))
            ending = asyncio.create_task(child.wait())
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()  # a full disk, say: without a reader the run would wait forever
            code = await ending
            await asyncio.wait({reading}, timeout=_DRAIN)
            reading.cancel()
        finally:
            self._groups.discard(child.pid)
            # What a run leaves behind would be gone with its pods on a cluster.
            _signal(child.pid, signal.SIGTERM)
        return code

    async def _read(
        self, child: asyncio.subprocess.Process, order: Order, place: _Place, output: _Output
    ) -> None:
        if child.stdout is None:
            return
        with place.log.open("wb", buffering=0) as log:
            while chunk := await child.stdout.read(65536):
                log.write(chunk)
                if not output.run_id:
                    self._notice_run_id(child.pid, order, place, output)
                *lines, rest = (output.rest + chunk).split(b"\n")
                # A line without an end is cut: the log has all of it.
                output.rest = rest[-_LONGEST_LINE:]
                for line in lines:
                    self._print(order, output, line[-_LONGEST_LINE:])
        self._print(order, output, output.rest)

    def _notice_run_id(self, pid: int, order: Order, place: _Place, output: _Output) -> None:
        try:
            output.run_id = place.id_file.read_text()
        except FileNotFoundError:
            return
        if output.run_id:
            self._tell(
                RunStarted(
                    at=self._now(),
                    flow=order.flow.name,
                    run_id=output.run_id,
                    cause=order.cause,
                    events=list(order.events),
                    sensors=None if order.sensors is None else list(order.sensors),
                    pid=pid,
                    log=place.log,
                )
            )

    def _print(self, order: Order, output: _Output, line: bytes) -> None:
        text = plain_text(line.decode(errors="replace")).rstrip()
        if not text:
            return
        output.tail = [*output.tail[1 - _TAIL :], text]
        self._tell(
            RunPrinted(at=self._now(), flow=order.flow.name, run_id=output.run_id, line=text)
        )

    def _place(self, flow: FlowFile) -> _Place:
        folder = logs_folder(flow)
        folder.mkdir(parents=True, exist_ok=True)
        _prune(folder)
        stamp = self._now().strftime("%Y%m%dT%H%M%S")
        name = f"{stamp}-{flow.name}-{os.getpid()}-{next(self._numbers)}"
        return _Place(log=folder / f"{name}.log", id_file=folder / f"{name}.id")


def plain_text(output: str) -> str:
    """The output without the codes that colour it."""
    return _COLOURS.sub("", output)


def logs_folder(flow: FlowFile) -> Path:
    """Where the output of runs is kept: beside what Metaflow itself keeps on this machine."""
    return Path(flow.local_root) / "flowproject" / "dev" / "logs"


def _command(order: Order, options: tuple[str, ...], id_file: Path) -> list[str]:
    flow = order.flow
    trigger = ["--with", _TRIGGERED] if order.environment else []
    return [
        sys.executable,
        str(flow.path),
        *(options if flow.project else ()),
        "run",
        *("--run-id-file", str(id_file)),
        *("--tag", _TAG),
        *trigger,
        *(f"--{name}={text}" for name, text in order.arguments.items()),
    ]


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def child_environment(url: str) -> dict[str, str]:
    """The variables of a child process that may publish to the bus at this address."""
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(_CARRIER) and name != SENSORS_ONLY
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


def _prune(folder: Path) -> None:
    """Keep the newest logs: a sensor that looks every ten seconds writes thousands a day."""
    logs = sorted(path for path in folder.iterdir() if path.suffix == ".log")
    for path in logs[: -_KEPT_LOGS or None]:
        path.unlink(missing_ok=True)
