"""Files that hold too much in vain are written anew, and not a row is lost."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.tables.builder import TableBuilder
from flowproject.tables.compact import compact, is_wasteful
from flowproject.tables.spans import NEW, Manifest
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


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=CUTS, order=st.randoms(use_true_random=False))
def test_it_holds_every_row_there_was(old: Objects, new: Objects, cuts: set[bytes], order: Random):
    past = look(None, old, cuts).items.recorded("first")
    table = look(past, new, cuts, order=order).items
    small = compact(table)
    assert objects_in(small.values()) == new
    assert small.manifest.fingerprint == table.manifest.fingerprint
    assert small.manifest.listed == table.manifest.listed
    assert small.manifest.segments == ((NEW,) if new else ())
    assert sum(small.manifest.rows) == len(new)


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=CUTS)
def test_the_next_look_compares_with_it_as_with_any_other(
    old: Objects, new: Objects, cuts: set[bytes]
):
    past = look(None, old, cuts).items
    small = compact(past).recorded("small")
    expected = look(past.recorded("first"), new).difference
    found = look(small, new, cuts).difference
    assert list(found.added) == list(expected.added)
    assert list(found.modified) == list(expected.modified)
    assert list(found.removed) == list(expected.removed)


def wide(count: int) -> ObjectTable:
    """A table of many spans with more than half of what fits into one each."""
    builder = TableBuilder(None, view="view")
    for number in range(count):
        low = f"{number - 1:03d}" if number else None
        rows = rows_of({b"%03d" % number: next(iter(numbered(1).values()))})
        builder.put(low, f"{number:03d}", listed=1500, digest=f"digest {number}", rows=rows)
    return builder.finish().items


def test_spans_of_the_usual_size_keep_their_digests():
    table = wide(3)
    assert [s.digest for s in compact(table).manifest.spans] == [
        s.digest for s in table.manifest.spans
    ]


def test_small_neighbours_become_one_span_that_equals_no_digest():
    table = look(None, numbered(10), (b"key-000002", b"key-000004")).items
    (span,) = compact(table).manifest.spans
    assert (span.last, span.listed, span.count, span.digest) == ("key-000009", 10, 10, "")


def test_many_segments_are_too_many():
    segments = tuple(f"segment-{number}" for number in range(33))
    assert is_wasteful(Manifest(view="", total=0, spans=(), segments=segments))
    assert not is_wasteful(Manifest(view="", total=0, spans=(), segments=segments[:32]))


def test_more_rows_in_vain_than_needed_are_wasteful():
    manifest = look(None, numbered(10)).items.manifest
    assert not is_wasteful(replace(manifest, rows=(20,)))
    assert is_wasteful(replace(manifest, rows=(21,)))
