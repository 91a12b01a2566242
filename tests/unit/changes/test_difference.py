"""The difference between two tables is what leads from the one to the other, and nothing more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, diff
from flowproject.changes.item import Item, item
from flowproject.changes.observation import fingerprint_items

TABLES = st.dictionaries(st.text("ab/é", max_size=3), st.integers(0, 2), max_size=6)


def items(table: dict[str, int]) -> dict[str, Item]:
    return {key: item(key, {"n": version}) for key, version in table.items()}


def applied(old: dict[str, Item], difference: Difference) -> dict[str, Item]:
    new = dict(old)
    for gone in difference.removed:
        del new[gone.key]
    return new | {found.key: found for found in difference.arrived}


@settings(deadline=None)
@given(TABLES, TABLES)
def test_applied_to_the_old_table_it_gives_the_new_one(old: dict[str, int], new: dict[str, int]):
    assert applied(items(old), diff(items(old), items(new))) == items(new)


@settings(deadline=None)
@given(TABLES, TABLES)
def test_it_holds_nothing_that_stayed_the_same(old: dict[str, int], new: dict[str, int]):
    difference = diff(items(old), items(new))
    assert all(before.version != after.version for before, after in difference.modified)
    assert all(before.key == after.key for before, after in difference.modified)
    assert not {found.key for found in difference.added} & old.keys()
    assert not {gone.key for gone in difference.removed} & new.keys()


@settings(deadline=None)
@given(TABLES, TABLES)
def test_it_is_empty_exactly_if_the_fingerprints_are_equal(
    old: dict[str, int], new: dict[str, int]
):
    changed = any(diff(items(old), items(new)).counts.values())
    one, other = fingerprint_items(items(old).values()), fingerprint_items(items(new).values())
    assert changed == (one != other)


@settings(deadline=None)
@given(TABLES, TABLES)
def test_backwards_added_and_removed_change_places(old: dict[str, int], new: dict[str, int]):
    there, back = diff(items(old), items(new)), diff(items(new), items(old))
    assert there.added == back.removed
    assert there.removed == back.added
    assert there.modified == tuple((after, before) for before, after in back.modified)


def test_each_kind_is_in_the_order_of_keys_whatever_the_order_of_the_tables():
    table = items({"c": 1, "a": 1, "b": 1})
    assert [found.key for found in diff({}, table).added] == ["a", "b", "c"]
    assert [gone.key for gone in diff(table, {}).removed] == ["a", "b", "c"]


def test_the_first_of_each_kind_are_the_smallest_keys():
    difference = diff(items({"x": 1, "y": 1}), items({"a": 1, "b": 1, "c": 1}))
    assert difference.first(1).counts == {"added": 1, "modified": 0, "removed": 1}
    assert [found.key for found in difference.first(2).added] == ["a", "b"]
