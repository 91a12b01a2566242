"""A payload says what changed, and is small whatever happened."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.entry import Entry
from flowproject.changes.payload import (
    PAYLOAD_LIMIT,
    PREFIX,
    VALUE_LIMIT,
    ascii_json,
    decode,
    decode_text,
    encode,
    encode_whole,
    payload,
)

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


texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    [
        *(
            "",
            "plain",
            "$(id)",
            "`id`",
            "$$",
            "{{workflow.name}}",
            "\x7f",
            "\x00",
            "a\nb",
            "\\",
            '"',
        ),
        *("\ud800", "\ud83d\ude00", "\udc80", PREFIX, PREFIX + "x", PREFIX + "InIi", "x" * 30_000),
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
INERT = re.compile(r"[A-Za-z0-9 ._,:/+@=-]*")


def leaves(value: Json) -> list[Json]:
    """Every text and number in the value, its keys included."""
    if isinstance(value, dict):
        return [*value, *(leaf for item in value.values() for leaf in leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


@given(values)
def test_a_value_comes_back_as_it_was(value: Json):
    assert same(decode(encode(value)), value)
    assert same(decode(encode_whole(value)), value)


def same(one: Json, other: Json) -> bool:
    """Equal to the type, so that 1, 1.0 and True are three; the order of keys says nothing."""
    return dumps(one) == dumps(other)


@given(values)
def test_what_is_encoded_has_no_sign_that_anything_on_the_way_reads(value: Json):
    for leaf in [*leaves(encode(value)), encode_whole(value)]:
        assert not isinstance(leaf, str) or INERT.fullmatch(leaf)


@given(values)
def test_numbers_are_kept_by_64_bit_floats(value: Json):
    for leaf in leaves(encode(value)):
        if isinstance(leaf, int | float):
            assert float(leaf) == leaf
            assert json.loads(repr(float(leaf))) == leaf


@pytest.mark.parametrize(
    "value", [True, 0, -7, 2**53, 0.1, 1.5e-7, "", "31 added", "2026-01-01T00:00:00+00:00"]
)
def test_what_is_plain_stays_readable(value: Json):
    assert encode(value) == encode_whole(value) == value


def test_null_stays_null_inside_and_is_no_text_null_for_a_parameter():
    assert encode(None) is None
    assert encode_whole(None) not in {None, "null"}


@pytest.mark.parametrize("text", [PREFIX, PREFIX + "x", PREFIX + "!!!!", PREFIX + "Iv8i", "typed"])
def test_a_text_that_was_never_encoded_is_left_alone(text: str):
    assert decode_text(text) == text


@given(values)
def test_the_json_of_an_event_is_ascii_without_signs_of_templates_and_says_the_same(value: Json):
    text = ascii_json(value)
    assert text.isascii()
    assert "$" not in text
    assert "\x7f" not in text
    assert "{{" not in text
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    assert not any("{" in string for string in strings)
    assert json.dumps(json.loads(text)) == json.dumps(json.loads(json.dumps(value)))
