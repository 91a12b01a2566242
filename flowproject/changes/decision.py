"""Decides whether an observation is a change, from what was known and what is seen.

Also the words for it: every outcome carries a reason that a person can read.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from typing import Final, Generic, TypeAlias, TypeVar

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.columns import ColumnsChange, columns_change, table_of
from flowproject.changes.difference import Difference, Item, diff, shortened_pair
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Items, Observation, fingerprint_items

__all__ = [
    "Decision",
    "Held",
    "Hold",
    "as_if_finished",
    "compare",
    "compare_again",
    "decide",
    "finished",
    "hold_back",
    "what_differs",
]

_SHOWN_CHARACTERS: Final = 60
_MOST_COLUMNS: Final = 5
_SHORT_CHARACTERS: Final = 40

_Row = dict[str, Json]

_NOTED: Final = 100
"""Items that wait of which it is noted since when: the memo that says so stays small."""

_AT_HAND: Final = 10_000
"""Modified items that are held in memory; more of them are read again whenever they are wanted."""

Edits: TypeAlias = Collection[tuple[Item, Item]]
"""Items as they were and as they are."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a tick and why."""

    outcome: str
    reason: str

    @property
    def records(self) -> bool:
        """Whether the journal gets an entry."""
        return self.outcome in ("baseline", "changed", "forced")


@dataclass(frozen=True, kw_only=True)
class Hold:
    """When a change must wait: `settle` seconds of quiet, and a marker file in its folder.

    With `releases` an item that has waited for `longest` seconds goes as it is (0: never).
    """

    settle: float = 0.0
    marker: str = ""
    longest: float = 0.0
    releases: bool = False


def compare(
    known: Items | None,
    seen: Observation,
    columns: ColumnsChange | None = None,
    key: Sequence[str] = (),
) -> Difference:
    """What happened to the items of a source since `known`; empty if it has none.

    If their `columns` changed, rows are compared in those that they have in common; and if one of
    `key` is of another type, it is the same row whose key both types write alike.
    """
    old, new = _by_key(known), _by_key(seen.items)
    if not columns:
        return diff(old, new)
    names = _columns_of_key(seen, key)
    if columns.modified.keys() & set(names):
        alike = [{columns.key_of(item, names): item for item in it.values()} for it in (old, new)]
        # Two rows whose keys are written alike in one of the types would become one.
        if (len(alike[0]), len(alike[1])) == (len(old), len(new)):
            return _in_order(diff(alike[0], alike[1], columns.is_seen_in))
    return diff(old, new, columns.is_seen_in)


def compare_again(
    difference: Difference, seen: Observation, columns: ColumnsChange | None, key: Sequence[str]
) -> Difference:
    """What is left of a difference whose rows were compared whole, if their `columns` changed."""
    if not columns:
        return difference
    if not columns.modified.keys() & set(_columns_of_key(seen, key)):
        # Of a column that was added each row is another one: none is held that is not to be told.
        return replace(difference, modified=_seen_edits(difference.modified, columns.is_seen_in))
    old = {
        item.key: item for item in (*difference.removed, *(old for old, _ in difference.modified))
    }
    new = {item.key: item for item in difference.arrived}
    return compare(old, replace(seen, items=new), columns, key)


def _columns_of_key(seen: Observation, key: Sequence[str]) -> list[str]:
    # Engines do not agree on the case of names, nor do people who write them in `key`.
    names = {one.casefold() for one in key}
    return [name for name in seen.columns if name.casefold() in names]


def _seen_edits(edits: Edits, is_seen: Callable[[Item, Item], bool]) -> Edits:
    """Those of many modified items that differ in what is seen of them, few of them at hand."""
    seen = tuple(islice((pair for pair in edits if is_seen(*pair)), _AT_HAND + 1))
    if len(seen) <= _AT_HAND:
        return seen
    count = sum(is_seen(*pair) for pair in edits)
    return _Without(edits, lambda pair: not is_seen(*pair), len(edits) - count)


def _in_order(difference: Difference) -> Difference:
    return Difference(
        added=tuple(sorted(difference.added, key=lambda item: item.key)),
        modified=tuple(sorted(difference.modified, key=lambda pair: pair[1].key)),
        removed=tuple(sorted(difference.removed, key=lambda item: item.key)),
    )


def _by_key(items: Items | None) -> Mapping[str, Item]:
    if items is None or isinstance(items, Mapping):
        return items or {}
    # A table that is too large for this comes with a difference of its own: its source compares.
    return {item.key: item for item in items.values()}


