"""Every combination of what was known, what is seen and what is wanted has one outcome."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes import decision as decision_module
from flowproject.changes.canonical import Json
from flowproject.changes.columns import ColumnsChange
from flowproject.changes.decision import (
    Decision,
    Hold,
    as_if_finished,
    compare,
    compare_again,
    decide,
    finished,
    hold_back,
    what_differs,
)
from flowproject.changes.difference import Difference, Item, diff, item
from flowproject.changes.entry import Entry
from flowproject.changes.observation import Cost, Observation, fingerprint_items, fingerprint_value
from flowproject.sources.result import keyed, unkeyed

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
NOTHING = Difference()


def value(seen: int) -> Observation:
    return Observation(value=seen, fingerprint=fingerprint_value(seen))


def table(**versions: int) -> Observation:
    items = {key: item(key, {"n": version}) for key, version in versions.items()}
    fingerprint = fingerprint_items(items.values())
    return Observation(value=len(items), fingerprint=fingerprint, items=items)


def head(seen: Observation, *, definition: str = "") -> Entry:
    return Entry(
        seq=1,
        id="0" * 32,
        project="p",
        branch="b",
        sensor="s",
        outcome="baseline",
        reason="",
        value=seen.value,
        fingerprint=seen.fingerprint,
        definition=definition,
        recorded_at=NOW.isoformat(),
    )


@pytest.mark.parametrize(
    "known, first, force, waiting",
    list(product([None, 1, 2], ["baseline", "fire"], [False, True], ["", "not yet"])),
)
def test_the_outcome_of_every_combination(
    known: int | None,
    first: str,
    force: bool,  # noqa: FBT001
    waiting: str,
):
    decision = decide(
        None if known is None else head(value(known)),
        value(2),
        NOTHING,
        first=first,
        force=force,
        waiting=waiting,
    )
    unseen, same = known is None, known == 2
    if force:
        expected = "changed" if known == 1 else "forced"
    elif unseen and first == "baseline":
        expected = "baseline"
    elif same:
        expected = "unchanged"
    else:
        expected = "settling" if waiting else "changed"
    assert decision.outcome == expected
    assert decision.reason
    assert decision.records == (expected in ("baseline", "changed", "forced"))


def test_a_settling_tick_says_what_it_waits_for():
    decision = decide(
        head(value(1)), value(2), NOTHING, first="baseline", force=False, waiting="not yet"
    )
    assert decision == Decision(outcome="settling", reason="not yet")


def test_a_changed_value_says_from_what_to_what():
    decision = decide(head(value(1)), value(2), NOTHING, first="baseline", force=False)
    assert decision.reason == "1 → 2"


def test_changed_items_are_counted_by_kind_and_kinds_without_any_left_out():
    old, new = table(a=1, b=1), table(a=2, c=1, d=1)
    difference = diff(old.items or {}, new.items or {})
    decision = decide(head(old), new, difference, first="baseline", force=False)
    assert decision.reason == "2 added, 1 modified, 1 removed"
    added = diff({}, table(a=1).items or {})
    assert decide(head(table()), table(a=1), added, first="baseline", force=False).reason == (
        "1 added"
    )


def test_an_edited_query_is_told_from_changed_data():
    decision = decide(
        head(value(1), definition="old"),
        value(2),
        NOTHING,
        first="baseline",
        force=False,
        definition="new",
    )
    assert decision.reason == "what is watched was edited: 1 → 2"


def test_an_unchanged_tick_says_since_when():
    decision = decide(head(value(1)), value(1), NOTHING, first="baseline", force=False)
    assert decision.reason == "still 1, since 2026-01-01 12:00:00 UTC"


def test_a_long_value_is_cut_in_words():
    seen = Observation(value="x" * 500, fingerprint="f")
    assert len(decide(None, seen, NOTHING, first="baseline", force=False).reason) < 100


def test_without_a_known_table_everything_is_new():
    assert compare(None, table(a=1)).counts == {"added": 1, "modified": 0, "removed": 0}
    assert compare(None, value(1)).counts == {"added": 0, "modified": 0, "removed": 0}


def file(key: str, *, age: float = 0, size: int = 1) -> Item:
    modified = (NOW - dt.timedelta(seconds=age)).isoformat(timespec="microseconds")
    return item(key, {"key": key, "size": size, "modified": modified})


def waiting(hold: Hold, old: list[Item], new: list[Item]) -> str:
    before, after = ({found.key: found for found in items} for items in (old, new))
    return hold_back(hold, diff(before, after), after, now=NOW).reason


@settings(deadline=None)
@given(st.floats(0, 100), st.lists(st.floats(0, 100), max_size=4))
def test_a_change_settles_when_its_newest_file_is_old_enough(settle: float, ages: list[float]):
    files = [file(str(number), age=age) for number, age in enumerate(ages)]
    youngest = min(ages, default=settle)
    reason = waiting(Hold(settle=settle), [], files)
    if abs(youngest - settle) > 0.001:  # file times are kept to the microsecond
        assert bool(reason) == (youngest < settle)


def test_files_that_stayed_the_same_hold_nothing_back():
    young = file("young", age=1)
    assert not waiting(Hold(settle=60), [young], [young, file("old", age=99)])
    assert "'young'" in waiting(Hold(settle=60), [], [young, file("old", age=99)])


def test_a_removed_file_does_not_wait():
    assert not waiting(Hold(settle=60, marker="_SUCCESS"), [file("a", age=1)], [])


def test_the_age_that_is_told_is_below_what_it_must_reach():
    reason = waiting(Hold(settle=3), [], [file("a", age=2.9)])
    assert "was written 2 s ago; a change settles after 3 s" in reason


def test_a_clock_may_be_ahead_by_as_much_as_a_change_settles():
    assert "0 s ago" in waiting(Hold(settle=60), [], [file("a", age=-60)])


def test_a_file_dated_wrongly_holds_nothing_back():
    assert not waiting(Hold(settle=60), [], [file("a", age=-3600)])
    assert "'b' was written" in waiting(
        Hold(settle=60), [], [file("a", age=-3600), file("b", age=1)]
    )


def test_items_without_a_time_have_nothing_to_settle():
    assert not waiting(Hold(settle=60), [], [item("row", {"n": 1})])


@pytest.mark.parametrize(
    "arrived, markers, finished",
    [
        ("a/b/x", [], False),
        ("a/b/x", ["a/b/_SUCCESS"], True),
        ("a/b/x", ["a/_SUCCESS"], True),
        ("a/b/x", ["_SUCCESS"], True),
        ("a/b/x", ["a/c/_SUCCESS"], False),
        ("a/b/x", ["a/b/x_SUCCESS"], False),
        ("ab/x", ["a/_SUCCESS"], False),
        ("x", ["_SUCCESS"], True),
        ("x", ["a/_SUCCESS"], False),
    ],
)
def test_a_marker_finishes_its_folder_and_those_below(
    arrived: str,
    markers: list[str],
    finished: bool,  # noqa: FBT001
):
    there = [file(marker) for marker in markers]
    reason = waiting(Hold(marker="_SUCCESS"), there, [*there, file(arrived)])
    assert (reason == "") is finished
    if not finished:
        assert repr(arrived) in reason
        assert "'_SUCCESS'" in reason


def test_what_has_waited_longest_is_what_the_reason_tells_of():
    late, early = file("a/new"), file("z/old", age=5 * 3600)
    assert waiting(Hold(marker="_SUCCESS"), [], [late, early]) == (
        "waiting for '_SUCCESS' in 'z', where 'z/old' arrived"
    )
    held = {"a/new": late, "z/old": file("z/old")}
    since = {"z/old": (NOW - dt.timedelta(hours=5)).isoformat()}
    told = hold_back(Hold(settle=60), diff({}, held), held, now=NOW, since=since)
    assert told.reason.startswith("'z/old' was written"), "it is written again and again"


def test_only_what_has_waited_for_too_long_is_counted_as_that():
    late, early = file("a/new"), file("z/old", age=5 * 3600)
    held = {item.key: item for item in (late, early)}
    hold = Hold(marker="_SUCCESS", longest=3600)
    told = hold_back(hold, diff({}, held), held, now=NOW)
    assert (len(told.items), told.overdue, told.released) == (2, 1, 0)
    told = hold_back(replace(hold, releases=True), diff({}, held), held, now=NOW)
    assert (len(told.items), told.overdue, told.released) == (1, 0, 1)


def test_a_marker_may_come_together_with_its_files():
    assert not waiting(Hold(marker="_SUCCESS"), [], [file("a/x"), file("a/_SUCCESS")])


class Large:
    """Items that are no dict, and can be asked for one key without reading the others."""

    def __init__(self, *items: Item) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return any(one.key == key for one in self._items)

    def values(self) -> Iterator[Item]:
        return iter(self._items)


def test_after_ignore_was_edited_the_same_items_are_no_change():
    known = replace(head(table(a=1)), total=1)
    edited = replace(table(a=1), fingerprint="f" * 32)
    decision = decide(known, edited, NOTHING, first="baseline", force=False, definition="new")
    assert decision.outcome == "unchanged"


def test_one_value_with_another_fingerprint_is_a_change_though_it_has_no_items():
    decision = decide(head(value(1)), value(2), NOTHING, first="baseline", force=False)
    assert decision.outcome == "changed"


def test_what_only_adds_items_and_keeps_none_says_how_many():
    seen = Observation(value="dt=2/x", fingerprint="f" * 32)
    added = Difference(added=(item("dt=2/w", {}), item("dt=2/x", {})))
    decision = decide(head(value(1)), seen, added, first="baseline", force=False)
    assert decision == Decision(outcome="changed", reason="2 added")


def test_tables_that_are_no_dicts_are_compared_like_dicts():
    a, b, c = item("a", {"n": 1}), item("b", {"n": 1}), item("c", {"n": 1})
    seen = Observation(value=2, fingerprint="f" * 32, items=Large(b, c))
    assert compare(Large(a, b), seen) == Difference(added=(c,), removed=(a,))
    assert compare({"a": a, "b": b}, seen) == Difference(added=(c,), removed=(a,))


ROWS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), max_size=6)


@pytest.mark.parametrize("at_hand", [100, 1, 0])
@given(old=ROWS, new=ROWS)
def test_of_rows_that_were_compared_whole_those_stay_that_differ_in_the_columns_of_both(
    at_hand: int, old: dict[str, int], new: dict[str, int]
):
    known = {key: item(key, {"v": v}) for key, v in old.items()}
    items = {key: item(key, {"v": v, "more": 1}) for key, v in new.items()}
    seen = Observation(value=0, fingerprint="f" * 32, items=items, columns={"v": "", "more": ""})
    columns = ColumnsChange(added={"more": "BIGINT"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decision_module, "_AT_HAND", at_hand)
        again = compare_again(diff(known, items), seen, columns, ["k"])
    expected = compare(known, seen, columns, ["k"])
    assert again.counts == expected.counts
    assert tuple(map(tuple, (again.added, again.modified, again.removed))) == (
        expected.added,
        expected.modified,
        expected.removed,
    )


def test_a_marker_is_looked_for_by_its_key_in_each_folder_above():
    arrived = Difference(added=(item("raw/day=1/part", {}),))
    hold = Hold(marker="_SUCCESS")
    for marker in ("raw/day=1/_SUCCESS", "raw/_SUCCESS", "_SUCCESS"):
        assert not hold_back(hold, arrived, Large(item(marker, {})), now=NOW).items
    elsewhere = Large(item("raw/day=2/_SUCCESS", {}))
    held = hold_back(hold, arrived, elsewhere, now=NOW)
    assert "waiting for '_SUCCESS' in 'raw/day=1'" in held.reason


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 99)),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 99)),
)
def test_what_is_finished_leads_to_what_is_known_and_the_rest_from_there_to_what_is_seen(
    old: dict[str, int], new: dict[str, int]
):
    """Nothing is told twice, and nothing is left out, whatever waits."""
    before = {key: file(key, size=size + 100, age=500) for key, size in old.items()}
    after = {key: file(key, size=size, age=size) for key, size in new.items()}
    whole = diff(before, after)
    held = hold_back(Hold(settle=50), whole, after, now=NOW)
    ready = finished(whole, held)
    seen = Observation(value=len(after), fingerprint="f" * 32, items=after)
    state = as_if_finished(seen, held, ready)
    items = {one.key: one for one in state.items.values()}
    assert diff(before, items).counts == ready.counts
    assert [*diff(before, items).arrived] == [*ready.arrived]
    assert diff(items, after).counts["added"] + diff(items, after).counts["modified"] == len(
        held.items
    )
    assert len(state.items) == len(items) == state.value
    assert all((key in state.items) == (key in items) for key in "abcdef")
    assert state.fingerprint == fingerprint_items(items.values())


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
    assert what_differs(whole(one), whole(other)) == told


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
    assert what_differs(by_key(one), by_key(other)) == told
