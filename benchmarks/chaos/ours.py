"""flowproject itself: real ticks over a real journal, and runs that claim as `BaseFlow` does."""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from benchmarks.chaos.books import Books
from benchmarks.chaos.bus import Event
from benchmarks.chaos.ledger import Effect
from benchmarks.chaos.story import DEAF_FLOW, Start, Story
from flowproject import sensing
from flowproject.changes.entry import Entry
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.journal import Journal
from flowproject.sensing import Scene, Tick
from flowproject.starting.claiming import claim
from flowproject.starting.told import Told

__all__ = ["SENSOR", "Ours", "numbers_of", "scene_of"]

SENSOR: Final = "data"
_PROJECT: Final = "chaos"


def scene_of(story: Any, store: Any, clock: Callable[[], dt.datetime]) -> Scene:
    """Where a tick of this story happens."""
    sensor = Sensor(
        name=SENSOR,
        data=FilesData(path="data"),
        event_name="data_changed",
        coalesce=story.coalesce,
        max_events_per_hour=story.most_an_hour,
        max_attempts=story.most_sendings,
    )
    return Scene(
        project=Project(project_name=_PROJECT, sensor=Schedule(), sensors={SENSOR: sensor}),
        root=story.world.root,
        store=store,
        branch=f"user.{story.name}",
        clock=clock,
    )


def numbers_of(event: Event) -> list[int]:
    """The changes that an event tells of, oldest first."""
    change = event["payload"]["change"]
    return [*range(change.get("first_seq", change["seq"]), change["seq"] + 1)]


