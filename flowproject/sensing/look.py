"""Looks at one sensor: observes its source, and compares it with what the journal knows."""

import datetime as dt
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from queue import Empty, Queue
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
    compare_again,
    decide,
    finished,
    hold_back,
    what_differs,
)
from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Items, Observation, Past, Report, ignore_progress
from flowproject.config.model import Sensor
from flowproject.errors import QueryError, SourceError
from flowproject.journal import DamagedTableError, Head, Journal
from flowproject.sensing.context import ProjectContext
from flowproject.sources import Source, open_source

__all__ = ["Comparison", "look_again", "look_at", "observe_within"]

_REPORT_SECONDS: Final = 0.5
_WAITING: Final = ("max_wait", "after_max_wait")
"""Keys of a source that do not say what is watched."""


def look_at(
    context: ProjectContext, sensor: Sensor, journal: Journal, head: Head, *, force: bool = False
) -> "Comparison":
    """Look at the source of a sensor, and compare with what its journal knows.

    Raises:
        FlowprojectError: whatever the source raises.
    """
    # Before the look: what is written while a long one goes on has not settled.
    begun = context.clock()
    past, damage = _past(journal, head, asked_anew=force), ""
    try:
        seen = _observe(context, sensor, past)
    except DamagedTableError as lost:
        # Without what was known everything counts as added: no change is missed for it.
        past, damage = None, str(lost)
        seen = _observe(context, sensor, past)
    return Comparison(
        sensor=sensor,
        head=head,
        seen=seen,
        now=context.clock(),
        begun=begun,
        past=past,
        damage=damage,
        force=force,
    )


def _past(journal: Journal, head: Head, *, asked_anew: bool) -> Past | None:
    """Make what a source is told of what is known."""
    state = _newest_state(head)
    if state is None:
        return None
    return Past(
        state.value,
        partial(journal.snapshots.items, state),
        fingerprint=state.fingerprint,
        total=state.total,
        # Whoever forces a tick wants the source read, and not what a memo says of it.
        load_memo=dict if asked_anew else partial(journal.memos.source, state),
        recorded=state.memo,
        is_forced=asked_anew,
    )


def _observe(context: ProjectContext, sensor: Sensor, past: Past | None) -> Observation:
    return observe_within(open_source(sensor.data, context.root), sensor, past, context.report)


def observe_within(
    source: Source, sensor: Sensor, past: Past | None = None, report: Report = ignore_progress
) -> Observation:
    """Observe a source, and give up after the sensor's `timeout`; say meanwhile how far it is.

    Raises:
        SourceError: if it does not; the source is told to stop and the look is abandoned.
        FlowprojectError: whatever the source raises.
    """
    answers: Queue[Observation | BaseException] = Queue(maxsize=1)

    def look() -> None:
        try:
            answers.put(source.observe(past))
        except BaseException as error:  # noqa: BLE001  # handed to the caller, who raises it
            answers.put(error)

    # A daemon: a source that can't be cancelled must not keep the process alive either.
    threading.Thread(target=look, name=f"look-{sensor.name}", daemon=True).start()
    answer = _awaited(answers, source, sensor, report)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _awaited(
    answers: "Queue[Observation | BaseException]", source: Source, sensor: Sensor, report: Report
) -> Observation | BaseException:
    deadline = time.monotonic() + sensor.timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            return answers.get(timeout=min(left, _REPORT_SECONDS))
        except Empty:
            if progress := source.progress():
                report(sensor.name, progress)
    source.cancel()
    raise SourceError(
        f"Sensor {sensor.name!r} got no answer within {sensor.timeout:g} s",
        where=f"flowproject.toml, timeout of sensor {sensor.name!r}",
        fix="Make the query cheaper, or raise `timeout`",
    )


