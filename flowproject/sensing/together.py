"""What several changes in a row come to: those that piled up, or that a flow has not seen yet."""

from collections.abc import Sequence
from dataclasses import replace

from flowproject.changes.canonical import Json
from flowproject.changes.columns import ColumnsChange, columns_before, columns_change
from flowproject.changes.difference import Difference, combine
from flowproject.changes.entry import Entry
from flowproject.journal import Combination, Journal
from flowproject.sensing.look import sample

__all__ = ["combined", "together"]


def together(journal: Journal, group: Sequence[Entry]) -> Combination:
    """The combination of some entries in a row, whose difference is written; one stays as it is.

    Raises:
        DamagedTableError: if the table of one of them is gone or can't be read.
    """
    if len(group) == 1:
        return _alone(group[0])
    combination, difference = combined(journal, group)
    if not any(entry.difference for entry in group):
        return combination
    return replace(
        combination, difference=journal.snapshots.write_difference(group[-1].seq, difference)
    )


def combined(journal: Journal, group: Sequence[Entry]) -> tuple[Combination, Difference]:
    """The combination of some entries in a row, and its difference, of which nothing is written.

    Raises:
        DamagedTableError: if the table of one of them is gone or can't be read.
    """
    first, last = group[0], group[-1]
    difference = combine([journal.snapshots.difference(entry) for entry in group])
    if len(group) == 1:
        return _alone(first), difference
    combination = Combination(
        first=first.seq,
        last=last.seq,
        reason=f"{len(group)} changes at once; the last: {last.reason}",
        previous=first.previous,
        counts=difference.counts,
        sample=sample(difference),
        difference="",
        columns_change=_columns_change(first, last),
    )
    return combination, difference


def _columns_change(first: Entry, last: Entry) -> dict[str, Json]:
    """What happened to the columns from before the first entry to the last."""
    before = columns_before(first.columns, ColumnsChange.from_json(first.columns_change))
    return columns_change(before, last.columns).to_json()


def _alone(entry: Entry) -> Combination:
    return Combination(
        first=entry.seq,
        last=entry.seq,
        reason=entry.reason,
        previous=entry.previous,
        counts=entry.counts,
        sample=entry.sample,
        difference=entry.difference,
        columns_change=entry.columns_change,
    )
