"""Give a flow the change that started its run: small facts at once, the rest when asked for."""

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final, SupportsIndex, overload

from flowproject.changes.canonical import Json
from flowproject.changes.columns import ColumnsChange, columns_before
from flowproject.changes.difference import Difference, Item, combine, edit
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Items, fingerprint_whole
from flowproject.config.data import Data
from flowproject.errors import FlowError, JournalError, QueryError, closest
from flowproject.journal import Combination, Head, Journal, Store
from flowproject.sources import (
    KeepsVersions,
    Source,
    address_of_item,
    open_source,
    read_item,
)
from flowproject.tables.arrow import frame, polars_frame
from flowproject.tables.lazy_rows import are_objects, as_text
from flowproject.tables.object_rows import object_schema
from flowproject.tables.table import ObjectTable
from flowproject.tables.typed_rows import edits_in_columns, rows_in_columns

__all__ = [
    "Change",
    "ChangedItem",
    "ChangedItems",
    "Changes",
    "change_asked_of",
    "journal_of",
]

# Items in a `repr`: a debugger or a failed assertion prints it without being asked.
_SHOWN: Final = 3


Place = Callable[[], tuple[Data, Path]]
"""Tells where the source of a change is: what the configuration says of it, and the folder."""


def _unknown_place() -> tuple[Data, Path]:
    raise FlowError(
        "Where the source of this change is, is not known here",
        where="The change was made without its project",
        fix="Read it as `self.change` of a flow, or by `flowproject.Project`",
    )


class ChangedItem(dict[str, Json]):
    """A row by column name, or a file or object with `key`, `size` and so on, and with a path."""

    def __init__(self, values: Mapping[str, Json], place: Place) -> None:
        super().__init__(values)
        self._place = place

    @property
    def path(self) -> str:
        """Where the file or object can be opened: a path, or a URL such as `s3://bucket/key`.

        Raises:
            SourceError: if it is a row.
        """
        return address_of_item(*self._place(), str(self.get("key", "")))

    def read(self) -> bytes:
        """The content of the file or object as it was when it was seen; of a modified one the new.

        Raises:
            SourceError: if it is another one by now and the source does not keep what it was, or
                if it is a row.
        """
        new = self.get("new")
        return read_item(*self._place(), {**self, **(new if isinstance(new, dict) else {})})

    def __reduce__(self) -> tuple[type[dict[str, Json]], tuple[dict[str, Json]]]:
        # As an artifact it is a plain dictionary, which is read without this class.
        return dict, (dict(self),)


class ChangedItems(Sequence[ChangedItem]):
    """Items of one kind, in the order of their keys: millions of them take no memory.

    They are read while they are iterated; to pick one by its number reads all before it.
    """

    def __init__(
        self,
        items: Collection[Any],
        show: Callable[[Any], dict[str, Json]],
        place: Place,
        in_columns: Callable[[Collection[Any]], Any],
    ) -> None:
        self._items = items
        self._show = show
        self._place = place
        self._in_columns = in_columns

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[ChangedItem]:
        return (ChangedItem(self._show(item), self._place) for item in self._items)

    @overload
    def __getitem__(self, index: int) -> ChangedItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[ChangedItem]: ...

    def __getitem__(self, index: int | slice) -> ChangedItem | list[ChangedItem]:
        wanted = range(len(self))[index]
        # Items are read in order from compressed blocks: there is no way to one of them but past
        # the others.
        if isinstance(wanted, int):
            return next(islice(self, wanted, None))
        # Read once from the first to the last that is wanted, whatever the step and its sign.
        first, end = min(wanted, default=0), max(wanted, default=-1) + 1
        found = list(islice(self, first, end))
        return [found[number - first] for number in wanted]

    def __eq__(self, other: object) -> bool:
        # Flows compare with lists, `change.added == [...]`, and should not have to know this class.
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __repr__(self) -> str:
        few = ", ".join(map(repr, islice(self, _SHOWN)))
        more = f", and {len(self) - _SHOWN:,} more" if len(self) > _SHOWN else ""
        return f"[{few}{more}]"

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[ChangedItem]]]:
        # As an artifact it is a list: what the journal keeps may be pruned, an artifact is not.
        return list, (list(self),)

    def to_arrow(self) -> Any:
        """The items as a `pyarrow.RecordBatchReader`, which gives one batch after the other.

        Rows of a query have the columns of its result, with the types that they had in the engine;
        objects have `key`, `size` and so on. A modified item has each column as it was and as it
        is: `old_amount`, `new_amount`. `.read_all()` makes a table; DuckDB reads it as it is.

        Raises:
            FlowError: if a value is none of the column's type, while it is read.
        """
        if are_objects(self._items):
            return self._items.to_arrow()
        return self._in_columns(self._items)

    def to_pandas(self) -> Any:
        """What `to_arrow` gives as a `pandas.DataFrame`, all of it in memory.

        Raises:
            SourceError: if pandas is not installed.
        """
        return frame(self.to_arrow().read_all(), "`to_arrow` gives the same")

    def to_polars(self) -> Any:
        """What `to_arrow` gives as a `polars.DataFrame`, all of it in memory.

        Raises:
            SourceError: if polars is not installed, or has no type for a column.
        """
        return polars_frame(self.to_arrow().read_all())


