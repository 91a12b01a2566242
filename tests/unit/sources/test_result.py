"""Rows of a query become an observation: the same rows always the same one, in any order."""

import gc
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json
from flowproject.changes.difference import diff
from flowproject.errors import QueryError
from flowproject.sources import Rows
from flowproject.sources.result import check_columns, folded, keyed, unkeyed

VALUES: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(["", "1", "true", "x,y"]),
    st.sampled_from([0.5, 1e-9]),
)
ROWS = st.lists(st.fixed_dictionaries({"id": VALUES, "v": VALUES}), max_size=4)
TABLES = st.dictionaries(st.text("abé,", max_size=2), VALUES, max_size=4)


def rows(table: dict[str, Json]) -> Rows:
    return [{"id": key, "v": value} for key, value in table.items()]


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_no_change(table: Rows, chance: random.Random):
    shuffled = chance.sample(table, len(table))
    assert unkeyed(table, "f") == unkeyed(shuffled, "f")


@settings(deadline=None)
@given(ROWS)
def test_a_row_more_is_a_change_even_if_it_is_there_twice(table: Rows):
    row = {"id": 1, "v": 2}
    once, twice = unkeyed([*table, row], "f"), unkeyed([*table, row, row], "f")
    assert once.fingerprint != twice.fingerprint


@settings(deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_keyed_rows_is_no_change(table: dict[str, Json], chance: random.Random):
    shuffled = chance.sample(rows(table), len(table))
    assert keyed(rows(table), ["id"], "f") == keyed(shuffled, ["id"], "f")


@settings(deadline=None)
@given(TABLES, TABLES)
def test_keyed_rows_differ_exactly_where_the_tables_do(old: dict[str, Json], new: dict[str, Json]):
    before, after = keyed(rows(old), ["id"], "f"), keyed(rows(new), ["id"], "f")
    difference = diff(before.items or {}, after.items or {})
    modified = {key for key in old.keys() & new.keys() if repr(old[key]) != repr(new[key])}
    assert {item.key for item in difference.added} == new.keys() - old.keys()
    assert {item.key for item in difference.removed} == old.keys() - new.keys()
    assert {item.key for _, item in difference.modified} == modified
    assert (before.fingerprint == after.fingerprint) == (not any(difference.counts.values()))


@pytest.mark.parametrize(
    "table, value",
    [
        ([{"n": 7}], 7),
        ([{"n": None}], None),
        ([{"n": 7, "m": "x"}], {"n": 7, "m": "x"}),
        ([], []),
        ([{"n": 2}, {"n": 1}], [{"n": 1}, {"n": 2}]),
    ],
)
def test_the_value_has_the_shape_of_the_result(table: Rows, value: Json):
    seen = unkeyed(table, "f")
    assert seen.value == value
    assert seen.items is None


def test_the_value_of_keyed_rows_is_their_number_and_each_is_an_item():
    seen = keyed([{"id": "x", "v": 1}, {"id": "y", "v": 2}], ["id"], "f")
    assert seen.value == 2
    assert {key: item.data for key, item in (seen.items or {}).items()} == {
        "x": {"id": "x", "v": 1},
        "y": {"id": "y", "v": 2},
    }


@pytest.mark.parametrize(
    "row, key, text",
    [
        ({"a": "2024-01-01", "b": 1}, ["a"], "2024-01-01"),
        ({"a": 7, "b": 1}, ["a"], "7"),
        ({"a": True, "b": 1}, ["a"], "true"),
        ({"a": "x,y", "b": 1}, ["b", "a"], '[1,"x,y"]'),
    ],
)
def test_the_key_of_a_row_is_plain_text(row: dict[str, Json], key: list[str], text: str):
    assert list(keyed([row], key, "f").items or {}) == [text]


def test_ten_thousand_rows_where_a_value_was_meant_get_advice():
    with pytest.raises(QueryError, match=r"more than 1,000 rows.*sql/it\.sql.*key = .*aggregate"):
        unkeyed([{"n": n} for n in range(10_000)], "sql/it.sql")


def test_a_row_without_a_key_is_named():
    with pytest.raises(QueryError, match=r"no key: a = 1, b = null.*b IS NOT NULL"):
        keyed([{"a": 1, "b": None}], ["a", "b"], "f")


def test_two_rows_with_one_key_are_named():
    with pytest.raises(QueryError, match="Two rows have the key '1'"):
        keyed([{"a": 1, "b": 1}, {"a": 1, "b": 2}], ["a"], "f")


def test_two_columns_with_one_name_are_named():
    with pytest.raises(QueryError, match="2 columns named 'a'"):
        check_columns(["a", "b", "a"], [], "f")


def test_a_key_that_is_no_column_gets_the_closest():
    with pytest.raises(QueryError, match=r"no column 'dat'.*day, date.*Did you mean 'date'"):
        check_columns(["day", "date"], ["dat"], "f")


@pytest.mark.parametrize(
    "name, said",
    [("ID", "id"), ("COUNT(*)", "count(*)"), ("A_1", "a_1"), ("MiXed", "MiXed"), ("id", "id")],
)
def test_a_name_in_capitals_was_not_quoted_and_is_in_small_letters(name: str, said: str):
    assert folded(name) == said


def test_the_garbage_collector_works_again_also_after_rows_that_are_refused():
    assert gc.isenabled()
    with pytest.raises(QueryError, match="Two rows have the key"):
        keyed([{"id": 1}, {"id": 1}], ("id",), "sql/it.sql")
    assert gc.isenabled()


def test_a_garbage_collector_that_was_off_stays_off():
    gc.disable()
    try:
        keyed([{"id": 1}], ("id",), "sql/it.sql")
        assert not gc.isenabled()
    finally:
        gc.enable()
