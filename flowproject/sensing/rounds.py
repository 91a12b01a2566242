"""All sensors of a project in one tick, side by side: one that fails never stops the others."""

import datetime as dt
import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Final

from flowproject.changes.entry import Entry
from flowproject.changes.observation import Observation, Past
from flowproject.changes.payload import payload
from flowproject.changes.progress import Report, say_nothing
from flowproject.config.model import Project, Sensor
from flowproject.errors import DeliveryError, FlowprojectError, TickError, UsageError, closest
from flowproject.events import bus_address, full_name
from flowproject.events import publish as publish_event
from flowproject.journal import (
    PRUNE_EVERY,
    DamagedEntryError,
    DamagedTableError,
    Head,
    Journal,
    Store,
    prune,
)
from flowproject.sensing.look import Look, known
from flowproject.sensing.patience import observe_within
from flowproject.sensing.tick import Tick, failed_tick
from flowproject.sources import open_source

__all__ = ["Scene", "observe", "preview", "publish", "raise_for_failures"]

_AT_ONCE: Final = 16
_log = logging.getLogger(__name__)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where ticks happen: the project, its folder, the store of its journals, branch and run.

    `report` is told how far long looks are.
    """

    project: Project
    root: Path
    store: Store
    branch: str
    run: str = ""
    clock: Callable[[], dt.datetime] = field(default=_now)
    report: Report = say_nothing

    def journal(self, sensor: str) -> Journal:
        """The journal of one sensor."""
        return Journal(
            self.store, project=self.project.project_name, branch=self.branch, sensor=sensor
        )

    def sensors(self, names: Sequence[str] = ()) -> list[Sensor]:
        """The sensors with these names, or all.

        Raises:
            UsageError: if there is no such sensor.
        """
        known = self.project.sensors
        for name in names:
            if name not in known:
                raise UsageError(
                    f"There is no sensor {name!r}",
                    where="flowproject.toml",
                    allowed=f"Sensors: {', '.join(known)}",
                    fix=closest(name, known),
                )
        return [known[name] for name in names or known]


def observe(scene: Scene, names: Sequence[str] = (), *, force: bool = False) -> list[Tick]:
    """One tick of each sensor: what was left to deliver is delivered, then it is looked at.

    Whatever fails is in the ticks; nothing is raised for it here.
    """

    def guarded(sensor: Sensor) -> Tick:
        journal = scene.journal(sensor.name)
        try:
            return _look_and_record(scene, sensor, journal, force=force)
        except DamagedEntryError as damage:
            journal.note_damage(damage)
            raise

    return _side_by_side(scene, names, guarded)


def preview(scene: Scene, names: Sequence[str] = ()) -> list[Tick]:
    """What a tick of each sensor would do and why; nothing is written and nothing sent."""

    def look(sensor: Sensor) -> Tick:
        journal = scene.journal(sensor.name)
        head = journal.head()
        pending = len(journal.pending(head.entry))
        return replace(_look(scene, sensor, journal, head).preview(), pending=pending)

    return _side_by_side(scene, names, look)


def publish(scene: Scene, ticks: Sequence[Tick]) -> list[Tick]:
    """The ticks after their recorded changes were handed to the bus, each sensor's in order.

    Sensors with nothing to deliver cost no request. What could not be delivered is in the ticks.
    """
    return [
        _after_delivery(scene, seen) if seen.pending and not seen.undelivered else seen
        for seen in ticks
    ]


def _after_delivery(scene: Scene, seen: Tick) -> Tick:
    sensor, journal = scene.project.sensors[seen.sensor], scene.journal(seen.sensor)
    try:
        left = _deliver(scene, sensor, journal, journal.head().entry)
    except Exception as error:  # noqa: BLE001  # one sensor's journal must not stop the others
        return replace(seen, undelivered=failed_tick(sensor, error, scene.clock()).reason)
    return replace(seen, pending=left.count, undelivered=left.reason)


def raise_for_failures(ticks: Sequence[Tick]) -> None:
    """Nothing, if every sensor was looked at and every change delivered.

    Raises:
        TickError: with the list of the sensors that failed and of the changes that wait.
    """
    problems = [f"\n- {seen.sensor}: {seen.reason}" for seen in ticks if seen.outcome == "failed"]
    problems += [f"\n- {seen.sensor}: {seen.undelivered}" for seen in ticks if seen.undelivered]
    if problems:
        raise TickError(
            f"{len(problems)} of {len(ticks)} sensors had a problem; the others are done:"
            f"{''.join(problems)}"
        )


@dataclass(frozen=True, kw_only=True)
class _Undelivered:
    count: int = 0
    reason: str = ""


def _look_and_record(scene: Scene, sensor: Sensor, journal: Journal, *, force: bool) -> Tick:
    head = journal.head()
    left = _deliver(scene, sensor, journal, head.entry)
    try:
        seen = _look(scene, sensor, journal, head, force=force).record()
    except FlowprojectError as error:
        seen = failed_tick(sensor, error, scene.clock())
    if seen.seq and seen.seq % PRUNE_EVERY == 0:
        _prune(scene, journal)
    return replace(seen, pending=left.count + bool(seen.id), undelivered=left.reason)


def _prune(scene: Scene, journal: Journal) -> None:
    try:
        head = journal.head().entry
        if head:
            prune(scene.store, journal, head)
    except FlowprojectError as error:
        # The change is recorded, and that is what counts; the next pruning takes what this left.
        _log.warning("The journal of sensor %r was not pruned. %s", journal.sensor, error)


def _look(
    scene: Scene, sensor: Sensor, journal: Journal, head: Head, *, force: bool = False
) -> Look:
    past, damage = _past(journal, head, asked_anew=force), ""
    try:
        seen = _seen(scene, sensor, past)
    except DamagedTableError as lost:
        # Without what was known everything counts as added: no change is missed for it.
        past, damage = None, str(lost)
        seen = _seen(scene, sensor, past)
    return Look(
        sensor=sensor,
        journal=journal,
        head=head,
        seen=seen,
        now=scene.clock(),
        past=past,
        damage=damage,
        run=scene.run,
        force=force,
    )


def _past(journal: Journal, head: Head, *, asked_anew: bool) -> Past | None:
    """What is known, for the source; a tick that is forced gets no memo, and so a real look."""
    state = known(head)
    if state is None:
        return None
    return Past(
        state.value,
        partial(journal.items, state),
        fingerprint=state.fingerprint,
        total=state.total,
        load_memo=dict if asked_anew else partial(journal.memo, state),
    )


def _seen(scene: Scene, sensor: Sensor, past: Past | None) -> Observation:
    return observe_within(open_source(sensor.data, scene.root), sensor, past, scene.report)


def _deliver(scene: Scene, sensor: Sensor, journal: Journal, head: Entry | None) -> _Undelivered:
    """Publish what is recorded and not marked, oldest first, and stop at the first failure."""
    if not bus_address():
        return _Undelivered(count=int(journal.is_waiting(head)))
    pending = journal.pending(head)
    for index, entry in enumerate(pending):
        try:
            _publish(scene, sensor, journal, entry)
        except DeliveryError as error:
            return _Undelivered(count=len(pending) - index, reason=str(error))
    return _Undelivered()


def _publish(scene: Scene, sensor: Sensor, journal: Journal, entry: Entry) -> None:
    message = payload(entry, payload_key=sensor.payload_key, location=journal.entry_key(entry.seq))
    name = full_name(sensor.event_name, project=journal.project, branch=journal.branch)
    publish_event(name, message)
    journal.mark_published(
        entry,
        {
            "event_name": name,
            "published_at": scene.clock().isoformat(),
            "run": scene.run,
        },
    )


def _side_by_side(scene: Scene, names: Sequence[str], look: Callable[[Sensor], Tick]) -> list[Tick]:
    sensors = scene.sensors(names)
    turns = threading.BoundedSemaphore(_AT_ONCE)
    ticks: Queue[tuple[str, Tick]] = Queue()

    def guarded(sensor: Sensor) -> None:
        with turns:
            try:
                seen = look(sensor)
            except FlowprojectError as error:
                seen = failed_tick(sensor, error, scene.clock())
            except Exception as error:  # noqa: BLE001  # a bug in one sensor must not stop the others
                traceback.print_exc()
                seen = failed_tick(sensor, error, scene.clock())
        ticks.put((sensor.name, seen))

    for sensor in sensors:
        # Daemons: Ctrl-C must not wait for the slowest source.
        threading.Thread(target=guarded, args=(sensor,), daemon=True).start()
    seen = dict(ticks.get() for _ in sensors)
    return [seen[sensor.name] for sensor in sensors]
