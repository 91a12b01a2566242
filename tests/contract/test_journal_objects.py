"""Tables of very many objects in a journal: segments are shared, and none is lost or left over."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flowproject.changes.difference import Difference, Item, item
from flowproject.errors import JournalError
from flowproject.journal import DamagedTableError, Journal, Store, Superseded, prune
from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.object_rows import object_rows
from flowproject.tables.table import ObjectTable
from tests.journals import CountingStore, entry, journal_on, mark, resolve

Sizes = dict[str, int]
"""The objects of a bucket: sizes by key, all of them letters and a number."""


def look(sizes: Sizes, past: ObjectTable | None = None, *, digest: str = "") -> Built:
    """What a source makes of a bucket: a span for each first letter, as in the past if equal."""
    builder = TableBuilder(past, view="test")
    known = past.manifest.spans if past else ()
    low = None
    for letter in "abc":
        keys = sorted(key for key in sizes if key.startswith(letter))
        raw = digest + repr([(key, sizes[key]) for key in keys])
        same = next((span for span in known if span.digest == raw), None)
        if same:
            builder.keep(same)
        else:
            rows = object_rows(
                [key.encode() for key in keys],
                [sizes[key] for key in keys],
                ["etag"] * len(keys),
                ["2026-11-22T10:00:00.000Z"] * len(keys),
            )
            builder.put(low, f"{letter}~", listed=len(keys), digest=raw, rows=rows)
        low = f"{letter}~"
    return builder.finish()


def record(journal: Journal, seq: int, built: Built, outcome: str = "changed") -> ObjectTable:
    recorded = journal.record(entry(seq, outcome=outcome), built.items, built.difference)
    return objects(journal, recorded.seq)


def objects(journal: Journal, seq: int) -> ObjectTable:
    recorded = journal.get(seq)
    assert recorded is not None
    items = journal.snapshots.items(recorded)
    assert isinstance(items, ObjectTable)
    return items


def sizes_of(items: ObjectTable) -> Sizes:
    return {item.key: int(str(item.data["size"])) for item in items.values()}


def names(store: Store, ending: str) -> list[str]:
    return [key for key in store.keys("flowproject") if key.endswith(ending)]


FIRST = {"a1": 1, "a2": 2, "b1": 3, "c1": 4}
SECOND = {"a1": 1, "a2": 9, "a3": 5, "b1": 3}


def test_objects_and_what_happened_to_them_are_read_back(journal: Journal) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    assert sizes_of(first) == FIRST
    assert len(first) == 4
    second = record(journal, 2, look(SECOND, first))
    assert sizes_of(second) == SECOND
    recorded = journal.head().entry
    assert recorded is not None
    difference = journal.snapshots.difference(recorded)
    assert difference.counts == {"added": 1, "modified": 1, "removed": 1}
    assert [added.key for added in difference.added] == ["a3"]
    assert [(old.data["size"], new.data["size"]) for old, new in difference.modified] == [(2, 9)]
    assert [removed.key for removed in difference.removed] == ["c1"]


def test_a_change_writes_only_what_differs(journal: Journal, store: Store) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    second = record(journal, 2, look({**FIRST, "c2": 7}, first))
    assert second.manifest.segments[0] == first.manifest.segments[0]
    assert len(names(store, "-rows.parquet")) == 2
    spans = zip(first.manifest.spans, second.manifest.spans, strict=True)
    assert [old == new for old, new in spans] == [True, True, False]


LATER = {"a1": 5, "a2": 6, "b1": 3, "c1": 7}
LATEST = {**LATER, "a1": 8, "a2": 9}


def wasteful(journal: Journal) -> Built:
    """A look after which one row is in use of each older file, not recorded yet."""
    first = record(journal, 1, look(FIRST), "baseline")
    return look(LATEST, record(journal, 2, look(LATER, first)))


def test_files_that_hold_too_much_in_vain_are_written_anew(journal: Journal) -> None:
    built = wasteful(journal)
    assert len(built.items.manifest.segments) == 3
    table = record(journal, 3, built)
    assert len(table.manifest.segments) == 1
    assert sum(table.manifest.rows) == len(LATEST)
    assert sizes_of(table) == LATEST


def test_a_file_that_is_gone_does_not_keep_a_change_from_being_recorded(
    journal: Journal, store: Store
) -> None:
    built = wasteful(journal)
    store.delete(built.items.manifest.segments[0])
    built.items.opened.clear()
    assert record(journal, 3, built).manifest.segments[0] == built.items.manifest.segments[0]


def test_a_first_look_at_objects_writes_them_once(journal: Journal, store: Store) -> None:
    record(journal, 1, look(FIRST), "baseline")
    assert [key.partition("tables/")[2][24:] for key in store.keys(f"{journal.location}/tables")]
    assert names(store, "-difference.parquet") == []
    head = journal.head().entry
    assert head is not None
    assert journal.snapshots.difference(head) == Difference()


def test_an_empty_bucket_is_a_table_without_rows(journal: Journal, store: Store) -> None:
    empty = record(journal, 1, look({}), "baseline")
    assert sizes_of(empty) == {}
    assert names(store, "-rows.parquet") == []
    assert sizes_of(record(journal, 2, look(FIRST, empty))) == FIRST


def test_a_superseded_look_leaves_nothing_and_takes_nothing_of_the_past(
    journal: Journal, store: Store
) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    record(journal, 2, look(SECOND, first))
    before = store.keys("flowproject")
    with pytest.raises(Superseded):
        record(journal, 2, look({**FIRST, "b2": 8}, first))
    assert store.keys("flowproject") == before
    assert sizes_of(objects(journal, 1)) == FIRST


def test_of_many_looks_at_once_exactly_one_records_and_its_table_is_whole(store: Store) -> None:
    first = record(journal_on(store), 1, look(FIRST), "baseline")

    def attempt(number: int) -> bool:
        changed = replace(entry(2), reason=f"look {number}")
        built = look({**FIRST, "b2": number}, first)
        try:
            journal_on(store).record(changed, built.items, built.difference)
        except Superseded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert sizes_of(objects(journal_on(store), 2)).keys() == {*FIRST, "b2"}
    assert len(names(store, "-rows.parquet")) == 2


def test_an_unchanged_look_with_new_digests_is_remembered(journal: Journal, store: Store) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    again = look(FIRST, first, digest="another server's XML ")
    assert again.moved
    assert not any(again.difference.counts.values())
    journal.snapshots.remember(head, first, again.items)
    remembered = objects(journal, 1)
    assert remembered.manifest == again.items.manifest != first.manifest
    assert sizes_of(remembered) == FIRST
    assert len(names(store, "-rows.parquet")) == 1


def test_an_unchanged_look_without_anything_new_writes_nothing(store: Store) -> None:
    counting = CountingStore(store)
    journal = journal_on(counting)
    first = record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    counting.requests.clear()
    journal.snapshots.remember(head, first, look(FIRST, first).items)
    journal.snapshots.remember(head, {"a": item("a", {})}, {"a": item("a", {})})
    assert counting.requests == []


@pytest.mark.parametrize("seq", [1, 2])
def test_a_memo_of_other_items_is_passed_over(journal: Journal, seq: int) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    journal.snapshots.remember(head, first, look(FIRST, first, digest="new ").items)
    second = record(journal, 2, look(SECOND, first))
    assert sizes_of(objects(journal, seq)) == (FIRST, SECOND)[seq - 1]
    assert objects(journal, 2).manifest == second.manifest


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"snapshot": 1}', b"\xff"])
def test_a_damaged_memo_is_no_error(journal: Journal, store: Store, damage: bytes) -> None:
    record(journal, 1, look(FIRST), "baseline")
    store.put(f"{journal.location}/items-memo.json", damage)
    assert sizes_of(objects(journal, 1)) == FIRST


def test_a_memo_with_a_flipped_digest_is_passed_over(journal: Journal, store: Store) -> None:
    first = record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    journal.snapshots.remember(head, first, look(FIRST, first, digest="new ").items)
    key = f"{journal.location}/items-memo.json"
    memo = json.loads(store.get(key) or b"")
    memo["manifest"]["total"] = "0" * 32
    store.put(key, json.dumps(memo).encode())
    assert objects(journal, 1).manifest == first.manifest


def test_a_memo_that_can_not_be_written_is_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class WithoutMemo(CountingStore):
        def put(self, key: str, content: bytes) -> None:
            if key.endswith("items-memo.json"):
                raise JournalError("disk full")
            self._store.put(key, content)

    journal = journal_on(WithoutMemo(store))
    first = record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    journal.snapshots.remember(head, first, look(FIRST, first, digest="new ").items)
    assert "disk full" in caplog.text


def test_the_items_of_an_unchanged_look_cost_two_reads_of_little(store: Store) -> None:
    counting = CountingStore(store)
    journal = journal_on(counting)
    record(journal, 1, look(FIRST), "baseline")
    head = journal.head().entry
    assert head is not None
    counting.requests.clear()
    journal.snapshots.items(head)
    assert counting.requests == ["get", "get"]


def test_lost_and_damaged_rows_are_said_to_be_so_when_they_are_read(
    journal: Journal, store: Store
) -> None:
    record(journal, 1, look(FIRST), "baseline")
    (rows,) = names(store, "-rows.parquet")
    whole = store.get(rows) or b""
    for damage in (b"no parquet", whole[:-20], whole[:40] + b"????" + whole[44:]):
        store.put(rows, damage)
        with pytest.raises(DamagedTableError, match="damaged"):
            sizes_of(objects(journal, 1))
    store.delete(rows)
    items = objects(journal, 1)
    with pytest.raises(DamagedTableError, match="is gone"):
        sizes_of(items)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"v": 9}'])
def test_a_damaged_manifest_is_said_to_be_one(
    journal: Journal, store: Store, damage: bytes
) -> None:
    record(journal, 1, look(FIRST), "baseline")
    (manifest,) = names(store, "-items.json")
    store.put(manifest, damage)
    with pytest.raises(DamagedTableError, match="damaged"):
        objects(journal, 1)
    store.delete(manifest)
    with pytest.raises(DamagedTableError, match="is gone"):
        objects(journal, 1)


def test_pruning_keeps_the_segments_that_the_two_newest_manifests_name(
    journal: Journal, store: Store
) -> None:
    items, sizes = record(journal, 1, look(FIRST), "baseline"), dict(FIRST)
    for seq in range(2, 9):
        sizes["c1"] = 100 + seq
        items = record(journal, seq, look(sizes, items))
        recorded = journal.get(seq)
        assert recorded is not None
        mark(journal, recorded)
        resolve(journal, recorded)
    prune(store, journal, journal.head(), keep=3)
    kept = {*items.manifest.segments, *objects(journal, 7).manifest.segments}
    assert {*names(store, "-rows.parquet")} <= kept
    assert len(names(store, "-items.json")) == 2
    assert sizes_of(objects(journal, 8)) == sizes
    assert sizes_of(objects(journal, 7)) == {**sizes, "c1": 107}


def test_pruning_removes_no_segment_if_a_manifest_can_not_tell(
    journal: Journal, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    items = record(journal, 1, look(FIRST), "baseline")
    for seq in (2, 3, 4):
        items = record(journal, seq, look({**FIRST, "c1": seq}, items))
    before = names(store, "-rows.parquet")
    store.put(names(store, "-items.json")[-1], b"?")
    prune(store, journal, journal.head(), keep=1)
    assert names(store, "-rows.parquet") == before
    assert "might be needed" in caplog.text


def test_pruning_removes_what_a_tick_that_died_left(journal: Journal, store: Store) -> None:
    items = record(journal, 1, look(FIRST), "baseline")
    orphan = f"{journal.location}/tables/0000000001-0123456789ab-rows.parquet"
    coming = f"{journal.location}/tables/0000000004-0123456789ab-rows.parquet"
    for key in (orphan, coming):
        store.put(key, b"rows")
    for seq in (2, 3):
        items = record(journal, seq, look({**FIRST, "c1": seq}, items))
    prune(store, journal, journal.head(), keep=1)
    assert not store.exists(orphan)
    assert store.exists(coming), "another tick may be writing its table now"


def test_small_and_large_tables_follow_each_other(journal: Journal) -> None:
    few: dict[str, Item] = {"a": item("a", {"n": 1})}
    journal.record(entry(1), few, Difference())
    built = look(FIRST)
    journal.record(entry(2), built.items, built.difference)
    journal.record(entry(3), few, Difference())
    known = [journal.get(seq) for seq in (3, 2, 1)]
    found = [journal.snapshots.items(one) for one in known if one]
    assert found[0] == found[2] == few
    assert len(found[1]) == len(FIRST)
