"""Ticks and runs as processes of their own, which are killed with `kill -9` or find the disk full.

Started as `python -m benchmarks.chaos.zygote FOLDER ROOT SEED FAULTS`; it prints, as JSON, what
was sent, done and injected, round by round. This process never opens a store, because what obstore
starts does not survive a fork: all that it does with one, a child does.
"""

import datetime as dt
import json
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import metaflow.integrations
import metaflow.metaflow_config

# Imported here, so that the lives of the children are spent on what they are there for.
import obstore.store  # noqa: F401
import pandas as pd  # noqa: F401  # pyarrow does, where it finds it
import pyarrow.acero
import pyarrow.parquet  # noqa: F401
import stamina

import flowproject.sources.files  # noqa: F401
from benchmarks.chaos.bus import Bus
from benchmarks.chaos.ledger import Effect
from benchmarks.chaos.ours import SENSOR, Ours, scene_of
from benchmarks.chaos.story import FLOWS, Start
from benchmarks.chaos.world import World
from flowproject import sensing
from flowproject.aws import aws_client
from flowproject.errors import JournalError
from flowproject.journal import open_store

__all__ = ["Account", "main"]

_EPOCH: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_FATES: Final = (
    "bus: answers 500 and has taken it",
    "bus: resets and has taken it",
    "bus: takes it and drops it",
    "bus: takes it and drops it for one flow",
    "bus: delivers it twice",
)
_AT_ONCE: Final = (1, 2, 4)
_PHASES: Final = 4
_PATIENCE: Final = 60
_CATCHING_UP: Final = 14
_TICK_KILLED: Final = "kill -9 of a tick's process"
_RUN_KILLED: Final = "kill -9 of a run's process"
_DISK_FULL: Final = "disk full in a tick's process"


@dataclass(kw_only=True)
class Account:
    """What a round of processes sent and did, as `Ours` reads it for the books."""

    name: str
    seed: int
    listeners: tuple[str, ...] = FLOWS
    coalesce: bool = False
    most_an_hour: int = 0
    most_sendings: int = 5
    made: list[str] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    runs: int = 0
    suppressed: int = 0