def look_again(
    source: Source, sensor: Sensor, seen: Observation, report: Report = ignore_progress
) -> str:
    """Look a second time, to tell a query that changes by itself: what that says, in words.

    Raises:
        QueryError: if it does not stay.
        FlowprojectError: whatever the source raises.
    """
    # Somebody may write to the data between two looks. So a result that differs is looked at once
    # more: if it then stays, it is taken for a change.
    again = observe_within(source, sensor, report=report)
    if again.fingerprint == seen.fingerprint:
        return "twice the same"
    moved = what_differs(seen, again)
    third = observe_within(source, sensor, report=report)
    if third.fingerprint == again.fingerprint:
        return f"another result at the second look ({moved}) and then the same: the data changed"
    raise QueryError(
        f"The result changes by itself: three looks in a row differ in {moved}",
        where=f"Sensor {sensor.name!r}, query {getattr(sensor.data, 'query', '')!r}",
        allowed="Usual causes: LIMIT without ORDER BY, CURRENT_TIMESTAMP or another clock, "
        "random numbers and samples. If the data are written to all the time, it may be that "
        "instead",
        fix="Order the rows before a LIMIT, leave such a column out, or check again when nobody "
        "writes",
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Compares what is seen of a sensor now with what was known of it: `head`, its journal's end.

    `past` is what the source was told of what was known, and `damage` why that is nothing although
    something was. `begun` is when the look began (None: now).
    """

    sensor: Sensor
    head: Head
    seen: Observation
    now: dt.datetime
    begun: dt.datetime | None = None
    past: Past | None = None
    damage: str = ""
    force: bool = False

    @property
    def known(self) -> Entry | None:
        """The entry to compare with; None at the first look and after a reset."""
        return _newest_state(self.head)

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
        """What is seen and its difference, both without what must wait."""
        # Unless that is all: then the tick says that it waits.
        ready = finished(self._whole, self.held) if self.held.items else Difference()
        if self.seen.items is None or not any(ready.counts.values()):
            return self.seen, self._whole
        return as_if_finished(self.seen, self.held, ready), ready

    @cached_property
    def _whole(self) -> Difference:
        """What happened to the items, those that must wait among them."""
        # An edited query has other columns because somebody wanted that: its rows are all compared.
        is_edited = self.known is not None and self.known.definition != self.definition
        columns = None if is_edited else self.columns_change
        key: tuple[str, ...] = getattr(self.sensor.data, "key", ())
        # A source that knows what moved says so itself: millions of keys are not compared again.
        if self.seen.difference is not None:
            return compare_again(self.seen.difference, self.seen, columns, key)
        # With the same fingerprint no snapshot is read: an unchanged tick costs no table.
        same = self.known is not None and self.known.fingerprint == self.seen.fingerprint
        if same or self.seen.items is None:
            return Difference()
        return compare(self._before[0], self.seen, columns, key)

    @cached_property
    def columns_change(self) -> ColumnsChange:
        """What happened to the columns of a query's result, as far as they are known."""
        return columns_change(self.known.columns if self.known else {}, self.seen.columns)

    @cached_property
    def _before(self) -> tuple[Items | None, str]:
        """The items to compare with, and a note if they are lost."""
        # Lost items count as none, and so everything as added: no change is missed for it.
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
        waits = self.held.reason
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
        more = len(self.held.items)
        left = f"; {more:,} more must wait: {waits}" if is_partly else ""
        note = f" ({self.seen.note})" if self.seen.note else ""
        left += self._released() if decided.outcome == "changed" else ""
        return replace(decided, reason=decided.reason + left + self._lost(decided) + note)

    def _released(self) -> str:
        """What goes although it is not finished, if anything does."""
        many = self.held.released
        if not many:
            return ""
        return f"; {many:,} unfinished, after max_wait: {self.held.lacked}"

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

    @cached_property
    def held(self) -> Held:
        """The items that must wait, and why."""
        if self.force or (self.known is None and self.sensor.first == "baseline"):
            return Held()  # nothing is held back, and to look at every item could take minutes
        data = self.sensor.data
        hold = Hold(
            settle=getattr(data, "settle", 0.0),
            marker=getattr(data, "marker", ""),
            longest=float(getattr(data, "max_wait", 0.0)),
            releases=getattr(data, "after_max_wait", "") == "release",
        )
        return hold_back(
            hold,
            self._whole,
            self.seen.items or {},
            # Not the end of the look: a file that was written while it went on has not settled.
            now=self.begun or self.now,
            since=self.head.held,
            written=self.seen.written,
        )

    @property
    def overdue(self) -> str:
        """What has waited for so long that somebody should look."""
        oldest, many = self.held.oldest, self.held.overdue
        if oldest is None or not many:
            return ""
        return (
            f"{many:,} {'item waits' if many == 1 else 'items wait'}, the oldest since "
            f"{oldest:%Y-%m-%d %H:%M %Z}, which is longer than max_wait: {self.held.reason}. "
            "Whoever writes may have died"
        )

    @cached_property
    def definition(self) -> str:
        """The digest of what is watched, by which an edited query is told from changed data."""
        # Keys that only say how long to wait are left out: to edit them is no other question.
        described: dict[str, Json] = {
            key: str(value)
            for key, value in asdict(self.sensor.data).items()
            if key not in _WAITING
        }
        if "row_limit" in described:
            # Nor is a limit one; but it stood in what journals were written with, by this default.
            described["row_limit"] = "1000000"
        return digest(dumps(described), self.seen.query)


def _newest_state(head: Head) -> Entry | None:
    """Find the newest state in a journal; None if there is none or it was reset."""
    return head.entry if head.entry and head.entry.is_state else None


def _note(damage: str) -> str:
    return f" ({damage}: everything counts as added)" if damage else ""
