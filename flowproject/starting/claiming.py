"""Claiming: which run has each of the changes that a run was told of.

Apart from `taking`, because the journal takes a tenth of a second to import, and a step that has
nothing to claim need not wait for it.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from flowproject.change import journal_of
from flowproject.journal import Journal, Receipt, Store
from flowproject.starting.told import Told

__all__ = ["Claim", "claim"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Which run has a change of `sensor`: the receipt that stands, or that a run is to write."""

    sensor: str
    receipt: Receipt

    @property
    def in_words(self) -> str:
        """Who has the change, and how to run it again."""
        receipt = self.receipt
        return (
            f"change {receipt.seq} of sensor {self.sensor!r} was taken by run {receipt.run} at "
            f"{receipt.at} (to run it again: `flowproject replay {receipt.id}`)"
        )


def claim(
    this: Told, *, flow: str, store: Store, told_to: Callable[[str], Told]
) -> tuple[Claim, ...]:
    """Which run has each of the changes; those that no run had are claimed.

    `told_to` gives what another run was told. Who has one change has, or is to have, all that it
    was told of: of two runs that start for the same changes, only one is to work.

    Raises:
        JournalError: if it can't be told which run has a change.
    """
    claims: list[Claim] = []
    # In one order, so that of such runs the one that has the first change is to have them all.
    for change in sorted(this.changes, key=lambda change: (change["sensor"], change["seq"])):
        wanted = _wanted(change, flow=flow, run=this.run)
        others = {one.receipt.run: one.receipt for one in claims if one.receipt.run != this.run}
        ahead = [other for run, other in others.items() if _is_told(told_to(run), wanted)]
        receipt = (
            replace(wanted, run=ahead[0].run, at=ahead[0].at)
            if ahead
            else _claimed(journal_of(change, store), wanted)
        )
        claims.append(Claim(sensor=change["sensor"], receipt=receipt))
    return tuple(claims)


def _claimed(journal: Journal, wanted: Receipt) -> Receipt:
    """The receipt that stands. Who has a replayed change has the attempts before it, too.

    An event of theirs may still be on its way, and would find nobody to have them.
    """
    standing = journal.claim(**asdict(wanted))
    if standing.run == wanted.run:
        for attempt in range(1, wanted.attempt):
            journal.claim(**asdict(replace(wanted, attempt=attempt)))
    return standing


def _wanted(change: Mapping[str, Any], *, flow: str, run: str) -> Receipt:
    return Receipt(
        seq=int(change["seq"]),
        id=str(change["id"]),
        attempt=_attempt(change),
        flow=flow,
        run=run,
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def _is_told(other: Told, wanted: Receipt) -> bool:
    told = ((change["id"], _attempt(change)) for change in other.changes)
    return (wanted.id, wanted.attempt) in told


def _attempt(change: Mapping[str, Any]) -> int:
    return int(change.get("attempt", 1))
