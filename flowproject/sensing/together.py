"""What changes that piled up come to, when they are sent as one event."""

from collections.abc import Sequence

from flowproject.changes.combining import combine
from flowproject.changes.entry import Entry
from flowproject.journal import Combination, Journal
from flowproject.sensing.look import sample

__all__ = ["together"]


def together(journal: Journal, group: Sequence[Entry]) -> Combination:
    """The combination of some entries in a row, whose difference is written; one stays as it is.

    Raises:
        DamagedTableError: if the table of one of them is gone or can't be read.
    """
    first, last = group[0], group[-1]
    if len(group) == 1:
        return Combination(
            first=first.seq,
            last=first.seq,
            reason=first.reason,
            previous=first.previous,
            counts=first.counts,
            sample=first.sample,
            difference=first.difference,
        )
    difference = combine([journal.difference(entry) for entry in group])
    return Combination(
        first=first.seq,
        last=last.seq,
        reason=f"{len(group)} changes at once; the last: {last.reason}",
        previous=first.previous,
        counts=difference.counts,
        sample=sample(difference),
        difference=journal.write_difference(last.seq, difference)
        if any(entry.difference for entry in group)
        else "",
    )
