"""Notes what has become of the changes that a journal recorded: sent, sent again, delivered.

The outbox of the pattern of that name: a change is recorded first and sent later, by whoever finds
it unsent. (C. Richardson, *Microservices Patterns*, "Transactional outbox".)
"""

import datetime as dt
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final, Self
from uuid import uuid4

from flowproject.changes.canonical import Json
from flowproject.changes.entry import Entry
from flowproject.errors import JournalError
from flowproject.journal.errors import NewerObjectError, UnreadableError
from flowproject.journal.layout import Layout, NewerFormatError, leading_numbers, opened, sealed
from flowproject.journal.store import Store

__all__ = ["Awaited", "Combination", "Listeners", "Mark", "Outbox", "Sending", "Sendings"]

_MARKED: Final = ("seq", "id", "first", "event_name", "published_at", "run")
_SENDING: Final = re.compile(r"/(\d+)-(\d+)\.json$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Says that the bus took a change, with which event, and when.

    `seq` and `id` are those of the event: the change's own, or of a newer one that it was sent
    with; `first` is the oldest of these. `listeners` are the flows that were known then, `in_order`
    those of them that take changes in order, and `run` is the run that sent it.
    """

    seq: int
    id: str
    first: int
    event_name: str = ""
    listeners: tuple[str, ...] = ()
    in_order: tuple[str, ...] = ()
    published_at: str = ""
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Says that the changes `first` to `last` are sent as one event, and what they come to."""

    first: int
    last: int
    reason: str
    previous: Json
    counts: dict[str, int]
    sample: dict[str, Json]
    difference: str
    columns_change: dict[str, Json] = field(default_factory=dict)

    def applied_to(self, last: Entry) -> Entry:
        """The newest of the changes, as if it led from the oldest state to the newest."""
        return replace(
            last,
            reason=self.reason,
            previous=self.previous,
            counts=self.counts,
            sample=self.sample,
            difference=self.difference,
            columns_change=self.columns_change,
        )


@dataclass(frozen=True, kw_only=True)
class Sendings:
    """How often the event of a change was sent in its newest attempt, and when last.

    `to` are the flows that listened when a person replayed it; empty if nobody did.
    """

    attempt: int
    count: int
    last: dt.datetime
    to: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """An event whose receipts are awaited: its mark, and how often it was sent.

    `given_up` are the flows that wait for several sensors, have all that they wait for, and were
    sent it as often as allowed: of those the sendings of one event alone do not tell.
    """

    mark: Mark
    sendings: Sendings
    given_up: tuple[str, ...] = ()

    @property
    def listeners(self) -> tuple[str, ...]:
        """The flows that are to take it, as far as they still listen."""
        return self.sendings.to or self.mark.listeners

    def tells_of(self, seq: int) -> bool:
        """Whether the change with this number came with it."""
        return self.mark.first <= seq <= self.mark.seq

    def to_json(self) -> list[Json]:
        """Write itself as short JSON."""
        mark, sendings = self.mark, self.sendings
        # A list without names: a memo may hold hundreds of these, and each tick reads it.
        known: list[Json] = [mark.seq, mark.id, mark.first, mark.event_name, [*mark.listeners]]
        more: list[Json] = [[*mark.in_order]] if mark.in_order or self.given_up else []
        more += [[*self.given_up]] if self.given_up else []
        return [
            *known,
            mark.published_at,
            sendings.attempt,
            sendings.count,
            sendings.last.isoformat(),
            [*sendings.to],
            *more,
        ]

    @classmethod
    def from_json(cls, noted: Sequence[Any]) -> Self:
        """What `to_json` wrote."""
        # The last part is there only for flows in order: memos of earlier versions have none.
        (seq, name, first, event_name, listeners, published_at), further = noted[:6], noted[6:]
        attempt, count, last, to, *more = further
        in_order, given_up = [*more, (), ()][:2]
        mark = Mark(
            seq=int(seq),
            id=str(name),
            first=int(first),
            event_name=str(event_name),
            listeners=tuple(map(str, listeners)),
            in_order=tuple(map(str, in_order)),
            published_at=str(published_at),
        )
        moment = dt.datetime.fromisoformat(last)
        return cls(
            mark=mark,
            sendings=Sendings(
                attempt=int(attempt), count=int(count), last=moment, to=tuple(map(str, to))
            ),
            given_up=tuple(map(str, given_up)),
        )


@dataclass(frozen=True, kw_only=True)
class Sending:
    """One publishing of an event: the `number`th of its attempt, `at` a moment, by a run.

    `number` 0 is no sending: there somebody, who is in the place of the run, opened the attempt.
    """

    attempt: int
    number: int
    at: str
    run: str
    to: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """The flows that the events of a sensor start, as far as somebody has recorded them.

    `flows` start for sensors alone, and are expected to write receipts; `waits` are the sensors,
    this one and others, of which such a flow waits for all. `in_order` are those of the flows that
    take one change after the other, and are told of each when it is its turn. `together` wait for
    events of others besides: flow → since when it waits for this one. `deployed` says when the bus
    last forgot what waited for a flow, and began to hear anew.
    """

    flows: tuple[str, ...] = ()
    in_order: tuple[str, ...] = ()
    waits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    together: Mapping[str, dt.datetime] = field(default_factory=dict)
    deployed: Mapping[str, dt.datetime] = field(default_factory=dict)


class Outbox:
    """The outbox of one sensor's journal. Nothing in it is overwritten, but for the listeners."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._trial: str | JournalError = ""

    def mark(self, entry: Entry) -> Mark | None:
        """How the bus took this entry; None if it is not known to have it."""
        document = self._read(self._layout.mark(entry.seq, entry.id))
        if document is None:
            return None
        return Mark(
            **{key: document[key] for key in _MARKED},
            listeners=tuple(document["listeners"]),
            in_order=tuple(document.get("in_order", ())),
        )

    def is_marked(self, entry: Entry) -> bool:
        """Whether the bus is known to have taken this entry."""
        return self._store.exists(self._layout.mark(entry.seq, entry.id))

    def mark_published(self, events: Sequence[tuple[Sequence[Entry], Mark]]) -> None:
        """Note that the bus has taken these events, each of which tells of some entries."""
        # The oldest entry of an event last: whoever finds it unmarked finds the decision that it
        # began. What lacks a mark behind one that has it is asked for again, so a death in between
        # repeats the event, under its id.
        later = [(entry, mark) for entries, mark in events for entry in entries[1:]]
        oldest = [(entries[0], mark) for entries, mark in events]
        # What showed that marks can be written has done its work.
        also: list[Callable[[], object]] = [self.end_trial]
        for marked in filter(None, (later, oldest)):
            steps: list[Callable[[], object]] = [
                partial(self._create, self._layout.mark(entry.seq, entry.id), _noted_mark(mark))
                for entry, mark in marked
            ]
            self._store.concurrently([*steps, *also])
            also = []

    def try_writing(self, seq: int) -> None:
        """See whether the mark of this number could be written; `prove_writable` tells."""
        key = self._layout.trial_mark(seq, uuid4().hex)
        try:
            self._create(key, {})
        except JournalError as error:
            self._trial = error
        else:
            self._trial = key

    def prove_writable(self, seq: int) -> None:
        """Prove that the mark of this number could be written: who sends must be able to note it.

        Raises:
            JournalError: if it could not.
        """
        # A store that can be read and not written would let the same event go out at every tick,
        # because what would stop it could not be noted.
        if not self._trial:
            self.try_writing(seq)
        if isinstance(self._trial, JournalError):
            raise self._trial

    def end_trial(self) -> None:
        """Remove the object that `try_writing` wrote, if it did; it says nothing."""
        key, self._trial = self._trial, ""
        if key and not isinstance(key, JournalError):
            try:
                self._store.delete(key)
            except JournalError as error:
                _log.warning("An object that says nothing stays in the journal. %s", error)

    def sendings(self, mark: Mark) -> Sendings:
        """How often the event of a mark was sent in its newest attempt, and when last."""
        folder = self._layout.sendings(mark.seq, mark.id)
        found = [_SENDING.search(key) for key in self._store.keys(folder)]
        # From the names alone, which one listing gives; only when the last was is in an object.
        numbers = sorted((int(name[1]), int(name[2])) for name in found if name)
        attempt = max((attempt for attempt, _ in numbers), default=1)
        again = [number for one, number in numbers if one == attempt and number]
        # The first sending has no object of its own: its mark tells of it, and that spares a write
        # for each change.
        last, document = mark.published_at, {}
        if numbers:
            newest = self._read(f"{folder}/{attempt}-{numbers[-1][1]}.json") or {}
            document = newest
            last = str(newest.get("at", last)) if again else last
        return Sendings(
            attempt=attempt,
            count=len(again) + (attempt == 1),
            last=dt.datetime.fromisoformat(last),
            to=tuple(document.get("to", ())),
        )

    def all_sendings(self, mark: Mark, further: Collection[tuple[int, int]]) -> tuple[Sending, ...]:
        """The first sending of an event, and those with these attempts and numbers, in order."""
        folder = self._layout.sendings(mark.seq, mark.id)
        found = [Sending(attempt=1, number=1, at=mark.published_at, run=mark.run)]
        for attempt, number in sorted(further):
            document = self._read(f"{folder}/{attempt}-{number}.json") or {}
            # Opening an attempt notes a person, a sending a run.
            by = document.get("run", document.get("by", ""))
            at = str(document.get("at", ""))
            to = tuple(map(str, document.get("to", ())))
            found.append(Sending(attempt=attempt, number=number, at=at, run=str(by), to=to))
        return tuple(found)

    def note_sending(
        self, mark: Mark, attempt: int, number: int, at: str, run: str, to: Sequence[str] = ()
    ) -> bool:
        """Note that the event is about to be sent for the `number`th time in this attempt.

        False, if somebody else is about to. `to`: as in `Sendings`.
        """
        # Created once: of two ticks that are about to send again, one does.
        facts: dict[str, Json] = {"at": at, "run": run, **({"to": [*to]} if to else {})}
        return self._create(self._sending(mark, attempt, number), facts)

    def forget_sending(self, mark: Mark, attempt: int, number: int) -> None:
        """Take the note of a sending back, which the bus refused."""
        self._store.delete(self._sending(mark, attempt, number))

    def open_attempt(self, mark: Mark, at: str, by: str) -> int:
        """Open a new attempt, and return its number, which nobody else has."""
        attempt = self.sendings(mark).attempt + 1
        folder = self._layout.sendings(mark.seq, mark.id)
        # Two people may replay at once: each gets a number of its own.
        while not self._create(f"{folder}/{attempt}-0.json", {"at": at, "by": by}):
            attempt += 1
        return attempt

    def resolve(self, seq: int, id: str, *, moved: bool = False) -> None:  # noqa: A002
        """Note that nothing is left to do for this entry; `moved`: that is left to another journal.

        What is so left counts as resolved here, and not there.
        """
        facts: dict[str, Json] = {"id": id, **({"moved": True} if moved else {})}
        self._create(self._layout.resolved(seq, id), facts)

    def resolved_numbers(self) -> frozenset[int]:
        """The numbers of all entries for which nothing is left to do."""
        return frozenset(leading_numbers(self._store.keys(self._layout.delivered)))

    def listeners(self) -> Listeners:
        """The flows that are expected to write receipts; none if nobody recorded any.

        Raises:
            JournalError: if what was recorded is damaged.
        """
        document = self._read(self._layout.listeners) or {}
        # Fields that came later have defaults: a deploy of an earlier version wrote none.
        waits = {str(flow): tuple(names) for flow, names in document.get("waits", {}).items()}
        return Listeners(
            flows=tuple(document.get("flows", ())),
            in_order=tuple(document.get("in_order", ())),
            waits=waits,
            together=_moments(document.get("together", {})),
            deployed=_moments(document.get("deployed", {})),
        )

    def record_listeners(
        self,
        flows: Collection[str],
        by: str,
        *,
        in_order: Collection[str] = (),
        waits: Mapping[str, Sequence[str]] | None = None,
        together: Collection[str] = (),
        deployed: Mapping[str, dt.datetime] | None = None,
        now: dt.datetime | None = None,
    ) -> Listeners:
        """Record the flows that are expected to write receipts, in the place of those it returns.

        `in_order` are those that take changes in order, and `waits` says for which sensors some of
        them wait. `together` are those that wait for other events besides, some of them since
        `now`, and `deployed` says of which flows the bus has forgotten what waited for them.
        """
        try:
            before = self.listeners()
        except NewerObjectError:
            # To write it anew would take from a newer version what it knows.
            raise
        except JournalError:
            # What is damaged is written anew, because a deploy knows all of it.
            before = Listeners()
        listening = {*flows, *together}
        # When it began stays: a second deploy must not make a wait look new.
        since = {flow: before.together.get(flow, now) for flow in together}
        moments = {**before.deployed, **(deployed or {})}
        known: dict[str, Json] = {flow: [*names] for flow, names in sorted((waits or {}).items())}
        content = sealed(
            {
                "flows": [*sorted(flows)],
                "by": by,
                **({"in_order": [*sorted(in_order)]} if in_order else {}),
                **({"waits": known} if known else {}),
                **_noted("together", since),
                **_noted(
                    "deployed", {flow: moments[flow] for flow in moments if flow in listening}
                ),
            }
        )
        # Every start of the loop and every deploy comes here, and hardly ever has anything new.
        if self._store.get(self._layout.listeners) != content:
            self._store.put(self._layout.listeners, content)
        return before

    def combination(self, first: Entry) -> Combination | None:
        """The decision which changes are sent together with this one, the oldest of them."""
        document = self._read(self._layout.combination(first.seq, first.id))
        if document is None:
            return None
        known = Combination.__dataclass_fields__
        return Combination(**{key: document[key] for key in known if key in document})

    def decide(self, first: Entry, combination: Combination) -> bool:
        """Record a decision, and return whether it stands; another tick may have been first."""
        body: dict[str, Json] = asdict(combination)
        # By creation, because another tick may combine more: its decision then stands for both, and
        # both send the same event.
        if self._create(self._layout.combination(first.seq, first.id), body):
            return True
        return self.combination(first) == combination

    def _sending(self, mark: Mark, attempt: int, number: int) -> str:
        return f"{self._layout.sendings(mark.seq, mark.id)}/{attempt}-{number}.json"

    def _create(self, key: str, facts: Mapping[str, Json]) -> bool:
        return self._store.create(key, sealed(facts))

    def _read(self, key: str) -> dict[str, Any] | None:
        """The document with this key, or None if there is none.

        Raises:
            JournalError: if it is damaged, or a later flowproject wrote it.
        """
        content = self._store.get(key)
        if content is None:
            return None
        try:
            return opened(content)
        except NewerFormatError as error:
            raise NewerObjectError(key, str(error)) from error
        except ValueError as error:
            raise UnreadableError(
                f"{key!r} of the journal is damaged: {error}",
                fix="Remove it: what it says is then worked out anew, and an event may be sent "
                "once more; the next deploy or `flowproject dev` records who listens",
            ) from error


def _noted_mark(mark: Mark) -> dict[str, Json]:
    noted: dict[str, Json] = asdict(mark)
    if not mark.in_order:
        # As earlier versions wrote it, so that these can read it.
        del noted["in_order"]
    return noted


def _moments(noted: Mapping[str, str]) -> dict[str, dt.datetime]:
    return {flow: dt.datetime.fromisoformat(moment) for flow, moment in noted.items()}


def _noted(name: str, moments: Mapping[str, dt.datetime | None]) -> dict[str, Json]:
    """The moments under this name; nothing if there are none."""
    told: dict[str, Json] = {flow: one.isoformat() for flow, one in sorted(moments.items()) if one}
    return {name: told} if told else {}
