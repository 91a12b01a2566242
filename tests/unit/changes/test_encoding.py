"""No text of an event is anything but text on its way, and each comes back as it was."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.encoding import (
    PREFIX,
    ascii_json,
    decode,
    decode_text,
    encode,
    encode_whole,
)

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