def decide(  # one return for each outcome reads better than nested branches
    head: Entry | None,
    seen: Observation,
    difference: Difference,
    *,
    first: str,
    force: bool,
    waiting: str = "",
    definition: str = "",
    schema_change: str = "change",
) -> Decision:
    """The outcome of comparing `seen` with the newest state in the journal.

    Args:
        head: the newest entry, or None if the sensor has never been looked at or was reset.
        seen: what the source looks like now.
        difference: what happened to its items.
        first: `baseline` or `fire`, the policy for a sensor without a state.
        force: publish even if nothing changed.
        waiting: why all of a change must wait, or an empty string (see `hold_back`).
        definition: digest of what is watched, to tell an edited query from changed data.
        schema_change: `change` if that the columns of a query's result are others is a change by
            itself, `compare` if only their rows are compared.
    """
    if head is None:
        return _first_look(seen, first=first, force=force, waiting=waiting)
    # An edited query may have other columns on purpose: they are then no change beneath it.
    is_edited = definition != head.definition
    columns = columns_change(head.columns, seen.columns)
    beneath = ColumnsChange() if is_edited else columns
    same = (
        head.fingerprint == seen.fingerprint
        or _same_items(head, seen, difference)
        or _same_rows(head, seen, beneath)
    )
    if same and not beneath and not force:
        # Asked before what must wait: what is as it was need not wait for anything.
        since = head.moment.strftime("%Y-%m-%d %H:%M:%S")
        return Decision(outcome="unchanged", reason=f"still {_state(seen)}, since {since} UTC")
    if waiting and not force:
        return Decision(outcome="settling", reason=waiting)
    # A forced change that is one says what changed, as if nobody had forced it.
    if same and force:
        told = str(beneath) or "nothing changed"
        return Decision(outcome="forced", reason=f"forced, {told}: {_state(seen)}")
    if same:
        told = f"{beneath}; no row differs in the others"
        if schema_change == "change":
            return Decision(outcome="changed", reason=told)
        # Recorded, because otherwise every later tick would compare with the old columns.
        return Decision(outcome="baseline", reason=f"{told}, remembered")
    words = [str(columns), _what_happened(head, seen, difference)]
    edited = "what is watched was edited: " if is_edited else ""
    return Decision(outcome="changed", reason=edited + "; ".join(filter(None, words)))


def _first_look(seen: Observation, *, first: str, force: bool, waiting: str) -> Decision:
    if force:
        return Decision(outcome="forced", reason=f"forced on the first look: {_state(seen)}")
    # Asked before what must wait: nothing is published, so nothing half there reaches a flow.
    if first == "baseline":
        return Decision(outcome="baseline", reason=f"first look, remembered: {_state(seen)}")
    if waiting:
        return Decision(outcome="settling", reason=waiting)
    return Decision(outcome="changed", reason=f"first look, first = 'fire': {_state(seen)}")


@dataclass(frozen=True, kw_only=True)
class Held:
    """The items that must wait, by key, each as it was before (None: it was not there).

    `reason` says what the oldest of them waits for, and `oldest` since when it has waited. `since`
    is that of some of them, for the next look: what is written all the time is never old by its own
    time. `overdue` is how many have waited for longer than they should, `released` how many go
    although they are not finished, and `lacked` what one of these waited for.
    """

    items: Mapping[str, Item | None] = field(default_factory=dict)
    reason: str = ""
    oldest: dt.datetime | None = None
    since: Mapping[str, str] = field(default_factory=dict)
    overdue: int = 0
    released: int = 0
    lacked: str = ""


