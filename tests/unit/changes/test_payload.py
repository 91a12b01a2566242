"""A payload says what changed, and is small whatever happened."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json
from flowproject.changes.encoding import ascii_json, decode, encode, encode_whole
from flowproject.changes.entry import Entry
from flowproject.changes.limits import PAYLOAD_LIMIT, VALUE_LIMIT
from flowproject.changes.payload import payload

ENTRY = Entry(
    seq=3,
    id="0" * 32,
    project="p",
    branch="prod",
    sensor="s",
    outcome="changed",
    reason="1 → 2",
    value=2,
    previous=1,
    counts={"added": 1, "modified": 0, "removed": 0},
    total=4,
    sample={"added": [{"key": "a"}]},
    recorded_at="2026-01-01T00:00:00+00:00",
    run="SensorFlow/7",
)
SIZES = st.sampled_from([0, 100, 5_000, 40_000])


def described(entry: Entry) -> dict[str, Json]:
    return payload(entry, payload_key="value", location="entries/3.json")


def test_a_small_change_is_told_in_full():
    told = described(ENTRY)
    assert told["id"] == ENTRY.id
    assert told["value"] == 2
    assert told["change"] == {
        "v": 1,
        "id": ENTRY.id,
        "project": "p",
        "branch": "prod",
        "sensor": "s",
        "seq": 3,
        "first_seq": 3,
        "attempt": 1,
        "outcome": "changed",
        "reason": encode("1 → 2"),
        "value": 2,
        "previous": 1,
        "counts": {"added": 1, "modified": 0, "removed": 0},
        "total": 4,
        "sample": {"added": [{"key": "a"}]},
        "columns": {},
        "recorded_at": "2026-01-01T00:00:00+00:00",
        "run": "SensorFlow/7",
        "entry": "entries/3.json",
    }


@settings(deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from('aé😀\x00"${\x7f'))
def test_a_payload_stays_under_its_limit(
    value: int, previous: int, reason: int, sample: int, character: str
):
    entry = replace(
        ENTRY,
        value=character * value,
        previous=[character * previous],
        reason=character * reason,
        sample={"added": [{"key": character * sample}]},
    )
    told = described(entry)
    assert len(ascii_json(told)) < PAYLOAD_LIMIT
    assert len(ascii_json(told["value"])) <= VALUE_LIMIT
    assert told["id"] == entry.id
    change = told["change"]
    assert isinstance(change, dict)
    assert change["counts"] == entry.counts
    assert change["entry"] == "entries/3.json"


def test_many_small_texts_do_not_pass_the_limit_by_what_encoding_adds():
    entry = replace(ENTRY, previous=["é"] * 200, sample={"added": [{"é": "é"}] * 3_000})
    assert len(ascii_json(described(entry))) < PAYLOAD_LIMIT


def test_a_value_of_30_kilobytes_comes_with_the_event_whatever_signs_it_has():
    value = ("$(x) {{é}}\n" * 3_000).encode()[:30_000].decode(errors="ignore")
    told = described(replace(ENTRY, value=value, sample={"added": [{"key": "x" * 20_000}]}))
    assert decode(told["value"]) == value


def test_a_value_that_is_too_large_for_a_parameter_is_left_out_with_its_size():
    told = described(replace(ENTRY, value="x" * 50_000))
    assert told["value"] == encode_whole({"left_out_bytes": 50_002})


def test_a_list_is_one_text_for_the_parameter_and_has_its_shape_in_the_change():
    told = described(replace(ENTRY, value=[{"city": "Zürich", "rows": 3}]))
    assert isinstance(told["value"], str)
    assert decode(told["value"]) == [{"city": "Zürich", "rows": 3}]
    assert isinstance(told["change"], dict)
    assert told["change"]["value"] == [{"city": encode("Zürich"), "rows": 3}]


@pytest.mark.parametrize("large", ["sample", "previous", "value", "reason"])
def test_what_is_too_large_is_left_out_with_its_size(large: str):
    entry = replace(ENTRY, **{large: {"text": "x" * 70_000}})
    change = described(entry)["change"]
    assert isinstance(change, dict)
    assert change[large] == {"left_out_bytes": 70_012}


@pytest.mark.parametrize("large", ["previous", "value", "reason"])
def test_what_is_small_enough_is_kept(large: str):
    entry = replace(ENTRY, **{large: {"text": "x" * 50_000}})
    change = described(entry)["change"]
    assert isinstance(change, dict)
    kept = {"sample", "previous", "value", "reason"} - {large}
    assert {name: decode(change[name]) for name in kept} == {
        name: getattr(entry, name) for name in kept
    }
