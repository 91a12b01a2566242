"""Whatever is listed, and through whatever windows, a table is compared exactly."""

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import get_ident

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference
from flowproject.tables.builder import TableBuilder
from flowproject.tables.manifest import IDENTITY, NEW, Span, key_bytes, key_text
from flowproject.tables.object_rows import FOLDER_ENDINGS, no_rows
from flowproject.tables.table import ObjectTable
from tests.unit.tables.objects import (
    CUTS,
    IDENTITIES,
    TABLES,
    Objects,
    look,
    numbered,
    objects_in,
    rows_of,
)

RANDOMS = st.randoms(use_true_random=False)


def first_look(
    objects: Objects, cuts: set[bytes] | tuple[bytes, ...] = (), **options: object
) -> ObjectTable:
    return look(None, objects, cuts, **options).items.recorded("first")  # type: ignore[arg-type]


def assert_leads(
    difference: Difference, old: Objects, new: Objects, identity: tuple[str, ...] = IDENTITY
) -> None:
    """Compare with brute force, by what the identity shows of the objects."""

    def seen(objects: Objects) -> dict[bytes, tuple[object, ...]]:
        return {key: facts.seen(identity) for key, facts in objects.items()}

    before, after = seen(old), seen(new)
    modified = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    found = seen(objects_in(difference.added))
    assert found == {key: after[key] for key in after.keys() - before.keys()}
    found = seen(objects_in(difference.removed))
    gone = {
        key
        for key in before.keys() - after.keys()
        if old[key].size or not key.endswith(FOLDER_ENDINGS)  # what only stood for a folder
    }
    assert found == {key: before[key] for key in gone}
    assert seen(objects_in(old for old, _ in difference.modified)) == {
        key: before[key] for key in modified
    }
    assert seen(objects_in(new for _, new in difference.modified)) == {
        key: after[key] for key in modified
    }
    assert all(old.version != new.version for old, new in difference.modified)
    assert difference.counts == {
        "added": len(after.keys() - before.keys()),
        "modified": len(modified),
        "removed": len(gone),
    }


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=st.tuples(CUTS, CUTS), identity=IDENTITIES, order=RANDOMS)
def test_what_was_added_modified_and_removed_is_what_brute_force_says(
    old: Objects,
    new: Objects,
    cuts: tuple[set[bytes], set[bytes]],
    identity: tuple[str, ...],
    order: Random,
):
    past = first_look(old, cuts[0], identity=identity)
    built = look(past, new, cuts[1], identity=identity, order=order)
    assert_leads(built.difference, old, new, identity)


@settings(deadline=None, max_examples=50)
@given(tables=st.lists(st.tuples(TABLES, CUTS), min_size=2, max_size=5), order=RANDOMS)
def test_look_after_look_the_table_is_what_is_there(
    tables: list[tuple[Objects, set[bytes]]], order: Random
):
    past, known = None, Objects()
    for number, (objects, cuts) in enumerate(tables):
        built = look(past, objects, cuts, order=order)
        fresh = look(None, objects)
        assert objects_in(built.items.values()) == objects
        assert len(built.items) == len(objects)
        assert built.fingerprint == fresh.fingerprint
        assert built.items.manifest.total == fresh.items.manifest.total
        assert_leads(built.difference, known, objects)
        past, known = built.items.recorded(f"segment-{number}"), objects


@settings(deadline=None)
@given(old=TABLES, new=TABLES, identity=IDENTITIES)
def test_fingerprints_are_equal_exactly_if_the_objects_look_the_same(
    old: Objects, new: Objects, identity: tuple[str, ...]
):
    one, other = (look(None, table, identity=identity) for table in (old, new))
    same = {k: f.seen(identity) for k, f in old.items()} == {
        k: f.seen(identity) for k, f in new.items()
    }
    assert (one.fingerprint == other.fingerprint) == same


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=CUTS)
def test_under_another_view_rows_are_compared_and_the_total_is_taken_anew(
    old: Objects, new: Objects, cuts: set[bytes]
):
    past = first_look(old, cuts, identity=("size",))
    built = look(past, new, cuts, view="another")
    assert_leads(built.difference, old, new)
    assert built.fingerprint == look(None, new).fingerprint


@settings(deadline=None)
@given(objects=TABLES, cuts=CUTS)
def test_a_table_that_is_kept_whole_is_the_same(objects: Objects, cuts: set[bytes]):
    past = first_look(objects, cuts)
    builder = TableBuilder(past, view="view")
    for span in past.manifest.spans:
        builder.keep(span)
    built = builder.finish()
    assert not built.moved
    assert built.items.manifest == past.manifest
    assert built.difference == Difference()
    assert built.fingerprint == past.manifest.fingerprint


@settings(deadline=None)
@given(objects=TABLES, cuts=CUTS)
def test_rows_that_did_not_change_stay_where_they_are_with_a_new_digest(
    objects: Objects, cuts: set[bytes]
):
    past = first_look(objects, cuts)
    builder = TableBuilder(past, view="view")
    for place, span in enumerate(past.manifest.spans):
        builder.put(
            past.manifest.low(place),
            span.last,
            listed=span.listed,
            digest=f"{span.digest} moved",
            rows=past.rows(span),
        )
    built = builder.finish()
    assert built.moved == bool(past.manifest.spans)
    assert built.items.manifest.segments == past.manifest.segments
    assert [(s.segment, s.group) for s in built.items.manifest.spans] == [
        (s.segment, s.group) for s in past.manifest.spans
    ]
    assert not any(built.difference.counts.values())


