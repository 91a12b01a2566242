"""Records who listens to which sensor, where ticks look: so they know whose receipts to await."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from flowproject.config.parse import load
from flowproject.contract import listeners_of
from flowproject.flowfiles import FlowFile
from flowproject.journal import Journal, open_store

__all__ = ["bring_back", "record_listeners"]

_LOOKED_AT: Final = 16
"""Entries from the end in which the newest change is looked for: the others are first looks."""


def record_listeners(
    root: Path,
    flows: Sequence[FlowFile],
    *,
    by: str,
    forgotten: Mapping[str, dt.datetime] | None = None,
) -> None:
    """Record the listeners of every sensor of the project in the folder `root`.

    `by` is the command that knows: whoever reads the record sees whose word it is. `forgotten` says
    when the bus has forgotten what waited for a flow: the next ticks send that again.

    Raises:
        JournalError: if the datastore of the flows can't be written.
    """
    # All flows of a project have one datastore and one branch: any tells where the journals are.
    ours = next((flow for flow in flows if flow.inherits_ours and flow.branch), None)
    if ours is None:
        return
    project, store, now = load(root), open_store(ours.datastore), dt.datetime.now(dt.UTC)
    for sensor, names in listeners_of(project, flows).items():
        journal = Journal(store, project=project.project_name, branch=ours.branch, sensor=sensor)
        known = journal.outbox.record_listeners(
            (*names.alone, *names.waits),
            by=by,
            in_order=names.in_order,
            waits=names.waits,
            together=names.together,
            deployed=forgotten,
            now=now,
        )
        new = {flow for flow, at in (forgotten or {}).items() if known.deployed.get(flow) != at}
        bring_back(journal, new.intersection(names.together))


def bring_back(journal: Journal, flows: Collection[str]) -> None:
    """Let ticks look after the newest change again, if these flows may have waited with it."""
    # Of each sensor only its newest event waits for the others on the bus: the next one takes the
    # place of an older one there. So no other need be looked for.
    head = journal.head() if flows else None
    numbers = range(head.seq, max(0, head.seq - _LOOKED_AT), -1) if head else ()
    entries = (journal.at(head, seq) for seq in numbers if head)
    newest = next((entry for entry in entries if entry and entry.is_published), None)
    mark = journal.outbox.mark(newest) if newest else None
    if mark is None:
        # There is none, or the next tick sends it for the first time.
        return
    taken = {flow for _, flow in journal.receipts.receivers(mark.seq, mark.id)}
    if not taken.issuperset(flows):
        journal.put_back(mark)
