"""Rounds of which each tick and run is a process, killed with `kill -9` or on a full disk.

Started as `python -m benchmarks.chaos.zygote FOLDER ROOT SEED FAULTS`; prints what each round did
as a line of JSON. This process never opens a store, because what obstore starts does not survive a
fork: whatever needs one is done by a child.
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
from benchmarks.chaos.bus import Bus, Event
from benchmarks.chaos.changing_folder import ChangingFolder
from benchmarks.chaos.children import Children
from benchmarks.chaos.ledger import Effect
from benchmarks.chaos.ours import Ours
from benchmarks.chaos.story import FLOWS, SENSOR, Start
from flowproject.aws import aws_client
from flowproject.errors import JournalError
from flowproject.journal import open_store

__all__ = ["main"]

_EPOCH: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_FATES: Final = (
    "bus: answers 500 and has taken it",
    "bus: resets and has taken it",
    "bus: takes it and drops it",
    "bus: takes it and drops it for one flow",
    "bus: delivers it twice",
)
_AT_ONCE: Final = (1, 2, 4)
_ROOM: Final = (0, 1, 100, 700, 1500, 3000)
"""Bytes that fit into a file of a full disk: so writes fail before, in and after each object."""

_PHASES: Final = 4
_PATIENCE: Final = 60
_CATCHING_UP: Final = 14
_FAILED: Final = 2
_TICK_KILLED: Final = "kill -9 of a tick's process"
_RUN_KILLED: Final = "kill -9 of a run's process"
_DISK_FULL: Final = "disk full in a tick's process"


@dataclass(kw_only=True)
class _Account:
    """What a round was like, sent and did: as a `Story` has it, for who writes the books."""

    name: str
    seed: int
    coalesce: bool
    listeners: tuple[str, ...] = FLOWS
    most_an_hour: int = 0
    most_sendings: int = 5
    is_deaf: bool = False
    plot: str = ""
    sensor: str = SENSOR
    sensors: tuple[str, ...] = (SENSOR,)
    hearing: tuple[str, ...] = FLOWS
    ticks_killed: int = 0
    unnoted: list[Event] = field(default_factory=list)
    taken: list[Event] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    runs: int = 0
    suppressed: int = 0


class _Round:
    """One round of one sensor. What its children share is on the disk and in the store."""

    def __init__(self, seed: int, folder: Path, root: str, urls: dict[str, str], pipe: int) -> None:
        self._dice = Random(seed)
        self._now = _EPOCH
        self._account = _Account(name=f"p{seed}", seed=seed, coalesce=self._dice.random() < 1 / 3)
        self._world = ChangingFolder(folder / self._account.name, Random(seed))
        self._root = root
        self._urls = urls
        self._pipe = pipe
        self._unread = b""
        self._children = Children()
        self._is_settled = False
        self._ledger = folder / f"{self._account.name}.ledger"
        self._ledger.touch()

    # ------------------------------------------------------------------------------- what happens

    def begin(self) -> None:
        """Record who listens, and look for the first time."""
        self._children.start(self._listen, lambda _: None)
        self._until_quiet()
        self.tick_in_peace()

    def play(self, life: float) -> dict[str, Any]:
        """The account, after all of it; who is killed lives for `life` seconds at most."""
        self.begin()
        for _ in range(_PHASES):
            for _ in range(self._dice.choice((1, 2))):
                self._world.change()
            for _ in range(self._dice.choice(_AT_ONCE)):
                self._tick_in_danger(life)
            self._until_quiet(life)
            self._now += dt.timedelta(seconds=self._dice.choice((1, 600, 4000)))
        for _ in range(_CATCHING_UP):
            self._now += dt.timedelta(hours=3)
            self.tick_in_peace()
            if self._is_settled:
                break
        effects = [json.loads(line) for line in self._ledger.read_text().splitlines()]
        return {**vars(self._account), "made": self._world.made, "effects": effects}

    def change_and_tick(self) -> None:
        """What a tick does that sees a change."""
        self._world.change()
        self.tick_in_peace()

    def tick_in_peace(self) -> None:
        """One tick, and all that it starts."""
        self._tick()
        self._until_quiet()

    def _tick_in_danger(self, life: float) -> None:
        fate = self._dice.choice(_FATES) if self._dice.random() < 1 / 3 else ""
        if "://" not in self._root and self._dice.random() < 1 / 3:
            self._tick(fate=fate, room=self._dice.choice(_ROOM))
        else:
            self._tick(fate=fate, life=self._dice.uniform(0, life))

    def _tick(self, *, fate: str = "", room: int | None = None, life: float | None = None) -> None:
        """One tick in a process that can write `room` bytes to a file, or lives that long."""
        self._account.ticks += 1

        def work() -> int:
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            metaflow.metaflow_config.ARGO_EVENTS_WEBHOOK_URL = self._urls[fate]
            return self._look()

        def ended(code: int) -> None:
            self._is_settled = code == 0
            self._account.injected[_TICK_KILLED] += code == -signal.SIGKILL
            self._account.injected[_DISK_FULL] += room is not None and code == _FAILED

        self._children.start(work, ended, life)

    def _start(self, start: Start, life: float | None) -> None:
        in_danger = life is not None and self._dice.random() < 1 / 2
        mine = self._dice.uniform(0, life / 3) if life is not None and in_danger else None

        def ended(code: int) -> None:
            self._account.injected[_RUN_KILLED] += code == -signal.SIGKILL
            self._account.suppressed += code == 1
            if code not in (0, 1):
                self._start(start, life)  # Metaflow tries the task again

        self._children.start(lambda: self._run(start), ended, mine)

    def _until_quiet(self, life: float | None = None) -> None:
        """Wait for all children, and start runs for the events that come meanwhile."""
        deadline = time.monotonic() + _PATIENCE
        while self._hear(life) or self._children:
            self._children.look()
            if time.monotonic() > deadline:
                raise RuntimeError("children that do not end")
            time.sleep(0.001)

    def _hear(self, life: float | None) -> bool:
        """Whether the bus took an event."""
        heard = False
        while select.select([self._pipe], [], [], 0)[0]:
            self._unread += os.read(self._pipe, 1 << 16)
            *lines, self._unread = self._unread.split(b"\n")
            for line in lines:
                heard = True
                self._deliver(**json.loads(line), life=life)
        return heard

    def _deliver(self, *, event: Event, fate: str, life: float | None) -> None:
        self._account.taken.append(event)
        self._account.injected[fate] += bool(fate)
        deaf = self._dice.choice(FLOWS) if "for one flow" in fate else ""
        copies = 2 if "twice" in fate else 0 if fate.endswith("drops it") else 1
        for flow in [flow for flow in FLOWS if flow != deaf] * copies:
            self._account.runs += 1
            run = f"{flow}/{self._account.runs}"
            start = Start(flow=flow, run=run, origin=run, payloads=(event["payload"],))
            self._start(start, life)

    # --------------------------------------------------------------------------- what children do

    def _story(self) -> Any:
        """As much of a `Story` as `Ours` needs."""
        return SimpleNamespace(
            **vars(self._account),
            place=SimpleNamespace(store=open_store(self._root)),
            world=self._world,
            worlds=[self._world],
            ledger=self,
            now=self._now,
        )

    def _listen(self) -> int:
        Ours(self._story()).deploy()
        return 0

    def _look(self) -> int:
        """0: nothing is left to do; 1: something is; 2: something failed."""
        ours = Ours(self._story())
        ours.look_once_more()
        if ours.is_settled():
            return 0
        return _FAILED if ours.has_failed() else 1

    def _run(self, start: Start) -> int:
        """0: it worked; 1: the change is another run's."""
        story = self._story()
        before = story.suppressed
        Ours(story).work(story.place.store, start, lambda _: time.sleep(0.002))
        return int(story.suppressed - before)

    def note(self, effect: Effect) -> None:
        """Keep what was done, in one write to the end of a file."""
        file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND)
        os.write(file, json.dumps(asdict(effect)).encode() + b"\n")
        os.close(file)


