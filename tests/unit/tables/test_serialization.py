"""A difference of any size and kind survives its journey through a file, and is read lazily."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, Item, diff, item
from flowproject.tables import serialization
from flowproject.tables.lazy_rows import LazyRows
from flowproject.tables.serialization import (
    read_difference,
    read_items,
    write_difference,
    write_items,
)
from tests.unit.tables.objects import CUTS, IDENTITIES, TABLES, Objects, look, numbered

NAMES = st.text(st.characters(), min_size=1, max_size=6)
DATA = st.dictionaries(NAMES, st.none() | st.integers() | st.text(st.characters()), max_size=3)
ITEMS = st.dictionaries(NAMES, DATA, max_size=8).map(
    lambda rows: {key: item(key, data) for key, data in rows.items()}
)


class DamagedError(Exception):
    """What a journal would make of a damaged table."""


def written(difference: Difference) -> bytes:
    file = BytesIO()
    write_difference(file, difference)
    return file.getvalue()


def opening(content: bytes) -> Callable[[], BinaryIO]:
    return lambda: BytesIO(content)


def whole(difference: Difference) -> Difference:
    """The same, in memory."""
    return difference.first(10**9)


def of_objects(old: Objects, new: Objects, **options: Any) -> Difference:
    past = look(None, old, **options).items.recorded("first")
    return look(past, new, **options).difference


@settings(deadline=None)
@given(old=TABLES, new=TABLES, cuts=CUTS, identity=IDENTITIES)
def test_what_happened_to_objects_is_read_as_it_was_written(
    old: Objects, new: Objects, cuts: set[bytes], identity: tuple[str, ...]
):
    difference = of_objects(old, new, cuts=cuts, identity=identity)
    again = read_difference(opening(written(difference)))
    assert again.counts == difference.counts
    assert whole(again) == whole(difference)


@settings(deadline=None)
@given(old=ITEMS, new=ITEMS)
def test_what_happened_to_other_items_is_read_as_it_was_written(
    old: dict[str, Item], new: dict[str, Item]
):
    difference = diff(old, new)
    again = read_difference(opening(written(difference)))
    assert again.counts == difference.counts
    assert whole(again) == difference
    assert read_items(write_items(new)) == new


@settings(deadline=None)
@given(old=ITEMS, new=ITEMS)
def test_what_a_first_version_wrote_can_still_be_read(old: dict[str, Item], new: dict[str, Item]):
    difference = diff(old, new)
    again = read_difference(opening(as_first_version(difference)))
    assert again.counts == difference.counts
    assert whole(again) == difference


def as_first_version(difference: Difference) -> bytes:
    """The difference as it was written when all of it was in memory: kinds in one group."""
    sides: list[tuple[str, Item | None, Item | None]] = [
        *(("added", None, new) for new in difference.added),
        *(("modified", old, new) for old, new in difference.modified),
        *(("removed", old, None) for old in difference.removed),
    ]
    columns = {"kind": pa.array([kind for kind, _, _ in sides], pa.string())}
    for place, prefix in ((1, "old_"), (2, "new_")):
        items = [side[place] for side in sides]
        columns[f"{prefix}key"] = pa.array([i and raw(i.key) for i in items], pa.binary())
        versions = [i and bytes.fromhex(i.version) for i in items]
        columns[f"{prefix}version"] = pa.array(versions, pa.binary(16))
        data = [i and raw(json.dumps(i.data)) for i in items]
        columns[f"{prefix}data"] = pa.array(data, pa.binary())
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def test_objects_have_columns_of_their_own():
    difference = of_objects(numbered(9), numbered(12, size=2))
    again = read_difference(opening(written(difference)))
    assert isinstance(again.modified, LazyRows)
    assert isinstance(again.added, LazyRows)
    added, modified = again.added.to_arrow().read_all(), again.modified.to_arrow().read_all()
    assert added.schema.names == ["key", "size", "etag", "modified", "version_id"]
    assert modified["old_size"].to_pylist() == [1] * 9
    assert modified["new_size"].to_pylist() == [2] * 9
    assert modified["key"].to_pylist() == [key.decode() for key in numbered(9)]


def test_other_items_are_shown_as_json():
    difference = diff({"a": item("a", {"n": 1})}, {"a": item("a", {"n": 2}), "b": item("b", {})})
    again = read_difference(opening(written(difference)))
    assert isinstance(again.added, LazyRows)
    assert isinstance(again.modified, LazyRows)
    assert again.added.to_arrow().read_all().to_pylist() == [{"key": "b", "data": "{}"}]
    (edit,) = again.modified.to_arrow().read_all().to_pylist()
    assert (edit["old_data"], edit["new_data"]) == ('{"n":1}', '{"n":2}')


def test_objects_and_other_items_together_are_written_as_items():
    objects = of_objects({}, numbered(2))
    mixed = Difference(added=objects.added, removed=(item("z", {"n": 1}),))
    assert whole(read_difference(opening(written(mixed)))) == whole(mixed)


@settings(deadline=None)
@given(old=ITEMS, new=ITEMS)
def test_a_difference_that_was_read_can_be_written_again(
    old: dict[str, Item], new: dict[str, Item]
):
    difference = diff(old, new)
    again = read_difference(opening(written(read_difference(opening(written(difference))))))
    assert whole(again) == difference


def test_it_is_written_in_groups_and_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serialization, "_GROUP_ROWS", 10)
    cuts = [b"key-%06d" % number for number in range(0, 100, 4)]
    old, new = numbered(100), numbered(80, size=2)
    content = written(of_objects(old, new, cuts=cuts))
    parquet = pq.ParquetFile(BytesIO(content))
    rows = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert max(rows) < 20
    difference = read_difference(opening(content))
    assert difference.counts == {"added": 0, "modified": 80, "removed": 20}
    assert len(list(difference.modified)) == 80
    assert len(list(difference.removed)) == 20


def test_rows_can_be_iterated_again_and_side_by_side():
    difference = read_difference(opening(written(of_objects({}, numbered(20)))))
    assert list(difference.added) == list(difference.added)
    assert all(one == other for one, other in zip(difference.added, difference.added, strict=True))
    assert next(iter(difference.added)) in difference.added
    assert "key-000000" not in difference.added


def test_nothing_happened_is_a_difference_too():
    assert whole(read_difference(opening(written(Difference())))) == Difference()


@settings(deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), typed=st.booleans())
def test_a_flipped_bit_is_damage_or_does_not_matter(
    place: int,
    bit: int,
    typed: bool,  # noqa: FBT001 - hypothesis gives it by name
):
    difference = (
        of_objects(numbered(5), numbered(9, size=2))
        if typed
        else diff({"a": item("a", {"n": 1})}, {"a": item("a", {"n": 2}), "b": item("b", {})})
    )
    altered = bytearray(written(difference))
    altered[place % len(altered)] ^= 1 << bit
    try:
        found = whole(read_difference(opening(bytes(altered)), DamagedError))
    except DamagedError:
        return
    assert found.counts == difference.counts
    assert [new.key for _, new in found.modified] == [new.key for _, new in difference.modified]


@pytest.mark.parametrize("content", [b"", b"no Parquet", b"PAR1\x00\x00\x00\x00PAR1"])
def test_what_is_no_difference_is_damage(content: bytes):
    with pytest.raises(DamagedError):
        read_difference(opening(content), DamagedError)


def test_another_table_is_damage():
    with pytest.raises(DamagedError):
        read_difference(opening(write_items({"a": item("a", {})})), DamagedError)


def test_items_that_are_none_are_damage():
    content = written(Difference())
    for wrong in (b"", b"no Parquet", content):
        with pytest.raises(ValueError, match=r"\w"):
            read_items(wrong)