class _Children:
    """Processes, what each is to end as, and which of them are killed when."""

    def __init__(self) -> None:
        self.running: dict[int, Callable[[int], None]] = {}
        self._deadlines: dict[int, float] = {}

    def start(
        self, work: Callable[[], int], ended: Callable[[int], None], life: float | None = None
    ) -> None:
        """Have a child do some work; after `life` seconds it is killed."""
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(work())
        self.running[pid] = ended
        if life is not None:
            self._deadlines[pid] = time.monotonic() + life

    def look(self) -> None:
        """Kill whose time has come, and hear of who has ended."""
        for pid, deadline in list(self._deadlines.items()):
            if time.monotonic() >= deadline:
                del self._deadlines[pid]
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for pid in list(self.running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._deadlines.pop(pid, None)
                self.running.pop(pid)(os.waitstatus_to_exitcode(status))


class _Round:
    """One round of one sensor."""

    def __init__(self, seed: int, folder: Path, root: str, urls: "dict[str, str]", pipe: int):
        self.dice = Random(seed)
        self.now = _EPOCH
        self.account = Account(
            name=f"p{seed}",
            seed=seed,
            coalesce=self.dice.random() < 0.3,  # noqa: PLR2004
        )
        self.world = World(folder / self.account.name, Random(seed))
        self._root = root
        self._urls = urls
        self._pipe = pipe
        self._unread = b""
        self._children = _Children()
        self._settled = False
        self._ledger = folder / f"{self.account.name}.ledger"
        self._ledger.touch()

    # ----------------------------------------------------------------------------- what happens

    def play(self, life: float) -> Account:
        """All of it; a process that is killed lives no longer than `life` seconds."""
        self._in_peace(self._listen)
        self._tick()
        self._until_quiet()
        for _ in range(_PHASES):
            for _ in range(self.dice.choice((1, 2))):
                self.world.change()
            for _ in range(self.dice.choice(_AT_ONCE)):
                self._tick_in_danger(life)
            self._until_quiet(life)
            self.now += dt.timedelta(seconds=self.dice.choice((1, 600, 4000)))
        for _ in range(_CATCHING_UP):
            self.now += dt.timedelta(hours=3)
            self._tick()
            self._until_quiet()
            if self._settled:
                break
        self.account.made = self.world.made
        lines = self._ledger.read_text().splitlines()
        self.account.effects = [Effect(**json.loads(line)) for line in lines]
        return self.account

    def _tick_in_danger(self, life: float) -> None:
        fate = self.dice.choice(_FATES) if self.dice.random() < 0.3 else ""  # noqa: PLR2004
        full = "://" not in self._root and self.dice.random() < 0.3  # noqa: PLR2004
        if full:
            self._tick(fate=fate, room=self.dice.choice((0, 1, 100, 700, 1500, 3000)))
        else:
            self._tick(fate=fate, life=self.dice.uniform(0, life))

    def _tick(self, *, fate: str = "", room: int | None = None, life: float | None = None) -> None:
        """One tick in a process that may write `room` bytes to a file, or lives that long."""
        self.account.ticks += 1

        def work() -> int:
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL = self._urls[fate]
            return _tick_once(self)

        def ended(code: int) -> None:
            self._settled = code == 0
            self.account.injected[_TICK_KILLED] += code == -signal.SIGKILL
            self.account.injected[_DISK_FULL] += room is not None and code > 1

        self._children.start(work, ended, life)

    def _start(self, start: Start, life: float | None) -> None:
        endangered = life is not None and self.dice.random() < 0.4  # noqa: PLR2004
        mine = self.dice.uniform(0, life / 3) if life is not None and endangered else None

        def ended(code: int) -> None:
            self.account.injected[_RUN_KILLED] += code == -signal.SIGKILL
            self.account.suppressed += code == 1
            if code not in (0, 1):
                self._start(start, life)  # Metaflow tries the task again

        self._children.start(lambda: _run_once(self, start), ended, mine)

    def _listen(self) -> int:
        journal = self.scene().journal(SENSOR)
        journal.outbox.record_listeners(FLOWS, by="chaos")
        return 0

    def _in_peace(self, work: Callable[[], int]) -> None:
        self._children.start(work, lambda _: None)
        self._until_quiet()

    def _until_quiet(self, life: float | None = None) -> None:
        """Wait for all children, and start runs for the events that come meanwhile."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self._hear(life)
            self._children.look()
            if not self._children.running and not self._hear(life):
                return
            if time.monotonic() > deadline:
                raise RuntimeError("children that do not end")
            time.sleep(0.001)

    def _hear(self, life: float | None) -> bool:
        heard = False
        while select.select([self._pipe], [], [], 0)[0]:
            self._unread += os.read(self._pipe, 1 << 16)
            *lines, self._unread = self._unread.split(b"\n")
            for line in lines:
                heard = True
                self._deliver(json.loads(line), life)
        return heard

    def _deliver(self, told: dict[str, Any], life: float | None) -> None:
        event, fate = told["event"], told["fate"]
        self.account.taken.append(event)
        self.account.injected[fate] += bool(fate)
        deaf = self.dice.choice(FLOWS) if "for one flow" in fate else ""
        for flow in FLOWS:
            copies = 2 if "twice" in fate else 0 if fate.endswith("drops it") else 1
            for _ in range(copies * (flow != deaf)):
                self.account.runs += 1
                run = f"{flow}/{self.account.runs}"
                self._start(
                    Start(flow=flow, run=run, origin=run, payload=event["payload"]), life
                )

    # --------------------------------------------------------------------- what children are told

    def scene(self) -> sensing.Scene:
        """Where a tick of this round happens; for children only."""
        told = Account(**asdict(self.account))
        told.world = self.world  # type: ignore[attr-defined]
        return scene_of(told, open_store(self._root), lambda: self.now)

    def note(self, effect: Effect) -> None:
        """Write it down, in one write to the end of the file."""
        line = json.dumps(asdict(effect)).encode() + b"\n"
        file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND)
        os.write(file, line)
        os.close(file)


def _tick_once(one: _Round) -> int:
    """0: nothing is left to do; 1: something is; 2: something failed."""
    scene = one.scene()
    [seen] = sensing.publish(scene, sensing.observe(scene))
    if seen.outcome == "failed" or seen.undelivered:
        return 2
    left = scene.journal(SENSOR).head().unsettled
    return int(seen.outcome != "unchanged" or bool(seen.pending) or bool(left))


class _Run(Ours):
    """What a run does, in a process of its own."""

    def __init__(self, one: _Round) -> None:
        self._told = {}
        self._one = one

    def do(self, start: Start) -> None:
        """The work, which takes a moment and is written down where a killed process leaves it."""
        self._story = self._one  # type: ignore[assignment]
        time.sleep(0.002)
        super().do(start)
        time.sleep(0.002)


def _run_once(one: _Round, start: Start) -> int:
    """0: it worked; 1: the change is another run's."""
    run = _Run(one)
    one.ledger = one  # type: ignore[attr-defined]
    if not run.claims(one.scene().store, start):
        return 1
    run.do(start)
    return 0


def _bus_process(write: int) -> "tuple[int, dict[str, str]]":
    """A bus in a child, which writes what it takes to a pipe: its pid and its addresses."""
    read_url, write_url = os.pipe()
    pid = os.fork()
    if pid == 0:
        bus = Bus()

        def taken(event: dict[str, Any], fate: str) -> None:
            os.write(write, json.dumps({"event": event, "fate": fate}).encode() + b"\n")

        bus.taken = taken
        urls = {fate: bus.address(fate) for fate in ("", *_FATES)}
        os.write(write_url, json.dumps(urls).encode() + b"\n")
        signal.pause()
        os._exit(0)
    return pid, json.loads(os.read(read_url, 1 << 16))


def main(folder: Path, root: str, seed: str, faults: str) -> None:
    """Rounds until so many faults were injected; prints their accounts."""
    stamina.set_active(False)
    if "://" in root:
        _learn_s3()
    read, write = os.pipe()
    bus, urls = _bus_process(write)
    injected = 0
    try:
        life = _life(folder, root, urls, read)
        number = int(seed)
        while injected < int(faults):
            account = _Round(number, folder, root, urls, read).play(life)
            injected += account.injected.total()
            number += 1
            sys.stdout.write(json.dumps(vars(account), default=asdict) + "\n")
            sys.stdout.flush()
    finally:
        os.kill(bus, signal.SIGKILL)


def _learn_s3() -> None:
    """Parse the megabyte that describes AWS once, and not in each child; nothing is connected."""
    import botocore.session

    botocore.session.create_loader = cache(botocore.session.create_loader)
    aws_client(failure=JournalError)


def _life(folder: Path, root: str, urls: dict[str, str], pipe: int) -> float:
    """How long a tick takes here that sees a change, and a little: slow machines get longer."""
    one = _Round(0, folder, root, urls, pipe)
    one._in_peace(one._listen)  # noqa: SLF001
    begun = time.monotonic()
    for _ in range(3):
        one.world.change()
        one._tick()  # noqa: SLF001
        one._until_quiet()  # noqa: SLF001
    return 1.2 * (time.monotonic() - begun) / 3


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
