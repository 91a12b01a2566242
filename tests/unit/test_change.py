"""A change as a flow sees it: small facts from the event, the rest from the journal when asked."""

import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowproject.change import Change
from flowproject.changes.difference import Item, diff, item
from flowproject.changes.entry import Entry
from flowproject.changes.payload import decode, payload
from flowproject.errors import JournalError, SourceError
from flowproject.journal import Journal, Store, open_store

OLD = {known.key: known for known in (item("a", {"key": "a", "n": 1}), item("b", {"key": "b"}))}
NEW = {known.key: known for known in (item("a", {"key": "a", "n": 2}), item("c", {"key": "c"}))}
ENTRY = Entry(
    seq=2,
    id="f" * 32,
    project="demo",
    branch="user.me",
    sensor="days",
    outcome="changed",
    reason="1 added, 1 modified, 1 removed",
    value=2,
    previous=1,
    counts={"added": 1, "modified": 1, "removed": 1},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def change(store: Store) -> Callable[..., Change]:
    """Record an entry, and give the change that its event tells of."""

    def recorded(entry: Entry = ENTRY, new: dict[str, Item] = NEW) -> Change:
        journal = Journal(store, project="demo", branch="user.me", sensor="days")
        entry = journal.record(entry, new, diff(OLD, new))
        message: Any = payload(entry, payload_key="value", location=journal.entry_key(entry.seq))
        told: Any = decode(message["change"])
        return Change(told, lambda: store)

    return recorded


def never() -> Store:
    raise AssertionError("the journal was opened")


def test_small_facts_come_from_the_event_alone(change: Any) -> None:
    told = Change(change()._event, never)
    assert (told.id, told.seq, told.sensor) == (ENTRY.id, 2, "days")
    assert (told.value, told.previous) == (2, 1)
    assert told.counts == {"added": 1, "modified": 1, "removed": 1}
    assert told.reason == "1 added, 1 modified, 1 removed"
    assert repr(told) == "<change 2 of sensor 'days': 1 added, 1 modified, 1 removed>"


def test_the_attempt_is_the_first_unless_the_event_says_otherwise(change: Any) -> None:
    event = change()._event
    assert Change(event, never).attempt == 1
    assert Change({**event, "attempt": 2}, never).attempt == 2
    older = {key: value for key, value in event.items() if key != "attempt"}
    assert Change(older, never).attempt == 1, "as an older flowproject sent it"


def test_what_happened_to_the_items_is_read_from_the_journal(change: Any) -> None:
    told = change()
    assert told.added == [{"key": "c"}]
    assert told.removed == [{"key": "b"}]
    assert told.modified == [{"key": "a", "old": {"key": "a", "n": 1}, "new": {"key": "a", "n": 2}}]


def test_items_without_data_are_shown_by_their_key(change: Any) -> None:
    told = change(new={**OLD, "bare": item("bare", {})})
    assert told.added == [{"key": "bare"}]


def test_the_items_are_read_once(change: Any, store: Store) -> None:
    told = change()
    assert told.added
    for key in store.keys("flowproject"):
        store.delete(key)
    assert told.removed == [{"key": "b"}]


@pytest.mark.parametrize("name", ["value", "previous", "reason"])
def test_what_was_too_large_for_the_event_is_read_from_the_journal(change: Any, name: str) -> None:
    large = "x" * 80_000
    told = change(replace(ENTRY, **{name: large}))
    assert isinstance(told._event[name], dict), "left out"
    assert getattr(told, name) == large


def test_a_change_that_was_pruned_says_so_and_what_is_left(change: Any, store: Store) -> None:
    told = change()
    for key in store.keys("flowproject"):
        store.delete(key)
    assert told.value == 2
    with pytest.raises(JournalError, match="is not in the journal any more") as caught:
        _ = told.added
    assert "come with the event" in str(caught.value)


def test_another_change_under_the_same_number_is_not_taken_for_it(change: Any) -> None:
    told = change()
    other = Change({**told._event, "id": "0" * 32}, told._open_store)
    with pytest.raises(JournalError, match="is not in the journal"):
        _ = other.added


def test_the_sample_comes_with_the_event_or_from_the_journal(change: Any) -> None:
    assert Change(
        change(replace(ENTRY, sample={"added": [{"key": "c"}]}))._event, never
    ).sample == {"added": [{"key": "c"}]}
    large = {"added": [{"key": "x" * 80_000}]}
    told = change(replace(ENTRY, seq=3, sample=large))
    assert isinstance(told._event["sample"], dict)
    assert told.sample == large


def test_a_sample_that_is_nowhere_is_empty_so_that_no_card_fails(change: Any, store: Store) -> None:
    told = change(replace(ENTRY, sample={"added": [{"key": "x" * 80_000}]}))
    for key in store.keys("flowproject"):
        store.delete(key)
    assert told.sample == {}


def test_who_recorded_it_and_when_comes_with_the_event(change: Any) -> None:
    told = change(replace(ENTRY, recorded_at="2026-01-01T00:00:00+00:00", run="SensorFlow/7"))
    assert (told.recorded_at, told.run) == ("2026-01-01T00:00:00+00:00", "SensorFlow/7")
    older = {name: fact for name, fact in told._event.items() if name not in ("recorded_at", "run")}
    assert (Change(older, never).recorded_at, Change(older, never).run) == ("", "")


def test_counts_are_a_copy(change: Any) -> None:
    told = change()
    told.counts.clear()
    assert told.counts["added"] == 1


def test_changed_items_are_read_like_a_list(change: Any) -> None:
    many = {f"k{number:02}": item(f"k{number:02}", {"n": number}) for number in range(20)}
    added = change(new={**OLD, **many}).added
    everything = list(added)
    assert len(added) == len(everything) == 20
    for index in (0, -1, 19, slice(2), slice(3, 9, 2), slice(None, None, -1), slice(5, 2)):
        assert added[index] == everything[index]
    assert added == everything
    assert added != everything[:-1]
    assert repr(added).endswith("and 17 more]")
    with pytest.raises(IndexError):
        _ = added[20]


def test_changed_items_that_a_flow_keeps_as_an_artifact_are_a_list(change: Any) -> None:
    kept = pickle.loads(pickle.dumps(change().added))  # noqa: S301  # what Metaflow does
    assert kept == [{"key": "c"}]
    assert type(kept) is list


TYPED = replace(
    ENTRY,
    columns={"key": "VARCHAR", "n": "INTEGER"},
    columns_change={
        "added": {},
        "modified": {"n": {"old": "BIGINT", "new": "INTEGER"}},
        "removed": {"w": "DATE"},
    },
)


def test_changed_rows_have_the_columns_of_the_query_in_arrow(change: Any) -> None:
    told = change(TYPED)
    added, modified = told.added.to_arrow().read_all(), told.modified.to_arrow().read_all()
    assert added.to_pylist() == [{"key": "c", "n": None}]
    assert [str(kind) for kind in added.schema.types] == ["string", "int32"]
    assert modified.to_pylist() == [
        {"old_key": "a", "old_n": 1, "old_w": None, "new_key": "a", "new_n": 2}
    ]
    assert [str(kind) for kind in modified.schema.types] == [
        *("string", "int64", "date32[day]"),
        *("string", "int32"),
    ]
    removed = told.removed.to_arrow().read_all()
    assert removed.to_pylist() == [{"key": "b", "n": None, "w": None}]
    empty = change(replace(TYPED, seq=3), new=OLD)
    assert empty.added.to_arrow().read_all().schema == added.schema


def test_the_types_of_a_journal_that_has_none_are_those_of_its_values(change: Any) -> None:
    told = change()
    assert told.added.to_arrow().read_all().to_pylist() == [{"key": "c"}]
    [edited] = told.modified.to_arrow().read_all().to_pylist()
    assert edited == {"old_key": "a", "old_n": 1, "new_key": "a", "new_n": 2}
    same = change(replace(ENTRY, seq=3), new=OLD)
    assert same.added.to_arrow().read_all().num_rows == 0


def test_several_changes_together_have_the_columns_of_the_first_and_of_the_last(
    store: Store,
) -> None:
    journal = Journal(store, project="demo", branch="user.me", sensor="days")
    journal.record(TYPED, NEW, diff(OLD, NEW))
    newest = {**NEW, "d": item("d", {"key": "d", "n": 7})}
    last = replace(ENTRY, seq=3, id="e" * 32, columns={"key": "VARCHAR", "n": "SMALLINT"})
    entry = journal.record(last, newest, diff(NEW, newest))
    message: Any = payload(
        entry, payload_key="value", location=journal.entry_key(entry.seq), first_seq=2
    )
    told = Change(decode(message["change"]), lambda: store)  # type: ignore[arg-type]
    added = told.added.to_arrow().read_all()
    assert added.to_pylist() == [{"key": "c", "n": None}, {"key": "d", "n": 7}]
    assert str(added.schema.field("n").type) == "int16"
    assert told.removed.to_arrow().read_all().schema.names == ["key", "n", "w"]


def test_changed_rows_are_frames_of_pandas_and_polars(change: Any) -> None:
    added = change(TYPED).added
    assert added.to_pandas().to_dict("list")["key"] == ["c"]
    assert added.to_polars().to_dicts() == [{"key": "c", "n": None}]


@pytest.mark.parametrize("missing", ["polars", "pandas"])
def test_who_has_no_frames_is_told_what_to_install(
    change: Any, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    added = change(TYPED).added
    with pytest.raises(SourceError, match=f"needs {missing}, .* pip install {missing}"):
        _ = added.to_polars() if missing == "polars" else added.to_pandas()
