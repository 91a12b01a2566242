"""One look at one sensor: observe, compare with the journal, decide, record."""

import datetime as dt
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final

from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.decision import Decision, Hold, compare, decide, hold_back
from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, change_id
from flowproject.changes.observation import Item, Observation
from flowproject.config.model import Sensor
from flowproject.journal import Journal, Superseded
from flowproject.sensing.tick import Tick

__all__ = ["Look", "sample"]

_SAMPLED: Final = 10
_TRAIL: Final = 60


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was known of a sensor (`head`, the newest entry) and what is seen of it now."""

    sensor: Sensor
    journal: Journal
    head: Entry | None
    seen: Observation
    now: dt.datetime
    run: str = ""
    force: bool = False

    @property
    def known(self) -> Entry | None:
        """The entry to compare with; None at the first look and after a reset."""
        return self.head if self.head and self.head.is_state else None

    @cached_property
    def difference(self) -> Difference:
        """What happened to the items; no snapshot is read if the fingerprint is the same."""
        if self.known is None:
            return compare(None, self.seen)
        if self.known.fingerprint == self.seen.fingerprint or self.seen.items is None:
            return Difference()
        return compare(self.journal.items(self.known), self.seen)

    @cached_property
    def decision(self) -> Decision:
        """The outcome, and its reason."""
        return decide(
            self.known,
            self.seen,
            self.difference,
            first=self.sensor.first,
            force=self.force,
            waiting=self._waiting(),
            definition=self._definition(),
        )

    def record(self) -> Tick:
        """The tick, after what it decided was recorded in the journal.

        Raises:
            JournalError: if it could not be recorded.
        """
        if not self.decision.records:
            return self._tick(self.decision)
        entry = self._entry()
        try:
            recorded = self.journal.record(entry, self.seen.items, self.difference)
        except Superseded:
            reason = f"another tick recorded number {entry.seq} first, and publishes it"
            return self._tick(Decision(outcome="superseded", reason=reason))
        return self._tick(self.decision, recorded)

    def preview(self) -> Tick:
        """The tick that `record` would give; nothing is written."""
        return self._tick(self.decision, self._entry() if self.decision.records else None)

    def _tick(self, decision: Decision, entry: Entry | None = None) -> Tick:
        newest = entry or self.head
        return Tick(
            sensor=self.sensor.name,
            event_name=self.sensor.event_name,
            outcome=decision.outcome,
            reason=decision.reason,
            source=self.sensor.data.type,
            at=self.now.isoformat(),
            value=self.seen.value,
            previous=entry.previous if entry else None,
            id=entry.id if entry and entry.is_published else "",
            seq=entry.seq if entry else 0,
            counts=entry.counts if entry and entry.is_published else {},
            total=None if self.seen.items is None else len(self.seen.items),
            sample=entry.sample if entry else {},
            trail=newest.trail if newest else [],
            cost=self.seen.cost.to_json(),
            query=self.seen.query,
            since=newest.recorded_at if newest else "",
        )

    def _entry(self) -> Entry:
        seq = self.head.seq + 1 if self.head else self.journal.next_seq()
        previous = self.known.fingerprint if self.known else ""
        return Entry(
            seq=seq,
            id=change_id(
                project=self.journal.project,
                branch=self.journal.branch,
                sensor=self.sensor.name,
                seq=seq,
                previous=previous,
                fingerprint=self.seen.fingerprint,
            ),
            project=self.journal.project,
            branch=self.journal.branch,
            sensor=self.sensor.name,
            outcome=self.decision.outcome,
            reason=self.decision.reason,
            value=self.seen.value,
            previous=self.known.value if self.known else None,
            fingerprint=self.seen.fingerprint,
            previous_fingerprint=previous,
            definition=self._definition(),
            counts=self.difference.counts,
            total=None if self.seen.items is None else len(self.seen.items),
            sample=sample(self.difference) if self.decision.outcome == "changed" else {},
            trail=self._trail(),
            cost=self.seen.cost.to_json(),
            query=self.seen.query,
            recorded_at=self.now.isoformat(),
            run=self.run,
        )

    def _trail(self) -> list[list[Json]]:
        number = self.seen.value if self.seen.items is None else len(self.seen.items)
        before = self.known.trail if self.known else []
        if isinstance(number, bool) or not isinstance(number, int | float):
            return before
        point: list[Json] = [self.now.isoformat(timespec="seconds"), number]
        return [*before, point][-_TRAIL:]

    def _waiting(self) -> str:
        data = self.sensor.data
        hold = Hold(settle=getattr(data, "settle", 0.0), marker=getattr(data, "marker", ""))
        return hold_back(hold, self.difference, self.seen.items or {}, now=self.now)

    def _definition(self) -> str:
        described: Json = {key: str(value) for key, value in asdict(self.sensor.data).items()}
        return digest(dumps(described), self.seen.query)


def sample(difference: Difference, limit: int = _SAMPLED) -> dict[str, Json]:
    """What happened to the first few items, as JSON; nothing for kinds that did not happen."""
    few = difference.first(limit)
    kinds: dict[str, list[Json]] = {
        "added": [_shown(item) for item in few.added],
        "modified": [
            {"key": new.key, "old": _shown(old), "new": _shown(new)} for old, new in few.modified
        ],
        "removed": [_shown(item) for item in few.removed],
    }
    return {kind: items for kind, items in kinds.items() if items}


def _shown(item: Item) -> Json:
    return dict(item.data) or {"key": item.key}
