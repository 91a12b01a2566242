"""The change that started a run, as a flow sees it: small facts at once, the rest on demand."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from flowproject.changes.canonical import Json
from flowproject.changes.difference import Difference, edit
from flowproject.changes.entry import Entry
from flowproject.errors import JournalError
from flowproject.journal import Journal, Store

__all__ = ["Change"]


class Change:
    """What changed, from what, to what.

    The event carries the small facts; `added`, `modified` and `removed` are read from the
    journal when they are first asked for.
    """

    def __init__(self, event: Mapping[str, Any], open_journal_store: Callable[[], Store]) -> None:
        self._event = event
        self._open_store = open_journal_store

    @property
    def id(self) -> str:
        """The id of the change: the same each time it is delivered."""
        return str(self._event["id"])

    @property
    def seq(self) -> int:
        """The number of the change in its sensor's journal."""
        return int(self._event["seq"])

    @property
    def sensor(self) -> str:
        """The sensor that saw it."""
        return str(self._event["sensor"])

    @property
    def counts(self) -> dict[str, int]:
        """How many items were added, modified and removed; zeros for a source without items."""
        return dict(self._event["counts"])

    @property
    def reason(self) -> str:
        """Why it counts as a change, in words."""
        return str(self._small(self._event["reason"], "reason"))

    @property
    def value(self) -> Json:
        """The new value of the source: a query's result, or the number of its items."""
        return self._small(self._event["value"], "value")

    @property
    def previous(self) -> Json:
        """The value before; None if there was none."""
        return self._small(self._event["previous"], "previous")

    @property
    def added(self) -> list[dict[str, Json]]:
        """The items that are new: rows by column name, or files with key, size and so on."""
        return [item.shown for item in self._difference.added]

    @property
    def modified(self) -> list[dict[str, Json]]:
        """The items that are not what they were, as `{"key": ..., "old": {...}, "new": {...}}`."""
        return [edit(old, new) for old, new in self._difference.modified]

    @property
    def removed(self) -> list[dict[str, Json]]:
        """The items that are gone, as they were last seen."""
        return [item.shown for item in self._difference.removed]

    def __repr__(self) -> str:
        return f"<change {self.seq} of sensor {self.sensor!r}: {self.reason}>"

    @cached_property
    def _difference(self) -> Difference:
        return self._journal.difference(self._entry)

    @cached_property
    def _entry(self) -> Entry:
        entry = self._journal.get(self.seq)
        if entry is None or entry.id != self.id:
            raise JournalError(
                f"Change {self.id} is not in the journal any more",
                where=f"{self._journal.location}, number {self.seq}",
                allowed="The journal keeps the newest entries only; `change.value`, `.previous` "
                "and `.counts` come with the event",
            )
        return entry

    @cached_property
    def _journal(self) -> Journal:
        return Journal(
            self._open_store(),
            project=str(self._event["project"]),
            branch=str(self._event["branch"]),
            sensor=self.sensor,
        )

    def _small(self, told: Json, name: str) -> Json:
        """What the event told, or what the journal keeps if it was too large to tell."""
        if isinstance(told, dict) and told.keys() == {"left_out_bytes"}:
            kept: Json = getattr(self._entry, name)
            return kept
        return told
