"""Ways to get the protocol wrong, each a patch of the real code: all must be caught."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from benchmarks.chaos.faults import CROWD, FOLDERS, IN_ORDER, NEW_FLOW, NEW_NAME, TWO_SENSORS
from benchmarks.chaos.ours import Ours
from benchmarks.chaos.story import Start, Story
from flowproject.changes.canonical import digest
from flowproject.changes.decision import Held
from flowproject.errors import JournalError
from flowproject.events import full_name
from flowproject.journal import Journal
from flowproject.journal.outbox import Outbox
from flowproject.journal.receipts import Receipts
from flowproject.journal.store import ObjectStore
from flowproject.sensing import change_events, delivery, look, turns
from flowproject.starting import claiming

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A wrong protocol: the patch that makes it so, and who ticks and works in it.

    `plot` is what the rounds are about in which it can do harm (None: any).
    """

    name: str
    patch: Callable[[], AbstractContextManager[None]]
    make: Callable[[Story], Ours] = Ours
    plot: str | None = None


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
    payload, numbers = change_events.payload, itertools.count()

    def renamed(*arguments: Any, **named: Any) -> Any:
        message = payload(*arguments, **named)
        message["id"] = digest("an id of its own", str(next(numbers)))
        return {**message, "change": {**message["change"], "id": message["id"]}}  # type: ignore[dict-item]

    with patch.object(change_events, "payload", renamed):
        yield


@contextmanager
def _watches_only(number: int) -> Iterator[None]:
    see_to = delivery._Delivery._check_receipts  # noqa: SLF001  # a mutant is made of the inside

    def see_to_some(self: Any, events: Any) -> None:
        see_to(self, events[:number])

    with patch.object(delivery._Delivery, "_check_receipts", see_to_some):  # noqa: SLF001
        yield


@contextmanager
def _forgets_who_is_gone() -> Iterator[None]:
    with patch.object(delivery, "_gone_in_words", lambda *_: "nothing"):
        yield


@contextmanager
def _claims_where_it_was_told() -> Iterator[None]:
    with patch.object(Journal, "moved_to", lambda _: None):
        yield


@contextmanager
def _takes_the_newest_only() -> Iterator[None]:
    since_last_run = claiming._Unseen._since_last_run  # noqa: SLF001

    def newest(self: Any) -> Any:
        return since_last_run(self)[-1:]

    with patch.object(claiming._Unseen, "_since_last_run", newest):  # noqa: SLF001
        yield


@contextmanager
def _waits_for_no_marker() -> Iterator[None]:
    with patch.object(look, "hold_back", lambda *_, **__: Held()):
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


@contextmanager
def _tells_the_next_when_one_is_taken() -> Iterator[None]:
    queue = turns.TurnQueue
    with patch.object(queue, "_is_over", queue._is_taken):  # noqa: SLF001
        yield


@contextmanager
def _leaves_turns_to_runs() -> Iterator[None]:
    with patch.object(delivery._Delivery, "_give_turns", lambda _: None):  # noqa: SLF001
        yield


class _ClaimsAfterWork(Ours):
    def work(self, store: Any, start: Start, moment: Callable[[str], None]) -> None:
        moment("before claim")
        self.do(start, [payload["change"] for payload in start.payloads])
        moment("after work")
        self.claim(store, start)


MUTANTS: Final = (
    Mutant(name="mark before publish", patch=_marks_before_it_publishes, plot=""),
    Mutant(name="no claim", patch=_claims_nothing),
    Mutant(name="claim after work", patch=nullcontext, make=_ClaimsAfterWork),
    Mutant(name="overwrite instead of create", patch=_overwrites),
    Mutant(name="an id for each sending", patch=_renames_each_event),
    Mutant(name="watch only the oldest", patch=partial(_watches_only, 1)),
    Mutant(name="watch only the oldest 50", patch=partial(_watches_only, 50), plot=CROWD),
    Mutant(name="send before noting", patch=_sends_whether_or_not_it_can_note_it),
    Mutant(name="forget who is gone", patch=_forgets_who_is_gone, plot=NEW_FLOW),
    Mutant(name="claim where it was told", patch=_claims_where_it_was_told, plot=NEW_NAME),
    Mutant(name="take the newest only", patch=_takes_the_newest_only, plot=TWO_SENSORS),
    Mutant(
        name="tell the next turn when one is taken",
        patch=_tells_the_next_when_one_is_taken,
        plot=IN_ORDER,
    ),
    Mutant(name="leave turns to runs", patch=_leaves_turns_to_runs, plot=IN_ORDER),
    Mutant(name="wait for no marker", patch=_waits_for_no_marker, plot=FOLDERS),
)
