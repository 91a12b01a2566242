"""The journal keeps its promises on every store that it runs on."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, Item, diff, item
from flowproject.errors import JournalError, UsageError
from flowproject.journal import (
    DamagedEntryError,
    DamagedTableError,
    Head,
    Journal,
    Store,
    Superseded,
    open_store,
    prune,
)
from flowproject.journal.store import ReadAhead
from flowproject.tables.serialization import (
    read_difference,
    read_items,
    write_difference,
    write_items,
)
from tests.journals import CountingStore, entry, fill, journal_on, mark, resolve


def test_an_empty_journal_has_no_head_and_nothing_pending(journal: Journal) -> None:
    assert journal.head() == Head()
    assert list(journal.waiting(Head())) == []
    assert not journal.is_waiting(Head())
    assert journal.next_seq() == 1


def test_what_was_recorded_is_read_back_as_it_was(journal: Journal) -> None:
    before = {"a": item("a", {"n": 1}), "b": item("b", {"n": 2})}
    after = {"b": item("b", {"n": 3}), "c": item("c", {"n": None})}
    recorded = journal.record(entry(1), after, diff(before, after))
    assert journal.head() == Head(seq=1, entry=recorded, unresolved=(1,))
    assert journal.snapshots.items(recorded) == after
    assert journal.snapshots.difference(recorded).first(99) == diff(before, after)


def test_the_newest_entry_is_the_head(journal: Journal) -> None:
    fill(journal, 12)
    head = journal.head()
    assert head.seq == 12
    assert head.entry == journal.get(12)


def test_a_taken_number_supersedes_and_leaves_nothing_behind(
    journal: Journal, store: Store
) -> None:
    journal.record(entry(1), {"a": item("a", {})}, Difference())
    before = store.keys("flowproject")
    other = replace(entry(1), reason="another tick")
    with pytest.raises(Superseded):
        journal.record(other, {"a": item("a", {"n": 1})}, Difference())
    assert store.keys("flowproject") == before


def test_of_many_ticks_at_once_exactly_one_records(store: Store) -> None:
    def attempt(number: int) -> bool:
        try:
            journal_on(store).record(
                replace(entry(1), reason=f"tick {number}"), {"a": item("a", {})}, Difference()
            )
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_a_conflict_for_a_write_that_did_happen_is_a_success(store: Store) -> None:
    class Ambiguous(CountingStore):
        """Writes, and then says that the key was taken: a retry inside a client does that."""

        def create(self, key: str, content: bytes) -> bool:
            self._store.create(key, content)
            return False

    recorded = journal_on(Ambiguous(store)).record(entry(1), None, Difference())
    assert journal_on(store).head().entry == recorded


@pytest.mark.parametrize("memo", [None, b"", b"not json", b'{"seq": 2}', b'{"seq": 99}', b"[]"])
def test_the_memo_is_not_the_truth(journal: Journal, store: Store, memo: bytes | None) -> None:
    fill(journal, 5)
    if memo is None:
        store.delete(f"{journal.location}/head.json")
    else:
        store.put(f"{journal.location}/head.json", memo)
    assert journal.head().seq == 5


def test_a_memo_that_names_a_number_which_is_not_there_hides_nothing(
    journal: Journal, store: Store
) -> None:
    """It is written beside the entry: its tick died between the two, or failed."""
    fill(journal, 3, deliver=False)
    head = replace(journal.head(), takers={2: ("Flow/1",)})
    journal.memos.write_head(head.followed_by(entry(4)))
    counting = CountingStore(store)
    found = journal_on(counting).head()  # type: ignore[arg-type]
    assert (found.seq, found.entry, found.unresolved) == (3, head.entry, (1, 2, 3))
    assert found.takers == {2: ("Flow/1",)}, "nothing that the memo knew is lost"
    assert "keys" not in counting.requests
    assert journal.next_seq() == 4
    assert journal.record(entry(4), None, Difference(), found).seq == 4
    assert journal.head().unresolved == (1, 2, 3, 4)


def test_so_nothing_is_left_of_a_sensor_that_is_gone_since(journal: Journal) -> None:
    fill(journal, 3)
    assert journal.is_at_rest()
    journal.memos.write_head(journal.head().followed_by(entry(4)))
    assert journal.is_at_rest()
    journal.record(entry(4), None, Difference(), journal.head())
    assert not journal.is_at_rest()


def test_so_does_one_that_names_the_first_number(journal: Journal) -> None:
    journal.memos.write_head(Head().followed_by(entry(1)))
    assert journal.head() == Head()
    assert journal.next_seq() == 1


@pytest.mark.parametrize("outcome", ["changed", "baseline"])
def test_the_memo_of_a_tick_that_was_overtaken_leaves_no_number_out(
    journal: Journal, outcome: str
) -> None:
    """Two first looks at once, of which one is forced: what the other has is nobody's event."""
    journal.record(entry(1), None, Difference(), Head())
    with pytest.raises(Superseded):
        journal.record(entry(1, outcome=outcome, value="other"), None, Difference(), Head())
    assert journal.head().unresolved == (1,)