def _bus_process(pipe: int) -> tuple[int, dict[str, str]]:
    """A bus in a child, which writes what it takes to a pipe: its pid and its addresses."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        bus = Bus()

        def taken(event: Event, fate: str, _now: str) -> None:
            os.write(pipe, json.dumps({"event": event, "fate": fate}).encode() + b"\n")

        bus.taken = taken
        os.write(writer, json.dumps({fate: bus.address(fate) for fate in ("", *_FATES)}).encode())
        signal.pause()
        os._exit(0)
    addresses: dict[str, str] = json.loads(os.read(reader, 1 << 16))
    return pid, addresses


def _learn_s3() -> None:
    """Parse the megabyte that describes AWS once, and not in each child; nothing is connected."""
    import botocore.session

    botocore.session.create_loader = cache(botocore.session.create_loader)
    aws_client(failure=JournalError)


def main(folder: Path, root: str, seed: str, faults: str) -> None:
    """Play rounds until so many faults were injected."""
    stamina.set_active(False)
    if "://" in root:
        _learn_s3()
    reader, writer = os.pipe()
    bus, urls = _bus_process(writer)
    try:
        trial = _Round(0, folder, root, urls, reader)
        trial.begin()
        begun = time.monotonic()
        for _ in range(3):
            trial.change_and_tick()
        life = (time.monotonic() - begun) / 3  # slow machines get longer lives
        injected = 0
        for number in range(int(seed), sys.maxsize):
            if injected >= int(faults):
                break
            account = _Round(number, folder, root, urls, reader).play(life)
            injected += account["injected"].total()
            sys.stdout.write(json.dumps(account) + "\n")
            sys.stdout.flush()
    finally:
        os.kill(bus, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
