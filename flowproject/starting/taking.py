"""Takes the changes of a run before its first step, or skips its steps; ends its turns after it.

What was found stands in the artifact `change_claim`, for the steps that follow and for whoever
looks at the run.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from metaflow import current

from flowproject.metaflow_internals.flows import (
    AttachedDecorator,
    end_step,
    go_straight_to,
    name_parallel_tasks,
    start_step,
    step_decorators,
    step_node,
)
from flowproject.metaflow_internals.metadata import find_task
from flowproject.secrecy import safe
from flowproject.starting.run_start import RunStart, event_payloads, note_start, read_start

if TYPE_CHECKING:
    from flowproject.config import Sensor
    from flowproject.journal import Store

__all__ = ["GO_ON", "HOLD", "end_turn", "fail_turn", "show_why_skipped", "skip_step", "take"]

_FORMAT: Final = 1

HOLD: Final = "hold"
"""What comes after a run that failed: the next changes wait until somebody has seen to it."""

GO_ON: Final = "go on"
"""... or the next change, as after a run that succeeded."""


def take(flow: Any, before: Any, open_store: Callable[[], "Store"]) -> list[str]:
    """Take the changes of a run: why it does nothing, in words; empty if it goes on.

    `before` is the flow as the step before left it. The step gets the artifact `change_events`,
    and `change_claim` unless a person started the run. Whatever step is first to find that
    nothing was claimed yet does it: `@catch` may have passed over the failure of another.

    Raises:
        JournalError: if it can't be told which run has a change.
    """
    if hasattr(before, "change_claim"):
        flow.change_events, flow.change_claim = before.change_events, before.change_claim
    elif getattr(before, "change_events", None) == []:
        # Started by hand, and so there is nothing to claim in any of its steps.
        flow.change_events = []
    else:
        _begin(flow, open_store)
    claim = getattr(flow, "change_claim", {"nothing_because": []})
    return list(claim["nothing_because"])


def _begin(flow: Any, open_store: Callable[[], "Store"]) -> None:
    start = read_start(start_step(flow))
    flow.change_events = start.changes
    if start.changes:
        # Before anything else: a first step that is killed leaves no artifact to resume from.
        note_start(start)
        if reason := _out_of_turn(flow, start.changes):
            flow.change_claim = _document(start.run, [reason])
        else:
            flow.change_events, flow.change_claim = _claim(start, open_store())
    elif reasons := _reasons_of_runs_before():
        flow.change_claim = _document(start.run, reasons)


def _claim(start: RunStart, store: "Store") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    # Late: the journal takes a tenth of a second to import, and most steps have nothing to claim.
    from flowproject.starting.claiming import claim

    found = claim(start, flow=current.flow_name, store=store)
    others = [{"sensor": one.sensor, **one.receipt.to_json()} for one in found.others]
    reasons = [found.nothing_because] if found.nothing_because else []
    return found.changes, _document(start.run, reasons, others)


def _reasons_of_runs_before() -> list[str]:
    """Read why the runs before this one did nothing; empty if one of them did its work."""
    # All of them: a flow that waits for two others has work to do if one of them did its own.
    reasons = [_reasons_of(str(event.get("pathspec"))) for event in event_payloads("run")]
    return [reason for run in reasons for reason in run] if all(reasons) else []


def _reasons_of(pathspec: str) -> list[str]:
    run = pathspec.rpartition("/")[0].rpartition("/")[0]
    try:
        task = find_task(pathspec)
        claim = task["change_claim"].data if "change_claim" in task else {}
    except Exception as error:  # noqa: BLE001  # of whichever metadata service and datastore
        # Nobody sends this event again: to do the work is the lesser evil.
        why = safe(str(error))
        print(f"Whether run {run} did its work can't be told, so this run goes on: {why}")
        return []
    reasons = claim.get("nothing_because", [])
    return [f"run {run}, which started this one, did nothing: {reason}" for reason in reasons]


def _document(
    run: str, reasons: list[str], taken: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    return {"v": _FORMAT, "run": run, "taken": [*taken], "nothing_because": reasons}


# ------------------------------------------------------------------------- a step that is skipped


def show_why_skipped(flow: Any, step: str, reasons: Sequence[str]) -> None:
    """Tell why a step does nothing, in its log and on each of its cards."""
    # Late: only a step that does nothing draws this card.
    from flowproject.cards import idle_card

    for reason in reasons:
        print(f"This run does nothing: {reason}")
    types = {
        decorator.attributes["type"]
        for decorator in step_decorators(flow, step)
        if decorator.name == "card"
    }
    for kind in sorted(types):
        for card in current.card.get(type=kind):
            card.extend(idle_card(reasons))


def skip_step(step: str) -> Callable[..., None]:
    """Make what takes the place of the body of a step: it calls `self.next` as the body would.

    The run goes on to its end by the shortest way.
    """

    # A function, where a dictionary would do for most steps: what other decorators return from
    # `post_step` can undo a dictionary, and it can't say which way to go at a switch.
    def go_on(flow: Any, _inputs: object = None) -> None:
        node = step_node(flow, step)
        ways = [way for way in node.ways if way != step]
        if node.is_parallel:
            # This task is the only one.
            name_parallel_tasks(flow, [f"{current.run_id}/{current.step_name}/{current.task_id}"])
        if node.type == "split-switch":
            go_straight_to(flow, ways[:1])
        elif node.starts_parallel:
            flow.next(getattr(flow, ways[0]), num_parallel=1)
        elif node.type == "foreach":
            # One element, for a join needs something to join. Not in the flow's own variable,
            # which may be a parameter.
            flow.change_parts = ["nothing to do"]
            flow.next(getattr(flow, ways[0]), foreach="change_parts")
        elif ways:
            flow.next(*(getattr(flow, way) for way in ways))

    return go_on


# ------------------------------------------------------------------------ of changes taken in order


def _out_of_turn(flow: Any, changes: Sequence[Mapping[str, Any]]) -> str:
    """Say why a run may not take the changes that it was told of; empty if it may."""
    # An event for all flows may reach one that takes changes in order, while its deployment is not
    # through. It is told of the change again, when it is its turn.
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
            _end(change, "succeeded", sensors, store)


def fail_turn(
    flow: Any,
    step: str,
    sensors: Callable[[], Mapping[str, "Sensor"]],
    store: Callable[[], "Store"],
) -> None:
    """Say of a step that failed for good what becomes of the changes behind its own.

    Nothing is raised here: the failure of the step is what counts.
    """
    # A step without a claim failed before it took anything, and holds nobody back.
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
            _end(change, "failed", sensors, store)
        except Exception as error:  # noqa: BLE001  # of whichever store
            print(f"That the next change may have its turn could not be noted: {safe(str(error))}")


def _is_mine(change: Mapping[str, Any]) -> bool:
    """Whether by this change the flow was told that it is its turn."""
    # The event says whose turn it is: an event for all says nothing of the kind.
    return bool(change.get("turn_of") == current.flow_name)


def _is_for_good(decorators: Sequence[AttachedDecorator]) -> bool:
    """Whether nobody tries the step again, or catches its failure."""
    # `@catch` lets the run go on to its last step, which ends the turn as ever.
    tries = [int(one.attributes.get("times") or 0) for one in decorators if one.name == "retry"]
    caught = any(one.name == "catch" for one in decorators)
    return not caught and int(current.retry_count) >= max(tries, default=0)


def _end(
    change: Mapping[str, Any],
    how: Literal["succeeded", "failed"],
    sensors: Callable[[], Mapping[str, "Sensor"]],
    store: Callable[[], "Store"],
) -> None:
    """Note that the turn is over, and tell the next, so that nobody waits for a tick."""
    # Late, as for the claim: only runs of flows that take changes in order come here.
    from flowproject.starting.claiming import note_end, tell_next

    name, now = str(current.flow_name), dt.datetime.now(dt.UTC)
    run = f"{name}/{current.run_id}"
    note_end(change, how, store(), flow=name, run=run)
    try:
        for turn in tell_next(change, sensors(), store(), flow=name, run=run, now=now):
            print(f"The next change in order is {turn.event.mark.seq}; {name} was told of it")
    except Exception as error:  # noqa: BLE001  # the work is done, and the next tick tells the next
        print(f"The next change is told of by the next tick: {safe(str(error))}")
