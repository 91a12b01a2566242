"""The logic of the scaffold that flowproject replaces, rebuilt as a baseline.

Its state is an artifact of the run before: the last value is read from the second newest run, and
whatever goes wrong with that is swallowed and taken for "nothing known". It is compared with what
is there now and published with errors ignored, once. There is no journal, no second sending and no
claim. It is treated kindly: its runs are numbered by a service that never fails, a killed run
counts as ended at once, and it publishes only what it takes for a change (as shipped it published
at every tick, changed or not).
"""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, Final

import metaflow.integrations

from benchmarks.chaos.books import Books
from benchmarks.chaos.ledger import Effect
from benchmarks.chaos.story import FLOWS, Start, Story

__all__ = ["Scaffold"]

_EVENT: Final = "data_changed"


class Scaffold:
    """One sensor of the old kind, and flows that listen."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._running: set[int] = set()
        self._runs = 0
        self._persisted: list[str] = []

    def deploy(self) -> None:
        """Nothing: nobody knew who listened."""

    def pile_up(self) -> None:
        """Nothing: it never plays a round about that, nor about a sensor that is renamed."""

    def move(self, store: Any, old: str, new: str) -> None:
        """Nothing: a name had no journal."""

    def tick(self, store: Any, clock: Callable[[], dt.datetime], sensor: str) -> None:
        """A run of the sensor flow: `start` compares, `end` publishes."""
        del clock, sensor
        self._runs += 1
        run = self._runs
        self._running.add(run)
        try:
            self._run(store, run)
        finally:
            self._running.discard(run)

    def _run(self, store: Any, run: int) -> None:
        previous = self._value_of(store, run - 1)
        value = self._look()
        store.put(self._artifact(run), json.dumps(value).encode())
        self._persisted.append(json.dumps(value))
        if value != previous:
            event = metaflow.integrations.ArgoEvent(name=_EVENT)
            event.publish(payload={"value": value}, ignore_errors=True)

    def _value_of(self, store: Any, run: int) -> Any:
        try:
            if run in self._running:
                raise TypeError("its age is a date minus None")  # noqa: TRY301  # as it was
            return json.loads(store.get(self._artifact(run)))
        except Exception:  # noqa: BLE001  # as it was: whatever it is, nothing is known
            return None

    def _artifact(self, run: int) -> str:
        return f"scaffold/{self._story.name}/SensorFlow/{run}/value.json"

    def _look(self) -> list[list[Any]]:
        folder = self._story.world.root / "data"
        return sorted([path.name, path.stat().st_size] for path in folder.iterdir())

    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        """A run does what it is there for, whoever did it before."""
        del store
        moment("before claim")
        self._story.ledger.note(
            Effect(
                flow=start.flow,
                change=json.dumps(start.payload["value"]),
                attempt=1,
                run=start.run,
                origin=start.origin,
            )
        )
        moment("after work")

    def must_go_on(self, start: Start) -> bool:
        """Every failed run is continued by hand, because nothing else brings it back."""
        del start
        return True

    def disturb(self, fault: str) -> None:
        """It has no memo to lose: what was drawn is not counted."""
        self._story.faults.injected[fault] -= 1

    def is_settled(self) -> bool:
        """It has no notion of that."""
        return False

    def needs_a_person(self) -> bool:
        """Nobody is told anything."""
        return False

    def rescue(self, store: Any) -> None:
        """Nothing can be done for what nobody knows of."""

    def skip(self, store: Any) -> None:
        """None of its flows takes changes in order."""

    def account(self, books: Books) -> None:
        """What it saw, by value: states do not come back, so a value is one change."""
        _, *changes = dict.fromkeys(self._persisted)
        runs = self._story.ledger.runs()
        taken = {json.dumps(event["payload"]["value"]) for event in self._story.taken}
        books.recorded += len(changes)
        books.delivered += len(taken & {*changes})
        books.repeated += len(self._story.ledger.effects) - sum(map(len, runs.values()))
        for flow in FLOWS:
            self._work(flow, [runs.get((flow, change, 1), set()) for change in changes], books)

    def _work(self, flow: str, worked: list[set[str]], books: Books) -> None:
        """What a flow did for each change; what it missed last, no later run made up for."""
        for number, who in enumerate(worked, start=1):
            where = f"{flow}, change {number} of {len(worked)}"
            if not who:
                books.wrong("lost", where)
                books.unseen += not any(worked[number:])
            if len(who) > 1:
                books.wrong("twice", f"{where}: {sorted(who)}")
