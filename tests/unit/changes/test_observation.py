"""A fingerprint stands for what was seen, and for nothing else."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.difference import item
from flowproject.changes.observation import Cost, fingerprint_items, fingerprint_value

PAIRS = st.dictionaries(st.text("ab", max_size=3), st.text("ab", max_size=3), max_size=5)


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_tables_have_one_fingerprint_exactly_if_they_are_equal(
    one: dict[str, str], other: dict[str, str]
):
    first = fingerprint_items(item(key, {"v": value}) for key, value in one.items())
    second = fingerprint_items(item(key, {"v": value}) for key, value in other.items())
    assert (first == second) == (one == other)


@settings(deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(pairs: dict[str, str], chance: random.Random):
    items = [item(key, {"v": value}) for key, value in pairs.items()]
    assert fingerprint_items(items) == fingerprint_items(chance.sample(items, len(items)))


def test_no_items_and_no_value_are_not_the_same():
    assert fingerprint_items([]) != fingerprint_value(None)
    assert fingerprint_value([]) != fingerprint_value(None)


def test_the_version_of_an_item_follows_its_identity_and_not_the_rest_of_its_data():
    seen = item("a", {"size": 1, "modified": "x"}, identity=1)
    assert seen.version == item("a", {"size": 1, "modified": "y"}, identity=1).version
    assert seen.version != item("a", {"size": 1, "modified": "x"}, identity=2).version
    assert item("a", {"size": 1}).version != item("a", {"size": 2}).version


def test_a_cost_is_json():
    cost = Cost(seconds=1.23456, requests=2, bytes=3, rows=4)
    assert json.loads(json.dumps(cost.to_json())) == {
        "seconds": 1.235,
        "requests": 2,
        "bytes": 3,
        "rows": 4,
    }
    assert Cost(query_id="01b2").to_json()["query_id"] == "01b2"
