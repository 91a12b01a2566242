"""Tables of many rows: where a key is looked for, and what is added to what was known."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from flowproject.changes.canonical import digest
from flowproject.changes.difference import Difference, Item
from flowproject.changes.observation import fingerprint_items
from flowproject.tables import row_table
from flowproject.tables.row_comparison import compare_known_rows
from flowproject.tables.row_table import RowTable, RowWriter
from flowproject.tables.segments import Segment, SegmentWriter


def text(value: int) -> str:
    return f'{{"v":{value}}}'


def item(key: str, value: int) -> Item:
    return Item(key=key, version=digest(text(value)), data={"v": value})


def table(keys: Sequence[str]) -> RowTable:
    writer = RowWriter()
    for key in keys:
        writer.add([key], [text(1)])
    return writer.table().recorded("first")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of the groups that are read, of tables with two rows in a group."""
    monkeypatch.setattr(row_table, "_GROUP_ROWS", 2)
    groups: list[int] = []

    def noted(self: Segment, group: int, schema: Any) -> Any:
        groups.append(group)
        return original(self, group, schema)

    original = Segment.read
    monkeypatch.setattr(Segment, "read", noted)
    return groups


def test_keys_are_looked_for_only_in_groups_that_may_have_them(read: list[int]):
    known = table(["a", "b", "k", "m", "x", "z"])
    assert known.places(["m", "c", "zz"]) == {"m": 3}
    assert read == [1]


def test_keys_are_looked_for_everywhere_in_a_file_that_does_not_say_what_it_has(
    read: list[int], monkeypatch: pytest.MonkeyPatch
):
    """As versions before wrote them."""
    monkeypatch.setattr(row_table, "SegmentWriter", lambda schema, _: SegmentWriter(schema))
    assert table(["a", "b", "k", "m"]).places(["m"]) == {"m": 3}
    assert read == [0, 1]


def test_what_is_known_to_have_happened_is_added_to_the_past():
    known = table(["a", "b", "c"])
    found = compare_known_rows(
        known,
        Difference(
            added=(item("d", 4),),
            modified=((item("a", 1), item("a", 2)),),
            removed=(item("c", 1),),
        ),
        ValueError,
    )
    assert found is not None
    now = {one.key: one for one in found.items.values()}
    assert now == {"a": item("a", 2), "b": item("b", 1), "d": item("d", 4)}
    assert found.fingerprint == fingerprint_items(now.values())


@pytest.mark.parametrize("before", [item("a", 9), item("x", 1)])
def test_a_past_with_other_rows_is_told(before: Item):
    assert compare_known_rows(table(["a"]), Difference(removed=(before,)), ValueError) is None


def test_a_row_that_came_with_the_key_of_another_is_an_error():
    with pytest.raises(ValueError, match="b"):
        compare_known_rows(table(["a", "b"]), Difference(added=(item("b", 2),)), ValueError)
