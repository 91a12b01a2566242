"""One round: some changes, ticks and runs among faults; then peace, time to catch up, and books."""

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

from benchmarks.chaos.books import Books
from benchmarks.chaos.bus import Bus, Event
from benchmarks.chaos.changing_folder import ChangingFolder
from benchmarks.chaos.faults import (
    CROWD,
    DEAF,
    FOLDERS,
    GONE_FLOW,
    IN_ORDER,
    MOVE_KILLED,
    NEW_FLOW,
    NEW_NAME,
    PLOTS,
    SETTLES,
    TWO_SENSORS,
    Faults,
)
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.sender import acting
from benchmarks.chaos.store import FaultyStore
from benchmarks.chaos.turns import Actor, Turns
from flowproject.errors import FlowprojectError

__all__ = [
    "BOTH_FLOW",
    "DEAF_FLOW",
    "FLOWS",
    "LEDGER_FLOW",
    "OTHER",
    "SENSOR",
    "Place",
    "Start",
    "Story",
    "System",
    "sensor_of",
]

FLOWS: Final = ("FirstFlow", "SecondFlow")
DEAF_FLOW: Final = "DeafFlow"
BOTH_FLOW: Final = "BothFlow"
LEDGER_FLOW: Final = "LedgerFlow"
"""One that takes changes in order."""

_NEW_FLOW: Final = "NewFlow"
SENSOR: Final = "data"
OTHER: Final = "more"
"""The second sensor, where a flow waits for two."""

_DENIED: Final = "denied"
_RENAMED: Final = "renamed"
_NUMBERS: Final = itertools.count()
_EPOCH: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_AT_ONCE: Final = (1, 1, 2, 2, 4, 8)
_PHASES: Final = (2, 3, 4)
_HOUR: Final = dt.timedelta(hours=1)
_CATCHING_UP: Final = 16
_MOST_KILLED_MOVES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where stories happen: a folder, the store, and a line to it that can be broken.

    `environment` is what a process needs to open the store at `root`.
    """

    name: str
    folder: Path
    root: str
    store: Any
    wire: Callable[[str], AbstractContextManager[Any]] | None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_far(self) -> bool:
        """Whether there is a wire."""
        return self.wire is not None


@dataclass(frozen=True, kw_only=True)
class Start:
    """A run that events start, the newest first; `origin` is the run it goes on with, or itself."""

    flow: str
    run: str
    origin: str
    payloads: tuple[Event, ...]

    @property
    def payload(self) -> Event:
        """What the newest of its events says."""
        return self.payloads[0]


class System(Protocol):
    """What is tried: how it ticks, what its flows do first, and how its books are read."""

    def deploy(self) -> None:
        """Do what a deployment does, in peace."""

    def pile_up(self) -> None:
        """Record many changes at once, in peace."""

    def move(self, store: Any, old: str, new: str) -> None:
        """Do what a person does after a sensor was renamed."""

    def tick(self, store: Any, clock: Callable[[], dt.datetime], sensor: str) -> None:
        """Look once, tell the bus."""

    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        """What a run does; it names the moments at which it may die."""

    def must_go_on(self, start: Start) -> bool:
        """Whether this failed run is one that a person has to continue."""

    def disturb(self, fault: str) -> None:
        """Do to the system's memos what the fault says."""

    def is_settled(self) -> bool:
        """Whether nothing is left to do."""

    def skip(self, store: Any) -> None:
        """Do what a person does who ends a turn that others wait for."""

    def needs_a_person(self) -> bool:
        """Whether somebody is told that a change could not be delivered."""

    def rescue(self, store: Any) -> None:
        """Do what that person does."""

    def account(self, books: Books) -> None:
        """Write the books."""


