"""Differences in a row come to the difference between the oldest state and the newest."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.combining import combine
from flowproject.changes.difference import Difference, diff
from flowproject.changes.item import Item, item

TABLES = st.dictionaries(st.text("ab/é", max_size=2), st.integers(0, 2), max_size=5)


def items(table: dict[str, int]) -> dict[str, Item]:
    return {key: item(key, {"n": version}) for key, version in table.items()}


@given(st.lists(TABLES, min_size=2, max_size=5))
def test_it_is_the_difference_between_the_first_and_the_last_state(tables: list[dict[str, int]]):
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