def hold_back(
    hold: Hold,
    difference: Difference,
    seen: Items,
    *,
    now: dt.datetime,
    since: Mapping[str, str] | None = None,
    written: Item | None = None,
) -> Held:
    """Which of the items that arrived must wait, and why: the others need not wait for them.

    `since` is what was noted at the look before. If they are rows of files of which `written` was
    written last, they wait for it together.
    """
    if not hold.marker and not hold.settle:
        return Held()
    # Rows of a query do not say which file they stand in, so all wait for the newest file.
    if written is not None:
        return Held(reason=_is_fresh(written, hold.settle, now))
    waits = _marker_lacks(hold.marker, seen)
    known = {key: dt.datetime.fromisoformat(moment) for key, moment in (since or {}).items()}
    arrived = chain(((None, new) for new in difference.added), difference.modified)
    held: dict[str, Item | None] = {}
    begun: dict[str, dt.datetime] = {}
    reason, lacked, overdue, released, oldest = "", "", 0, 0, None
    for old, new in arrived:
        why = waits(new) or _is_fresh(new, hold.settle, now)
        if not why:
            continue
        # What is written all the time has a new date at each look; the first look that saw it
        # counts.
        moment = min(filter(None, (known.get(new.key), _moment(new), now)))
        is_overdue = bool(hold.longest) and (now - moment).total_seconds() >= hold.longest
        if is_overdue and hold.releases:
            released, lacked = released + 1, lacked or why
            continue
        overdue += is_overdue
        held[new.key] = old
        if oldest is None or moment < oldest:
            # Of many it is the one that has waited longest which tells where to look.
            oldest, reason = moment, why
        # What was noted stays noted, or an item could begin to wait anew again and again.
        if new.key in known or len(begun) < _NOTED:
            begun[new.key] = moment
    return Held(
        items=held,
        reason=reason,
        oldest=oldest,
        since={key: moment.isoformat() for key, moment in begun.items()},
        overdue=overdue,
        released=released,
        lacked=lacked,
    )


def _marker_lacks(marker: str, seen: Items) -> Callable[[Item], str]:
    """What tells of an item why it waits for its marker, in its folder or one above."""

    # Cached by folder: a million items lie in a few folders, and each would climb to the top.
    @cache
    def finished(folder: str) -> bool:
        above, _, _ = folder.rpartition("/")
        here = f"{folder}/{marker}" if folder else marker
        return here in seen or (folder != "" and finished(above))

    def lacks(item: Item) -> str:
        folder = item.key.rpartition("/")[0]
        if not marker or finished(folder):
            return ""
        return f"waiting for {marker!r} in {folder or '.'!r}, where {item.key!r} arrived"

    return lacks


def _is_fresh(item: Item, settle: float, now: dt.datetime) -> str:
    """Why an item must settle: it was written less than `settle` seconds ago."""
    # A clock may be ahead of ours by as much. What is dated later than that is dated wrongly, and
    # must not hold a change back until then.
    age = _age(item, now) if settle else None
    if age is None or not -settle <= age < settle:
        return ""
    # Rounded down: what was written 3 s ago has settled after 3 s.
    return f"{item.key!r} was written {max(int(age), 0)} s ago; a change settles after {settle:g} s"


def finished(difference: Difference, held: Held) -> Difference:
    """The difference without the items that must wait."""
    waiting = held.items
    old = sum(one is not None for one in waiting.values())
    return Difference(
        added=_Without(difference.added, lambda item: item.key in waiting, len(waiting) - old),
        modified=_Without(difference.modified, lambda pair: pair[1].key in waiting, old),
        removed=difference.removed,
    )


def as_if_finished(seen: Observation, held: Held, difference: Difference) -> Observation:
    """What was seen, with the items that must wait as they were before they arrived."""
    items = _AsBefore(seen.items or {}, held.items)
    # `value` of a source of items is how many there are, unless it has a better one.
    is_number = seen.items is not None and seen.value == len(seen.items)
    return replace(
        seen,
        value=len(items) if is_number else seen.value,
        fingerprint=fingerprint_items(items.values()),
        items=items,
        difference=difference,
        # What the source noted is a claim about all that it saw, which is not recorded here.
        memo={},
    )


_T = TypeVar("_T")


@dataclass(frozen=True)
class _Without(Collection[_T], Generic[_T]):
    """Rows without those that `is_out`, of which there are `fewer`."""

    rows: Collection[_T]
    is_out: Callable[[_T], bool]
    fewer: int

    def __iter__(self) -> Iterator[_T]:
        return (row for row in self.rows if not self.is_out(row))

    def __contains__(self, wanted: object) -> bool:
        return any(row == wanted for row in self)

    def __len__(self) -> int:
        return len(self.rows) - self.fewer


@dataclass(frozen=True)
class _AsBefore:
    """Items with some of them as they were."""

    items: Items
    before: Mapping[str, Item | None]

    def __len__(self) -> int:
        return len(self.items) - sum(old is None for old in self.before.values())

    def __contains__(self, key: object) -> bool:
        if key in self.before:
            return self.before[str(key)] is not None
        return key in self.items

    def values(self) -> Iterator[Item]:
        for item in self.items.values():
            known = self.before.get(item.key, item)
            if known is not None:
                yield known


