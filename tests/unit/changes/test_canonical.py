"""The same data has the same form, whatever it came through; different data has another."""

import datetime as dt
import json
import math
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import (
    Json,
    canonical,
    digest,
    digest_value,
    dumps,
    dumps_rows,
    parsed,
)

TEXT = st.text('aé\ud800\x00"\\😀 ', max_size=6)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.times(),
    st.timedeltas(),
    st.binary(max_size=8),
    st.uuids(),
    TEXT,
)
VALUES: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXT, inner, max_size=3),
        st.dictionaries(st.integers(), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(VALUES)
def test_every_value_has_a_form_that_json_keeps(value: object):
    form = canonical(value)
    assert json.loads(dumps(form)) == form
    assert json.loads(json.dumps(form)) == form


@settings(deadline=None)
@given(VALUES)
def test_it_is_spelled_as_the_standard_library_spells_it(value: object):
    form = canonical(value)
    spelled = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert dumps(form) == spelled


@settings(deadline=None)
@given(VALUES)
def test_the_form_of_a_form_is_itself(value: object):
    form = canonical(value)
    assert dumps(canonical(form)) == dumps(form)


@settings(deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(0, 12))
def test_equal_numbers_have_one_form(number: int, zeros: int):
    decimal = Decimal(f"{number}.{'0' * zeros}")
    assert dumps(canonical(decimal)) == dumps(canonical(number))
    if float(number) == number:
        assert dumps(canonical(float(number))) == dumps(canonical(number))


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_and_the_decimal_of_its_digits_are_one(number: float):
    assert canonical(number) == pytest.approx(number, rel=0)
    if not number.is_integer():
        assert dumps(canonical(Decimal(repr(number)))) == dumps(canonical(number))


@settings(deadline=None)
@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=0, max_value=10**28),
    st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=0, max_value=10**28),
)
def test_decimals_have_one_form_exactly_if_they_are_equal(one: Decimal, other: Decimal):
    assert (dumps(canonical(one)) == dumps(canonical(other))) == (one == other)


def test_no_digit_of_a_long_decimal_is_lost():
    one = Decimal("1234567890123456789012345678.0123456789")
    other = Decimal("1234567890123456789012345678.0123456788")
    assert canonical(one) == "1234567890123456789012345678.0123456789"
    assert canonical(one) != canonical(other)


class Colour(IntEnum):
    RED = 1


class Word(StrEnum):
    YES = "yes"


@pytest.mark.parametrize(
    "value, form",
    [
        (Decimal("1.0"), 1),
        (1.0, 1),
        (-0.0, 0),
        (Decimal("-0"), 0),
        (Decimal("1.10"), 1.1),
        (Decimal("1E+3"), 1000),
        (Decimal("0.30000000000000000001"), "0.30000000000000000001"),
        (Decimal("1E+1000000000"), "1E+1000000000"),
        (Decimal("10E+999999999"), "1E+1000000000"),
        (math.nan, "NaN"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "NaN"),
        (math.inf, "Infinity"),
        (Decimal("-Infinity"), "-Infinity"),
        (2**127, 2**127),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 1, 1, 12), "2024-01-01T12:00:00"),  # noqa: DTZ001  # a moment without a zone
        (
            dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2024-01-01T10:00:00+00:00",
        ),
        (dt.time(1, 2, 3, 4), "01:02:03.000004"),
        (dt.timedelta(days=1, microseconds=500_000), "PT86400.5S"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"\x00\xff"), "AP8="),
        (memoryview(b"\x00\xff"), "AP8="),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, [2.0]), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({"b": 1, "a": (1.0,)}, {"a": [1], "b": 1}),
        ({2: "b", 1: "a"}, [[1, "a"], [2, "b"]]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Colour.RED, 1),
        (Word.YES, "yes"),
    ],
)
def test_forms(value: object, form: Json):
    assert dumps(canonical(value)) == dumps(form)


def test_the_calendar_s_last_moment_has_a_form():
    last = dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-12)))
    assert canonical(last) == "9999-12-31T23:59:59.999999-12:00"


def test_one_moment_in_two_zones_has_one_form():
    moment = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    assert canonical(moment) == canonical(moment.astimezone(dt.timezone(dt.timedelta(hours=5))))


def test_what_no_engine_returns_is_refused_by_name():
    with pytest.raises(TypeError, match="of type object has no canonical form"):
        canonical(object())


PARTS = st.lists(st.one_of(st.binary(max_size=3), st.text("ab", max_size=3)), max_size=4)


def as_bytes(parts: list[bytes | str]) -> list[bytes]:
    return [part.encode() if isinstance(part, str) else part for part in parts]


@settings(deadline=None)
@given(PARTS, PARTS)
def test_a_digest_tells_where_one_part_ends(one: list[bytes | str], other: list[bytes | str]):
    assert (digest(*one) == digest(*other)) == (as_bytes(one) == as_bytes(other))


def test_digests_stay_what_they_are_because_journals_outlive_the_code():
    assert digest() == "cae66941d9efbd404e4d88758ea67670"
    assert digest("a", b"b") == digest(b"a", "b")
    assert digest_value({"b": [1, None, "é"], "a": 0.5}) == digest('{"a":0.5,"b":[1,null,"é"]}')


@settings(deadline=None)
@given(st.dictionaries(TEXT | st.just("%s"), st.lists(VALUES, min_size=3, max_size=3), min_size=1))
def test_rows_are_spelled_as_each_would_be_alone(values: dict[str, list[object]]):
    columns = {name: [canonical(value) for value in column] for name, column in values.items()}
    rows = [{name: column[place] for name, column in columns.items()} for place in range(3)]
    assert [*dumps_rows(columns)] == [dumps(row) for row in rows]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers() | st.floats().map(canonical) | st.booleans() | TEXT))
def test_a_column_of_plain_values_is_spelled_as_each_would_be_alone(column: list[Json]):
    assert [*dumps_rows({"a": column})] == [dumps({"a": value}) for value in column]


@pytest.mark.parametrize(
    "text, form",
    [
        ('{"b": 1.10, "a": [1e0, "x", null, true]}', {"a": [1, "x", None, True], "b": 1.1}),
        ("0.12345678901234567890", {"$number": "0.1234567890123456789"}),
        ('"0.1234567890123456789"', "0.1234567890123456789"),
        ("-0.0", 0),
        ("NaN", {"$number": "NaN"}),
        ("-Infinity", {"$number": "-Infinity"}),
        (f"1{'0' * 5000}", {"$number": "1E+5000"}),
        ("1e5000", {"$number": "1E+5000"}),
        ("1e99999999999999999999", {"$number": "1e99999999999999999999"}),
        ('{"a": 1, "a": 2}', {"$object": [["a", 1], ["a", 2]]}),
        ('{"$number": "NaN"}', {"$$number": "NaN"}),
        ('{"$$object": []}', {"$$$object": []}),
        ('{"$number": 1, "a": 2}', {"$number": 1, "a": 2}),
    ],
)
def test_what_json_says_has_a_form_of_its_own(text: str, form: Json):
    assert dumps(parsed(text)) == dumps(form)


@given(st.recursive(st.none() | st.booleans() | st.integers() | TEXT, st.lists, max_leaves=4))
def test_what_has_a_form_keeps_it_as_json(value: Json):
    assert parsed(dumps(value)) == value
