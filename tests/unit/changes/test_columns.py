"""Columns that change are named, and rows are compared in those that both have."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, canonical
from flowproject.changes.columns import ColumnsChange, columns_before, columns_change
from flowproject.changes.difference import item

COLUMNS = st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["BIGINT", "VARCHAR", "DATE"]))
RETYPED = ColumnsChange(modified={"v": ("BIGINT", "VARCHAR")})


@given(COLUMNS, COLUMNS)
def test_a_change_leads_back_and_survives_a_journal(old: dict[str, str], new: dict[str, str]):
    change = columns_change(old, new)
    assert ColumnsChange.from_json(change.to_json()) == change
    assert bool(change) == (bool(old) and bool(new) and old != new)
    if old and new:
        assert columns_before(new, change) == old


def test_columns_that_are_not_known_have_not_changed():
    assert not columns_change({}, {"a": "BIGINT"})
    assert not columns_change({"a": "BIGINT"}, {})
    assert str(ColumnsChange()) == ""


def test_the_words_name_each_and_stay_short():
    change = columns_change(
        {"v": "BIGINT", "x": "DATE"}, {"v": "VARCHAR", "w": "STRUCT(" + 99 * "a"}
    )
    assert str(change) == (
        f"columns changed: v BIGINT → VARCHAR, w STRUCT({52 * 'a'}… added, x DATE removed"
    )
    many = columns_change({"a": "DATE"}, {"a": "DATE"} | {f"c{n}": "DATE" for n in range(99)})
    assert str(many).endswith("c11 DATE added, c12 DATE added, and 94 more")


@pytest.mark.parametrize(
    "old, new",
    [
        (10, "10"),
        (10, "10.0"),
        (10, 10.0),
        (1.5, "1.50"),
        (1e-07, "1e-7"),
        (10**30 + 1, str(10**30 + 1)),
        ("007", 7),
        (True, "true"),
        (True, "TRUE"),
        ("2024-01-01", "2024-01-01T00:00:00"),
        ("2024-01-01T12:00:00", "2024-01-01 12:00:00"),
        ("2024-01-01T12:00:00+00:00", "2024-01-01 12:00:00Z"),
        ("12:00:00", "12:00"),
        (7, " 7"),
        (None, None),
        ([1, 2], ["1", "2"]),
        ({"a": 1}, {"a": "1", "b": None}),
        ("infinity", "infinity"),
    ],
)
def test_a_value_that_another_type_writes_otherwise_is_the_same(old: Json, new: Json):
    rows = item("k", {"v": old}), item("k", {"v": new})
    assert not RETYPED.is_seen_in(*rows)
    assert not RETYPED.is_seen_in(*reversed(rows))


@pytest.mark.parametrize(
    "old, new",
    [
        (10, "11"),
        (10, None),
        (10, "n/a"),
        (True, "1"),
        ("a", "A"),
        ("x", " x"),
        (10**30 + 1, str(10**30)),
        ("2024-01-01", "2024-01-02"),
        ("infinity", "9999-12-31"),
        ({"a": 1}, {"a": 2}),
        ([1], [1, 1]),
        ("1_0", 10),
    ],
)
def test_a_value_that_is_another_one_is_a_difference(old: Json, new: Json):
    assert RETYPED.is_seen_in(item("k", {"v": old}), item("k", {"v": new}))


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_a_number_that_becomes_a_text_is_the_same(value: float):
    form = canonical(value)
    assert not RETYPED.is_seen_in(item("k", {"v": form}), item("k", {"v": str(form)}))


@given(st.datetimes() | st.dates())
def test_a_moment_that_becomes_a_text_is_the_same(moment: dt.date):
    texts = canonical(moment), str(moment)
    assert not RETYPED.is_seen_in(item("k", {"v": texts[0]}), item("k", {"v": texts[1]}))


def test_what_only_one_of_them_has_is_no_difference():
    change = ColumnsChange(added={"new": "BIGINT"}, removed={"old": "BIGINT"})
    assert not change.is_seen_in(item("k", {"v": 1, "old": 1}), item("k", {"v": 1, "new": 2}))
    assert change.is_seen_in(item("k", {"v": 1, "old": 1}), item("k", {"v": 2, "new": 2}))


def test_rows_without_a_key_are_counted():
    change = ColumnsChange(added={"new": "BIGINT"})
    assert not change.is_seen_in_rows(
        [{"v": 1}, {"v": 2}], [{"v": 2, "new": 1}, {"v": 1, "new": 1}]
    )
    assert change.is_seen_in_rows([{"v": 1}], [{"v": 1, "new": 1}, {"v": 1, "new": 2}])
    nothing_stayed = ColumnsChange(added={"new": "BIGINT"}, removed={"v": "BIGINT"})
    assert nothing_stayed.is_seen_in_rows([{"v": 1}], [{"new": 1}])