class Change:
    """A change that started a run: what it was, from what, to what.

    The event carries the small facts; `added`, `modified` and `removed` are read from the
    journal when they are first asked for.
    """

    def __init__(
        self,
        event: Mapping[str, Any],
        open_journal_store: Callable[[], Store],
        place: Place = _unknown_place,
    ) -> None:
        self._event = event
        self._open_store = open_journal_store
        self._place = place

    @property
    def id(self) -> str:
        """The id of the change: the same each time it is delivered."""
        return str(self._event["id"])

    @property
    def seq(self) -> int:
        """The number of the change in its sensor's journal."""
        return int(self._event["seq"])

    @property
    def first_seq(self) -> int:
        """The number of the oldest change that came with it; its own, unless several piled up."""
        return int(self._event.get("first_seq", self.seq))

    @property
    def attempt(self) -> int:
        """How often it was meant to be delivered: 1, and one more for each `flowproject replay`."""
        return int(self._event.get("attempt", 1))

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
    def sample(self) -> dict[str, Json]:
        """The first few items of each kind, as `added` and so on give them: enough for a card.

        It comes with the event, or from the journal if it was too large; empty if neither has it.
        """
        try:
            return dict(self._small(self._event.get("sample", {}), "sample"))  # type: ignore[arg-type]  # it is an object
        # A sample is for cards and logs: a run must not fail because its journal is out of reach.
        except JournalError:
            return {}

    @property
    def columns(self) -> dict[str, Json]:
        """What happened to the columns of a query's result; empty if they are as they were.

        By kind and name: `added` and `removed` with the type of each column, `modified` with its
        `old` and its `new` type.
        """
        return dict(self._small(self._event.get("columns", {}), "columns_change"))  # type: ignore[arg-type]  # it is an object

    @property
    def version(self) -> dict[str, Json]:
        """Which version of the source it is, of a source that keeps versions; otherwise empty.

        Of a table `version` and `table` say which, `rows` how many rows it has, and `commits` what
        was committed since the version before, the oldest first; of a query on Snowflake
        `statement` is the id of the statement that saw it.
        """
        return dict(self._small(self._event.get("version", {}), "version"))  # type: ignore[arg-type]  # it is an object

    @property
    def previous_version(self) -> dict[str, Json]:
        """Which version it was before, as `version` says it."""
        return dict(self._event.get("previous_version", {}))

    @property
    def recorded_at(self) -> str:
        """When a tick recorded it, in UTC (ISO 8601); empty if its event does not say so."""
        return str(self._event.get("recorded_at", ""))

    @property
    def run(self) -> str:
        """The run of that tick, as `Flow/id`; empty if its event does not say so."""
        return str(self._event.get("run", ""))

    @property
    def added(self) -> ChangedItems:
        """The items that are new: rows by column name, or files with key, size and so on.

        A file or object has a `path` that can be opened: `change.added[0].path`.
        """
        return ChangedItems(
            self._difference.added,
            lambda item: item.shown,
            self._place,
            lambda items: _in_columns(items, self._columns_after),
        )

    @property
    def modified(self) -> ChangedItems:
        """The items that are not what they were, as `{"key": ..., "old": {...}, "new": {...}}`."""
        return ChangedItems(
            self._difference.modified,
            lambda pair: edit(*pair),
            self._place,
            lambda edits: edits_in_columns(edits, self._columns_before, self._columns_after),
        )

    @property
    def removed(self) -> ChangedItems:
        """The items that are gone, as they were last seen."""
        return ChangedItems(
            self._difference.removed,
            lambda item: item.shown,
            self._place,
            lambda items: _in_columns(items, self._columns_before),
        )

    @property
    def snapshot(self) -> ChangedItems:
        """All items as the sensor saw them with this change: what the journal has of them.

        Of a result without a key they are its rows. A replay reads the same.

        Raises:
            JournalError: if it has none of them: of a table, or of a result of many rows, without
                a key only the whole is known.
        """
        return ChangedItems(
            self._snapshot,
            lambda item: item.shown,
            self._place,
            self._snapshot_in_columns,
        )

    def as_it_was(self) -> "Source | _RecordedQuery":
        """Give what answers queries about the source of this change as the sensor saw it.

        Raises:
            FlowError: if where it is, is not known.
        """
        data, root = self._place()
        source = open_source(data, root)
        if self.version and isinstance(source, KeepsVersions):
            return source.at(self.version)
        return _RecordedQuery(self, data)

    def __repr__(self) -> str:
        return f"<change {self.seq} of sensor {self.sensor!r}: {self.reason}>"

    @cached_property
    def _difference(self) -> Difference:
        # A decision of the outbox has its difference worked out over all of its changes already.
        if self._decision is not None or self.first_seq == self.seq:
            return self._journal.snapshots.difference(self._entry)
        earlier = self._journal.all_at(Head(), range(self.first_seq, self.seq))
        return combine(
            [self._journal.snapshots.difference(entry) for entry in (*earlier, self._entry)]
        )

    @cached_property
    def _snapshot(self) -> Collection[Item]:
        entry = self._entry
        if entry.total is not None:
            return _KeptItems(self._journal.snapshots.items(entry))
        # A value that stands for rows looks like a row of the user's; a version has its table.
        if "table" in entry.version or entry.fingerprint == fingerprint_whole(entry.value):
            raise JournalError(
                "The journal has no rows of this change: without a key only the whole is known",
                where=f"{self._journal.location}, number {self.seq}",
                allowed="`change.value` says what is known of them",
                fix='Name the columns that identify a row, key = ["..."], in the [data] of sensor '
                f"{self.sensor!r}: then each row is kept",
            )
        # A single row stands by itself, and of one with one column only its value does.
        value, names = entry.value, [*entry.columns]
        if isinstance(value, list) and all(_is_row(row, names) for row in value):
            rows = [row for row in value if isinstance(row, dict)]
        elif isinstance(value, dict) and _is_row(value, names):
            rows = [value]
        else:
            rows = [{names[0] if names else "value": value}]
        return tuple(Item(key="", version="", data=row) for row in rows)

    def _snapshot_in_columns(self, items: Collection[Item]) -> Any:
        kept = items.kept if isinstance(items, _KeptItems) else None
        if isinstance(kept, ObjectTable):
            return kept.to_arrow()
        return _in_columns(items, self._columns_after)

    @property
    def _columns_after(self) -> Mapping[str, str]:
        return {**self._entry.columns, **self._entry.types}

    @cached_property
    def _columns_before(self) -> Mapping[str, str]:
        """The columns of what was there before the oldest of the changes that came together."""
        entry = self._entry
        if self._decision is None and self.first_seq < self.seq:
            entry = self._journal.get(self.first_seq) or entry
        change = ColumnsChange.from_json(entry.columns_change)
        before = columns_before(entry.columns, change)
        # What is said besides is said of the columns that stayed as they were.
        return {
            name: entry.types.get(name, kind) if entry.columns.get(name) == kind else kind
            for name, kind in before.items()
        }

    @cached_property
    def _entry(self) -> Entry:
        entry = self._journal.get(self.seq)
        # A journal that was reset counts from 1 again: the number alone may be another change's.
        if entry is None or entry.id != self.id:
            raise JournalError(
                f"Change {self.id} is not in the journal any more",
                where=f"{self._journal.location}, number {self.seq}",
                allowed="The journal keeps the newest entries only; `change.value`, `.previous` "
                "and `.counts` come with the event",
            )
        return self._decision.applied_to(entry) if self._decision else entry

    @cached_property
    def _decision(self) -> Combination | None:
        """The decision to send just these changes together, if that is how they came here.

        Otherwise the run itself took several: a flow that waits for others has not seen them yet.
        """
        # It stands with its first change. One that ends at another change is not this event's.
        first = self._journal.get(self.first_seq) if self.first_seq < self.seq else None
        decision = self._journal.outbox.combination(first) if first else None
        return decision if decision and decision.last == self.seq else None

    @cached_property
    def _journal(self) -> Journal:
        return journal_of(self._event, self._open_store())

    def _small(self, sent: Json, name: str) -> Json:
        """What the event has, or what the journal keeps if it was too large for the event."""
        # What is too large for an event has its size in its place (see `limits`).
        if isinstance(sent, dict) and sent.keys() == {"left_out_bytes"}:
            kept: Json = getattr(self._entry, name)
            return kept
        return sent


