"""Who listens to which sensor, recorded where ticks look: so they know whose receipts to await."""

from collections.abc import Sequence
from pathlib import Path

from flowproject.config import load
from flowproject.contract import listeners_of, waits_of
from flowproject.flowfiles import FlowFile
from flowproject.journal import Journal, open_store

__all__ = ["record_listeners"]


def record_listeners(root: Path, flows: Sequence[FlowFile], *, by: str) -> None:
    """Record the listeners of every sensor of the project in the folder `root`.

    `by` is the command that knows: whoever reads the record sees whose word it is.

    Raises:
        JournalError: if the datastore of the flows can't be written.
    """
    ours = next((flow for flow in flows if flow.inherits_ours and flow.branch), None)
    if ours is None:
        return
    project, store = load(root), open_store(ours.datastore)
    waits = waits_of(project, flows)
    for sensor, names in listeners_of(project, flows).items():
        journal = Journal(store, project=project.project_name, branch=ours.branch, sensor=sensor)
        journal.outbox.record_listeners(
            names, by=by, waits={name: waits[name] for name in names if name in waits}
        )