def test_an_entry_that_can_not_be_written_leaves_a_memo_that_is_of_no_harm(
    journal: Journal, store: Store
) -> None:
    fill(journal, 2)

    class Full(CountingStore):
        def __getattr__(self, name: str) -> Any:
            if name == "create":
                raise JournalError("The store is full")
            return super().__getattr__(name)

    before = journal.head()
    with pytest.raises(JournalError, match="full"):
        journal_on(Full(store)).record(entry(3), None, Difference(), before)  # type: ignore[arg-type]
    assert (journal.head().seq, journal.head().unresolved) == (2, before.unresolved)


def test_what_was_asked_ahead_is_told_once_and_forgotten_when_it_is_written(store: Store) -> None:
    store.put("a", b"old")
    ahead = ReadAhead(store)
    ahead.ask(("get", "a"), ("exists", "a"), ("get", "b"), ("exists", "b"), ("get", "c"))
    store.put("a", b"new")
    store.put("b", b"new")
    assert [ahead.get("a"), ahead.exists("b")] == [b"old", False]
    assert [ahead.get("a"), ahead.exists("b")] == [b"new", True]
    ahead.put("c", b"own")
    assert ahead.get("c") == b"own"


def test_a_question_that_failed_is_told_to_whoever_needs_its_answer(tmp_path: Path) -> None:
    (tmp_path / "entry.json").mkdir()
    ahead = ReadAhead(open_store(str(tmp_path)))
    ahead.ask(("get", "entry.json"), ("get", "other"))
    assert ahead.get("other") is None
    with pytest.raises(JournalError, match="folder is in its place"):
        ahead.get("entry.json")


def test_finding_the_head_costs_the_same_after_many_changes(store: Store) -> None:
    counting = CountingStore(store)
    journal = journal_on(counting)
    costs = []
    for target in (3, 120):
        head = journal.head()
        for seq in range(head.seq + 1, target + 1):
            recorded = journal.record(entry(seq), None, Difference())
            mark(journal, recorded)
            resolve(journal, recorded)
        counting.requests.clear()
        assert list(journal.waiting(journal.head())) == []
        costs.append(list(counting.requests))
    assert costs[0] == costs[1]
    assert len(costs[1]) == 3
    assert "keys" not in costs[1]


def test_pending_entries_come_oldest_first_and_stop_at_the_first_mark(journal: Journal) -> None:
    fill(journal, 2)
    for seq in (3, 4, 5):
        journal.record(entry(seq), None, Difference())
    assert [found.seq for found in journal.waiting(journal.head())] == [3, 4, 5]


def test_a_baseline_is_never_pending(journal: Journal) -> None:
    journal.record(entry(1, outcome="baseline"), None, Difference())
    assert list(journal.waiting(journal.head())) == []


def test_marking_twice_changes_nothing(journal: Journal) -> None:
    recorded = journal.record(entry(1), None, Difference())
    first = mark(journal, recorded)
    mark(journal, replace(recorded, recorded_at=entry(2).recorded_at))
    assert journal.outbox.mark(recorded) == first


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", b'{"v": 1}', b"[1]", b'"x"'])
def test_a_damaged_head_is_named_and_passed_over_once_it_is_noted(
    journal: Journal, store: Store, damage: bytes
) -> None:
    fill(journal, 3)
    store.put(journal.entry_key(3), damage)
    with pytest.raises(DamagedEntryError, match="is damaged") as caught:
        journal.head()
    journal.note_damage(caught.value)
    head = journal.head()
    assert (head.seq, head.entry and head.entry.seq) == (3, 2)
    assert store.get(journal.entry_key(3)) == damage, "what is left of it stays"
    assert journal.next_seq() == 4, "its number is not given again"


def test_an_entry_with_a_flipped_value_is_damaged(journal: Journal, store: Store) -> None:
    recorded = journal.record(entry(1, value=10), None, Difference())
    document = {**recorded.to_json(), "value": 11}
    store.put(journal.entry_key(1), json.dumps(document).encode())
    with pytest.raises(DamagedEntryError, match="digest"):
        journal.head()


def test_an_entry_of_a_later_version_is_not_taken_for_damage(
    journal: Journal, store: Store
) -> None:
    """Also if that has another kind of digest, or none."""
    document = {**journal.record(entry(1), None, Difference()).to_json(), "v": 99}
    store.put(journal.entry_key(1), json.dumps(document).encode())
    with pytest.raises(JournalError, match="or a newer one") as caught:
        journal.head()
    assert not isinstance(caught.value, DamagedEntryError)


