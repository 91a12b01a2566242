"""The turns of flows that take a sensor's changes in order: when each was told, and when it ended.

What is noted here is never taken back, but for a telling that the bus refused. So whoever reads
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

__all__ = ["Tellings", "Turns"]

HowEnded = Literal["succeeded", "failed", "skipped"]
"""Why a turn is over: its run succeeded, or failed and holds nobody back; or a person said so."""

_TELLING: Final = re.compile(r"/(\d+)-(\d+)-([^/]+)\.json$")


@dataclass(frozen=True, kw_only=True)
class Tellings:
    """How often a flow was told that it is its turn to take an event, and when last."""

    count: int = 0
    last: dt.datetime | None = None


class Turns:
    """The turns in one sensor's journal. A turn is of a flow, an event and an attempt."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def told(self, seq: int, id: str, *, attempt: int, flow: str) -> Tellings:  # noqa: A002
        """How often the flow was told of this turn: one request, and one if it was."""
        folder = self._layout.tellings(seq, id)
        found = [_TELLING.search(key) for key in self._store.keys(folder)]
        numbers = [
            int(name[2]) for name in found if name and (int(name[1]), name[3]) == (attempt, flow)
        ]
        if not numbers:
            return Tellings()
        content = self._store.get(self._layout.telling(seq, id, attempt, max(numbers), flow))
        try:
            last = dt.datetime.fromisoformat(opened(content or b"")["at"])
        except (ValueError, KeyError):
            last = dt.datetime.min.replace(tzinfo=dt.UTC)  # it is told once more, at once
        return Tellings(count=len(numbers), last=last)

    def note_telling(
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
        key = self._layout.telling(seq, id, attempt, number, flow)
        return self._store.create(key, sealed({"at": at, "run": run}))

    def forget_telling(
        self,
        seq: int,
        id: str,  # noqa: A002
        *,
        attempt: int,
        number: int,
        flow: str,
    ) -> None:
        """Take the note of a telling back, which the bus refused."""
        self._store.delete(self._layout.telling(seq, id, attempt, number, flow))

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
        key = self._layout.ending(seq, id, attempt, flow)
        self._store.create(key, sealed({"how": how, "by": by, "at": at}))

    def ended_from(self, seq: int) -> Mapping[tuple[int, str], Collection[tuple[int, str]]]:
        """Attempt and flow of each turn that is over, by number and id of its event: one request.

        From this number on.
        """
        return attempts_from(self._store, self._layout.all_endings, seq)
