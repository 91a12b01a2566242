"""The difference between two tables is what leads from the one to the other, and nothing more."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, Item, combine, diff, item, shortened_pair
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


@given(st.lists(TABLES, min_size=2, max_size=5))
def test_combined_they_lead_from_the_first_state_to_the_last(tables: list[dict[str, int]]):
    states = [items(table) for table in tables]
    combined = combine([diff(old, new) for old, new in pairwise(states)])
    expected = diff(states[0], states[-1])
    assert combined.first(99) == expected
    assert combined.counts == expected.counts


def test_it_can_be_iterated_more_than_once_and_tells_what_is_in_it():
    one, two = items({"a": 1}), items({"a": 1, "b": 1})
    combined = combine([diff({}, one), diff(one, two)])
    assert list(combined.added) == list(combined.added) == [one["a"], two["b"]]
    assert two["b"] in combined.added
    assert two["b"] not in combined.removed


def test_differences_without_items_come_to_none():
    assert not any(combine([Difference(), Difference()]).counts.values())


SAME = "0123456789" * 9


@pytest.mark.parametrize(
    "old, new, shown",
    [
        ("a", "b", ("a", "b")),
        ("", "b", ("", "b")),
        (f"a{SAME}", f"b{SAME}", ("a0123456789012345678…", "b0123456789012345678…")),
        (f"{SAME}a", f"{SAME}b", ("…3456789a", "…3456789b")),
        (f"{SAME}a{SAME}", f"{SAME}b{SAME}", ("…3456789a01234567890…", "…3456789b01234567890…")),
        (SAME, f"{SAME}b", ("…3456789", "…3456789b")),
        (SAME, SAME, ("01234567890123456789…", "01234567890123456789…")),
    ],
)
def test_it_shows_the_first_place_that_differs(old: str, new: str, shown: tuple[str, str]):
    assert shortened_pair(old, new, 21) == shown


@given(st.text(max_size=200), st.text("ab", max_size=5), st.text("ab", max_size=5), st.text())
def test_what_differs_never_looks_the_same(begin: str, old: str, new: str, end: str):
    texts = f"{begin}{old}{end}", f"{begin}{new}{end}"
    shown = shortened_pair(*texts, 21)
    assert (shown[0] == shown[1]) == (texts[0] == texts[1])
    assert max(map(len, shown)) <= 21
