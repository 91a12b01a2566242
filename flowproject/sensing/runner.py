"""Runs one tick of all sensors side by side: one that fails never stops the others."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import Queue
from typing import Final

from flowproject.config.model import Sensor
from flowproject.errors import FlowprojectError, JournalError, TickError
from flowproject.journal import (
    PRUNE_EVERY,
    DamagedEntryError,
    Head,
    Journal,
    ReadOnlyStore,
    prune,
)
from flowproject.secrecy import safe
from flowproject.sensing.context import ProjectContext
from flowproject.sensing.delivery import deliver, has_bus
from flowproject.sensing.incidents import told_of
from flowproject.sensing.look import Comparison, look_at
from flowproject.sensing.orphans import Orphan, OrphanCheck, likely_orphans, orphans
from flowproject.sensing.tick import Recording, Tick, failed_tick, recall

__all__ = ["Survey", "observe", "preview", "publish", "raise_for_failures", "survey"]

_AT_ONCE: Final = 16
_SENT_BEFORE_A_LOOK: Final = 100
"""Changes that a tick sends before it looks; the others follow when it has."""

_log = logging.getLogger(__name__)


def observe(
    context: ProjectContext, names: Sequence[str] = (), *, force: bool = False
) -> list[Tick]:
    """Tick each sensor once: deliver what was left, then look at it and record.

    Whatever fails is in the ticks; nothing is raised for it here. What no sensor delivers any more,
    because it was renamed or removed, is told by the first of them.
    """
    sensors = context.sensors(names)
    check = OrphanCheck(context, [sensor.name for sensor in sensors])

    def guarded(sensor: Sensor) -> Tick:
        journal = context.journal(sensor.name)
        try:
            return _look_and_record(context, sensor, journal, check, force=force)
        except DamagedEntryError as damage:
            # Told once, by this failure; from then on ticks pass the entry over.
            journal.note_damage(damage)
            raise

    ticks = _side_by_side(context, names, guarded, then=partial(_with_alert, context))
    return _with_left(ticks, _without_fail(check.left))


def preview(context: ProjectContext, names: Sequence[str] = ()) -> list[Tick]:
    """Say what a tick of each sensor would do and why; nothing is written and nothing sent."""

    def look(sensor: Sensor) -> Tick:
        journal = context.journal(sensor.name)
        head = journal.head()
        pending = sum(1 for _ in journal.waiting(head))
        found = look_at(context, sensor, journal, head)
        seen = Recording(found=found, journal=journal, run=context.run).preview()
        return replace(seen, pending=pending)

    return _with_left(_side_by_side(context, names, look), _without_fail(partial(orphans, context)))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a look at a sensor saw that records nothing; `needs_tick` if that is not all of it."""

    tick: Tick
    needs_tick: bool


def survey(context: ProjectContext, names: Sequence[str] = ()) -> list[Survey]:
    """Look at each sensor ahead of a tick, to know whether it needs one; nothing is written.

    It does if anything was found, is left to deliver, failed, or would be noted.
    """
    needed: set[str] = set()

    def look(sensor: Sensor) -> Tick:
        # A tick's own steps on a store that takes nothing: whatever a tick would write, now or in
        # versions to come, is a reason to have one.
        store = ReadOnlyStore(context.store)
        own = replace(context, store=store)
        journal = own.journal(sensor.name)
        check = OrphanCheck(own, [sensor.name])
        needed.add(sensor.name)
        head = check.remembered(journal, journal.proven(journal.head()))
        if head.unresolved or store.was_asked:
            # A tick is needed whatever the source has, so it alone need ask.
            raise TickError(f"Sensor {sensor.name!r} has more to do than to look")
        seen = Recording(
            found=look_at(own, sensor, journal, head), journal=journal, run=own.run
        ).survey()
        seen = _with_alert(own, sensor, seen)
        settled = seen.outcome in ("unchanged", "settling") and not seen.overdue
        if settled and not (check.left() or store.was_asked):
            needed.discard(sensor.name)
        return seen

    ticks = _side_by_side(context, names, look)
    return [Survey(tick=seen, needs_tick=seen.sensor in needed) for seen in ticks]