class Ours:
    """One sensor of flowproject, and flows that inherit `BaseFlow`."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._last: Tick | None = None
        self._memos: list[bytes] = []

    @property
    def _journal(self) -> Journal:
        """The journal in peace, for who reads the books."""
        return self._scene(self._story.place.store).journal(SENSOR)

    def _scene(self, store: Any, clock: Callable[[], dt.datetime] | None = None) -> Scene:
        return scene_of(self._story, store, clock or (lambda: self._story.now))

    # --------------------------------------------------------------------------------- what it does

    def begin(self) -> None:
        """Record who listens, as a deployment does."""
        if self._story.listeners:
            deaf = (DEAF_FLOW,) * self._story.is_deaf
            self._journal.outbox.record_listeners((*self._story.listeners, *deaf), by="chaos")

    def tick(self, store: Any, clock: Callable[[], dt.datetime]) -> None:
        """Both steps of a run of the sensor flow."""
        scene = self._scene(store, clock)
        [self._last] = sensing.publish(scene, sensing.observe(scene))

    def look_once_more(self) -> None:
        """A tick without an actor: in a process of its own, or after all is over."""
        self.tick(self._story.place.store, lambda: self._story.now)

    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        """What a run of a flow does: claim, and if the change is its own, work."""
        moment("before claim")
        if self.claims(store, start):
            moment("after claim")
            self.do(start)
            moment("after work")
        else:
            self._story.suppressed += 1

    def claims(self, store: Any, start: Start) -> bool:
        """Whether the change is this run's, as `BaseFlow` finds out before its first step."""
        this = Told(changes=[start.payload["change"]], run=start.origin)
        return not claim(this, flow=start.flow, store=store).nothing_because

    def do(self, start: Start) -> None:
        """The work, for each change that the event tells of."""
        for seq in numbers_of({"payload": start.payload}):
            self._story.ledger.note(
                Effect(
                    flow=start.flow,
                    change=str(seq),
                    attempt=start.payload["change"]["attempt"],
                    run=start.run,
                    origin=start.origin,
                )
            )

    def must_go_on(self, start: Start) -> bool:
        """Whether the run claimed its change: Metaflow shows it as failed, and nothing else can."""
        change = start.payload["change"]
        receipts = self._journal.receipts(change["seq"], change["id"])
        return any(receipt.run == start.origin for receipt in receipts)

    def disturb(self, fault: str) -> None:
        """Lose the memo of the head, or put an older one of this journal in its place."""
        store, key = self._story.place.store, f"{self._journal.location}/head.json"
        if fault.endswith("lost"):
            store.delete(key)
            return
        if content := store.get(key):
            self._memos.append(content)
        if self._memos:
            store.put(key, self._story.dice.choice(self._memos))

    def is_settled(self) -> bool:
        """Whether a tick finds nothing changed, nothing to send and nobody to wait for."""
        last = self._last
        if last is None or last.outcome != "unchanged" or last.pending:
            return False
        left = {*self._journal.head().unsettled}
        if self._story.is_deaf:
            return left == self._undelivered() and all(map(self._is_deaf_to, left))
        return not last.undelivered and not left

    def _is_deaf_to(self, seq: int) -> bool:
        """Whether nobody lacks a change but the flow that never starts."""
        return self._missing(seq) == (DEAF_FLOW,)

    def _missing(self, seq: int) -> tuple[str, ...]:
        scene = self._scene(self._story.place.store)
        return sensing.find_change(scene, f"{SENSOR}/{seq}").chain.missing

    def has_failed(self) -> bool:
        """Whether the last tick failed, or could not deliver something."""
        return self._last is None or self._last.outcome == "failed" or bool(self._last.undelivered)

    def needs_a_person(self) -> bool:
        """Whether the last tick says that a change is undelivered, and to be replayed."""
        return bool(self._undelivered())

    def _undelivered(self) -> set[int]:
        """The numbers that the last tick names as undelivered."""
        told = self._last.undelivered if self._last else ""
        named = {int(seq) for seq in re.findall(r"Change (\d+) was sent", told)}
        for words in re.findall(r"\d+ changes \(([^)]*)\) were sent", told):
            for first, last in re.findall(r"(\d+)(?: to (\d+))?", words):
                named |= {*range(int(first), int(last or first) + 1)}
        return named

    def rescue(self, store: Any) -> None:
        """Replay what is undelivered, as the command does.

        What a tick said may be over: a change that has arrived since would be run again, because
        that is what to replay it means.
        """
        scene = self._scene(store)
        for seq in sorted(self._undelivered()):
            found = sensing.find_change(scene, f"{SENSOR}/{seq}")
            if {*found.chain.missing} - {DEAF_FLOW}:
                sensing.replay(scene, found, by="a person")
                self._story.replayed += 1

    # ---------------------------------------------------------------------------------- what it did

    def account(self, books: Books) -> None:
        """Compare what was made, recorded, sent and done."""
        entries = [*self._entries()]
        changes = [entry for entry in entries if entry.is_published]
        books.recorded += len(changes)
        self._chain(entries, books)
        self._bus(changes, books)
        self._work(changes, books)
        for event in self._story.unnoted:
            books.wrong("unnoted", f"change {event['payload']['change']['seq']}")
        if self._story.is_deaf:
            for entry in changes:
                if entry.seq not in self._undelivered():
                    books.wrong("unnamed", f"{DEAF_FLOW} never took change {entry.seq}")
        if not self.is_settled():
            books.wrong("unsettled", f"{self._last}")

    def _entries(self) -> Iterator[Entry]:
        journal = self._journal
        for seq in range(1, journal.head().seq + 1):
            if entry := journal.get(seq):
                yield entry

    def _chain(self, entries: list[Entry], books: Books) -> None:
        """Each entry leads on from the one before, and each change that was made is in one."""
        found: list[str] = []
        for before, after in pairwise(entries):
            if after.previous_fingerprint != before.fingerprint or after.seq != before.seq + 1:
                books.wrong("unrecorded", f"change {after.seq} does not follow from {before.seq}")
            difference = self._journal.difference(after)
            found += [item.key for item in difference.arrived]
            found += [item.key for item in difference.removed]
        for name in self._story.world.made:
            if found.count(name) != 1:
                books.wrong("unrecorded", f"{name} is in {found.count(name)} changes")

    def _bus(self, changes: list[Entry], books: Books) -> None:
        """Each change came to the bus under one id, and first came after the one before."""
        ids: defaultdict[int, set[str]] = defaultdict(set)
        told: dict[int, None] = {}
        for event in self._story.taken:
            ids[event["payload"]["change"]["seq"]].add(event["payload"]["id"])
            for seq in numbers_of(event):
                told.setdefault(seq)
        books.delivered += sum(entry.seq in told for entry in changes)
        for before, after in pairwise(told):
            if after < before:
                books.wrong("misordered", f"change {after} came after {before}")
        for seq, names in ids.items():
            if len(names) > 1:
                books.wrong("renamed", f"change {seq} was sent as {sorted(names)}")
        if not self._story.listeners:
            for entry in changes:
                if entry.seq not in told:
                    books.wrong("lost", f"the bus never had change {entry.seq}")

    def _work(self, changes: list[Entry], books: Books) -> None:
        """Each change was worked for by one run of each flow that listens."""
        runs = self._story.ledger.runs()
        books.repeated += len(self._story.ledger.effects) - sum(map(len, runs.values()))
        receipts = self._story.place.store.keys(f"{self._journal.location}/receipts")
        books.receipts += len(receipts)
        for flow in self._story.listeners:
            worked = {int(change) for name, change, _ in runs if name == flow}
            for entry in changes:
                if entry.seq not in worked:
                    books.wrong("lost", f"{flow} never worked for change {entry.seq}")
        for (flow, change), who in self._workers(runs).items():
            if len(who) > 1:
                books.wrong("twice", f"{flow}, change {change}: {sorted(who)}")

    def _workers(self, runs: Mapping[tuple[str, str, int], set[str]]) -> Mapping[Any, set[str]]:
        """The runs that worked, in whatever attempt: nobody replays what somebody has worked for.

        Only what is undelivered is replayed here, and for who has started that is no new attempt.
        """
        workers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for (flow, change, _), who in runs.items():
            workers[flow, change] |= who
        return workers
