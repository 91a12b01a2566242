"""A large table is read where it lies, no more of it than is asked for, and damage is said."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.tables.builder import TableBuilder
from flowproject.tables.manifest import NEW, Manifest, key_bytes, key_text
from flowproject.tables.table import ObjectTable, compact, needs_compaction
from tests.unit.tables.objects import (
    CUTS,
    KEYS,
    START,
    TABLES,
    Facts,
    Objects,
    look,
    numbered,
    objects_in,
    rows_of,
)


class DamagedError(Exception):
    """What a journal would make of a damaged table."""


class Remote(io.BytesIO):
    """A file that is not on this machine: it counts who opens and reads it."""

    def __init__(self, content: bytes, log: list[str]) -> None:
        super().__init__(content)
        self._log = log
        log.append("open")

    def read(self, size: int | None = -1, /) -> bytes:
        self._log.append("read")
        return super().read(size)


def recorded(objects: Objects, cuts: Any = ()) -> tuple[Manifest, bytes]:
    """A manifest and the content of its only segment."""
    items = look(None, objects, cuts).items
    with items.open_segment(NEW) as file:
        return items.manifest.recorded("rows"), file.read()


def opening(content: bytes, log: list[str] | None = None) -> Callable[[str], BinaryIO]:
    return lambda _: Remote(content, [] if log is None else log)


@settings(deadline=None)
@given(objects=TABLES, cuts=CUTS, low=st.none() | KEYS, high=st.none() | KEYS)
def test_a_window_has_the_rows_between_its_bounds(
    objects: Objects, cuts: set[bytes], low: bytes | None, high: bytes | None
):
    table = look(None, objects, cuts).items
    rows = table.between(
        None if low is None else key_text(low), None if high is None else key_text(high)
    )
    assert rows["key"].to_pylist() == sorted(
        key for key in objects if (low is None or low < key) and (high is None or key <= high)
    )


@settings(deadline=None)
@given(objects=TABLES, cuts=CUTS, keys=st.lists(KEYS, max_size=6))
def test_it_knows_which_keys_it_holds(objects: Objects, cuts: set[bytes], keys: list[bytes]):
    table = look(None, objects, cuts).items
    for key in [*keys, *objects]:
        assert (key_text(key) in table) == (key in objects)
    assert None not in table


def test_its_rows_can_be_had_as_batches_and_as_a_stream():
    table = look(None, numbered(10), [b"key-000004"]).items
    assert [batch.num_rows for batch in table.batches()] == [5, 5]
    stream = table.to_arrow().read_all()
    assert stream["key"].to_pylist() == [key_text(key) for key in numbered(10)]
    assert stream.schema.names == ["key", "size", "etag", "modified", "version_id"]


def test_keys_that_are_no_text_are_shown_with_their_bytes():
    table = look(None, {b"a\xff": Facts(1, None, START)}).items
    assert table.to_arrow().read_all()["key"].to_pylist() == ["a\\xff"]


def test_many_threads_read_it_at_once():
    manifest, content = recorded(numbered(400), [b"key-%06d" % n for n in range(0, 400, 10)])
    table = ObjectTable(manifest, opening(content))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(table.rows, manifest.spans * 4))
    assert [len(rows) for rows in read] == [span.count for span in manifest.spans] * 4


def test_a_few_groups_are_read_singly_and_many_from_a_copy():
    manifest, content = recorded(numbered(40), [b"key-%06d" % n for n in range(40)])
    log: list[str] = []
    table = ObjectTable(manifest, opening(content, log))
    reads = []
    for span in manifest.spans:
        table.rows(span)
        reads.append(log.count("read"))
    assert reads == sorted(reads)
    assert len(set(reads[:6])) == 6, "each of these was read where it is"
    assert len(set(reads[6:])) == 1, "and these were not"
    assert log.count("open") == 1


def test_a_file_on_this_machine_is_not_copied(tmp_path: Any):
    manifest, content = recorded(numbered(40), [b"key-%06d" % n for n in range(40)])
    (tmp_path / "rows").write_bytes(content)
    opened: list[str] = []

    def open_segment(name: str) -> BinaryIO:
        opened.append(name)
        return cast("BinaryIO", (tmp_path / name).open("rb"))

    assert len(list(ObjectTable(manifest, open_segment).values())) == 40
    assert opened == ["rows"]


def test_what_the_past_has_opened_stays_open_for_its_successor():
    objects, cuts = numbered(10), [b"key-000004"]
    manifest, content = recorded(objects, cuts)
    log: list[str] = []
    past = ObjectTable(manifest, opening(content, log))
    built = look(past, objects | {b"key-000000": Facts(9, "new", START)}, cuts)
    assert len(list(built.items.values())) == 10
    assert log.count("open") == 1


def damaged_table(content: bytes, manifest: Manifest) -> ObjectTable:
    return ObjectTable(manifest, opening(content), damaged=DamagedError)


@settings(deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_damage_or_does_not_matter(place: int, bit: int):
    objects = numbered(50)
    manifest, content = recorded(objects)
    altered = bytearray(content)
    altered[place % len(altered)] ^= 1 << bit
    try:
        keys = [key_bytes(item.key) for item in damaged_table(bytes(altered), manifest).values()]
    except DamagedError:
        return
    assert keys == list(objects)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no Parquet", id="something else"),
        pytest.param(b"PAR1" + b"\xff" * 100 + b"PAR1", id="a footer of noise"),
    ],
)
def test_what_is_no_table_is_damage(content: bytes):
    manifest, _ = recorded(numbered(3))
    table = damaged_table(content, manifest)
    with pytest.raises(DamagedError, match="'rows' can't be read"):
        list(table.values())
    with pytest.raises(DamagedError):
        assert "key-000001" in table


def test_a_file_that_was_cut_is_damage():
    manifest, content = recorded(numbered(3))
    with pytest.raises(DamagedError):
        list(damaged_table(content[: len(content) // 2], manifest).values())


def test_a_file_that_is_gone_is_damage():
    manifest, _ = recorded(numbered(3))

    def gone(name: str) -> BinaryIO:
        raise FileNotFoundError(name)

    with pytest.raises(DamagedError, match="rows"):
        list(ObjectTable(manifest, gone, damaged=DamagedError).values())


def test_the_wrong_file_is_damage():
    manifest, _ = recorded(numbered(3))
    _, fewer = recorded(numbered(2))
    with pytest.raises(DamagedError, match="2 rows where 3 belong"):
        list(damaged_table(fewer, manifest).values())
    longer, _ = recorded(numbered(3), [b"key-000000", b"key-000001"])
    _, one_group = recorded(numbered(1))
    with pytest.raises(DamagedError, match="no row group 1"):
        list(damaged_table(one_group, longer).values())


def test_a_damaged_past_stops_the_comparison():
    manifest, content = recorded(numbered(3))
    past = damaged_table(content[:-20], manifest)
    builder = TableBuilder(past, view="view")
    rows = look(None, numbered(3)).items.between(None, None)
    with pytest.raises(DamagedError):
        builder.put(None, "z", listed=3, digest="", rows=rows)


def test_what_opening_raises_for_reasons_of_its_own_is_passed_on():
    class RefusedError(Exception):
        pass

    def refused(_: str) -> BinaryIO:
        raise RefusedError

    manifest, _ = recorded(numbered(3))
    with pytest.raises(RefusedError):
        list(ObjectTable(manifest, refused, damaged=DamagedError).values())


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
    assert needs_compaction(Manifest(view="", total=0, spans=(), segments=segments))
    assert not needs_compaction(Manifest(view="", total=0, spans=(), segments=segments[:32]))


def test_more_rows_in_vain_than_needed_are_wasteful():
    manifest = look(None, numbered(10)).items.manifest
    assert not needs_compaction(replace(manifest, rows=(20,)))
    assert needs_compaction(replace(manifest, rows=(21,)))
