"""Rows that came are compared with those of the past, of which most stayed where they were."""

import pytest

from flowproject.tables import row_comparison
from flowproject.tables.row_comparison import compare_some_rows
from flowproject.tables.row_table import RowTable, RowWriter


class TwiceError(Exception):
    """Says which key two rows have."""


def written(*keys: str) -> RowWriter:
    writer = RowWriter()
    writer.add(keys, [f'{{"k":"{key}"}}' for key in keys])
    return writer


def past() -> RowTable:
    return written(*"abcdef").table().recorded("past")


def without(*keys: str) -> int:
    """A bit for the place of each row of the past that has one of these keys."""
    return sum(1 << place for place in past().places(keys).values())


@pytest.fixture(params=[50, 2], ids=["few", "many"], autouse=True)
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_comparison, "FEW_ROWS", request.param)


def test_a_row_that_came_with_the_key_of_one_that_stayed_is_an_error():
    for came in ("xyzd", "d\udcffyx"):
        with pytest.raises(TwiceError, match="^d$"):
            compare_some_rows(past(), written(*came), without("a"), TwiceError)


def test_a_row_that_came_may_have_the_key_of_one_that_went():
    gone = without("a", "d")
    found = compare_some_rows(past(), written("d", "x", "y", "z"), gone, TwiceError)
    assert sorted(item.key for item in found.items.values()) == [*"bcdefxyz"]
    assert found.difference.counts == {"added": 3, "modified": 0, "removed": 1}
    assert found.fingerprint == written(*"xyzbcdef").table().manifest.fingerprint