def publish(context: ProjectContext, ticks: Sequence[Tick]) -> list[Tick]:
    """Hand the changes that were recorded to the bus, each sensor's in order: the ticks then.

    Sensors are seen to side by side, and those with nothing to deliver cost no request. What could
    not be delivered is in the ticks.
    """
    # From artifacts, as a rule: the step that looked is another one, and perhaps another pod.
    known = {seen.sensor: seen for seen in ticks}
    # A tick without changes must not ask the store for them: that is every tick but a few.
    left = [name for name, seen in known.items() if seen.pending and not _is_stuck(seen)]
    if left:
        delivered = _side_by_side(
            context, left, lambda sensor: _after_delivery(context, known[sensor.name])
        )
        known |= {seen.sensor: seen for seen in delivered}
    return [known[seen.sensor] for seen in ticks]


def _is_stuck(seen: Tick) -> bool:
    """Whether the bus has just refused a change that comes before whatever the tick recorded."""
    return bool(seen.undelivered) and seen.pending > bool(seen.id)


def _after_delivery(context: ProjectContext, seen: Tick) -> Tick:
    sensor, journal = context.project.sensors[seen.sensor], context.journal(seen.sensor)
    try:
        # The tick says what will be read: six requests that would wait for each other otherwise.
        if seen.id and has_bus():
            journal = journal.before_sending(seen.seq, seen.id)
        left = deliver(context, sensor, journal, journal.head())
    except Exception as error:  # noqa: BLE001  # one sensor's journal must not stop the others
        return replace(seen, undelivered=failed_tick(sensor, error, context.clock()).reason)
    finally:
        journal.outbox.end_trial()
    return replace(
        seen,
        pending=left.waiting,
        undelivered=left.reason,
        held=left.held,
        late="; ".join(dict.fromkeys(filter(None, (seen.late, left.late)))),
        queued=left.queued,
        abandoned="\n".join(filter(None, (seen.abandoned, left.abandoned))),
    )


def raise_for_failures(ticks: Sequence[Tick]) -> None:
    """Fail, unless every sensor was looked at and every change delivered.

    Raises:
        TickError: with the list of the sensors that failed and of the changes that wait.
    """
    problems = [f"\n- {seen.sensor}: {seen.reason}" for seen in ticks if seen.outcome == "failed"]
    problems += [f"\n- {seen.sensor}: {seen.undelivered}" for seen in ticks if seen.undelivered]
    problems += [f"\n- {seen.sensor}: {seen.abandoned}" for seen in ticks if seen.abandoned]
    problems += [f"\n- {seen.sensor}: {seen.overdue}" for seen in ticks if seen.overdue]
    if problems:
        raise TickError(
            f"{len(problems)} of {len(ticks)} sensors had a problem; the others are done:"
            f"{''.join(problems)}"
        )


def _without_fail(listing: Callable[[], list[Orphan]]) -> list[Orphan]:
    """List what no sensor delivers any more; nothing if the store can't be asked."""
    try:
        return listing()
    except JournalError:
        return []


def _with_left(ticks: list[Tick], left: Sequence[Orphan]) -> list[Tick]:
    """Have the first of the ticks tell what no sensor delivers, if none has failed for it."""
    # Once: a first look that fails for an orphan says all of it already.
    words = [
        one.in_words for one in left if not any(one.what_is_left in seen.reason for seen in ticks)
    ]
    if not words or not ticks:
        return ticks
    first = ticks[0]
    abandoned = "\n".join([*filter(None, [first.abandoned]), *words])
    return [replace(first, abandoned=abandoned), *ticks[1:]]