def test_a_longer_last_window_with_the_same_rows_needs_no_new_segment():
    past = first_look(numbered(10), (b"key-000004",))
    builder = TableBuilder(past, view="view")
    builder.keep(past.manifest.spans[0])
    rows = past.rows(past.manifest.spans[1])
    builder.put("key-000004", "zzz", listed=6, digest="with one that is no item", rows=rows)
    built = builder.finish()
    assert built.items.manifest.segments == ("first",)
    assert built.items.manifest.spans[-1].last == "zzz"


def test_only_the_windows_that_changed_are_written():
    old = numbered(100)
    new = old | numbered(10, size=2)
    cuts = {b"key-%06d" % number for number in range(9, 100, 10)}
    built = look(first_look(old, cuts), new, cuts)
    assert built.items.manifest.segments == ("first", NEW)
    assert built.items.manifest.rows == (100, 10)
    assert [span.segment for span in built.items.manifest.spans] == [1, *[0] * 9]


def test_a_key_that_holds_nothing_any_more_leaves_no_span():
    old = numbered(100)
    new = {key: facts for key, facts in old.items() if not b"key-000010" <= key < b"key-000050"}
    cuts = {b"key-%06d" % number for number in range(9, 100, 10)}
    built = look(first_look(old, cuts), new, cuts)
    assert len(built.items.manifest.spans) == 6
    assert all(span.listed for span in built.items.manifest.spans)
    assert built.items.manifest.segments == ("first",)


def test_everything_can_go():
    past = first_look(numbered(10), (b"key-000004",))
    built = look(past, {})
    assert len(built.difference.removed) == 10
    assert built.items.manifest.spans == ()
    assert built.items.manifest.segments == ()
    assert list(built.items.values()) == []
    assert built.fingerprint == look(None, {}).fingerprint


def test_keys_that_are_no_items_count_as_listed():
    builder = TableBuilder(None, view="view")
    builder.put(None, "z", listed=7, digest="", rows=no_rows())
    manifest = builder.finish().items.manifest
    assert (manifest.listed, manifest.count) == (7, 0)


def test_of_a_first_look_everything_was_added():
    built = look(None, numbered(10), (b"key-000004",))
    assert objects_in(built.difference.added) == numbered(10)
    assert built.moved


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param([], id="nothing"),
        pytest.param([("key-000003", "key-000009")], id="the first missing"),
        pytest.param([(None, "key-000003")], id="the last missing"),
        pytest.param([(None, "key-000002"), ("key-000003", "key-000009")], id="a gap"),
        pytest.param([(None, "key-000004"), ("key-000003", "key-000009")], id="an overlap"),
        pytest.param([(None, "key-000009")] * 2, id="one twice"),
    ],
)
def test_windows_that_do_not_cover_the_past_exactly_are_refused(
    seen: list[tuple[str | None, str]],
):
    past = first_look(numbered(10), (b"key-000003",))
    builder = TableBuilder(past, view="view")
    for low, high in seen:
        builder.put(low, high, listed=1, digest="", rows=past.between(low, high))
    with pytest.raises(RuntimeError, match="range"):
        builder.finish()


def test_only_spans_of_the_past_can_be_kept():
    past = first_look(numbered(10))
    foreign = Span(last="key-000009", listed=10, count=10, digest="another")
    for builder, span in [
        (TableBuilder(None, view="view"), foreign),
        (TableBuilder(past, view="view"), foreign),
        (TableBuilder(past, view="another"), past.manifest.spans[0]),
        (TableBuilder(past, view="view", identity=("size",)), past.manifest.spans[0]),
    ]:
        with pytest.raises(RuntimeError, match="no span of the past"):
            builder.keep(span)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([b"b", b"a"], id="not in order"),
        pytest.param([b"a", b"a"], id="twice the same"),
        pytest.param([b"a", b"d"], id="behind its window"),
        pytest.param([b"", b"b"], id="before its window"),
    ],
)
def test_rows_that_do_not_belong_into_their_window_are_refused(keys: list[bytes]):
    objects = dict.fromkeys(keys, next(iter(numbered(1).values())))
    builder = TableBuilder(None, view="view")
    with pytest.raises(RuntimeError, match="range"):
        builder.put("", "c", listed=2, digest="", rows=rows_of(objects, keys))


def test_many_threads_put_at_once_and_few_work_on_it():
    objects, workers = numbered(400), set()
    builder = TableBuilder(None, view="view")

    def put(number: int) -> None:
        low = key_text(b"key-%06d" % (number - 1)) if number else None
        high = b"key-%06d" % (number + 9)

        def rows() -> object:
            workers.add(get_ident())
            return rows_of(objects, [b"key-%06d" % n for n in range(number, number + 10)])

        builder.put(low, key_text(high), listed=10, digest="", rows=rows)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(0, 400, 10)))
    assert objects_in(builder.finish().items.values()) == objects
    assert len(workers) <= 2


def test_what_making_the_rows_raises_reaches_the_thread_that_puts_them():
    def rows() -> object:
        raise ValueError("the server sent nonsense")

    builder = TableBuilder(None, view="view")
    with pytest.raises(ValueError, match="nonsense"):
        builder.put(None, "z", listed=1, digest="", rows=rows)


def test_a_past_that_no_journal_has_recorded_is_refused():
    with pytest.raises(RuntimeError, match="record"):
        TableBuilder(look(None, numbered(1)).items, view="view")


def test_an_empty_past_is_a_past():
    past = look(None, {}).items
    built = look(past, numbered(3))
    assert built.difference.counts["added"] == 3
    assert [key_bytes(item.key) for item in built.difference.added] == list(numbered(3))
    assert key_text(b"key-000002") in built.items
