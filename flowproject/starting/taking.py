"""Taking changes: each is claimed by a receipt, and a run whose changes are all taken does nothing.

So is a run that was started by the end of runs which did nothing. What was found stands in the
artifact `change_claim`, for the steps that follow and for whoever looks at the run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from metaflow import current

from flowproject.metaflow_internals.flows import start_step
from flowproject.metaflow_internals.metadata import find_task
from flowproject.secrecy import safe
from flowproject.starting.told import Told, events, note, told
from flowproject.starting.turns import out_of_turn

if TYPE_CHECKING:
    from flowproject.journal import Store

__all__ = ["take"]

_FORMAT: Final = 1


def take(flow: Any, before: Any, open_store: Callable[[], "Store"]) -> list[str]:
    """Why the run does nothing, in words; empty if it goes on.

    `before` is the flow as the step before left it. The step gets the artifact `change_events`,
    and `change_claim` unless a person started the run. Whatever step is first to find that
    nothing was claimed yet does it: `@catch` may have passed over the failure of another.

    Raises:
        JournalError: if it can't be told which run has a change.
    """
    if hasattr(before, "change_claim"):
        flow.change_events, flow.change_claim = before.change_events, before.change_claim
    elif getattr(before, "change_events", None) == []:
        flow.change_events = []
    else:
        _begin(flow, open_store)
    claim = getattr(flow, "change_claim", {"nothing_because": []})
    return list(claim["nothing_because"])


def _begin(flow: Any, open_store: Callable[[], "Store"]) -> None:
    this = told(start_step(flow))
    flow.change_events = this.changes
    if this.changes:
        note(this)
        if reason := out_of_turn(flow, this.changes):
            flow.change_claim = _document(this.run, [reason])
        else:
            flow.change_events, flow.change_claim = _claim(this, open_store())
    elif reasons := _reasons_of_runs_before():
        flow.change_claim = _document(this.run, reasons)


def _claim(this: Told, store: "Store") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from flowproject.starting.claiming import claim

    found = claim(this, flow=current.flow_name, store=store)
    others = [{"sensor": one.sensor, **one.receipt.to_json()} for one in found.others]
    reasons = [found.nothing_because] if found.nothing_because else []
    return found.changes, _document(this.run, reasons, others)


def _reasons_of_runs_before() -> list[str]:
    """Why the runs whose end started this one did nothing; empty if one of them did its work."""
    reasons = [_reasons_of(str(event.get("pathspec"))) for event in events("run")]
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
