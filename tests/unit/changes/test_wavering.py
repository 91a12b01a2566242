"""What differs between two results is told by its columns, or by rows that came and went."""

from dataclasses import replace

import pytest

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Cost, Observation
from flowproject.changes.wavering import what_moved
from flowproject.sources.result import keyed, unkeyed

Rows = list[dict[str, Json]]


def whole(rows: Rows) -> Observation:
    return replace(unkeyed(rows, "it"), cost=Cost(rows=len(rows)))


def by_key(rows: Rows) -> Observation:
    return replace(keyed(rows, ("id",), "it"), cost=Cost(rows=len(rows)))


@pytest.mark.parametrize(
    "one, other, told",
    [
        ([{"n": 1}], [{"n": 2}], "column 'n' (1, then 2)"),
        ([{"n": [1, 2]}], [{"n": [2]}], "column 'n' ([1,2], then [2])"),
        ([{"n": [{"a": 1}]}], [{"n": [{"a": 2}]}], 'column \'n\' ([{"a":1}], then [{"a":2}])'),
        ([{"n": {"a": 1}}], [{"n": {"b": 1}}], 'column \'n\' ({"a":1}, then {"b":1})'),
        ([{"n": None}], [{"n": "x" * 99}], f"column 'n' (null, then \"{'x' * 38}…)"),
        ([{"n": 1, "at": 2}], [{"n": 1, "at": 3}], "column 'at' (2, then 3)"),
        ([{"n": 1, "at": 2}], [{"n": 2, "at": 3}], "columns 'n', 'at' (1, then 2)"),
        ([{"n": 1, "at": 2}], [{"m": 1, "at": 2}], "columns 'n', 'm' (1, then null)"),
        ([], [{"n": 1}], "1 row came, 0 went"),
        ([{"n": 1}], [{"n": 1}, {"n": 2}, {"n": 2}], "2 rows came, 0 went"),
        ([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 3}], "column 'n'"),
        ([{"n": 1, "a": 1}, {"n": 2, "a": 1}], [{"n": 1, "a": 2}, {"n": 2, "a": 3}], "column 'a'"),
        (
            [{"n": 1, "a": 1}, {"n": 2, "a": 2}],
            [{"n": 1, "a": 1}, {"n": 3, "a": 3}],
            "1 row came, 1 went",
        ),
    ],
)
def test_a_result_without_a_key(one: Rows, other: Rows, told: str):
    assert what_moved(whole(one), whole(other)) == told


@pytest.mark.parametrize(
    "one, other, told",
    [
        ([{"id": 1, "at": 2}], [{"id": 1, "at": 3}], "column 'at' of 1 row"),
        (
            [{"id": 1, "a": 2, "b": 1}, {"id": 2, "a": 2, "b": 1}],
            [{"id": 1, "a": 3, "b": 1}, {"id": 2, "a": 2, "b": 2}],
            "columns 'a', 'b' of 2 rows",
        ),
        ([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 3}, {"id": 4}], "2 rows came, 1 went"),
        (
            [{"id": 1, "a": 1}, {"id": 2, "a": 1}],
            [{"id": 1, "a": 2}],
            "column 'a' of 1 row and 0 rows came, 1 went",
        ),
        (
            [{"id": 1, **{f"c{n}": 1 for n in range(7)}}],
            [{"id": 1, **{f"c{n}": 2 for n in range(7)}}],
            "columns 'c0', 'c1', 'c2', 'c3', 'c4' and 2 more of 1 row",
        ),
    ],
)
def test_a_result_with_a_key(one: Rows, other: Rows, told: str):
    assert what_moved(by_key(one), by_key(other)) == told
