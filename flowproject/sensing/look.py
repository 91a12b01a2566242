"""One look at one sensor: observe, compare with the journal, decide, record."""

import datetime as dt
from dataclasses import asdict, dataclass, replace
from typing import Final

from flowproject.changes.caching import cached_property
from flowproject.changes.canonical import Json, digest, dumps
from flowproject.changes.columns import ColumnsChange, columns_change
from flowproject.changes.decision import (
    Decision,
    Held,
    Hold,
    as_if_finished,
    compare,
    decide,
    finished,
    hold_back,
)
from flowproject.changes.difference import Difference, edit
from flowproject.changes.entry import Entry, change_id
from flowproject.changes.observation import Items, Observation, Past
from flowproject.config.model import Sensor
from flowproject.errors import QueryError
from flowproject.journal import DamagedTableError, Head, Journal, Superseded
from flowproject.secrecy import safe
from flowproject.sensing.recalling import recall
from flowproject.sensing.tick import Tick

__all__ = ["Look", "known", "sample"]

_SAMPLED: Final = 10
_SAMPLED_BYTES: Final = 4096
_TRAIL: Final = 60
_WAITING: Final = ("max_wait", "after_max_wait")
"""Keys of a source that do not say what is watched."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was known of a sensor (`head`, the end of its journal) and what is seen of it now.

    `past` is what the source was told of what was known, and `damage` why that is nothing although
    something was. `begun` is when the look began (None: now): a file that was written while it went
    on has not settled.
    """

    sensor: Sensor
    journal: Journal
    head: Head
    seen: Observation
    now: dt.datetime
    begun: dt.datetime | None = None
    past: Past | None = None
    damage: str = ""
    run: str = ""
    force: bool = False

    @property
    def known(self) -> Entry | None:
        """The entry to compare with; None at the first look and after a reset."""
        return known(self.head)

    @cached_property
    def difference(self) -> Difference:
        """What happened to the items that need not wait."""
        return self._counted[1]

    @cached_property
    def state(self) -> Observation:
        """What is seen now, with what must wait as it was before: what the journal is to know."""
        return self._counted[0]

    @cached_property
    def _counted(self) -> tuple[Observation, Difference]:
        """What is seen and its difference; of what must wait neither says anything.

        Unless that is all: then the tick says that it waits.
        """
        ready = finished(self._whole, self._held) if self._held.items else Difference()
        if self.seen.items is None or not any(ready.counts.values()):
            return self.seen, self._whole
        return as_if_finished(self.seen, self._held, ready), ready

    @cached_property
    def _whole(self) -> Difference:
        """What happened to the items; no snapshot is read if the fingerprint is the same."""
        if self.seen.difference is not None:
            return self.seen.difference
        same = self.known is not None and self.known.fingerprint == self.seen.fingerprint
        if same or self.seen.items is None:
            return Difference()
        is_edited = self.known is not None and self.known.definition != self.definition
        key: tuple[str, ...] = getattr(self.sensor.data, "key", ())
        return compare(self._before[0], self.seen, None if is_edited else self.columns_change, key)

    @cached_property
    def columns_change(self) -> ColumnsChange:
        """What happened to the columns of a query's result, as far as they are known."""
        return columns_change(self.known.columns if self.known else {}, self.seen.columns)

    @cached_property
    def _before(self) -> tuple[Items | None, str]:
        """The items to compare with, and a note if they are lost: no change is missed for it."""
        if self.past is None:
            return None, _note(self.damage)
        try:
            return self.past.items, ""
        except DamagedTableError as damage:
            return None, _note(str(damage))

    @cached_property
    def decision(self) -> Decision:
        """The outcome, and its reason.

        Raises:
            QueryError: if the columns changed beneath the query, and that is to be a failure.
        """
        waits = self._held.reason
        if not waits:
            self._check_columns()
        is_partly = bool(waits) and self.state is not self.seen
        decided = decide(
            self.known,
            self.state,
            self.difference,
            first=self.sensor.first,
            force=self.force,
            waiting="" if is_partly else waits,
            definition=self.definition,
            schema_change=self.sensor.schema_change,
        )
        more = len(self._held.items)
        left = f"; {more:,} more must wait: {waits}" if is_partly else ""
        note = f" ({self.seen.note})" if self.seen.note else ""
        left += self._released() if decided.outcome == "changed" else ""
        return replace(decided, reason=decided.reason + left + self._lost(decided) + note)

    def _released(self) -> str:
        """What goes although it is not finished, if anything does."""
        many = self._held.released
        if not many:
            return ""
        return f"; {many:,} unfinished, after max_wait: {self._held.lacked}"

    def _check_columns(self) -> None:
        is_beneath = self.known is not None and self.known.definition == self.definition
        if not self.columns_change or not is_beneath or self.force:
            return
        if self.sensor.schema_change == "fail":
            name = self.sensor.name
            raise QueryError(
                f"The result is not what it was: {self.columns_change}",
                where=f"Sensor {name!r}, whose schema_change is 'fail'",
                allowed="Rows are compared again when the columns are as they were",
                fix=f"If they are to be so, force a tick, or `flowproject reset {name}`; otherwise "
                "mend the data, or name columns and types in the query",
            )

    def _lost(self, decided: Decision) -> str:
        if decided.outcome != "changed" or self.seen.items is None:
            return ""
        return self._before[1] if self.seen.difference is None else _note(self.damage)

    def record(self) -> Tick:
        """The tick, after what it decided was recorded in the journal.

        Raises:
            JournalError: if it could not be recorded.
        """
        if not self.decision.records:
            self._remember()
            return self._tick(self._as_tried_again())
        entry, head = self._entry(), replace(self.head, held=self._held.since)
        try:
            recorded = self.journal.record(entry, self.state.items, self.difference, head)
        except Superseded:
            return self._overtaken(entry.seq)
        return self._tick(self.decision, recorded)

    def _overtaken(self, seq: int) -> Tick:
        """The tick, after another recorded under its number.

        If that one is of the same run, a step of it goes on twice (a cluster makes a pod again that
        has vanished), and either may have the last word on the run: so both say what is recorded.
        """
        standing = self.journal.readable(seq)
        if standing and self._is_of_this_run(standing):
            told = Decision(outcome=standing.outcome, reason=standing.reason)
            return self._tick(told, standing)
        reason = f"another tick recorded number {seq} first"
        return self._tick(Decision(outcome="superseded", reason=reason))

    def _as_tried_again(self) -> Decision:
        """The decision; if this run recorded the newest state before, with a word on that."""
        if self.decision.outcome != "unchanged" or not self._is_of_this_run(self.known):
            return self.decision
        seq = self.known.seq if self.known else 0
        told = f"{self.decision.reason}; this run itself recorded number {seq} before"
        return replace(self.decision, reason=told)

    def _is_of_this_run(self, entry: Entry | None) -> bool:
        return entry is not None and bool(self.run) and entry.run == self.run

    def preview(self) -> Tick:
        """The tick that `record` would give; nothing is written."""
        return self._tick(self.decision, self._entry() if self.decision.records else None)

    def _remember(self) -> None:
        """Keep what a look learned besides, so that the next one is quick, and knows who waits."""
        if self._held.since != self.head.held and self.known:
            self.journal.memos.write_head(replace(self.head, held=self._held.since))
        if self.decision.outcome != "unchanged" or self.known is None or self.past is None:
            return
        if self.seen.difference is not None:
            self.journal.snapshots.remember(self.known, self.past.items, self.seen.items)
        if self.seen.memo and self.seen.memo != self.past.memo:
            self.journal.memos.write_source(self.known, self.seen.memo)

    def _tick(self, decision: Decision, entry: Entry | None = None) -> Tick:
        newest = entry or self.head.entry
        return Tick(
            sensor=self.sensor.name,
            event_name=self.sensor.event_name,
            outcome=decision.outcome,
            reason=decision.reason,
            source=self.sensor.data.type,
            at=self.now.isoformat(),
            value=entry.value if entry else self.seen.value,
            previous=entry.previous if entry else None,
            id=entry.id if entry and entry.is_published else "",
            seq=entry.seq if entry else 0,
            counts=entry.counts if entry and entry.is_published else {},
            total=entry.total if entry else self._total,
            sample=entry.sample if entry else {},
            columns_change=entry.columns_change if entry else {},
            trail=newest.trail if newest else [],
            history=recall(newest, self.head),
            cost=self.seen.cost.to_json(),
            query=safe(self.seen.query),
            late="" if self._fails else self._long,
            overdue=self._long if self._fails else "",
        )

    def _entry(self) -> Entry:
        seq = self.head.seq + 1
        previous = self.known.fingerprint if self.known else ""
        return Entry(
            seq=seq,
            id=change_id(
                project=self.journal.project,
                branch=self.journal.branch,
                sensor=self.sensor.name,
                seq=seq,
                previous=previous,
                fingerprint=self.state.fingerprint,
            ),
            project=self.journal.project,
            branch=self.journal.branch,
            sensor=self.sensor.name,
            outcome=self.decision.outcome,
            reason=self.decision.reason,
            value=self.state.value,
            previous=self.known.value if self.known else None,
            fingerprint=self.state.fingerprint,
            previous_fingerprint=previous,
            definition=self.definition,
            counts=self.difference.counts,
            total=self._total,
            sample=sample(self.difference) if self.decision.outcome == "changed" else {},
            trail=self._trail(),
            earlier=self.head.entry.recent if self.head.entry else [],
            cost=self.state.cost.to_json(),
            query=safe(self.state.query),
            columns={**self.state.columns},
            columns_change=self.columns_change.to_json(),
            memo=self.state.memo,
            recorded_at=self.now.isoformat(),
            run=self.run,
        )

    @property
    def _total(self) -> int | None:
        return None if self.state.items is None else len(self.state.items)

    def _trail(self) -> list[list[Json]]:
        number = self.state.value if self.state.items is None else len(self.state.items)
        before = self.known.trail if self.known else []
        if isinstance(number, bool) or not isinstance(number, int | float):
            return before
        point: list[Json] = [self.now.isoformat(timespec="seconds"), number]
        return [*before, point][-_TRAIL:]

    @cached_property
    def _held(self) -> Held:
        if self.force or (self.known is None and self.sensor.first == "baseline"):
            return Held()  # nothing is held back, and to look at every item could take minutes
        data = self.sensor.data
        hold = Hold(
            settle=getattr(data, "settle", 0.0),
            marker=getattr(data, "marker", ""),
            longest=self._longest,
            releases=getattr(data, "after_max_wait", "") == "release",
        )
        begun = self.begun or self.now
        items = self.seen.items or {}
        return hold_back(
            hold,
            self._whole,
            items,
            now=begun,
            since=self.head.held,
            written=self.seen.written,
        )

    @property
    def _longest(self) -> float:
        return float(getattr(self.sensor.data, "max_wait", 0.0))

    @property
    def _fails(self) -> bool:
        return getattr(self.sensor.data, "after_max_wait", "") == "fail"

    @property
    def _long(self) -> str:
        """What has waited for so long that somebody should look."""
        oldest, many = self._held.oldest, self._held.overdue
        if oldest is None or not many:
            return ""
        return (
            f"{many:,} {'item waits' if many == 1 else 'items wait'}, the oldest since "
            f"{oldest:%Y-%m-%d %H:%M %Z}, which is longer than max_wait: {self._held.reason}. "
            "Whoever writes may have died"
        )

    @cached_property
    def definition(self) -> str:
        """The digest of what is watched, by which an edited query is told from changed data."""
        described: Json = {
            key: str(value)
            for key, value in asdict(self.sensor.data).items()
            if key not in _WAITING
        }
        return digest(dumps(described), self.seen.query)


def known(head: Head) -> Entry | None:
    """The newest state in a journal; None if there is none or it was reset."""
    return head.entry if head.entry and head.entry.is_state else None


def _note(damage: str) -> str:
    return f" ({damage}: everything counts as added)" if damage else ""


def sample(difference: Difference, limit: int = _SAMPLED) -> dict[str, Json]:
    """What happened to the first few items, as JSON; nothing for kinds that did not happen."""
    few = difference.first(limit)
    kinds: dict[str, list[Json]] = {
        "added": [_short(item.shown) for item in few.added],
        "modified": [_short(edit(old, new)) for old, new in few.modified],
        "removed": [_short(item.shown) for item in few.removed],
    }
    return {kind: items for kind, items in kinds.items() if items}


def _short(shown: dict[str, Json]) -> Json:
    size = len(dumps(shown).encode("utf-8", "surrogatepass"))
    return shown if size <= _SAMPLED_BYTES else {"left_out_bytes": size}
