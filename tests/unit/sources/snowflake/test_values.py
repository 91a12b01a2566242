"""Snowflake's values are canonical: exact, and the same as every other engine's."""

import datetime as dt
import json
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, canonical, dumps
from flowproject.errors import QueryError
from flowproject.sources.snowflake.values import converted, row_form

FIXED, REAL, TEXT, DATE, VARIANT, LTZ, TZ, NTZ = 0, 1, 2, 3, 5, 6, 7, 8
BINARY, TIME, BOOLEAN = 11, 12, 13
NS = pa.timestamp("ns")
UTC = pa.timestamp("ns", "UTC")
SECONDS = pa.timestamp("s", "UTC")

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NANOSECONDS = st.integers(-(2**63), 2**63 - 1)


def one(array: Any, kind: int) -> Json:
    """The canonical form of the first value of a column."""
    return converted(pa.table({"C": array}), {"c": kind}, "f")[0]["c"]


@pytest.mark.parametrize(
    "array, kind, value",
    [
        (pa.array([None], pa.string()), TEXT, None),
        (pa.array([7], pa.int8()), FIXED, 7),
        (pa.array([2**62], pa.int64()), FIXED, 2**62),
        (pa.array([Decimal("1.50")], pa.decimal128(10, 2)), FIXED, 1.5),
        (pa.array([Decimal("2.00")], pa.decimal128(10, 2)), FIXED, 2),
        (pa.array([Decimal(10**37 + 1)], pa.decimal128(38, 0)), FIXED, 10**37 + 1),
        (pa.array([Decimal(10**16 - 1)], pa.decimal128(38, 0)), FIXED, 10**16 - 1),
        (pa.array([Decimal(2**53 + 1)], pa.decimal128(38, 0)), FIXED, 2**53 + 1),
        (
            pa.array([Decimal("12345678901234567890123456.0123456789")], pa.decimal128(38, 10)),
            FIXED,
            "12345678901234567890123456.0123456789",
        ),
        (pa.array([0.1]), REAL, 0.1),
        (pa.array([2.0]), REAL, 2),
        (pa.array([float("nan")]), REAL, "NaN"),
        (pa.array([float("-inf")]), REAL, "-Infinity"),
        (pa.array([True]), BOOLEAN, True),
        (pa.array([dt.date(2024, 2, 29)]), DATE, "2024-02-29"),
        (pa.array([-(10**6)], pa.date32()), DATE, "-0768-02-04"),
        (pa.array([b"\x00\xff"], pa.binary()), BINARY, "AP8="),
        (pa.array([0], NS), NTZ, "1970-01-01T00:00:00"),
        (pa.array([-1_000], NS), NTZ, "1969-12-31T23:59:59.999999"),
        (pa.array([1], NS), NTZ, "1970-01-01T00:00:00.000000001"),
        (pa.array([-1], NS), NTZ, "1969-12-31T23:59:59.999999999"),
        (pa.array([None], NS), NTZ, None),
        (pa.array([120_000_000], UTC), LTZ, "1970-01-01T00:00:00.120000+00:00"),
        (pa.array([253402300799999999], pa.timestamp("us")), NTZ, "9999-12-31T23:59:59.999999"),
        (pa.array([1], pa.time64("ns")), TIME, "00:00:00.000000001"),
        (pa.array([1_000], pa.time64("ns")), TIME, "00:00:00.000001"),
        (pa.array([86_399], pa.time32("s")), TIME, "23:59:59"),
        (pa.array([None], pa.time64("us")), TIME, None),
        (pa.array(['{"b": 1.10,\n "a": [1e0]}']), VARIANT, {"a": [1], "b": 1.1}),
        (pa.array(["[\n  1,\n  undefined\n]"]), VARIANT, [1, None]),
        (pa.array(['["undefined", undefined]']), VARIANT, ["undefined", None]),
        (pa.array(["NaN"]), VARIANT, {"$number": "NaN"}),
        (pa.array(['"NaN"']), VARIANT, "NaN"),
        (pa.array(["0.12345678901234567890"]), VARIANT, {"$number": "0.1234567890123456789"}),
        (pa.array([253402300799 + 8 * 3600], SECONDS), TZ, "10000-01-01T07:59:59+00:00"),
        (pa.array([253402300799 + 86400], SECONDS), TZ, "10000-01-01T23:59:59+00:00"),
        (pa.array([-62135596800 - 14 * 3600], SECONDS), TZ, "0000-12-31T10:00:00+00:00"),
        (pa.array([1_500_000_000], pa.duration("ns")), 20, "PT1.5S"),
        (pa.array([1], pa.duration("ns")), 20, "PT0.000000001S"),
        (pa.array([None, -1], pa.duration("s")), 20, None),
        (pa.array(["POINT(1 2)"]), 14, "POINT(1 2)"),
        (pa.array([None], pa.string()), VARIANT, None),
        (pa.array([[1, None]], pa.list_(pa.int64())), 10, [1, None]),
        (pa.array([{"b": 1, "a": None}]), 9, {"a": None, "b": 1}),
    ],
)
def test_values(array: Any, kind: int, value: Json):
    assert dumps(one(array, kind)) == dumps(value)


