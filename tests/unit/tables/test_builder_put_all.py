"""A listing in any order is put in order, cut along what was known, and compared exactly."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.tables.builder import Built, TableBuilder
from flowproject.tables.manifest import IDENTITY, NEW, SPAN_ROWS
from flowproject.tables.object_rows import no_rows
from flowproject.tables.table import ObjectTable
from tests.unit.tables.objects import (
    CUTS,
    TABLES,
    Objects,
    look,
    numbered,
    objects_in,
    rows_of,
)


def take_all(past: ObjectTable | None, rows: Any, *, listed: int, ordered: bool = False) -> Built:
    builder = TableBuilder(past, view="view")
    builder.put_all(rows, listed=listed, ordered=ordered)
    return builder.finish()


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=CUTS, order=st.randoms(use_true_random=False))
def test_in_any_order_it_is_the_same_table_and_the_same_difference(
    old: Objects, new: Objects, cuts: set[bytes], order: Random
):
    past = look(None, old, cuts).items.recorded("first")
    expected = look(past, new)
    keys = list(new)
    order.shuffle(keys)
    built = take_all(past, rows_of(new, keys), listed=len(keys))
    assert list(built.difference.added) == list(expected.difference.added)
    assert list(built.difference.modified) == list(expected.difference.modified)
    assert list(built.difference.removed) == list(expected.difference.removed)
    assert built.fingerprint == expected.fingerprint
    assert objects_in(built.items.values()) == new
    assert not built.items.manifest.ordered


@settings(deadline=None)
@given(objects=TABLES)
def test_of_rows_with_the_same_key_the_last_counts(objects: Objects):
    earlier = {key: facts._replace(size=99) for key, facts in objects.items()}
    first, then = rows_of(earlier, reversed(earlier)), rows_of(objects, objects)
    import pyarrow as pa

    built = take_all(None, pa.concat_tables([first, then]), listed=2 * len(objects))
    assert objects_in(built.items.values()) == objects


def test_a_second_look_at_the_same_keeps_every_span():
    objects = numbered(2 * SPAN_ROWS + 1)
    past = take_all(None, rows_of(objects), listed=len(objects)).items.recorded("first")
    built = take_all(past, rows_of(objects), listed=len(objects))
    assert not built.moved
    assert built.items.manifest.segments == ("first",)


def test_many_rows_are_cut_into_spans_of_about_equal_size():
    objects = numbered(2 * SPAN_ROWS + 1)
    manifest = take_all(None, rows_of(objects), listed=len(objects)).items.manifest
    assert [span.count for span in manifest.spans] == [2667, 2667, 2667]


def test_a_span_that_grew_a_little_stays_one_span():
    objects = numbered(SPAN_ROWS + 10)
    old = dict(list(objects.items())[:SPAN_ROWS])
    past = take_all(None, rows_of(old), listed=SPAN_ROWS).items.recorded("first")
    built = take_all(past, rows_of(objects), listed=len(objects))
    assert [span.count for span in built.items.manifest.spans] == [SPAN_ROWS + 10]
    assert built.difference.counts == {"added": 10, "modified": 0, "removed": 0}


def test_only_spans_whose_content_changed_are_written():
    objects = numbered(2 * SPAN_ROWS + 1)
    past = take_all(None, rows_of(objects), listed=len(objects)).items.recorded("first")
    changed = objects | {b"key-000001": objects[b"key-000001"]._replace(size=9)}
    built = take_all(past, rows_of(changed), listed=len(objects))
    assert built.items.manifest.segments == ("first", NEW)
    assert built.items.manifest.rows == (len(objects), 2667)


def test_keys_that_are_no_items_are_counted_once():
    objects = numbered(2 * SPAN_ROWS + 1)
    manifest = take_all(None, rows_of(objects), listed=len(objects) + 5).items.manifest
    assert manifest.listed == len(objects) + 5
    assert manifest.count == len(objects)


def test_nothing_is_a_table_too():
    past = take_all(None, rows_of(numbered(3)), listed=3).items.recorded("first")
    built = take_all(past, no_rows(), listed=0)
    assert len(built.difference.removed) == 3
    assert len(take_all(None, no_rows(), listed=0).items) == 0


def test_what_the_server_sent_by_range_is_compared_when_it_lists_as_a_whole():
    objects = numbered(10)
    past = look(None, objects, (b"key-000004",), identity=IDENTITY).items.recorded("first")
    built = take_all(past, rows_of(objects), listed=10)
    assert not any(built.difference.counts.values())
    assert built.items.manifest.segments == ("first",)
