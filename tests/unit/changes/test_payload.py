"""A payload says what changed, and is small whatever happened."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json
from flowproject.changes.entry import Entry
from flowproject.changes.payload import PAYLOAD_LIMIT, payload

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
        "reason": "1 → 2",
        "value": 2,
        "previous": 1,
        "counts": {"added": 1, "modified": 0, "removed": 0},
        "total": 4,
        "sample": {"added": [{"key": "a"}]},
        "recorded_at": "2026-01-01T00:00:00+00:00",
        "run": "SensorFlow/7",
        "entry": "entries/3.json",
    }


@settings(deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from('aé😀\x00"'))
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
    assert len(json.dumps(told)) < PAYLOAD_LIMIT
    assert told["id"] == entry.id
    change = told["change"]
    assert isinstance(change, dict)
    assert change["counts"] == entry.counts
    assert change["entry"] == "entries/3.json"
    assert told["value"] == change["value"]


@pytest.mark.parametrize("large", ["sample", "previous", "value", "reason"])
def test_what_is_too_large_is_left_out_with_its_size(large: str):
    entry = replace(ENTRY, **{large: {"text": "x" * 50_000}})
    change = described(entry)["change"]
    assert isinstance(change, dict)
    assert change[large] == {"left_out_bytes": 50_012}


@pytest.mark.parametrize("large", ["previous", "value", "reason"])
def test_what_is_small_enough_is_kept(large: str):
    entry = replace(ENTRY, **{large: {"text": "x" * 50_000}})
    change = described(entry)["change"]
    assert isinstance(change, dict)
    kept = {"sample", "previous", "value", "reason"} - {large}
    assert {name: change[name] for name in kept} == {name: getattr(entry, name) for name in kept}
