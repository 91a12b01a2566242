"""A few rows of very many are those that a plain list has at that place."""

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.difference import Difference
from flowproject.tables import lazy_rows
from flowproject.tables.lazy_rows import Excerpt, LazyRows, excerpt, matching
from flowproject.tables.serialization import read_difference, write_difference
from tests.unit.tables.objects import CUTS, TABLES, Objects, look, numbered

PLACES = st.integers(0, 15)
LIMITS = st.integers(1, 6)


def added(objects: Objects, cuts: Any = ()) -> Any:
    """These objects as what was added, read back from a journal's file."""
    past = look(None, {}).items.recorded("first")
    file = BytesIO()
    write_difference(file, look(past, objects, cuts=cuts).difference)
    return read_difference(lambda: BytesIO(file.getvalue())).added


@given(objects=TABLES, cuts=CUTS, start=PLACES, limit=LIMITS)
def test_an_excerpt_is_a_slice(objects: Objects, cuts: set[bytes], start: int, limit: int):
    rows = added(objects, cuts)
    plain = list(rows)
    found = excerpt(rows, start, limit)
    assert list(found.rows) == plain[start : start + limit]
    assert found.following == (start + limit if start + limit < len(plain) else 0)


@given(
    objects=TABLES,
    cuts=CUTS,
    start=PLACES,
    limit=LIMITS,
    searched=st.integers(1, 5),
    text=st.sampled_from(["a", "B", "/", "//", " ", "é😀", "ab", "zz"]),
)
def test_a_search_is_a_filter_that_can_be_taken_up_again(
    objects: Objects, cuts: set[bytes], start: int, limit: int, searched: int, text: str
):
    rows = added(objects, cuts)
    plain = list(rows)
    wanted = [row for row in plain[start:] if text.lower() in row.key.lower()]
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy_rows, "_SEARCHED", searched)
        place: int = start
        while True:
            part: Excerpt[Any] = matching(rows, text, place, limit)
            assert len(part.rows) <= limit
            found += part.rows
            if not part.following:
                break
            assert part.following > place
            place = part.following
    assert found == wanted


def test_only_the_groups_of_an_excerpt_are_read():
    read: list[int] = []
    rows = added(numbered(100))
    tables = list(rows.tables_from(0))
    [table] = tables

    def groups(passed: int, rows: int) -> Any:
        assert rows
        for number in range(passed, 10):
            read.append(number)
            yield table.slice(number * 10, 10)

    lazy: LazyRows[Any] = LazyRows(100, groups, rows.form, sizes=[10] * 10)
    assert [row.key for row in excerpt(lazy, 55, 7).rows] == [f"key-{n:06d}" for n in range(55, 62)]
    assert read == [5, 6]


def test_nothing_has_no_rows():
    assert excerpt((), 0, 5) == Excerpt()
    assert matching((), "a", 0, 5) == Excerpt()


def test_rows_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="tuple"):
        excerpt(("a",), 0, 5)
    assert Difference().counts == {"added": 0, "modified": 0, "removed": 0}
