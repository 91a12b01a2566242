"""A journal entry comes back from JSON as it went, and damage to it shows."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, digest_value
from flowproject.changes.entry import Entry, UnknownFormatError, change_id

VALUES: st.SearchStrategy[Json] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text("aé\ud800", max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=5,
)
ENTRY = Entry(
    seq=3,
    id="0" * 32,
    project="p",
    branch="prod",
    sensor="s",
    outcome="changed",
    reason="1 → 2",
    counts={"added": 1, "modified": 0, "removed": 0},
    total=4,
    sample={"added": [{"key": "a"}]},
    trail=[["2026-01-01T00:00:00+00:00", 4]],
    recorded_at="2026-01-01T00:00:00+00:00",
)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_an_entry_survives_json(value: Json, previous: Json):
    entry = replace(ENTRY, value=value, previous=previous, sample={"added": [value]})
    assert Entry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


@pytest.mark.parametrize("key", sorted(ENTRY.to_json()))
def test_a_change_to_any_field_shows(key: str):
    document = ENTRY.to_json() | {key: "damaged"}
    with pytest.raises(ValueError, match="format|digest"):
        Entry.from_json(document)


@pytest.mark.parametrize("key", sorted(ENTRY.to_json()))
def test_a_lost_field_shows(key: str):
    document = ENTRY.to_json()
    del document[key]
    with pytest.raises(ValueError, match="format|digest"):
        Entry.from_json(document)


def test_a_format_of_the_future_is_named():
    body = {key: value for key, value in ENTRY.to_json().items() if key != "digest"} | {"v": 2}
    with pytest.raises(UnknownFormatError, match="its format is 2, and this is 1"):
        Entry.from_json(body | {"digest": digest_value(body)})


@pytest.mark.parametrize(
    "outcome, published, state",
    [
        ("baseline", False, True),
        ("changed", True, True),
        ("forced", True, True),
        ("reset", False, False),
    ],
)
def test_what_an_outcome_means(outcome: str, published: bool, state: bool):  # noqa: FBT001
    entry = replace(ENTRY, outcome=outcome)
    assert (entry.is_published, entry.is_state) == (published, state)


def test_there_and_back_are_two_changes_and_the_same_change_is_one():
    place = {"project": "p", "branch": "b", "sensor": "s"}
    there = change_id(**place, seq=2, previous="A", fingerprint="B")
    back = change_id(**place, seq=3, previous="B", fingerprint="A")
    again = change_id(**place, seq=4, previous="A", fingerprint="B")
    assert len({there, back, again}) == 3
    assert there == change_id(**place, seq=2, previous="A", fingerprint="B")
    assert there != change_id(**place | {"branch": "c"}, seq=2, previous="A", fingerprint="B")


def test_the_newest_entries_are_carried_along_in_short_and_no_more_than_eight():
    entry = ENTRY
    for seq in range(4, 20):
        entry = replace(ENTRY, seq=seq, value=seq, earlier=entry.recent)
    assert [short["seq"] for short in entry.recent] == [*range(19, 11, -1)]
    assert entry.recent[0] == {
        "seq": 19,
        "recorded_at": ENTRY.recorded_at,
        "outcome": "changed",
        "reason": "1 → 2",
        "value": 19,
        "total": 4,
    }


def test_long_texts_are_not_carried_along():
    entry = replace(ENTRY, reason="r" * 1000, value="é" * 1000)
    [short] = entry.recent
    assert short["reason"] == "r" * 200
    assert short["value"] == {"left_out_bytes": 2002}
