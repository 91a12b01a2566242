"""What a tick tells of the changes before it, from what it has at hand: it asks nothing for it."""

from typing import Any

from flowproject.changes.entry import PUBLISHED_OUTCOMES, Entry
from flowproject.journal import Head

__all__ = ["recall"]


def recall(entry: Entry | None, head: Head) -> list[dict[str, Any]]:
    """The newest entries in short, `entry` first, each with what became of it.

    `state` is `waiting`, `sent`, `delivered`, `skipped`, `undelivered` or `no listener`, as in
    `Chain`; empty for what is never sent, and where it can't be told without looking. `taken_by`
    are the runs that took it.
    """
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
    if seq in head.unsettled:
        return "sent" if seq <= head.sent else "waiting"
    if seq in head.takers:
        return "delivered" if head.takers[seq] else head.untaken.get(seq, "no listener")
    return ""