@dataclass(kw_only=True)
class Story:
    """One round. All of it follows from `seed`, and from its plot (None: drawn from the seed).

    `sensor` is what the first sensor is called now, and `hearing` are the flows that the bus
    starts, with the sensors that each waits for. `ticks_killed` is how many ticks died since one of
    them was renamed or removed.
    """

    seed: int
    place: Place
    bus: Bus
    make: "Callable[[Story], System]"
    plot: str | None = None
    sensor: str = SENSOR
    ticks_killed: int = 0
    taken: list[Event] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    suppressed: int = 0
    replayed: int = 0
    unnoted: list[Event] = field(default_factory=list)
    now: dt.datetime = _EPOCH

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.name = f"s{self.seed}_{next(_NUMBERS)}"
        drawn = self.dice.choices([*PLOTS], [*PLOTS.values()])[0]
        self.plot = drawn if self.plot is None else self.plot
        is_heard = self.dice.random() < 4 / 5 or self.plot not in {"", FOLDERS, SETTLES}
        self.listeners: tuple[str, ...] = FLOWS if is_heard else ()
        self.hearing: dict[str, tuple[str, ...]] = dict.fromkeys(FLOWS, (SENSOR,))
        self.coalesce = self.dice.random() < 1 / 3
        self.most_an_hour = self.dice.choice((0, 0, 0, 0, 2))
        self.most_sendings = self.dice.choice((5, 5, 2, 1))
        self.is_deaf = bool(self.listeners) and self.dice.random() < 1 / 6
        self.is_read_only = False
        if self.plot == TWO_SENSORS:
            self.listeners = (FLOWS[0], BOTH_FLOW)
            self.hearing = {FLOWS[0]: (SENSOR,), BOTH_FLOW: (SENSOR, OTHER)}
            self.is_deaf = False
        is_in_order = self.plot == IN_ORDER or (
            self.plot == NEW_NAME and self.dice.random() < 1 / 2
        )
        if is_in_order:
            self.listeners = (FLOWS[0], LEDGER_FLOW)
            self.hearing = dict.fromkeys(self.listeners, (SENSOR,))
            self.is_deaf = False
        if self.plot == CROWD:
            self.is_deaf, self.coalesce, self.most_an_hour, self.most_sendings = True, False, 0, 1
        # What comes after a run that died half-way is what an order is about.
        chances = {"after claim": 0.4} if self.plot == IN_ORDER else {}
        self.faults = Faults(Random(self.dice.random()), wire=self.place.is_far, chances=chances)
        self.faults.injected[DEAF] += self.is_deaf
        self.turns = Turns(Random(self.dice.random()))
        folder = self.place.folder / self.name
        self.world = ChangingFolder(
            folder,
            Random(self.dice.random()),
            clock=(lambda: self.now) if self.plot == SETTLES else None,
            by_folder=self.plot == FOLDERS,
        )
        self.worlds = [self.world]
        if self.plot == TWO_SENSORS:
            self.worlds.append(ChangingFolder(folder, Random(self.dice.random()), name=OTHER))
        self.system = self.make(self)
        self._books = Books(rounds=1)
        self._kept: list[tuple[str, Event]] = []
        self._failed: list[Start] = []
        self._held: defaultdict[str, dict[str, Event]] = defaultdict(dict)

    @property
    def sensors(self) -> tuple[str, ...]:
        """What the sensors are called now."""
        return (self.sensor, OTHER) if self.plot == TWO_SENSORS else (self.sensor,)

    def play(self) -> Books:
        """The books, when all is over."""
        self.bus.taken = self._take
        if self.plot == CROWD:
            self._crowd()
        self.system.deploy()
        self._tick("the first tick")
        self.turns.run()
        phases = self.dice.choice(_PHASES)
        upheaval = self.dice.randrange(1, phases)
        if self.plot in {TWO_SENSORS, FOLDERS, SETTLES, IN_ORDER}:
            self.faults.injected[str(self.plot)] += 1
        for phase in range(phases):
            if phase == upheaval:
                self._upheave()
            self.faults.peace = False
            self._phase(phase)
        self.faults.peace = True
        self._catch_up()
        self._account()
        return self._books

    def _crowd(self) -> None:
        """Have many changes given up, before anybody listens who takes what it is told."""
        listeners, hearing = self.listeners, self.hearing
        self.listeners, self.hearing = (), {}
        self.system.deploy()
        self._tick("the first look")
        self.turns.run()
        self.system.pile_up()
        for number in range(2):
            self._tick(f"tick of the crowd {number}")
            self.turns.run()
            self.now += 3 * _HOUR
        self.listeners, self.hearing = listeners, hearing
        self.faults.injected[CROWD] += 1

    def _upheave(self) -> None:
        """Rename or remove what this round is about."""
        if self.plot not in {NEW_FLOW, GONE_FLOW, NEW_NAME}:
            return
        if self.plot == NEW_NAME:
            self._rename()
        else:
            new = (_NEW_FLOW,) * (self.plot == NEW_FLOW)
            self.hearing = dict.fromkeys((FLOWS[0], *new), (SENSOR,))
            # A deployment tells the cluster first, and the journal last.
            self.world.change()
            self._tick("a tick during the deployment")
            self.turns.run()
            self.listeners = tuple(self.hearing)
        self.faults.injected[str(self.plot)] += 1
        self.ticks_killed = 0
        self.system.deploy()

    def _rename(self) -> None:
        """Have a person move the journal, as often as it takes, while both names tick.

        Under the new name nothing may be recorded before: so the last change comes first.
        """
        self.faults.peace = True
        self._tick("the last tick before")
        self.turns.run()
        self.world.change()
        for attempt in itertools.count():
            done: list[bool] = []
            self.faults.peace = attempt >= _MOST_KILLED_MOVES
            for number in range(self.dice.choice((0, 1, 2))):
                self._tick(f"tick of the old name {attempt}.{number}")
                self._tick(f"tick of the new name {attempt}.{number}", sensor=_RENAMED)
            self.turns.start("a person who moves", self._moving(done))
            self.turns.run()
            if done:
                break
            self.faults.injected[MOVE_KILLED] += 1
        self.sensor = _RENAMED
        self.hearing = dict.fromkeys(self.hearing, (_RENAMED,))

    def _moving(self, done: list[bool]) -> Callable[[Actor], None]:
        def live(actor: Actor) -> None:
            with acting(actor, self.faults):
                try:
                    self.system.move(self.store_of(actor), self.sensor, _RENAMED)
                except FlowprojectError as error:
                    self.turns.note(actor.name, f"failed: {error}")
                else:
                    done.append(True)

        return live

    def _phase(self, phase: int) -> None:
        self._release()
        if any(self._held.values()) and self.faults.at("forgets"):
            self._held.clear()
        if self.faults.at("read only"):
            self._deny(phase)
        for number in range(self.dice.choice((1, 1, 2, 3))):
            world = self.dice.choice(self.worlds)
            self.turns.later(number * self.dice.choice((0, 5, 25)), world.change)
        if fault := self.faults.at("memo"):
            self.turns.later(self.dice.choice((0, 5, 25)), lambda: self.system.disturb(fault))
        for number in range(self.dice.choice(_AT_ONCE)):
            self._tick(f"tick {phase}.{number}")
        if LEDGER_FLOW in self.hearing and self.dice.random() < 1 / 3:
            turns = self.dice.choice((5, 25, 80))
            self.turns.later(turns, lambda: self._ask_a_person(self.system.skip))
        self.turns.run()
        self.now += self.dice.choice((1, 60, 1200, 7200)) * dt.timedelta(seconds=1)

    def _deny(self, phase: int) -> None:
        """Let nobody write for some ticks, in which what is sent could not be noted."""
        self.is_read_only, self.bus.now = True, _DENIED
        for number in range(2):
            self.now += 3 * _HOUR
            self._tick(f"tick {phase}.{number} that may not write")
            self.turns.run()
        self.is_read_only, self.bus.now = False, ""

    def _catch_up(self) -> None:
        self.world.finish()
        for world in self.worlds[1:] and self.worlds:
            world.change()  # or what one of two sensors told last would wait for ever, and rightly
        for number in range(_CATCHING_UP):
            self.now += 3 * _HOUR
            self._release()
            self._resume()
            self._tick(f"tick in peace {number}")
            self.turns.run()
            if not self._kept and not self._failed and self.system.is_settled():
                break
            if self.system.needs_a_person():
                self._rescue()

    def _rescue(self) -> None:
        """Have a person help, whose requests and events may fail like those of others."""
        self.faults.peace = self.dice.random() < 1 / 2
        self._ask_a_person(self.system.rescue)
        self.turns.run()
        self.faults.peace = True

    def _ask_a_person(self, do: Callable[[Any], None]) -> None:
        def live(actor: Actor) -> None:
            with acting(actor, self.faults), suppress(FlowprojectError):
                do(self.store_of(actor))

        self.turns.start("a person", live)

    def _account(self) -> None:
        self._books.made += sum(len(world.made) for world in self.worlds)
        self._books.sendings += len(self.taken)
        self._books.suppressed += self.suppressed
        self._books.replayed += self.replayed
        self._books.faults.update(self.faults.injected)
        self.system.account(self._books)
        self._books.problems = [
            f"{self.place.name}, round {self.seed}: {problem}" for problem in self._books.problems
        ]

    # ------------------------------------------------------------------------------- who does what

    def store_of(self, actor: Actor) -> FaultyStore:
        """What an actor sees of the store."""
        return FaultyStore(
            self.place.store,
            actor,
            self.turns,
            self.faults,
            self.place.wire,
            lambda: self.is_read_only,
        )

    def _tick(self, name: str, sensor: str = "") -> None:
        self._books.ticks += 1
        clock = self._clock(self.faults.at("clock"))
        sensor = sensor or self.sensor

        def live(actor: Actor) -> None:
            try:
                with acting(actor, self.faults), suppress(FlowprojectError):
                    self.system.tick(self.store_of(actor), clock, sensor)
            finally:
                self.ticks_killed += actor.is_dead

        self.turns.start(name, live)

    def _clock(self, fault: str) -> Callable[[], dt.datetime]:
        """What a machine takes for the time."""
        ahead = {"clock: an hour fast": 1, "clock: an hour slow": -1}.get(fault, 0) * _HOUR
        asked = [0]

        def clock() -> dt.datetime:
            asked[0] += 1
            back = _HOUR if "jumps" in fault and asked[0] > 1 else 0 * _HOUR
            return self.now + ahead - back + dt.timedelta(milliseconds=asked[0])

        return clock

    def _take(self, event: Event, fate: str, now: str) -> None:
        """The bus has an event: start its flows, as often and as late as its fate is."""
        self.taken.append(event)
        if now == _DENIED:
            self.unnoted.append(event)
        turn_of = event["payload"].get("change", {}).get("turn_of", "")
        hearing = [
            flow
            for flow, waits in self.hearing.items()
            if self._told_of(event) in waits
            # The event for all is none for who takes changes in order: that has one of its own.
            and turn_of == (flow if flow == LEDGER_FLOW else "")
        ]
        deaf = self.turns.dice.choice(hearing) if hearing and "for one flow" in fate else ""
        for flow in hearing:
            copies = 2 if "twice" in fate else 0 if fate.endswith("drops it") else 1
            for _ in range(copies * (flow != deaf)):
                if "late" in fate and self.turns.dice.random() < 2 / 3:
                    self._kept.append((flow, event))
                else:
                    self._start(flow, event)

    def _told_of(self, event: Event) -> str:
        """The sensor whose event it is."""
        return sensor_of(event) or self.sensor

    def _release(self) -> None:
        """Deliver what the bus has kept for long, or keep it still."""
        kept, self._kept = self._kept, []
        for flow, event in kept:
            if self.dice.random() < 1 / 2:
                self._start(flow, event, is_late=True)
            else:
                self._kept.append((flow, event))

    def _start(self, flow: str, event: Event, *, is_late: bool = False) -> None:
        """Start a flow, if it has all that it waits for.

        A run that `is_late` has been made before its flow or its sensor had another name.
        """
        sensor, waits = self._told_of(event), self.hearing.get(flow, ())
        if is_late and sensor not in waits:
            waits = (sensor,)
        held = self._held[flow]
        held.pop(sensor, None)
        held[sensor] = event
        if len(held) < len(waits):
            return
        payloads = tuple(one["payload"] for one in reversed(held.values()))
        held.clear()
        self._books.runs += 1
        run = f"{flow}/{self._books.runs}"
        start = Start(flow=flow, run=run, origin=run, payloads=payloads)
        self._live(start, self.turns.dice.choice((0, 1, 5, 40)))

    def _live(self, start: Start, turns: int) -> None:
        def live(actor: Actor) -> None:
            done = False
            try:
                with acting(actor, self.faults):
                    self.system.work(self.store_of(actor), start, self._moments(actor))
                done = True
            except FlowprojectError as error:
                self.turns.note(actor.name, f"failed: {error}")
            finally:
                if not done:
                    self._fail(start)

        self.turns.later(turns, lambda: self.turns.start(start.run, live))

    def _moments(self, actor: Actor) -> Callable[[str], None]:
        def moment(name: str) -> None:
            actor.pause()
            if self.faults.at(name):
                actor.die()

        return moment

    def _fail(self, start: Start) -> None:
        """A run failed or died: Metaflow tries the task again, or a person sees it later."""
        if self.turns.dice.random() < 2 / 3:
            self._live(start, self.turns.dice.choice((1, 10, 50)))
        else:
            self._failed.append(start)

    def _resume(self) -> None:
        failed, self._failed = self._failed, []
        for start in failed:
            if self.system.must_go_on(start) or self.dice.random() < 1 / 2:
                self._books.resumed += 1
                self._live(replace(start, run=f"{start.run}-resumed"), 0)


def sensor_of(event: Event) -> str:
    """The sensor whose change an event tells of; empty if it does not say so."""
    return str(event["payload"].get("change", {}).get("sensor", ""))