class _KeptItems(Collection[Item]):
    """The items of a snapshot, which are read when they are iterated."""

    def __init__(self, kept: Items) -> None:
        self.kept = kept

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.kept.values())

    def __contains__(self, wanted: object) -> bool:
        return any(wanted == found for found in self)


class _RecordedQuery:
    """Answers the query of a sensor with the rows that the journal has of a change.

    For sources that keep no versions: no other query can be asked of what was there.
    """

    def __init__(self, change: Change, data: Data) -> None:
        self._change = change
        self._data = data

    def query(self, name: str, params: Mapping[str, Any]) -> list[dict[str, Json]]:
        """The rows of the sensor's query, in the order of their keys.

        Raises:
            QueryError: if it is another query, or has parameters.
            JournalError: if the journal does not have the change any more.
        """
        self._check(name, params)
        return [dict(row) for row in self._change.snapshot]

    def query_arrow(self, name: str, params: Mapping[str, Any]) -> Any:
        """The same rows as a pyarrow.Table.

        Raises:
            QueryError: if it is another query, or has parameters.
            JournalError: if the journal does not have the change any more.
        """
        self._check(name, params)
        return self._change.snapshot.to_arrow().read_all()

    def _check(self, name: str, params: Mapping[str, Any]) -> None:
        watched = getattr(self._data, "query", "")
        if name == watched and not params:
            return
        able = f"self.query({watched!r}, at=self.change)" if watched else "self.change.snapshot"
        raise QueryError(
            f"Query {name!r} can't be asked of the source as it was",
            where=f"at=self.change, sensor {self._change.sensor!r} of type {self._data.type!r}",
            allowed="Of this change no version of the source is known, so there is only what the "
            "journal has: the rows that the sensor saw, without parameters",
            fix=f"Read them, and filter them in the flow: {able}",
        )