def test_a_journal_of_damaged_entries_only_is_no_first_look(journal: Journal, store: Store) -> None:
    fill(journal, 1)
    store.put(journal.entry_key(1), b"?")
    with pytest.raises(DamagedEntryError) as caught:
        journal.head()
    journal.note_damage(caught.value)
    with pytest.raises(JournalError, match="flowproject reset s"):
        journal.head()
    assert journal.next_seq() == 2


def test_noted_damage_in_the_middle_hides_nothing_before_it(journal: Journal, store: Store) -> None:
    fill(journal, 5, deliver=False)
    store.put(journal.entry_key(3), b"?")
    with pytest.raises(DamagedEntryError) as caught:
        list(journal.waiting(journal.head()))
    journal.note_damage(caught.value)
    assert [found.seq for found in journal.waiting(journal.head())] == [1, 2, 4, 5]


def test_a_lost_or_damaged_table_is_said_to_be_one(journal: Journal, store: Store) -> None:
    recorded = journal.record(entry(1), {"a": item("a", {})}, Difference())
    store.put(recorded.snapshot, b"no parquet")
    with pytest.raises(DamagedTableError, match="is damaged"):
        journal.snapshots.items(recorded)
    store.delete(recorded.difference)
    with pytest.raises(DamagedTableError, match="is gone"):
        journal.snapshots.difference(recorded)


@pytest.mark.parametrize("folder", ["entries", "tables", "published", "damaged"])
def test_what_is_not_ours_is_passed_over(journal: Journal, store: Store, folder: str) -> None:
    fill(journal, 3)
    for name in (".DS_Store", "notes.txt", "12.json"):
        store.put(f"{journal.location}/{folder}/{name}", b"x")
    store.delete(f"{journal.location}/head.json")
    head = journal.head()
    assert head.seq == 3
    prune(store, journal, head, keep=1)
    assert len([key for key in store.keys(journal.location) if f"/{folder}/" in key]) >= 3


def test_a_memo_that_can_not_be_written_fails_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class WithoutMemo(CountingStore):
        def put(self, key: str, content: bytes) -> None:
            if key.endswith("head.json"):
                raise JournalError("disk full")
            self._store.put(key, content)

    journal_on(WithoutMemo(store)).record(entry(1), None, Difference())
    assert journal_on(store).head().seq == 1
    assert "disk full" in caplog.text


def test_pruning_keeps_the_newest_and_all_that_is_pending(journal: Journal, store: Store) -> None:
    for seq in range(1, 31):
        recorded = journal.record(entry(seq), {"a": item("a", {"n": seq})}, Difference())
        if seq <= 20:
            mark(journal, recorded)
            resolve(journal, recorded)
    head = journal.head()
    assert prune(store, journal, head, keep=5) > 0
    kept = [found for seq in range(1, 31) if (found := journal.get(seq))]
    assert [found.seq for found in kept] == list(range(21, 31))
    snapshots = [key for key in store.keys(journal.location) if key.endswith("-items.parquet")]
    assert len(snapshots) == 2
    assert journal.snapshots.items(kept[-1]) == {"a": item("a", {"n": 30})}
    assert not any(journal.snapshots.difference(found).counts["added"] for found in kept)


def test_journals_of_branches_and_sensors_do_not_meet(store: Store) -> None:
    journal_on(store).record(entry(1), None, Difference())
    for other in ({"branch": "test.x"}, {"sensor": "t"}, {"project": "q"}):
        place = {"project": "p", "branch": "user.me", "sensor": "s", **other}
        assert Journal(store, **place).head() == Head()


keys = st.text(st.characters(), min_size=1, max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
tables_of_items = st.dictionaries(
    keys, st.dictionaries(keys, json_values, max_size=3), max_size=8
).map(lambda rows: {key: item(key, data) for key, data in rows.items()})


@settings(max_examples=60, deadline=None)
@given(old=tables_of_items, new=tables_of_items)
def test_tables_survive_their_journey_through_parquet(
    old: dict[str, Item], new: dict[str, Item]
) -> None:
    assert read_items(write_items(new)) == new
    difference = diff(old, new)
    file = BytesIO()
    write_difference(file, difference)
    again = read_difference(lambda: BytesIO(file.getvalue()))
    assert again.counts == difference.counts
    assert again.first(99) == difference


def test_a_store_that_fails_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(JournalError, match="Datastore"):
        journal_on(open_store(str(tmp_path / "file"))).record(entry(1), None, Difference())


@pytest.mark.parametrize("branch", ["user.a/../b", "user.a/b", "user.a\\b", "user.a\nb"])
def test_a_branch_that_is_no_folder_is_refused_wherever_a_journal_is_opened(
    store: Store, branch: str
) -> None:
    """As in the loop, which records who listens before anything else."""
    with pytest.raises(UsageError, match="METAFLOW_USER"):
        Journal(store, project="p", branch=branch, sensor="s")
