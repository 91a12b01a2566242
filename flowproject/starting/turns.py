"""A run of a flow that takes changes in order: whether it was told of its turn, and that it ended.

When its turn is over the run tells the next, so that nobody waits for a tick. If it can't, the
next tick does it.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from metaflow import current

from flowproject.metaflow_internals.flows import AttachedDecorator, end_step, step_decorators
from flowproject.secrecy import safe

if TYPE_CHECKING:
    from flowproject.config import Sensor
    from flowproject.journal import Journal, Store
    from flowproject.sensing.turns import Turn

__all__ = ["GO_ON", "HOLD", "end_turn", "fail_turn", "note_end", "out_of_turn", "tell_next"]

HOLD: Final = "hold"
"""What comes after a run that failed: the next changes wait until somebody has seen to it."""

GO_ON: Final = "go on"
"""... or the next change, as after a run that succeeded."""


def out_of_turn(flow: Any, changes: Sequence[Mapping[str, Any]]) -> str:
    """Why a run may not take the changes that it was told of; empty if it may.

    An event for all flows may reach one that takes changes in order, while its deployment is not
    through. It is told of the change again, when it is its turn.
    """
    in_order = getattr(flow, "_in_order", "")
    if not in_order or not changes or all(_is_mine(one) for one in changes):
        return ""
    one = changes[0]
    return (
        f"{current.flow_name} takes the changes of sensor {one['sensor']!r} in order, and was told "
        f"of change {one['seq']} by the event for all flows, not by that which says that it is its "
        "turn"
    )


def end_turn(
    flow: Any,
    step: str,
    sensors: Callable[[], Mapping[str, "Sensor"]],
    store: Callable[[], "Store"],
) -> None:
    """Note that the run has done its work, if this was its last step; and tell the next.

    Raises:
        JournalError: if it can't be noted: the step is to be tried again.
    """
    if step == end_step(flow):
        for change in filter(_is_mine, flow.change_events):
            note_end(change, "succeeded", store(), flow=current.flow_name, run=_run())
            _try_to_tell_next(change, sensors, store)


def fail_turn(
    flow: Any,
    step: str,
    sensors: Callable[[], Mapping[str, "Sensor"]],
    store: Callable[[], "Store"],
) -> None:
    """What a step that failed for good has to say of the changes behind its own.

    Nothing is raised here: the failure of the step is what counts.
    """
    mine = [one for one in getattr(flow, "change_events", ()) if _is_mine(one)]
    if not mine or not _is_for_good(step_decorators(flow, step)):
        return
    for change in mine:
        if getattr(flow, "_in_order", HOLD) != GO_ON:
            name = f"{change['sensor']}/{change['seq']}"
            print(
                f"{current.flow_name} takes changes in order, and those after change "
                f"{change['seq']} wait until this run is resumed and succeeds, or `flowproject "
                f"replay {name}` or `flowproject skip {name}` releases them."
            )
            continue
        try:
            note_end(change, "failed", store(), flow=current.flow_name, run=_run())
            _try_to_tell_next(change, sensors, store)
        except Exception as error:  # noqa: BLE001  # of whichever store
            print(f"That the next change may have its turn could not be noted: {safe(str(error))}")


def _is_mine(change: Mapping[str, Any]) -> bool:
    """Whether by this change the flow was told that it is its turn."""
    return bool(change.get("turn_of") == current.flow_name)


def _is_for_good(decorators: Sequence[AttachedDecorator]) -> bool:
    """Whether nobody tries the step again, or catches its failure."""
    tries = [int(one.attributes.get("times") or 0) for one in decorators if one.name == "retry"]
    caught = any(one.name == "catch" for one in decorators)
    return not caught and int(current.retry_count) >= max(tries, default=0)


def _run() -> str:
    return f"{current.flow_name}/{current.run_id}"


def note_end(
    change: Mapping[str, Any],
    how: Literal["succeeded", "failed"],
    store: "Store",
    *,
    flow: str,
    run: str,
) -> None:
    """Note that the turn of a flow to take a change is over, wherever the journal is by now.

    Raises:
        JournalError: if it can't be noted.
    """
    from flowproject.change import journal_of

    journal: Journal | None = journal_of(change, store)
    while journal:
        journal.turns.end(
            int(change["seq"]),
            str(change["id"]),
            attempt=int(change.get("attempt", 1)),
            flow=flow,
            how=how,
            by=run,
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        journal = journal.moved_to()  # The sensor may have been renamed while this run went on.


def tell_next(
    change: Mapping[str, Any],
    sensors: Mapping[str, "Sensor"],
    store: "Store",
    *,
    flow: str,
    run: str,
    now: dt.datetime,
) -> list["Turn"]:
    """The turns that a flow was told of because its turn to take this change is over.

    None without a bus, or under a name that no sensor has any more: the next tick tells them.

    Raises:
        DeliveryError: if the bus has not taken it.
        JournalError: if the journal can't be read or written.
    """
    from flowproject.change import journal_of
    from flowproject.events import bus_address
    from flowproject.sensing.turns import give_next_turn

    sensor = sensors.get(str(change["sensor"]))
    if sensor is None or not bus_address():
        return []
    return give_next_turn(sensor, journal_of(change, store), [flow], now=now, run=run)


def _try_to_tell_next(
    change: Mapping[str, Any],
    sensors: Callable[[], Mapping[str, "Sensor"]],
    store: Callable[[], "Store"],
) -> None:
    name, now = str(current.flow_name), dt.datetime.now(dt.UTC)
    try:
        for turn in tell_next(change, sensors(), store(), flow=name, run=_run(), now=now):
            print(f"The next change in order is {turn.event.mark.seq}; {name} was told of it")
    except Exception as error:  # noqa: BLE001  # the work is done, and the next tick tells the next
        print(f"The next change is told of by the next tick: {safe(str(error))}")
