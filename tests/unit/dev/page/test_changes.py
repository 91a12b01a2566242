"""All pages of a change's items together are the change, and a search finds what it should."""

from io import BytesIO
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.difference import Difference, Item, diff, item
from flowproject.dev.page.changes import KINDS, ItemsQuery, ItemsView, items_view
from flowproject.tables.serialization import read_difference, write_difference
from tests.unit.tables.objects import CUTS, TABLES, Objects, look, numbered

ASKED = ItemsQuery(sensor="days", seq=7)
WORDS = st.text("abcAB ", max_size=4)
ROWS = st.dictionaries(
    st.text("abcxyz", min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["town", "n"]), WORDS, max_size=2),
    max_size=12,
).map(lambda rows: {key: item(key, data) for key, data in rows.items()})


def recorded(difference: Difference) -> Difference:
    """The difference as a journal has it."""
    file = BytesIO()
    write_difference(file, difference)
    return read_difference(lambda: BytesIO(file.getvalue()))


def pages(difference: Difference, asked: ItemsQuery) -> list[ItemsView]:
    """Each page that `next` leads to, from the one that was asked for."""
    found = []
    while True:
        view = items_view(difference, asked)
        assert view
        found.append(view)
        if not view.next:
            return found
        asked = followed(view.next)


def followed(address: str) -> ItemsQuery:
    """What the address of another page asks for."""
    path, query = urlsplit(address).path, dict(parse_qsl(urlsplit(address).query))
    assert path == "/sensors/days/changes/7"
    start = int(query.get("start", "0"))
    return ItemsQuery(
        sensor="days", seq=7, kind=query.get("kind", ""), search=query.get("q", ""), start=start
    )


@given(old=ROWS, new=ROWS, size=st.integers(1, 5))
def test_all_pages_together_are_the_difference(
    old: dict[str, Item], new: dict[str, Item], size: int
):
    difference = diff(old, new)
    again = recorded(difference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowproject.dev.page.changes._ITEM_ROWS", size)
        for kind in KINDS:
            if not any(difference.counts.values()):
                assert items_view(again, ASKED) is None
                continue
            shown = pages(again, ItemsQuery(sensor="days", seq=7, kind=kind))
            rows = [row for view in shown for row in view.rows]
            assert len(rows) == difference.counts[kind]
            if kind == "modified":
                assert [row[0] for row in rows] == [new.key for _, new in difference.modified]
            assert all(len(view.rows) == size for view in shown[:-1])
            firsts = [view.first for view in shown if view.rows]
            assert firsts == [1 + size * number for number in range(len(firsts))]


@given(old=TABLES, new=TABLES, cuts=CUTS, size=st.integers(1, 4))
def test_all_pages_of_many_objects_together_are_the_difference(
    old: Objects, new: Objects, cuts: set[bytes], size: int
):
    past = look(None, old).items.recorded("first")
    difference = recorded(look(past, new, cuts=cuts).difference)
    if not any(difference.counts.values()):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowproject.dev.page.changes._ITEM_ROWS", size)
        for kind in KINDS:
            shown = pages(difference, ItemsQuery(sensor="days", seq=7, kind=kind))
            assert sum(len(view.rows) for view in shown) == difference.counts[kind]
            for view in shown[1:]:
                back = items_view(difference, followed(view.previous))
                assert back
                assert back.rows in [one.rows for one in shown]


@given(rows=ROWS, text=st.text("abcABxyz ", min_size=1, max_size=2), size=st.integers(1, 3))
def test_a_search_finds_exactly_what_has_the_text_page_by_page(
    rows: dict[str, Item], text: str, size: int
):
    difference = recorded(diff({}, rows))
    wanted = [one for one in diff({}, rows).added if has(one, text)]
    if not rows:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowproject.dev.page.changes._ITEM_ROWS", size)
        shown = pages(difference, ItemsQuery(sensor="days", seq=7, kind="added", search=text))
    assert sum(len(view.rows) for view in shown) == len(wanted)
    assert all(view.first == 0 for view in shown)


def has(one: Item, text: str) -> bool:
    """Whether the text is in a key or a value, in either case of letters."""
    words = [one.key, *(str(word) for name, word in one.data.items())]
    names = one.data.keys()
    return any(text.lower() in word.lower() for word in (*words, *names))


def test_a_search_goes_on_where_it_stopped():
    past = look(None, {}).items.recorded("first")
    difference = recorded(look(past, numbered(5000)).difference)
    shown = pages(difference, ItemsQuery(sensor="days", seq=7, kind="added", search="KEY-0049"))
    keys = [row[0] for view in shown for row in view.rows]
    assert keys == [f"key-{number:06d}" for number in range(4900, 5000)]
    assert shown[0].note == "50 found among rows 1 to 4,950 of 5,000"
    assert shown[-1].note.endswith("that is all of 5,000")


def test_a_few_of_very_many_say_so_and_lead_on_and_back():
    past = look(None, {}).items.recorded("first")
    difference = recorded(look(past, numbered(120)).difference)
    first, second, third = pages(difference, ASKED)
    assert [kind.name for kind in first.kinds if kind.current] == ["added"]
    assert [(kind.mark, kind.count) for kind in first.kinds] == [("+", 120), ("~", 0), ("−", 0)]  # noqa: RUF001
    assert (first.note, second.note, third.note) == (
        "1 to 50 of 120",
        "51 to 100 of 120",
        "101 to 120 of 120",
    )
    assert (first.previous, third.next) == ("", "")
    assert followed(third.previous).start == 50
    assert followed(second.previous).start == 0


def test_of_what_was_modified_the_columns_that_differ_are_shown_before_and_after():
    old = {"a": item("a", {"town": "Bern", "n": 1, "same": "x"})}
    new = {"a": item("a", {"town": "Basel", "n": 2, "same": "x", "more": True})}
    view = items_view(recorded(diff(old, new)), ASKED)
    assert view
    assert view.columns == ("key", "from", "to")
    [(key, before, after)] = view.rows
    assert (key, "same" in before + after) == ("a", False)
    assert "town: Bern" in before
    assert "n: 1" in before
    assert "town: Basel" in after
    assert "more: true" in after


def test_a_start_beyond_the_end_is_an_empty_page():
    difference = recorded(diff({}, {"a": item("a", {})}))
    view = items_view(difference, ItemsQuery(sensor="days", seq=7, start=10**14))
    assert view
    assert (view.rows, view.note, view.next) == ((), "none", "")
    assert view.previous


def test_wide_and_long_rows_are_cut():
    row = item("k", {f"column{number}": "x" * 1000 for number in range(30)})
    view = items_view(recorded(diff({}, {"k": row})), ASKED)
    assert view
    assert len(view.columns) == 12
    assert max(map(len, view.rows[0])) <= 201
