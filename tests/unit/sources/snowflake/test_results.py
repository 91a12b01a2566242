"""Snowflake's values are canonical: exact, and the same as every other engine's."""

import datetime as dt
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import Json, canonical, dumps
from flowproject.errors import QueryError
from flowproject.sources.snowflake.results import (
    converted,
    exact_converter,
    row_form,
    typed,
    whole,
)
from tests.snow_project import CONNECTOR

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
DECIMAL = pa.decimal128(38, 0)
EPOCH, FRACTION = pa.field("epoch", pa.int64()), pa.field("fraction", pa.int32())
PARTS = pa.struct([EPOCH, FRACTION])
ZONED = pa.struct([EPOCH, FRACTION, pa.field("timezone", pa.int32())])
SHORT = pa.struct([EPOCH, pa.field("timezone", pa.int32())])
FLOATING = pa.struct([pa.field("exponent", pa.int16()), pa.field("significand", pa.binary())])


@dataclass(frozen=True)
class Sent:
    """A type as the server sends it in Arrow, and values of it, each with what it is sent as.

    Two of these are the same if the first are. `text` writes one in the server's JSON.
    """

    kind: int
    field: pa.Field
    values: st.SearchStrategy[tuple[Any, Any]]
    text: Callable[[Any], str] | None = None


def sent(kind: int, word: str, arrow: pa.DataType, values: Any, text: Any = None, **about: int):
    """A type of which a value is sent as itself, unless `values` are pairs."""
    told = {name: str(number) for name, number in about.items()}
    field = pa.field("C", arrow, metadata={"logicalType": word, **told})
    return Sent(kind=kind, field=field, values=values, text=text)