class Changes(tuple[Change, ...]):
    """The changes that started a run, newest first; each is also found by its sensor's name."""

    __slots__ = ()

    @overload
    def __getitem__(self, which: SupportsIndex) -> Change: ...

    @overload
    def __getitem__(self, which: slice) -> tuple[Change, ...]: ...

    @overload
    def __getitem__(self, which: str) -> Change: ...

    def __getitem__(self, which: SupportsIndex | slice | str) -> Change | tuple[Change, ...]:
        if not isinstance(which, str):
            return super().__getitem__(which)
        found = {change.sensor: change for change in self}
        if which not in found:
            raise FlowError(
                f"No change of sensor {which!r} started this run",
                where="self.changes",
                allowed=f"Changes of {', '.join(found)}" if found else "It was started by hand",
                fix=closest(which, found),
            )
        return found[which]


def change_asked_of(parameters: dict[str, object]) -> Change | None:
    """Take the change out of what a flow asks a query with, if `at` is one."""
    # A parameter of the SQL may have that name, too.
    change = parameters.get("at")
    if not isinstance(change, Change):
        return None
    del parameters["at"]
    return change


def _is_row(value: Json, names: Sequence[str]) -> bool:
    return isinstance(value, dict) and value.keys() == {*(names or value)}


def _in_columns(items: Collection[Any], columns: Mapping[str, str]) -> Any:
    # Nothing, of which nobody said what it is: a source of objects, of which none changed.
    if not items and not columns:
        return as_text(object_schema(), ())
    return rows_in_columns(items, columns)


def journal_of(event: Mapping[str, Any], store: Store) -> Journal:
    """The journal that keeps the change of which `event` tells."""
    return Journal(
        store,
        project=str(event["project"]),
        branch=str(event["branch"]),
        sensor=str(event["sensor"]),
    )
