"""Records what a look at one sensor found, and tells the outcome as plain values."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.decision import Decision
from flowproject.changes.difference import Difference, edit
from flowproject.changes.entry import PUBLISHED_OUTCOMES, Entry, change_id
from flowproject.config.model import Sensor
from flowproject.errors import FlowprojectError, SourceError
from flowproject.journal import Head, Journal, Superseded
from flowproject.secrecy import safe
from flowproject.sensing.look import Comparison

__all__ = ["Recording", "Tick", "failed_tick", "recall", "sample"]

_FORMAT: Final = 1
_BUG: Final = 70
"""The exit code of a failure that nobody has foreseen, as the commands have it."""
_SAMPLED: Final = 10
_SAMPLED_BYTES: Final = 4096
_TRAIL: Final = 60


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Is the outcome of one look at one sensor, with its reason.

    `outcome` is `baseline`, `unchanged`, `settling`, `changed`, `forced`, `superseded` or
    `failed`. `history` are the newest entries of the journal, as `recall` tells them, `pending` is
    how many recorded changes the bus has not taken (at least: nobody counts on), `held` why they
    are held back, `late` what the bus has and no run has started for in time, `queued` what waits
    for its turn with a flow that takes changes in order, `undelivered` why something could not be
    delivered, `abandoned` what nobody will deliver any more, `overdue` what has had to wait for so
    long that the tick is to fail for it, `given_up` the changes that were sent as often as allowed,
    `alert` why people could not be told of an incident, and `exit_code` the kind of failure.
    """

    sensor: str
    event_name: str
    outcome: str
    reason: str
    source: str
    at: str
    value: Json = None
    previous: Json = None
    id: str = ""
    seq: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    sample: dict[str, Json] = field(default_factory=dict)
    columns_change: dict[str, Json] = field(default_factory=dict)
    trail: list[list[Json]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Json] = field(default_factory=dict)
    query: str = ""
    pending: int = 0
    held: str = ""
    late: str = ""
    queued: str = ""
    undelivered: str = ""
    abandoned: str = ""
    overdue: str = ""
    given_up: list[int] = field(default_factory=list)
    alert: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Json]:
        """Write the tick as plain JSON, for artifacts and machines."""
        return {"v": _FORMAT, **asdict(self)}

    @property
    def delivery(self) -> str:
        """What became of the changes that this sensor had to deliver; empty if it had none."""
        parts = (self._handed_over, self.queued, self.late, self.overdue, self.abandoned)
        return "; ".join(filter(None, parts))

    @property
    def _handed_over(self) -> str:
        waiting = f"{self.pending} recorded and waiting: " if self.pending else ""
        if self.undelivered:
            return waiting + (self.undelivered if waiting else f"undelivered: {self.undelivered}")
        if self.held:
            return f"{waiting}held back, {self.held}"
        if self.pending:
            return f"{waiting}no event bus is configured; `flowproject dev` runs one"
        return f"change {self.seq} sent as event {self.event_name!r}" if self.id else ""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the tick that `to_json` wrote."""
        return cls(**{key: value for key, value in document.items() if key != "v"})


def failed_tick(sensor: Sensor, error: BaseException, now: dt.datetime) -> Tick:
    """Make the tick of a sensor whose source or journal failed."""
    if isinstance(error, MemoryError):
        error = _without_memory(sensor)
    return Tick(
        sensor=sensor.name,
        event_name=sensor.event_name,
        outcome="failed",
        reason=str(error) if isinstance(error, FlowprojectError) else _unexpected(sensor, error),
        source=sensor.data.type,
        at=now.isoformat(),
        exit_code=error.exit_code if isinstance(error, FlowprojectError) else _BUG,
    )


def _without_memory(sensor: Sensor) -> SourceError:
    # Python's and Arrow's own seldom say more than the class.
    return SourceError(
        "There was not enough memory to look",
        where=f"Sensor {sensor.name!r}",
        allowed="The next tick goes on from what is recorded",
        fix="Give the run more memory, on a cluster with @resources(memory=...) on the step that "
        "looks; many rows of a query need less of it with a `key`",
    )


def _unexpected(sensor: Sensor, error: BaseException) -> str:
    """Put a failure in words that nobody has foreseen."""
    # An engine's panic may have no words of its own, or end in a full stop like ours.
    said = ": ".join(filter(None, (type(error).__name__, str(error).strip())))
    return safe(
        f"unexpected {said.rstrip('.')}. Sensor {sensor.name!r}. The next tick goes on from what "
        f"is recorded. If it fails again, see `flowproject preview {sensor.name}`, and report what "
        "it says as a bug of flowproject"
    )


def recall(entry: Entry | None, head: Head) -> list[dict[str, Any]]:
    """Recall the newest entries in short, `entry` first, each with what became of it.

    `state` is `waiting`, `sent`, `delivered`, `skipped`, `undelivered` or `no listener`, as in
    `Chain`; empty for what is never sent, and where it can't be told without looking. `taken_by`
    are the runs that took it.
    """
    # From the memo, which was read anyhow: cards are drawn by every tick, and ask nothing.
    return [
        {
            **short,
            "state": _state(short["seq"], head) if short["outcome"] in PUBLISHED_OUTCOMES else "",
            "taken_by": [*head.takers.get(short["seq"], ())],
        }
        for short in (entry.recent if entry else [])
    ]


def _state(seq: int, head: Head) -> str:
    if seq > head.seq:
        return "waiting"
    if seq in head.unresolved:
        return "sent" if seq <= head.sent else "waiting"
    if seq in head.takers:
        return "delivered" if head.takers[seq] else head.untaken.get(seq, "no listener")
    return ""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Records what a comparison found in the journal; `run` is that of the tick."""

    found: Comparison
    journal: Journal
    run: str = ""

    def record(self) -> Tick:
        """Record in the journal what was decided: the tick.

        Raises:
            JournalError: if it could not be recorded.
        """
        if not self.found.decision.records:
            self._remember()
            return self._tick(self._as_tried_again())
        # The tables are written before the entry that names them, and the entry is what counts.
        entry, head = self._entry(), replace(self.found.head, held=self.found.held.since)
        try:
            recorded = self.journal.record(
                entry, self.found.state.items, self.found.difference, head
            )
        except Superseded:
            return self._overtaken(entry.seq)
        return self._tick(self.found.decision, recorded)

    def _overtaken(self, seq: int) -> Tick:
        """Tell what stands, after another recorded under this number."""
        # If that one is of the same run, a step of it goes on twice (a cluster makes a pod again
        # that has vanished), and either may have the last word on the run: so both say what is
        # recorded.
        standing = self.journal.readable(seq)
        if standing and self._is_of_this_run(standing):
            decision = Decision(outcome=standing.outcome, reason=standing.reason)
            return self._tick(decision, standing)
        reason = f"another tick recorded number {seq} first"
        return self._tick(Decision(outcome="superseded", reason=reason))

    def _as_tried_again(self) -> Decision:
        """The decision; if this run recorded the newest state before, with a word on that."""
        # A step that was killed after its entry is tried again by Metaflow, and sees no change.
        if self.found.decision.outcome != "unchanged" or not self._is_of_this_run(self.found.known):
            return self.found.decision
        seq = self.found.known.seq if self.found.known else 0
        reason = f"{self.found.decision.reason}; this run itself recorded number {seq} before"
        return replace(self.found.decision, reason=reason)

    def _is_of_this_run(self, entry: Entry | None) -> bool:
        return entry is not None and bool(self.run) and entry.run == self.run

    def preview(self) -> Tick:
        """Make the tick that `record` would give; nothing is written."""
        return self._tick(
            self.found.decision, self._entry() if self.found.decision.records else None
        )

    def survey(self) -> Tick:
        """Make the tick that `record` would give, without recording it; what it notes is noted."""
        if not self.found.decision.records:
            self._remember()
        return self._tick(self.found.decision)

    def _remember(self) -> None:
        """Keep what a look learned besides, so that the next one is quick, and knows who waits."""
        # `max_wait` counts from the look that first saw an item wait: a file that is written all
        # the time is never old by its own time.
        if self.found.held.since != self.found.head.held and self.found.known:
            self.journal.memos.write_head(replace(self.found.head, held=self.found.held.since))
        if (
            self.found.decision.outcome != "unchanged"
            or self.found.known is None
            or self.found.past is None
        ):
            return
        if self.found.seen.difference is not None:
            self.journal.snapshots.remember(
                self.found.known, self.found.past.items, self.found.seen.items
            )
        if self.found.seen.memo and self.found.seen.memo != self.found.past.memo:
            self.journal.memos.write_source(self.found.known, self.found.seen.memo)

    def _tick(self, decision: Decision, entry: Entry | None = None) -> Tick:
        newest = entry or self.found.head.entry
        fails = getattr(self.found.sensor.data, "after_max_wait", "") == "fail"
        return Tick(
            sensor=self.found.sensor.name,
            event_name=self.found.sensor.event_name,
            outcome=decision.outcome,
            reason=decision.reason,
            source=self.found.sensor.data.type,
            at=self.found.now.isoformat(),
            value=entry.value if entry else self.found.seen.value,
            previous=entry.previous if entry else None,
            id=entry.id if entry and entry.is_published else "",
            seq=entry.seq if entry else 0,
            counts=entry.counts if entry and entry.is_published else {},
            total=entry.total if entry else self._total,
            sample=entry.sample if entry else {},
            columns_change=entry.columns_change if entry else {},
            trail=newest.trail if newest else [],
            history=recall(newest, self.found.head),
            cost=self.found.seen.cost.to_json(),
            query=safe(self.found.seen.query),
            late="" if fails else self.found.overdue,
            overdue=self.found.overdue if fails else "",
        )

    def _entry(self) -> Entry:
        seq = self.found.head.seq + 1
        previous = self.found.known.fingerprint if self.found.known else ""
        return Entry(
            seq=seq,
            # Made of what was there and what is: a tick that dies here and is done again gives the
            # same change the same id.
            id=change_id(
                project=self.journal.project,
                branch=self.journal.branch,
                sensor=self.found.sensor.name,
                seq=seq,
                previous=previous,
                fingerprint=self.found.state.fingerprint,
            ),
            project=self.journal.project,
            branch=self.journal.branch,
            sensor=self.found.sensor.name,
            outcome=self.found.decision.outcome,
            reason=self.found.decision.reason,
            value=self.found.state.value,
            previous=self.found.known.value if self.found.known else None,
            fingerprint=self.found.state.fingerprint,
            previous_fingerprint=previous,
            definition=self.found.definition,
            counts=self.found.difference.counts,
            total=self._total,
            sample=sample(self.found.difference)
            if self.found.decision.outcome == "changed"
            else {},
            trail=self._trail(),
            earlier=self.found.head.entry.recent if self.found.head.entry else [],
            cost=self.found.state.cost.to_json(),
            query=safe(self.found.state.query),
            columns={**self.found.state.columns},
            columns_change=self.found.columns_change.to_json(),
            types={**self.found.state.types},
            version={**self.found.state.version},
            previous_version={**self.found.known.version} if self.found.known else {},
            memo=self.found.state.memo,
            recorded_at=self.found.now.isoformat(),
            run=self.run,
        )

    @property
    def _total(self) -> int | None:
        return None if self.found.state.items is None else len(self.found.state.items)

    def _trail(self) -> list[list[Json]]:
        number = (
            self.found.state.value
            if self.found.state.items is None
            else len(self.found.state.items)
        )
        before = self.found.known.trail if self.found.known else []
        # A boolean is an `int` to Python, and no line on a chart.
        if isinstance(number, bool) or not isinstance(number, int | float):
            return before
        point: list[Json] = [self.found.now.isoformat(timespec="seconds"), number]
        return [*before, point][-_TRAIL:]


def sample(difference: Difference, limit: int = _SAMPLED) -> dict[str, Json]:
    """Show what happened to the first few items, as JSON; nothing of kinds that did not."""
    # First, then shown: to show a million items for ten of them would take seconds.
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