@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)))  # noqa: DTZ001
def test_a_moment_has_the_form_that_it_has_everywhere(moment: dt.datetime):
    assert one(pa.array([moment], NS), NTZ) == canonical(moment)
    zoned = moment.replace(tzinfo=dt.UTC)
    assert one(pa.array([zoned], UTC), LTZ) == canonical(zoned)


@given(st.data(), st.integers(0, 37))
def test_a_decimal_has_the_form_that_it_has_everywhere(data: st.DataObject, scale: int):
    digits = st.integers(1, 38).flatmap(lambda size: st.integers(-(10**size) + 1, 10**size - 1))
    number = Decimal(data.draw(digits)).scaleb(-scale, Context(prec=38))
    assert dumps(one(pa.array([number], pa.decimal128(38, scale)), FIXED)) == dumps(
        canonical(number)
    )


@given(st.times())
def test_a_time_has_the_form_that_it_has_everywhere(moment: dt.time):
    assert one(pa.array([moment], pa.time64("us")), TIME) == canonical(moment)


@given(NANOSECONDS, NANOSECONDS)
def test_two_moments_a_nanosecond_apart_are_two(some: int, other: int):
    texts = [one(pa.array([value], NS), NTZ) for value in (some, other)]
    assert (texts[0] == texts[1]) == (some == other)


# The second before the year 0 and the last of the year 10000: in UTC no moment lies beyond.
SECOND_RANGE = st.integers(-62167219200, 253433923199) | st.builds(
    int.__add__, st.sampled_from([0, -62135596800, 253402300800]), st.integers(-2, 2)
)
NAN = float("nan")
FINITE = st.floats(allow_nan=False, allow_infinity=False)

