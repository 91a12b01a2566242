"""Seven ways to get the protocol wrong, each a patch of the real code: all must be caught."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from benchmarks.chaos.ours import Ours
from benchmarks.chaos.story import Start, Story
from flowproject.changes.canonical import digest
from flowproject.errors import JournalError
from flowproject.events import full_name
from flowproject.journal import Journal
from flowproject.journal.outbox import Outbox
from flowproject.journal.receipts import Receipts
from flowproject.journal.store import ObjectStore
from flowproject.sensing import delivery, sending

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong protocol: the patch that makes it so, and who ticks and works in it."""

    name: str
    patch: Callable[[], AbstractContextManager[None]]
    make: Callable[[Story], Ours] = Ours


@contextmanager
def _marks_before_it_publishes() -> Iterator[None]:
    send, mark_published = delivery.send, Outbox.mark_published
    publish = delivery._Delivery._publish  # noqa: SLF001  # a mutant is made of the inside
    mine = threading.local()

    def held(sensor: Any, journal: Any, event: Any, *, first: int, attempt: int) -> str:
        if not getattr(mine, "is_publishing", False):
            return send(sensor, journal, event, first=first, attempt=attempt)
        mine.held.append(lambda: send(sensor, journal, event, first=first, attempt=attempt))
        return full_name(sensor.event_name, project=journal.project, branch=journal.branch)

    def mark_and_send(outbox: Outbox, *arguments: Any) -> None:
        mark_published(outbox, *arguments)
        for late in mine.held:
            late()

    def published(self: Any, entries: Any) -> Any:
        mine.is_publishing, mine.held = True, []
        try:
            return publish(self, entries)
        finally:
            mine.is_publishing = False

    with (
        patch.object(delivery, "send", held),
        patch.object(Outbox, "mark_published", mark_and_send),
        patch.object(delivery._Delivery, "_publish", published),  # noqa: SLF001
    ):
        yield


@contextmanager
def _claims_nothing() -> Iterator[None]:
    with patch.object(Receipts, "claim", lambda _, receipt: receipt):
        yield


@contextmanager
def _overwrites() -> Iterator[None]:
    def create(store: ObjectStore, key: str, content: bytes) -> bool:
        store.put(key, content)
        return True

    with (
        patch.object(ObjectStore, "create", create),
        patch.object(Journal, "proven", lambda _, head: head),  # it would be found out
    ):
        yield


@contextmanager
def _renames_each_event() -> Iterator[None]:
    payload, numbers = sending.payload, itertools.count()

    def renamed(*arguments: Any, **named: Any) -> Any:
        message = payload(*arguments, **named)
        message["id"] = digest("an id of its own", str(next(numbers)))
        return {**message, "change": {**message["change"], "id": message["id"]}}  # type: ignore[dict-item]

    with patch.object(sending, "payload", renamed):
        yield


@contextmanager
def _watches_only_the_oldest() -> Iterator[None]:
    see_to = delivery._Delivery._see_to  # noqa: SLF001  # a mutant is made of the inside

    def see_to_one(self: Any, events: Any) -> None:
        see_to(self, events[:1])

    with patch.object(delivery._Delivery, "_see_to", see_to_one):  # noqa: SLF001
        yield


@contextmanager
def _sends_whether_or_not_it_can_note_it() -> Iterator[None]:
    note = Outbox.note_sending

    def note_if_it_can(*arguments: Any, **named: Any) -> bool:
        with suppress(JournalError):
            return note(*arguments, **named)
        return True

    with (
        patch.object(Outbox, "prove_writable", lambda *_: None),
        patch.object(Outbox, "note_sending", note_if_it_can),
    ):
        yield


class _ClaimsAfterWork(Ours):
    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        moment("before claim")
        self.do(start)
        moment("after work")
        self.claims(store, start)


MUTANTS: Final = (
    Mutant(name="mark before publish", patch=_marks_before_it_publishes),
    Mutant(name="no claim", patch=_claims_nothing),
    Mutant(name="claim after work", patch=nullcontext, make=_ClaimsAfterWork),
    Mutant(name="overwrite instead of create", patch=_overwrites),
    Mutant(name="an id for each sending", patch=_renames_each_event),
    Mutant(name="watch only the oldest", patch=_watches_only_the_oldest),
    Mutant(name="send before noting", patch=_sends_whether_or_not_it_can_note_it),
)
