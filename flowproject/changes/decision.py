"""Whether an observation is a change: a pure function from what was known and what is seen.

Also the words for it: every outcome carries a reason that a person can read.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.difference import Difference, diff
from flowproject.changes.entry import Entry
from flowproject.changes.item import Item
from flowproject.changes.observation import Items, Observation

__all__ = ["Decision", "Hold", "compare", "decide", "hold_back"]

_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a tick and why."""

    outcome: str
    reason: str

    @property
    def records(self) -> bool:
        """Whether the journal gets an entry."""
        return self.outcome in ("baseline", "changed", "forced")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """When a change must wait: `settle` seconds of quiet, and a marker file in its folder."""

    settle: float = 0.0
    marker: str = ""


def compare(known: Items | None, seen: Observation) -> Difference:
    """What happened to the items of a source since `known`; empty if it has none."""
    return diff(_by_key(known), _by_key(seen.items))


def _by_key(items: Items | None) -> Mapping[str, Item]:
    if items is None or isinstance(items, Mapping):
        return items or {}
    return {item.key: item for item in items.values()}


def decide(  # one return for each outcome reads better than nested branches
    head: Entry | None,
    seen: Observation,
    difference: Difference,
    *,
    first: str,
    force: bool,
    waiting: str = "",
    definition: str = "",
) -> Decision:
    """The outcome of comparing `seen` with the newest state in the journal.

    Args:
        head: the newest entry, or None if the sensor has never been looked at or was reset.
        seen: what the source looks like now.
        difference: what happened to its items.
        first: `baseline` or `fire`, the policy for a sensor without a state.
        force: publish even if nothing changed.
        waiting: why a change must wait, or an empty string (see `hold_back`).
        definition: digest of what is watched, to tell an edited query from changed data.
    """
    if head is None and force:
        return Decision(outcome="forced", reason=f"forced on the first look: {_state(seen)}")
    if head is None and first == "baseline":
        return Decision(outcome="baseline", reason=f"first look, remembered: {_state(seen)}")
    if head is None and waiting:
        return Decision(outcome="settling", reason=waiting)
    if head is None:
        return Decision(outcome="changed", reason=f"first look, first = 'fire': {_state(seen)}")
    same = head.fingerprint == seen.fingerprint or _same_items(head, seen, difference)
    if same and force:
        return Decision(outcome="forced", reason=f"forced, nothing changed: {_state(seen)}")
    if same:
        since = head.moment.strftime("%Y-%m-%d %H:%M:%S")
        return Decision(outcome="unchanged", reason=f"still {_state(seen)}, since {since} UTC")
    if waiting and not force:
        return Decision(outcome="settling", reason=waiting)
    words = _what_happened(head, seen, difference)
    edited = "what is watched was edited: " if definition != head.definition else ""
    return Decision(outcome="changed", reason=f"{edited}{words}")


def hold_back(hold: Hold, difference: Difference, seen: Items, *, now: dt.datetime) -> str:
    """Why a change must wait, or an empty string if nothing holds it back."""
    return _without_marker(hold.marker, difference, seen) or _unsettled(
        hold.settle, difference, now
    )


def _without_marker(marker: str, difference: Difference, seen: Items) -> str:
    if not marker:
        return ""

    @cache
    def finished(folder: str) -> bool:
        above, _, _ = folder.rpartition("/")
        here = f"{folder}/{marker}" if folder else marker
        return here in seen or (folder != "" and finished(above))

    for item in difference.arrived:
        folder = item.key.rpartition("/")[0]
        if not finished(folder):
            return f"waiting for {marker!r} in {folder or '.'!r}, where {item.key!r} arrived"
    return ""


def _unsettled(settle: float, difference: Difference, now: dt.datetime) -> str:
    """Why the change must settle: something in it was written less than `settle` seconds ago.

    A clock may be ahead of ours by as much; what is dated later than that is dated wrongly, and
    must not hold a change back until then.
    """
    if not settle:
        return ""
    ages = ((_age(item, now), item.key) for item in difference.arrived)
    fresh = ((age, key) for age, key in ages if age is not None and -settle <= age < settle)
    age, key = min(fresh, default=(0.0, ""))
    if not key:
        return ""
    return f"{key!r} was written {max(age, 0):.0f} s ago; a change settles after {settle:g} s"


def _age(item: Item, now: dt.datetime) -> float | None:
    modified = item.data.get("modified")
    if not isinstance(modified, str):
        return None
    return (now - dt.datetime.fromisoformat(modified)).total_seconds()


def _same_items(head: Entry, seen: Observation, difference: Difference) -> bool:
    """Whether both have items and these are the same, compared by what counts today.

    After `ignore` was edited the fingerprints differ, and no item need have changed.
    """
    both = head.total is not None and seen.items is not None
    return both and not any(difference.counts.values())


def _state(seen: Observation) -> str:
    return _count(len(seen.items)) if seen.items is not None else _short(seen.value)


def _what_happened(head: Entry, seen: Observation, difference: Difference) -> str:
    counts = {kind: number for kind, number in difference.counts.items() if number}
    if counts:
        return ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    return f"{_short(head.value)} → {_short(seen.value)}"


def _count(number: int) -> str:
    return f"{number:,} item" if number == 1 else f"{number:,} items"


def _short(value: Json) -> str:
    text = dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