COLUMNS: dict[str, tuple[int, pa.DataType, st.SearchStrategy[Any]]] = {
    "NUMBER": (FIXED, pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    "NUMBER(38,0)": (FIXED, pa.decimal128(38, 0), st.integers(-(10**38) + 1, 10**38 - 1)),
    "NUMBER(38,20)": (
        FIXED,
        pa.decimal128(38, 20),
        st.integers(-(10**38) + 1, 10**38 - 1).map(
            lambda number: Decimal(number).scaleb(-20, Context(prec=38))
        ),
    ),
    "FLOAT": (
        REAL,
        pa.float64(),
        FINITE | st.sampled_from([NAN, float("inf"), -float("inf"), 0.0]),
    ),
    "VARCHAR": (TEXT, pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    "DATE": (DATE, pa.date32(), st.integers(-719_528, 2_932_896)),
    "BINARY": (BINARY, pa.binary(), st.binary(max_size=2)),
    "BOOLEAN": (BOOLEAN, pa.bool_(), st.booleans()),
    "TIME(0)": (TIME, pa.time32("s"), st.integers(0, 86_399)),
    "TIME(9)": (TIME, pa.time64("ns"), st.integers(0, 86_400 * 10**9 - 1) | st.integers(0, 2000)),
    "INTERVAL DAY TO SECOND": (20, pa.duration("ns"), NANOSECONDS | st.integers(-2, 2)),
    "VECTOR": (16, pa.list_(pa.float32(), 1), st.floats(-9, 9, width=32).map(lambda one: [one])),
}
for number, name in ((LTZ, "TIMESTAMP_LTZ"), (TZ, "TIMESTAMP_TZ"), (NTZ, "TIMESTAMP_NTZ")):
    zone = None if number == NTZ else "UTC"
    COLUMNS[f"{name}(0)"] = (number, pa.timestamp("s", zone), SECOND_RANGE)
    COLUMNS[f"{name}(9)"] = (number, pa.timestamp("ns", zone), NANOSECONDS | st.integers(-2, 2000))


def hold(name: str, values: list[Any]) -> int:
    """Two values of a type have one form if they are the same, and else two: how many pairs."""
    kind, arrow, _ = COLUMNS[name]
    found = converted(pa.table({"C": pa.array(values, arrow)}), {"c": kind}, "f")
    forms = [dumps(row["c"]) for row in found]
    for one, form in zip(values, forms, strict=True):
        for other, another in zip(values, forms, strict=True):
            same = one == other or (one is NAN and other is NAN)
            assert (form == another) == same, (one, other)
    # Beside other values, and in another order, each is what it was.
    found = converted(pa.table({"C": pa.array(values[::-2], arrow)}), {"c": kind}, "f")
    assert [dumps(row["c"]) for row in found] == forms[::-2]
    return len(values) * (len(values) - 1) // 2


@pytest.mark.parametrize("name", sorted(COLUMNS))
@settings(max_examples=5)
@given(data=st.data())
def test_two_values_of_a_type_have_two_forms(name: str, data: st.DataObject):
    hold(name, data.draw(st.lists(COLUMNS[name][2] | st.none(), max_size=20)))


@pytest.mark.thorough
@pytest.mark.seconds(300)
def test_a_hundred_thousand_pairs_of_values_have_two_forms_each():
    pairs = 0

    @settings(max_examples=8, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def more(data: st.DataObject) -> None:
        nonlocal pairs
        for name, (_, _, values) in COLUMNS.items():
            pairs += hold(name, data.draw(st.lists(values, min_size=30, max_size=40)))

    while pairs < 100_000:
        more()


@given(SECOND_RANGE)
def test_a_moment_has_one_form_in_whatever_unit_it_comes(seconds: int):
    """The connector chooses the unit for a whole piece of the result."""
    units = {"s": 1, "ms": 10**3, "us": 10**6}
    if -(2**33) < seconds < 2**33:
        units["ns"] = 10**9
    forms = {
        str(one(pa.array([seconds * parts], pa.timestamp(unit, "UTC")), TZ))
        for unit, parts in units.items()
    }
    assert len(forms) == 1


@given(JSON)
def test_a_variant_is_what_its_json_says_however_it_is_laid_out(value: Any):
    for indent in (None, 2):
        text = json.dumps(value, indent=indent, ensure_ascii=bool(indent))
        assert dumps(one(pa.array([text], pa.string()), VARIANT)) == dumps(canonical(value))
        assert dumps(row_form(VARIANT)(text)) == dumps(canonical(value))


def test_columns_and_rows_keep_their_places():
    table = pa.table({"A": [1, 2], "b": ["x", None]})
    assert converted(table, {"a": FIXED, "b": TEXT}, "f") == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
    ]


@pytest.mark.parametrize(
    "array, kind",
    [
        (pa.array([10**15], pa.timestamp("ms")), NTZ),
    ],
)
def test_what_nobody_can_hold_is_an_error_that_names_the_column(array: Any, kind: int):
    with pytest.raises(QueryError, match=r"column 'c' can't be read.*sql/it\.sql.*c::VARCHAR AS c"):
        converted(pa.table({"C": array}), {"c": kind}, "sql/it.sql")