def itself(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return values.map(lambda value: (value, value))


def _moments(scale: int, make: Callable[[int, int], Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Moments of so many digits, in nanoseconds, and `make` of their seconds and digits."""
    digits = st.integers(0, 10**scale - 1) | st.integers(0, min(2, 10**scale - 1))

    def both(seconds: int, part: int) -> tuple[int, Any]:
        return seconds * 10**9 + part * 10 ** (9 - scale), make(seconds, part)

    return st.builds(both, SECOND_RANGE, digits)


def _counted(scale: int) -> st.SearchStrategy[tuple[Any, Any]]:
    return _moments(scale, lambda seconds, part: seconds * 10**scale + part)


def _zoned(scale: int, offset: int = 1440, *, whole: bool = False) -> Any:
    def parts(seconds: int, part: int) -> dict[str, int]:
        if whole:
            return {"epoch": seconds * 10**scale + part, "timezone": offset}
        return {"epoch": seconds, "fraction": part * 10 ** (9 - scale), "timezone": offset}

    return _moments(scale, parts)


def _seconds(nanoseconds: int, scale: int = 9) -> str:
    """Seconds as the server writes them in JSON: what is negative with all of its digits."""
    return f"{Decimal(nanoseconds).scaleb(-9):.{scale}f}"


def _times(scale: int) -> Sent:
    counts = st.integers(0, 86_400 * 10**scale - 1) | st.integers(0, 2000)
    arrow = pa.int32() if scale < 5 else pa.int64()

    def text(count: int) -> str:
        return f"{Decimal(count).scaleb(-scale):.{scale}f}"

    return sent(TIME, "TIME", arrow, itself(counts), text, scale=scale)


def _floats() -> st.SearchStrategy[tuple[Any, Any]]:
    """Numbers of 38 digits with any exponent, as the server sends them."""

    def parts(digits: int, exponent: int) -> tuple[Any, Any]:
        size = (digits.bit_length() + 8) // 8
        return (
            Fraction(digits) * Fraction(10) ** exponent,
            {"exponent": exponent, "significand": digits.to_bytes(size, "big", signed=True)},
        )

    digits = st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-20, 20)
    return st.builds(parts, digits, st.integers(-60, 60) | st.integers(-2, 2))


def _intervals(bits: int) -> st.SearchStrategy[tuple[Any, Any]]:
    most = 2**bits - 1
    near = st.builds(int.__add__, st.sampled_from([0, 2**32, min(2**64, most - 2)]), SMALL)
    return itself(st.integers(-most, most) | near)


SMALL = st.integers(-2, 2)
SENT: dict[str, Sent] = {
    "NUMBER(38,0) in 8 bytes": sent(
        FIXED,
        "FIXED",
        pa.int64(),
        itself(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
        str,
        scale=0,
    ),
    "NUMBER(38,0)": sent(
        FIXED, "FIXED", DECIMAL, itself(st.integers(-(10**38) + 1, 10**38 - 1)), str, scale=0
    ),
    "NUMBER(10,2)": sent(
        FIXED,
        "FIXED",
        pa.int64(),
        itself(st.integers(-(10**10), 10**10)),
        lambda count: f"{Decimal(count).scaleb(-2):.2f}",
        scale=2,
    ),
    "NUMBER(38,20)": sent(
        FIXED,
        "FIXED",
        pa.decimal128(38, 20),
        itself(
            st.integers(-(10**38) + 1, 10**38 - 1).map(
                lambda number: Decimal(number).scaleb(-20, Context(prec=38))
            )
        ),
        str,
        scale=20,
    ),
    "DECFLOAT": sent(FIXED, "DECFLOAT", FLOATING, _floats()),
    "FLOAT": sent(
        REAL,
        "REAL",
        pa.float64(),
        itself(FINITE | st.sampled_from([NAN, float("inf"), -float("inf"), 0.0])),
        repr,
    ),
    "VARCHAR": sent(
        TEXT,
        "TEXT",
        pa.string(),
        itself(st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
        str,
    ),
    "DATE": sent(DATE, "DATE", pa.date32(), itself(st.integers(-719_528, 2_932_896)), str),
    "BINARY": sent(
        BINARY,
        "BINARY",
        pa.binary(),
        itself(st.binary(max_size=2)),
        lambda value: value.hex().upper(),
    ),
    "BOOLEAN": sent(
        BOOLEAN, "BOOLEAN", pa.bool_(), itself(st.booleans()), lambda value: str(int(value))
    ),
    "INTERVAL DAY TO SECOND": sent(20, "INTERVAL_DAY_TIME", DECIMAL, _intervals(76), str, scale=9),
    "INTERVAL DAY(3) TO SECOND": sent(
        20, "INTERVAL_DAY_TIME", pa.int64(), _intervals(60), str, scale=9
    ),
    "INTERVAL YEAR TO MONTH": sent(
        19, "INTERVAL_YEAR_MONTH", pa.int64(), itself(st.integers(-9999, 9999)), str, scale=0
    ),
    "VECTOR": sent(
        16,
        "VECTOR",
        pa.list_(pa.float32(), 1),
        itself(st.floats(-9, 9, width=32).map(lambda one: [one])),
    ),
    "OBJECT(at TIMESTAMP_NTZ(9))": sent(
        9,
        "OBJECT",
        pa.struct([pa.field("at", PARTS, metadata={"logicalType": "TIMESTAMP_NTZ", "scale": "9"})]),
        _moments(9, lambda seconds, part: {"at": {"epoch": seconds, "fraction": part}}),
    ),
    "ARRAY(TIME(9))": sent(
        10,
        "ARRAY",
        pa.list_(pa.field("item", pa.int64(), metadata={"logicalType": "TIME", "scale": "9"})),
        itself(st.lists(st.integers(0, 2000) | st.just(86_399_999_999_999), max_size=2)),
    ),
    "MAP(VARCHAR, TIMESTAMP_LTZ(7))": sent(
        17,
        "MAP",
        pa.map_(
            pa.string(),
            pa.field("value", pa.int64(), metadata={"logicalType": "TIMESTAMP_LTZ", "scale": "7"}),
        ),
        _moments(7, lambda seconds, part: [("a", seconds * 10**7 + part)]),
    ),
}
for digits in (0, 3, 7, 9):
    SENT[f"TIME({digits})"] = _times(digits)
    for number, name in ((LTZ, "TIMESTAMP_LTZ"), (NTZ, "TIMESTAMP_NTZ")):
        if digits < 8:  # of more the server sends two numbers
            SENT[f"{name}({digits})"] = sent(
                number, name, pa.int64(), _counted(digits), _seconds, scale=digits
            )
    SENT[f"TIMESTAMP_TZ({digits})"] = sent(
        TZ, "TIMESTAMP_TZ", ZONED, _zoned(digits), lambda at: f"{_seconds(at)} 1440", scale=digits
    )
for number, name in ((LTZ, "TIMESTAMP_LTZ"), (NTZ, "TIMESTAMP_NTZ")):
    SENT[f"{name}(9)"] = sent(
        number,
        name,
        PARTS,
        _moments(9, lambda seconds, part: {"epoch": seconds, "fraction": part}),
        _seconds,
        scale=9,
    )
SENT["TIMESTAMP_TZ(0) in 8 bytes"] = sent(
    TZ,
    "TIMESTAMP_TZ",
    SHORT,
    _zoned(0, whole=True),
    lambda at: f"{_seconds(at)} 1440",
    scale=0,
    byteLength=8,
)


def as_sent(kind: Sent, values: list[Any]) -> pa.Table:
    """A piece of a result, through the format in which it travels."""
    table = pa.Table.from_arrays(
        [pa.array(values, kind.field.type)], schema=pa.schema([kind.field])
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def forms(kind: Sent, values: list[Any]) -> list[str]:
    found = converted(as_sent(kind, values), {"c": kind.kind}, "f")
    return [dumps(row["c"]) for row in found]


def forms_of_json(kind: Sent, name: str, values: list[Any]) -> list[str]:
    """The same of a result that came as JSON, by the connector's own converter and ours over it."""
    assert kind.text is not None
    word = kind.field.metadata[b"logicalType"].decode()
    scale = int(kind.field.metadata.get(b"scale", b"0"))
    of_connector = exact_converter()().to_python_method(word, {"scale": scale, "name": name})
    make = row_form(kind.kind)
    texts = [None if value is None else kind.text(value) for value in values]
    return [
        dumps(make(text if text is None or of_connector is None else of_connector(text)))
        for text in texts
    ]


def hold(name: str, pairs: list[tuple[Any, Any]]) -> int:
    """Two values of a type have one form if they are the same, and else two: how many pairs."""
    kind = SENT[name]
    values, others = [value for value, _ in pairs], [other for _, other in pairs]
    found = forms(kind, others)
    for one, form in zip(values, found, strict=True):
        for other, another in zip(values, found, strict=True):
            same = one == other or (one is NAN and other is NAN)
            assert (form == another) == same, (one, other)
    # Beside other values, and in another order, each is what it was.
    assert forms(kind, others[::-2]) == found[::-2]
    if kind.text and CONNECTOR == 4:  # 5 makes Arrow of JSON
        assert forms_of_json(kind, name, values) == found
    return len(pairs) * (len(pairs) - 1) // 2


@pytest.mark.parametrize("name", sorted(SENT))
@settings(max_examples=5)
@given(data=st.data())
def test_two_values_of_a_type_have_two_forms(name: str, data: st.DataObject):
    hold(name, data.draw(st.lists(SENT[name].values | st.just((None, None)), max_size=20)))


@pytest.mark.thorough
@pytest.mark.seconds(300)
def test_a_hundred_thousand_pairs_of_values_have_two_forms_each():
    assert sum(hold_many(name) for name in SENT) >= 100_000


def hold_many(name: str) -> int:
    pairs = 0

    @settings(max_examples=8, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(SENT[name].values, min_size=30, max_size=40))
    def more(drawn: list[tuple[Any, Any]]) -> None:
        nonlocal pairs
        pairs += hold(name, drawn)

    more()
    return pairs


# What the connector's own tables hold: what journals have of it must stay as it is.
KEPT = [
    *(name for name in SENT if name.startswith(("NUMBER", "FLOAT", "VARCHAR", "BOOLEAN", "DATE"))),
    *("TIME(0)", "TIME(3)", "TIMESTAMP_NTZ(0)", "TIMESTAMP_LTZ(3)", "TIMESTAMP_TZ(0) in 8 bytes"),
]


@pytest.mark.skipif(CONNECTOR != 4, reason="the connector of the versions before")
@pytest.mark.parametrize("name", KEPT)
@settings(max_examples=5)
@given(data=st.data())
def test_a_value_has_the_form_that_it_had_when_the_connector_converted_it(
    name: str, data: st.DataObject
):
    kind = SENT[name]
    sent = as_sent(
        kind, [value for _, value in data.draw(st.lists(kind.values, min_size=1, max_size=9))]
    )
    assert converted(sent, {"c": kind.kind}, "f") == converted(
        by_connector(sent), {"c": kind.kind}, "f"
    )


@pytest.mark.skipif(CONNECTOR != 4, reason="the connector of the versions before")
@given(st.lists(st.integers(-9 * 10**9, 9 * 10**9), min_size=1), st.integers(0, 999_999_999))
def test_a_moment_of_our_time_has_the_form_that_it_had(seconds: list[int], fraction: int):
    kind = SENT["TIMESTAMP_NTZ(9)"]
    sent = as_sent(kind, [{"epoch": one, "fraction": fraction} for one in seconds])
    assert converted(sent, {"c": NTZ}, "f") == converted(by_connector(sent), {"c": NTZ}, "f")


def by_connector(sent: pa.Table) -> pa.Table:
    """What the connector makes of a piece of a result."""
    from snowflake.connector.arrow_context import ArrowConverterContext
    from snowflake.connector.constants import IterUnit
    from snowflake.connector.result_batch import ArrowResultBatch

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sent.schema) as writer:
        writer.write_table(sent)
    batch = ArrowResultBatch.from_data(
        b64encode(sink.getvalue()).decode(),
        sent.num_rows,
        ArrowConverterContext({"TIMEZONE": "UTC"}),
        use_dict_result=False,
        numpy=False,
        schema=[],
        number_to_decimal=True,
    )
    [table] = batch.create_iter(iter_unit=IterUnit.TABLE_UNIT, structure="arrow")
    return table


@pytest.mark.parametrize(
    "name, value, arrow",
    [
        ("TIME(9)", 1, pa.time64("ns")),
        ("TIME(3)", 1, pa.time32("ms")),
        ("TIMESTAMP_NTZ(9)", {"epoch": 1, "fraction": 1}, pa.timestamp("ns")),
        ("TIMESTAMP_NTZ(9)", {"epoch": 253402214400, "fraction": 1000}, pa.timestamp("us")),
        ("TIMESTAMP_TZ(3)", {"epoch": 1, "fraction": 0, "timezone": 1}, pa.timestamp("ms", "UTC")),
        ("NUMBER(10,2)", 150, pa.decimal128(38, 2)),
        ("INTERVAL DAY(3) TO SECOND", 1, pa.duration("ns")),
        (
            "OBJECT(at TIMESTAMP_NTZ(9))",
            {"at": {"epoch": 1, "fraction": 1}},
            pa.struct([("at", pa.timestamp("ns"))]),
        ),
        ("ARRAY(TIME(9))", [1], pa.list_(pa.time64("ns"))),
        (
            "MAP(VARCHAR, TIMESTAMP_LTZ(7))",
            [("a", 1)],
            pa.map_(pa.string(), pa.timestamp("ns", "UTC")),
        ),
    ],
)
def test_a_table_holds_what_was_sent(name: str, value: Any, arrow: pa.DataType):
    kind = SENT[name]
    table = typed(as_sent(kind, [value, None]), ["c"], "f")
    assert table.schema.field("c").type == arrow
    assert table.column("c").null_count == 1
    if not pa.types.is_nested(arrow):  # Python's values of these have no nanoseconds
        found = converted(table, {"c": kind.kind}, "f")
        assert [dumps(row["c"]) for row in found] == forms(kind, [value, None])


@pytest.mark.parametrize(
    "name, value",
    [
        ("TIMESTAMP_NTZ(9)", {"epoch": 253402214400, "fraction": 1}),
        ("DECFLOAT", {"exponent": 0, "significand": b"\x01"}),
        ("INTERVAL DAY TO SECOND", 2**70),
    ],
)
def test_a_table_that_can_not_hold_a_value_is_an_error_that_names_the_column(name: str, value: Any):
    with pytest.raises(QueryError, match=r"column 'c' can't be read.*sql/it\.sql.*c::VARCHAR AS c"):
        typed(as_sent(SENT[name], [value]), ["c"], "sql/it.sql")


END_OF_TIME = {"epoch": 253402214400, "fraction": 0}  # 9999-12-31


@pytest.mark.parametrize(
    "name, wrapped, arrow",
    [
        ("TIMESTAMP_NTZ(9)", lambda moment: moment, pa.timestamp("us")),
        (
            "OBJECT(at TIMESTAMP_NTZ(9))",
            lambda moment: {"at": moment},
            pa.struct([("at", pa.timestamp("us"))]),
        ),
    ],
)
@pytest.mark.parametrize("first", ["late", "early"])
def test_the_pieces_of_a_table_have_one_unit_that_holds_all_moments(
    name: str, wrapped: Callable[[Any], Any], arrow: pa.DataType, first: str
):
    def piece(*moments: dict[str, int]) -> pa.Table:
        return typed(as_sent(SENT[name], [*map(wrapped, moments), None]), ["c"], "sql/it.sql")

    late, early = piece(END_OF_TIME), piece({"epoch": 1, "fraction": 2000})
    table = whole([late, early] if first == "late" else [early, late], "sql/it.sql")
    assert table.schema.field("c").type == arrow
    assert (table.num_rows, table.column("c").null_count) == (4, 2)
    exact = piece({"epoch": 1, "fraction": 1})
    with pytest.raises(QueryError, match=r"column 'c' can't be read: no timestamp.*sql/it\.sql"):
        whole([late, exact], "sql/it.sql")


def test_pieces_of_narrow_and_wide_numbers_are_one_table():
    pieces = [
        pa.table({"n": pa.array([1], pa.int8()), "t": ["a"]}),
        pa.table({"n": pa.array([2**40], pa.int64()), "t": ["b"]}),
    ]
    assert whole(pieces, "f").to_pylist() == [{"n": 1, "t": "a"}, {"n": 2**40, "t": "b"}]


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