def _age(item: Item, now: dt.datetime) -> float | None:
    moment = _moment(item)
    return None if moment is None else (now - moment).total_seconds()


def _moment(item: Item) -> dt.datetime | None:
    modified = item.data.get("modified")
    return dt.datetime.fromisoformat(modified) if isinstance(modified, str) else None


def _same_items(head: Entry, seen: Observation, difference: Difference) -> bool:
    """Whether both have items and these are the same, compared by what counts today."""
    # After `ignore` was edited the fingerprints differ, and no item need have changed.
    both = head.total is not None and seen.items is not None
    return both and not any(difference.counts.values())


def _same_rows(head: Entry, seen: Observation, columns: ColumnsChange) -> bool:
    """Whether the rows of results without a key are the same in the columns that both have."""
    if not columns or head.total is not None or seen.items is not None:
        return False
    # The number of rows is kept with the cost, and tells one row from a list.
    rows = head.cost.get("rows")
    old = table_of(head.value, rows if isinstance(rows, int) else 0, head.columns)
    return not columns.is_seen_in_rows(old, table_of(seen.value, seen.cost.rows, seen.columns))


def _state(seen: Observation) -> str:
    if seen.state:
        return seen.state
    return _count(len(seen.items)) if seen.items is not None else _short(seen.value)


def _what_happened(head: Entry, seen: Observation, difference: Difference) -> str:
    counts = {kind: number for kind, number in difference.counts.items() if number}
    if counts:
        return ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    if seen.state:
        return f"now {seen.state}"
    return " → ".join(shortened_pair(dumps(head.value), dumps(seen.value), _SHOWN_CHARACTERS))


def _count(number: int) -> str:
    return f"{number:,} item" if number == 1 else f"{number:,} items"


def _short(value: Json) -> str:
    text = dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def what_differs(one: Observation, other: Observation) -> str:
    """The columns whose values differ, or how many rows came and went; both if both happened."""
    if one.items is None or other.items is None:
        return _in_whole(one, other)
    difference = compare(one.items, other)
    # A dict keeps the order of the columns, unlike a set.
    columns = dict.fromkeys(
        column for old, new in difference.modified for column in _differing(old.data, new.data)
    )
    told = [f"{_columns([*columns])} of {_rows(len(difference.modified))}"] if columns else []
    return " and ".join([*told, *_came_and_went(len(difference.added), len(difference.removed))])


def _in_whole(one: Observation, other: Observation) -> str:
    """Say what differs in results without a key, whose rows are told apart by all their values."""
    old, new = (table_of(seen.value, seen.cost.rows, seen.columns) for seen in (one, other))
    if len(old) == len(new) == 1:
        columns = _differing(old[0], new[0])
        texts = [dumps(rows[0].get(columns[0])) for rows in (old, new)]
        before, after = shortened_pair(texts[0], texts[1], _SHORT_CHARACTERS)
        return f"{_columns(columns)} ({before}, then {after})"
    # Rows without a key can't be paired; but if leaving one column out makes the results equal, it
    # is that column.
    if columns := _responsible(old, new):
        return _columns(columns)
    added, removed = _counted(new) - _counted(old), _counted(old) - _counted(new)
    return " and ".join(_came_and_went(added.total(), removed.total()))


def _differing(old: _Row, new: _Row) -> list[str]:
    return [column for column in {**old, **new} if old.get(column) != new.get(column)]


def _responsible(old: Sequence[_Row], new: Sequence[_Row]) -> list[str]:
    """The columns of which each alone makes all the difference."""
    columns = dict.fromkeys(column for row in (*old, *new) for column in row)
    return [
        column
        for column in columns
        if _counted(_without(old, column)) == _counted(_without(new, column))
    ]


def _without(rows: Sequence[_Row], left_out: str) -> list[_Row]:
    return [{key: value for key, value in row.items() if key != left_out} for row in rows]


def _counted(rows: Sequence[_Row]) -> Counter[str]:
    return Counter(map(dumps, rows))


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_MOST_COLUMNS]))
    more = f" and {len(names) - _MOST_COLUMNS} more" if len(names) > _MOST_COLUMNS else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def _came_and_went(added: int, removed: int) -> list[str]:
    if not added and not removed:
        return []
    return [f"{_rows(added)} came, {removed:,} went"]
