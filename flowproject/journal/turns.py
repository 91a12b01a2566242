"""Notes the turns of flows that take changes in order: who was told of one, and when it ended.

What is noted here is never taken back, but for a notice that the bus refused. So whoever reads
that a turn has ended may rely on it, however late.
"""

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from flowproject.journal.layout import Layout, opened, sealed
from flowproject.journal.receipts import attempts_from
from flowproject.journal.store import Store

__all__ = ["TurnNotices", "Turns"]

HowEnded = Literal["succeeded", "failed", "skipped"]
"""Why a turn is over: its run succeeded, or failed and holds nobody back; or a person said so."""

_NOTICE: Final = re.compile(r"/(\d+)-(\d+)-([^/]+)\.json$")


@dataclass(frozen=True, kw_only=True)
class TurnNotices:
    """How often a flow was given notice that it is its turn to take an event, and when last."""

    count: int = 0
    last: dt.datetime | None = None


class Turns:
    """The turns in one sensor's journal. A turn is of a flow, an event and an attempt."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def notices(self, seq: int, id: str, *, attempt: int, flow: str) -> TurnNotices:  # noqa: A002
        """How often the flow was told of this turn: one request, and one if it was."""
        folder = self._layout.notices(seq, id)
        found = [_NOTICE.search(key) for key in self._store.keys(folder)]
        numbers = [
            int(name[2]) for name in found if name and (int(name[1]), name[3]) == (attempt, flow)
        ]
        if not numbers:
            return TurnNotices()
        content = self._store.get(self._layout.notice(seq, id, attempt, max(numbers), flow))
        try:
            last = dt.datetime.fromisoformat(opened(content or b"")["at"])
        except (ValueError, KeyError):
            # What can't be read counts as long ago: the flow is told once more, at once, and its
            # receipt keeps it from working twice.
            last = dt.datetime.min.replace(tzinfo=dt.UTC)
        return TurnNotices(count=len(numbers), last=last)

    def record_notice(
        self,
        seq: int,
        id: str,  # noqa: A002
        *,
        attempt: int,
        number: int,
        flow: str,
        at: str,
        run: str,
    ) -> bool:
        """Note that the flow is about to be told for the `number`th time.

        False, if somebody else is about to.
        """
        # Noted before it is sent, so that of two who are about to send the same only one does.
        key = self._layout.notice(seq, id, attempt, number, flow)
        return self._store.create(key, sealed({"at": at, "run": run}))

    def withdraw_notice(
        self,
        seq: int,
        id: str,  # noqa: A002
        *,
        attempt: int,
        number: int,
        flow: str,
    ) -> None:
        """Take a notice back, which the bus refused."""
        self._store.delete(self._layout.notice(seq, id, attempt, number, flow))

    def end(
        self,
        seq: int,
        id: str,  # noqa: A002
        *,
        attempt: int,
        flow: str,
        how: HowEnded,
        by: str,
        at: str,
    ) -> None:
        """Note that the turn is over. The first note of it stands."""
        # Never taken back: whoever reads it tells the next turn, however late it was read.
        key = self._layout.ending(seq, id, attempt, flow)
        self._store.create(key, sealed({"how": how, "by": by, "at": at}))

    def ended_from(self, seq: int) -> Mapping[tuple[int, str], Collection[tuple[int, str]]]:
        """Attempt and flow of each turn that is over, by number and id of its event: one request.

        From this number on.
        """
        return attempts_from(self._store, self._layout.all_endings, seq)
