"""flowproject itself: real ticks over real journals, and runs that claim as `BaseFlow` does."""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from benchmarks.chaos.books import Books
from benchmarks.chaos.changing_folder import MARKER
from benchmarks.chaos.faults import FOLDERS, NEW_NAME, SETTLES, SKIPPED
from benchmarks.chaos.ledger import Effect
from benchmarks.chaos.story import (
    BOTH_FLOW,
    DEAF_FLOW,
    LEDGER_FLOW,
    OTHER,
    SENSOR,
    Start,
    Story,
    sensor_of,
)
from flowproject import sensing
from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, change_id
from flowproject.changes.retries import RetryPolicy
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.errors import FlowprojectError, TickError
from flowproject.journal import Journal, move
from flowproject.sensing import Chain, ProjectContext, Tick
from flowproject.starting.claiming import Taken, claim, note_end, tell_next
from flowproject.starting.run_start import RunStart

__all__ = ["Ours", "context_of", "numbers_of"]

_PROJECT: Final = "chaos"
_PILE: Final = 52
_SETTLE: Final = 600.0


def context_of(
    story: Any, store: Any, clock: Callable[[], dt.datetime], first: str = SENSOR
) -> ProjectContext:
    """Where a tick of this story happens; `first` is what its first sensor is called there."""
    names = (first, *story.sensors[1:])
    sensors = {
        name: Sensor(
            name=name,
            data=FilesData(
                path=OTHER if name == OTHER else SENSOR,
                marker=MARKER if story.plot == FOLDERS else "",
                settle=_SETTLE if story.plot == SETTLES else 0.0,
            ),
            event_name=f"{name}_changed",
            coalesce=story.coalesce,
            max_events_per_hour=story.most_an_hour,
            max_attempts=story.most_sendings,
        )
        for name in names
    }
    return ProjectContext(
        project=Project(project_name=_PROJECT, sensor=Schedule(), sensors=sensors),
        root=story.world.root,
        store=store,
        branch=f"user.{story.name}",
        clock=clock,
    )


def numbers_of(change: Mapping[str, Any]) -> range:
    """The numbers of the changes that an event tells of, oldest first."""
    return range(change.get("first_seq", change["seq"]), change["seq"] + 1)


def _called(sensor: str) -> str:
    """What the books call a sensor, whatever its name is now."""
    return OTHER if sensor == OTHER else SENSOR