def _look_and_record(
    context: ProjectContext,
    sensor: Sensor,
    journal: Journal,
    check: OrphanCheck,
    *,
    force: bool,
) -> Tick:
    head, forsaken = journal.proven(journal.head()), list[str]()
    head = check.remembered(journal, head)
    # What waits goes first, so that no change overtakes an older one; but not without a limit: a
    # thousand that piled up must not keep a sensor from being looked at.
    left = deliver(context, sensor, journal, head, most=_SENT_BEFORE_A_LOOK)
    try:
        found = look_at(context, sensor, journal, left.head, force=force)
        forsaken = _forsaken(context, found, check)
        seen = Recording(found=found, journal=journal, run=context.run).record()
    except FlowprojectError as error:
        seen = _with_history(failed_tick(sensor, error, context.clock()), left.head)
    # Rarely, and after the change is recorded: pruning lists the whole journal.
    if seen.seq and seen.seq % PRUNE_EVERY == 0:
        _prune(context, journal)
    return replace(
        seen,
        pending=left.waiting + bool(seen.id),
        undelivered=left.reason,
        held=left.held,
        late="; ".join(filter(None, (seen.late, left.late))),
        queued=left.queued,
        abandoned="\n".join([*filter(None, [left.abandoned]), *forsaken]),
        given_up=[*left.given_up],
    )


def _with_alert(context: ProjectContext, sensor: Sensor, seen: Tick) -> Tick:
    """Have people told of what the tick means, and note in it if they could not be."""
    return replace(seen, alert=told_of(context, sensor, context.journal(sensor.name), seen))


def _forsaken(context: ProjectContext, found: Comparison, check: OrphanCheck) -> list[str]:
    """Say at the first look of a sensor whether it may be another under a new name.

    Raises:
        JournalError: if it surely is, because it watches the same.
    """
    # Later looks compare with this journal, and nothing is lost by them any more.
    if found.head.seq:
        return []
    name = found.sensor.name
    for one in check.found():
        if one.definition == found.definition:
            # What happened since the last look under the old name would be lost in a first look.
            raise JournalError(
                f"{one.what_is_left}; sensor {name!r} watches the same, and has no journal yet",
                where=one.journal.location,
                allowed="Nothing is recorded for it before one of two things is done",
                fix=f"If it is the same sensor, `flowproject move {one.name} {name}`; if it is "
                f"not, or to give up what is left, `flowproject reset {one.name}`",
            )
    return [
        one.in_doubt
        for one in likely_orphans(context)
        if one.journal.sensor == name and one.definition == found.definition
    ]


def _with_history(seen: Tick, head: Head) -> Tick:
    """Give a tick that saw nothing what was known before it."""
    entry = head.entry
    if entry is None:
        return seen
    return replace(seen, trail=entry.trail, history=recall(entry, head))


def _prune(context: ProjectContext, journal: Journal) -> None:
    try:
        prune(context.store, journal, journal.head())
    except FlowprojectError as error:
        # The change is recorded, and that is what counts; the next pruning takes what this left.
        _log.warning("The journal of sensor %r was not pruned. %s", journal.sensor, error)


def _side_by_side(
    context: ProjectContext,
    names: Sequence[str],
    look: Callable[[Sensor], Tick],
    then: Callable[[Sensor, Tick], Tick] = lambda _, seen: seen,
) -> list[Tick]:
    sensors = context.sensors(names)
    turns = threading.BoundedSemaphore(_AT_ONCE)
    ticks: Queue[tuple[str, Tick]] = Queue()

    def looked(sensor: Sensor) -> Tick:
        try:
            return look(sensor)
        except FlowprojectError as error:
            return failed_tick(sensor, error, context.clock())
        except BaseException as error:  # noqa: BLE001  # what nobody has foreseen is told as well
            sys.stderr.write(safe(traceback.format_exc()))
            return failed_tick(sensor, error, context.clock())

    def guarded(sensor: Sensor) -> None:
        with turns:
            try:
                seen = looked(sensor)
                seen = then(sensor, seen)
            except BaseException as error:  # noqa: BLE001  # a thread that said nothing would stop all
                sys.stderr.write(safe(traceback.format_exc()))
                seen = failed_tick(sensor, error, context.clock())
        ticks.put((sensor.name, seen))

    for sensor in sensors:
        # Daemons: Ctrl-C must not wait for the slowest source.
        threading.Thread(target=guarded, args=(sensor,), daemon=True).start()
    seen = dict(ticks.get() for _ in sensors)
    return [seen[sensor.name] for sensor in sensors]
