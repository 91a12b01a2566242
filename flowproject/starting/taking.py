"""Taking changes: each is claimed by a receipt, and a run whose changes are all taken does nothing.

So is a run that was started by the end of runs which did nothing. What was found stands in the
artifact `change_claim`, for the steps that follow and for whoever looks at the run.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from metaflow import current

from flowproject.starting.told import Told, events, note, told

if TYPE_CHECKING:
    from flowproject.journal import Receipt, Store

__all__ = ["take"]

_FORMAT: Final = 1


def take(flow: Any, before: Any, open_store: Callable[[], "Store"]) -> str:
    """Why the run does nothing; empty if it goes on.

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
    claim = getattr(flow, "change_claim", {"nothing_because": ""})
    return str(claim["nothing_because"])


def _begin(flow: Any, open_store: Callable[[], "Store"]) -> None:
    this = told(getattr(flow._graph, "start_step", "start"))  # noqa: SLF001  # Metaflow has no other way
    flow.change_events = this.changes
    if this.changes:
        note(this)
        flow.change_claim = _claim(this, open_store())
    elif reason := _reason_of_runs_before():
        flow.change_claim = _document(this.run, reason=reason)


def _claim(this: Told, store: "Store") -> dict[str, Any]:
    """The artifact: which of the changes other runs have, and why the run does nothing if all."""
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    # In one order, so that of two runs with the same changes one is first with all of them.
    changes = sorted(this.changes, key=lambda change: (change["sensor"], change["seq"]))
    standing = [(change, _receipt(change, this.run, at, store)) for change in changes]
    others = [(change, receipt) for change, receipt in standing if receipt.run != this.run]
    reason = "; ".join(_taken(*one) for one in others) if len(others) == len(changes) else ""
    return _document(
        this.run,
        reason=reason,
        taken=[{"sensor": change["sensor"], **receipt.to_json()} for change, receipt in others],
    )


def _receipt(change: Mapping[str, Any], run: str, at: str, store: "Store") -> "Receipt":
    from flowproject.change import journal_of

    return journal_of(change, store).claim(
        seq=int(change["seq"]),
        id=str(change["id"]),
        attempt=int(change.get("attempt", 1)),
        flow=current.flow_name,
        run=run,
        at=at,
    )


def _taken(change: Mapping[str, Any], receipt: "Receipt") -> str:
    return (
        f"change {receipt.seq} of sensor {change['sensor']!r} was taken by run {receipt.run} at "
        f"{receipt.at}; to run it again: `flowproject replay {receipt.id}`"
    )


def _reason_of_runs_before() -> str:
    """Why the runs whose end started this one did nothing; empty if one of them did its work."""
    reasons = [_reason_of(str(event.get("pathspec"))) for event in events("run")]
    return "; ".join(reasons) if all(reasons) else ""


def _reason_of(pathspec: str) -> str:
    run = pathspec.rpartition("/")[0].rpartition("/")[0]
    from metaflow import Task

    try:
        task = Task(pathspec, _namespace_check=False)
        claim = task["change_claim"].data if "change_claim" in task else {}
    except Exception as error:  # noqa: BLE001  # of whichever metadata service and datastore
        # Nobody sends this event again: to do the work is the lesser evil.
        print(f"Whether run {run} did its work can't be told, so this run goes on: {error}")
        return ""
    reason = claim.get("nothing_because")
    return f"run {run}, which started this one, did nothing, because {reason}" if reason else ""


def _document(
    run: str, *, reason: str, taken: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"v": _FORMAT, "run": run, "taken": taken or [], "nothing_because": reason}
