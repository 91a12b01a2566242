"""Journals to test with, and the stores that count what they are asked."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from flowproject.changes.difference import Difference
from flowproject.changes.entry import Entry, change_id
from flowproject.journal import Journal, Mark, Store

__all__ = ["CountingStore", "WaitedFor", "entry", "fill", "journal_on", "mark", "resolve"]

MOMENT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class CountingStore:
    """A real store that counts the requests made to it, by kind."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.requests: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name == "concurrently":
            return lambda questions: [question() for question in questions]
        method = getattr(self._store, name)

        def counted(*arguments: object) -> object:
            self.requests.append(name)
            return method(*arguments)

        return counted


class WaitedFor(CountingStore):
    """A real store that counts how many times somebody waits for it."""

    def __getattr__(self, name: str) -> Any:
        if name != "concurrently":
            return super().__getattr__(name)
        return self._at_once

    def _at_once(self, questions: Any) -> Any:
        before = len(self.requests)
        answers = []
        for start in range(0, len(questions), 32):
            deepest = 0
            for question in questions[start : start + 32]:
                begun = len(self.requests)
                answers.append(question())
                deepest = max(deepest, len(self.requests) - begun)
                del self.requests[begun:]
            self.requests += ["wait"] * deepest
        assert len(self.requests) >= before
        return answers


def journal_on(store: Store) -> Journal:
    return Journal(store, project="p", branch="user.me", sensor="s")


def entry(seq: int, *, outcome: str = "changed", value: object = None) -> Entry:
    fingerprint = f"{seq:032x}"
    return Entry(
        seq=seq,
        id=change_id(
            project="p",
            branch="user.me",
            sensor="s",
            seq=seq,
            previous="",
            fingerprint=fingerprint,
        ),
        project="p",
        branch="user.me",
        sensor="s",
        outcome=outcome,
        reason="because",
        value=seq if value is None else value,
        fingerprint=fingerprint,
        recorded_at=(MOMENT + dt.timedelta(seconds=seq)).isoformat(),
    )


def fill(journal: Journal, number: int, *, deliver: bool = True) -> None:
    for seq in range(1, number + 1):
        recorded = journal.record(entry(seq), None, Difference())
        if deliver:
            mark(journal, recorded)
            resolve(journal, recorded)


def mark(journal: Journal, recorded: Entry, *, listeners: tuple[str, ...] = ()) -> Mark:
    """Note that the bus took this entry, by itself."""
    given = Mark(
        seq=recorded.seq,
        id=recorded.id,
        first=recorded.seq,
        event_name="e",
        listeners=listeners,
        published_at=recorded.recorded_at,
        run="SensorFlow/1",
    )
    journal.outbox.mark_published([([recorded], given)])
    return given


def resolve(journal: Journal, recorded: Entry) -> None:
    """Note that nothing is left to do for this entry, as a delivery does."""
    journal.outbox.resolve(recorded.seq, recorded.id)
    journal.memos.write_head(journal.head().resolved([recorded.seq]))
