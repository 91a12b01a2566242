"""A folder that a sensor watches, a clock that stands still, and flows that take what is sent."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flowproject import sensing
from flowproject.config import Project, Schedule, Sensor
from flowproject.journal import Journal, Receipt, Store
from flowproject.sensing import ProjectContext, Tick

__all__ = ["MINUTE", "START", "Bus", "WatchedFolder"]

START = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


class Bus(Protocol):
    events: list[dict[str, Any]]
    payloads: list[dict[str, Any]]
    answer: Callable[[dict[str, Any]], int]


@dataclass
class WatchedFolder:
    """A folder that a sensor watches, its journal, a clock that stands still, and who listens."""

    root: Path
    store: Store
    sensor: Sensor
    now: dt.datetime = START
    written: list[str] = field(default_factory=list)

    @property
    def context(self) -> ProjectContext:
        project = Project(
            project_name="demo", sensor=Schedule(), sensors={self.sensor.name: self.sensor}
        )
        return ProjectContext(
            project=project,
            root=self.root,
            store=self.store,
            branch="user.tester",
            run="SensorFlow/1",
            clock=lambda: self.now,
        )

    @property
    def journal(self) -> Journal:
        return self.context.journal(self.sensor.name)

    def tick(self) -> Tick:
        [seen] = sensing.publish(self.context, sensing.observe(self.context))
        return seen

    def change(self, name: str = "") -> Tick:
        """Something changes, and a tick sees it."""
        self.written.append(name or f"{len(self.written)}.csv")
        (self.root / "data" / self.written[-1]).write_text(str(len(self.written)))
        return self.tick()

    def later(self, minutes: float) -> Tick:
        self.now += minutes * MINUTE
        return self.tick()

    def listen(self, *flows: str, waits: dict[str, tuple[str, ...]] | None = None) -> None:
        self.journal.outbox.record_listeners(flows, by="test", waits=waits)

    def take(self, payload: dict[str, Any], flow: str = "StarterFlow", run: str = "1") -> str:
        """A run of a flow takes an event, or finds another that has: the run that stands."""
        change = payload["change"]
        return self.journal.receipts.claim(
            Receipt(
                seq=change["seq"],
                id=change["id"],
                attempt=change["attempt"],
                flow=flow,
                run=f"{flow}/{run}",
                at=self.now.isoformat(),
            )
        ).run