class Ours:
    """The sensors of flowproject, and flows that inherit `BaseFlow`."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._last: dict[str, Tick] = {}
        self._has_failed = False
        self._abandoned: set[int] = set()
        self._told: set[int] = set()
        self._memos: list[bytes] = []
        self._skipped: set[int] = set()

    def _journal(self, sensor: str = "") -> Journal:
        """A journal in peace, for who reads the books."""
        return self._context(self._story.place.store).journal(sensor or self._story.sensor)

    def _context(
        self, store: Any, clock: Callable[[], dt.datetime] | None = None
    ) -> ProjectContext:
        return context_of(
            self._story, store, clock or (lambda: self._story.now), self._story.sensor
        )

    # --------------------------------------------------------------------------------- what it does

    def deploy(self) -> None:
        """Record who listens, as a deployment does."""
        listeners = (*self._story.listeners, *(DEAF_FLOW,) * self._story.is_deaf)
        for sensor in self._story.sensors if listeners else ():
            flows = [flow for flow in listeners if sensor != OTHER or flow == BOTH_FLOW]
            waits = {BOTH_FLOW: self._story.sensors} if BOTH_FLOW in flows else {}
            in_order = [flow for flow in flows if flow == LEDGER_FLOW]
            self._journal(sensor).outbox.record_listeners(
                flows, by="chaos", waits=waits, in_order=in_order
            )

    def pile_up(self) -> None:
        """Record many changes, of which nothing is sent yet."""
        journal = self._journal()
        head = journal.head()
        assert head.entry is not None  # noqa: S101  # there was a first look
        for seq in range(head.seq + 1, head.seq + 1 + _PILE):
            name = change_id(
                project=_PROJECT,
                branch=journal.branch,
                sensor=SENSOR,
                seq=seq,
                previous="",
                fingerprint="piled up",
            )
            entry = replace(head.entry, seq=seq, id=name, outcome="forced")
            entry = replace(entry, previous_fingerprint=entry.fingerprint, difference="")
            journal.record(entry, None, Difference(), head)
            head = head.followed_by(entry)

    def move(self, store: Any, old: str, new: str) -> None:
        """What the command does after the sensor was renamed."""
        context = self._context(store)
        at = self._story.now.isoformat()
        move(store, context.journal(old), context.journal(new), at=at)

    def tick(self, store: Any, clock: Callable[[], dt.datetime], sensor: str) -> None:
        """Both steps of a run of the sensor flow, and how it ends."""
        context = context_of(self._story, store, clock, sensor)
        ticks = sensing.publish(context, sensing.observe(context))
        try:
            sensing.raise_for_failures(ticks)
        except TickError:
            self._has_failed = True
        else:
            self._has_failed = False
        self._last = {seen.sensor: seen for seen in ticks}
        for seen in ticks:
            words = re.findall(r"Changes? (\d.*?) (?:was|were) sent to", seen.abandoned)
            gone = set[int]().union(*map(_numbers, words))
            if "does not listen any more" in seen.undelivered:
                self._told |= self._undelivered(seen.sensor)
            self._told |= gone if self._has_failed else set()
            self._abandoned |= gone

    def look_once_more(self) -> None:
        """A tick without an actor: in a process of its own, or after all is over."""
        story = self._story
        self.tick(story.place.store, lambda: story.now, story.sensor)

    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        """What a run of a flow does: claim, and if something is its own, work."""
        moment("before claim")
        taken = self.claim(store, start)
        if taken.nothing_because:
            self._story.suppressed += 1
            return
        moment("after claim")
        self.do(start, taken.changes)
        moment("after work")
        for change in taken.changes:
            if change.get("turn_of"):
                self._end_turn(store, start, change)

    def _end_turn(self, store: Any, start: Start, change: Mapping[str, Any]) -> None:
        """What a run does after its last step that takes changes in order."""
        note_end(change, "succeeded", store, flow=start.flow, run=start.origin)
        with suppress(FlowprojectError):
            tell_next(
                change,
                self._context(store).project.sensors,
                store,
                flow=start.flow,
                run=start.run,
                now=self._story.now,
            )

    def claim(self, store: Any, start: Start) -> Taken:
        """What is this run's, as `BaseFlow` finds out before its first step."""
        changes = [payload["change"] for payload in start.payloads]
        return claim(RunStart(changes=changes, run=start.origin), flow=start.flow, store=store)

    def do(self, start: Start, changes: Sequence[Mapping[str, Any]]) -> None:
        """The work, for each change that the run was told of."""
        for change in changes:
            for seq in numbers_of(change):
                self._story.ledger.note(
                    Effect(
                        flow=start.flow,
                        change=f"{_called(change['sensor'])}/{seq}",
                        attempt=change.get("attempt", 1),
                        run=start.run,
                        origin=start.origin,
                    )
                )

    def must_go_on(self, start: Start) -> bool:
        """Whether the run claimed something: Metaflow shows it as failed, and nothing else can."""
        now = {_called(sensor): sensor for sensor in self._story.sensors}
        for payload in start.payloads:
            journal = self._journal(now[_called(payload["change"]["sensor"])])
            for seq in self._told_or_taken(start, journal, payload["change"]):
                entry = journal.get(seq)
                receipts = journal.receipts.read(seq, entry.id) if entry else ()
                if any(receipt.run == start.origin for receipt in receipts):
                    return True
        return False

    def _told_or_taken(
        self, start: Start, journal: Journal, change: Mapping[str, Any]
    ) -> Sequence[int]:
        """The changes that a run may have claimed: of several sensors, any of them."""
        return [change["seq"]] if len(start.payloads) == 1 else journal.numbers()

    def disturb(self, fault: str) -> None:
        """Lose the memo of the head, or put an older one of this journal in its place."""
        store, key = self._story.place.store, f"{self._journal().location}/head.json"
        if fault.endswith("lost"):
            store.delete(key)
            return
        if content := store.get(key):
            self._memos.append(content)
        if self._memos:
            store.put(key, self._story.dice.choice(self._memos))

    def is_settled(self) -> bool:
        """Whether a tick finds nothing changed, nothing to send and nobody to wait for."""
        if {*self._last} != {*self._story.sensors} or self._abandoned:
            return False
        if any(seen.outcome != "unchanged" or seen.pending for seen in self._last.values()):
            return False
        waits = [self._waits(sensor) for sensor in self._story.sensors]
        return None not in waits and sum(filter(None, waits)) < max(len(waits), 2)

    def _waits(self, sensor: str) -> bool | None:
        """Whether a flow that waits for others has not taken all of this sensor; None: unresolved.

        What a flow lacks that never starts is given up, and all of it must be named.
        """
        numbers = self._journal(sensor).head().unresolved
        named = self._undelivered(sensor)
        if not numbers and not self._last[sensor].undelivered:
            return False
        chains = self._chains(sensor)
        left = [chains[seq] for seq in numbers if seq in chains]
        for_others = [one for one in left if one.missing == (BOTH_FLOW,) == one.waiting]
        deaf = [one for one in left if one.missing == (DEAF_FLOW,) and one.entry.seq in named]
        deaf += [one for one in left if one.gone and not one.missing and one.entry.seq in named]
        if len(for_others) + len(deaf) < len(left) or named != {one.entry.seq for one in deaf}:
            return None
        return bool(for_others)

    def _chains(self, sensor: str) -> dict[int, Chain]:
        """What became of each change, as `history` tells it."""
        journal = self._journal(sensor)
        index = journal.index()
        context = self._context(self._story.place.store)
        patience = RetryPolicy(
            receipt_timeout=context.project.sensors[sensor].receipt_timeout,
            max_attempts=self._story.most_sendings,
        )
        entries = [entry for seq in index.numbers if (entry := journal.get(seq))]
        return {
            entry.seq: sensing.chain(index, entry, patience, self._story.now)
            for entry in entries
            if entry.is_published
        }

    def has_failed(self) -> bool:
        """Whether the last tick failed, or could not deliver something."""
        return self._has_failed or not self._last

    def needs_a_person(self) -> bool:
        """Whether a tick says that a change is undelivered, and to be replayed."""
        return bool(self._abandoned) or any(map(self._undelivered, self._last))

    def _undelivered(self, sensor: str) -> set[int]:
        """The numbers that the last tick names as undelivered."""
        told = self._last[sensor].undelivered if sensor in self._last else ""
        named = {int(seq) for seq in re.findall(r"Change (\d+) was sent (?:once|\d)", told)}
        for words in re.findall(r"\d+ changes \(([^)]*)\) were sent", told):
            named |= _numbers(words)
        return named

    def rescue(self, store: Any) -> None:
        """Replay what is undelivered, as the command does.

        What a tick said may be over: a change that has arrived since would be run again, because
        that is what to replay it means. And what `history` shows as given up is replayed, whoever
        said so.
        """
        context = self._context(store)
        for sensor in self._story.sensors:
            for seq in sorted(self._undelivered(sensor) | self._abandoned):
                found = sensing.find_change(context, f"{sensor}/{seq}")
                lacks = {*found.chain.missing, *found.chain.gone} - {DEAF_FLOW}
                if lacks and found.chain.state in {"undelivered", "sent"}:
                    sensing.replay(context, found, by="a person")
                    self._story.replayed += 1
        self._abandoned.clear()

    def skip(self, store: Any) -> None:
        """End the oldest turn that is not over."""
        going_on = [one for one in self._chains(self._story.sensor).values() if one.in_order]
        if going_on:
            oldest = min(going_on, key=lambda one: one.entry.seq)
            mark = oldest.mark
            assert mark is not None  # noqa: S101  # it was sent
            self._story.faults.injected[SKIPPED] += 1
            self._skipped |= {*range(mark.first, mark.seq + 1)}
            context = self._context(store)
            found = sensing.find_change(context, f"{self._story.sensor}/{mark.seq}")
            sensing.skip(context, found, by="a person")

    # ---------------------------------------------------------------------------------- what it did

    def account(self, books: Books) -> None:
        """Compare what was made, recorded, sent and done."""
        runs = self._story.ledger.runs()
        books.repeated += len(self._story.ledger.effects) - sum(map(len, runs.values()))
        for event in self._story.unnoted:
            books.wrong("unnoted", f"change {event['payload']['change']['seq']}")
        untaken: dict[str, list[int]] = {}
        for sensor, world in zip(self._story.sensors, self._story.worlds, strict=True):
            entries = self._entries(sensor)
            changes = [entry for entry in entries if entry.is_published]
            books.recorded += len(changes)
            self._chain(sensor, entries, world.made, books)
            self._bus(sensor, changes, books)
            untaken[sensor] = self._work(sensor, changes, books)
        self._both(untaken, books)
        self._order(books)
        for (flow, change), who in self._workers(runs).items():
            if len(who) > 1:
                books.wrong("twice", f"{flow}, change {change}: {sorted(who)}")
        if not self.is_settled():
            books.wrong("unsettled", f"{self._last}")

    def _entries(self, sensor: str) -> list[Entry]:
        journal = self._journal(sensor)
        found = (journal.get(seq) for seq in range(1, journal.head().seq + 1))
        return [entry for entry in found if entry]

    def _chain(self, sensor: str, entries: list[Entry], made: list[str], books: Books) -> None:
        """Each entry leads on from the one before, and each change that was made is in one."""
        journal = self._journal(sensor)
        found: list[str] = []
        finished: set[str] = set()
        for before, after in pairwise(entries):
            # It may be a first look under the new name, which was taken before the move.
            follows = before.outcome == "baseline" and self._story.plot == NEW_NAME
            same = after.previous_fingerprint == before.fingerprint
            if not (follows or same) or after.seq != before.seq + 1:
                books.wrong("unrecorded", f"change {after.seq} does not follow from {before.seq}")
            difference = journal.snapshots.difference(after)
            arrived = [item.key for item in difference.arrived]
            found += arrived
            found += [item.key for item in difference.removed]
            if self._story.plot == FOLDERS:
                self._hold_back(after, arrived, finished, books)
        for name in made:
            if found.count(name) != 1:
                books.wrong("unrecorded", f"{name} is in {found.count(name)} changes")

    def _hold_back(
        self, entry: Entry, arrived: list[str], finished: set[str], books: Books
    ) -> None:
        """What an entry tells of lies in folders that have their markers, by then."""
        finished |= {key.rpartition("/")[0] for key in arrived if key.endswith(MARKER)}
        for key in arrived:
            if key.rpartition("/")[0] not in finished:
                books.wrong("unfinished", f"change {entry.seq} tells of {key}")

    def _bus(self, sensor: str, changes: list[Entry], books: Books) -> None:
        """Each change came to the bus under one id, and first came after the one before."""
        ids: defaultdict[int, set[str]] = defaultdict(set)
        told: dict[int, None] = {}
        for event in self._story.taken:
            if _called(sensor_of(event)) != _called(sensor):
                continue
            ids[event["payload"]["change"]["seq"]].add(event["payload"]["id"])
            for seq in numbers_of(event["payload"]["change"]):
                told.setdefault(seq)
        books.delivered += sum(entry.seq in told for entry in changes)
        for before, after in pairwise(told):
            if after < before:
                books.wrong("misordered", f"change {after} came after {before}")
        for seq, names in ids.items():
            if len(names) > 1:
                books.wrong("renamed", f"change {seq} was sent as {sorted(names)}")
        for entry in changes:
            if entry.seq not in told and not self._story.listeners:
                books.wrong("lost", f"the bus never had change {entry.seq}")

    def _work(self, sensor: str, changes: list[Entry], books: Books) -> list[int]:
        """Whether each change was worked for by each flow that it was sent to: what BothFlow lacks.

        What is not must be named: by a tick, by `history` and by the exit code.
        """
        store, journal = self._story.place.store, self._journal(sensor)
        books.receipts += len(store.keys(f"{journal.location}/receipts"))
        index, chains = journal.index(), self._chains(sensor)
        named = self._undelivered(sensor)
        worked = {(flow, change) for flow, change, _ in self._story.ledger.runs()}
        untaken: list[int] = []
        for entry in changes:
            mark = index.mark(entry)
            flows = mark.listeners if mark else self._story.listeners
            lacking = [flow for flow in flows if (flow, self._change(sensor, entry)) not in worked]
            if BOTH_FLOW in lacking:
                untaken.append(entry.seq)
            for flow in {*lacking} - {BOTH_FLOW}:
                what = f"{flow} never worked for change {entry.seq} of {sensor}"
                if flow == LEDGER_FLOW and flow in chains[entry.seq].skipped:
                    continue
                if flow in self._story.hearing:
                    books.wrong("lost", what)
                elif flow == DEAF_FLOW:
                    self._hold_named(entry, chains, named, what, books)
                else:
                    self._hold_gone(entry, chains, worked, what, books)
        return untaken

    def _change(self, sensor: str, entry: Entry) -> str:
        return f"{_called(sensor)}/{entry.seq}"

    def _hold_named(
        self, entry: Entry, chains: Mapping[int, Chain], named: set[int], what: str, books: Books
    ) -> None:
        if entry.seq not in named:
            books.wrong("unnamed", f"{what}, and the last tick does not say so")
        if not self._has_failed:
            books.wrong("unnamed", f"{what}, and the last tick succeeded")
        if chains[entry.seq].state != "undelivered":
            books.wrong("unnamed", f"{what}, and is {chains[entry.seq].in_words}")

    def _hold_gone(
        self,
        entry: Entry,
        chains: Mapping[int, Chain],
        worked: set[tuple[str, str]],
        what: str,
        books: Books,
    ) -> None:
        """What was sent to a flow that is gone was handed over by a person, or waits for one.

        A tick that was killed said nothing, but it failed, and `history` goes on to say it.
        """
        taken = [flow for flow in self._story.hearing if (flow, f"{SENSOR}/{entry.seq}") in worked]
        chain = chains[entry.seq]
        if chain.state != "undelivered" and {*taken} != {*self._story.hearing}:
            books.wrong("unnamed", f"{what}, and is {chain.in_words}")
        if entry.seq not in self._told and not self._story.ticks_killed:
            books.wrong("unnamed", f"{what}, and no tick said so")

    def _order(self, books: Books) -> None:
        """A flow that takes changes in order first works for one when all older ones are over."""
        begun: dict[int, None] = {}
        for effect in self._story.ledger.effects:
            if effect.flow == LEDGER_FLOW:
                begun.setdefault(int(effect.change.rpartition("/")[2]))
        for before, after in pairwise(seq for seq in begun if seq not in self._skipped):
            if after < before:
                books.wrong("overtaken", f"{LEDGER_FLOW} worked for {before} before {after}")

    def _both(self, untaken: Mapping[str, list[int]], books: Books) -> None:
        """A flow that waits for two sensors lacks something of one of them at most."""
        if untaken and all(untaken.values()) and BOTH_FLOW in self._story.hearing:
            books.wrong("lost", f"{BOTH_FLOW} never worked for {dict(untaken)}")

    def _workers(self, runs: Mapping[tuple[str, str, int], set[str]]) -> Mapping[Any, set[str]]:
        """The runs that worked, in whatever attempt: nobody replays what somebody has worked for.

        Only what is undelivered is replayed here, and for who has started that is no new attempt;
        except where a run holds others back, which a replay is to end.
        """
        workers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for (flow, change, attempt), who in runs.items():
            name = f"{change}, attempt {attempt}" if LEDGER_FLOW in self._story.hearing else change
            workers[flow, name] |= who
        return workers


def _numbers(words: str) -> set[int]:
    """What is meant by `2 to 5, 7`."""
    ranges = re.findall(r"(\d+)(?: to (\d+))?", words)
    return {one for first, last in ranges for one in range(int(first), int(last or first) + 1)}
