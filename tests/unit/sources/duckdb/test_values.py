# ruff: noqa: S608  # all SQL here is the tests' own
"""Two values of any of DuckDB's types have two forms, and one value has one, wherever it stands.

DuckDB itself says which values are the same, where it tells what we tell. Two of two forms also
have two texts in the digest by which DuckDB tells that a result is as it was.
"""

import json
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flowproject.changes.canonical import dumps
from flowproject.changes.difference import item
from flowproject.changes.observation import Observation
from flowproject.config.data import DuckDBData
from flowproject.errors import FlowError
from flowproject.sources.duckdb import reading
from flowproject.sources.duckdb.source import DuckDBSource
from flowproject.sources.duckdb.values import described, distinct_text
from flowproject.tables.typed_rows import rows_in_columns
from tests.observations import remembered
from tests.observations import table as by_key

pytestmark = pytest.mark.seconds(20)

Values = st.SearchStrategy[str]
"""SQL expressions, each of one value."""

SECOND = 10**6
DAY = 86_400 * SECOND
TEXTS = st.sampled_from(["", "NaN", "1", "true", "infinity", "9999-12-31", "a, b", "null", "[]"])


def around(*numbers: int) -> st.SearchStrategy[int]:
    """Numbers close to some that matter."""
    return st.builds(int.__add__, st.sampled_from(numbers), st.integers(-2, 2))


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def integers(low: int, high: int) -> Values:
    near = around(0, low + 2, high - 2, 2**53).filter(lambda number: low <= number <= high)
    return (near | st.integers(low, high)).map(str)


def floats(width: Literal[32, 64]) -> Values:
    finite = st.floats(allow_nan=False, allow_infinity=False, width=width).map(repr)
    return (finite | st.sampled_from(["nan", "inf", "-inf", "-0.0", "0", "0.1", "1e22"])).map(
        quoted
    )


def moments(unit: int, make: str = "make_timestamp") -> Values:
    """Moments to one in `unit` microseconds, ends of the calendar and of the type included."""
    edges = around(0, 253402300800, -62135596800, 253402300800 + 86400, -62135596800 - 86400)
    found = edges.map(lambda seconds: seconds * SECOND) | st.integers(-(2**56), 2**56)
    return found.map(lambda number: f"{make}({number // unit * unit})") | st.sampled_from(
        ["'infinity'", "'-infinity'"]
    )


def clocks(digits: int) -> Values:
    """Times of day with so many digits behind the point."""
    return st.builds(
        lambda seconds, part: (
            f"'{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{part:0{digits}}'"
        ),
        around(2, 86_397, 3600) | st.integers(0, 86_399),
        around(2, 10 ** (digits - 1)) | st.integers(0, 10**digits - 1),
    ) | st.just("'24:00:00'")


NANOSECONDS = (around(0, 1_700_000_000_000_000_000) | st.integers(-(2**62), 2**62)).map(
    lambda number: f"make_timestamp_ns({number})"
) | st.sampled_from(["'infinity'", "'-infinity'"])
JSON_TEXTS = st.recursive(
    st.sampled_from(["null", "true", "1", "1.0", "1e0", "0.1", "1e400", '"1E+400"', "NaN", '"NaN"'])
    | st.sampled_from(["0.12345678901234567890", '"0.1234567890123456789"', '"x"'])
    | st.sampled_from(['{"a": 1, "a": 2}', '{"a": 2}', '{"$number": "NaN"}', '{"$$object": []}']),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda them: f"[{', '.join(them)}]")
        | inner.map(lambda one: f'{{"a": {one}}}')
        | inner.map(lambda one: f'{{"$number": {one}}}')
    ),
    max_leaves=3,
)

LEAVES: dict[str, Values] = {
    "BOOLEAN": st.sampled_from(["true", "false"]),
    "TINYINT": integers(-(2**7), 2**7 - 1),
    "SMALLINT": integers(-(2**15), 2**15 - 1),
    "INTEGER": integers(-(2**31), 2**31 - 1),
    "BIGINT": integers(-(2**63), 2**63 - 1),
    "HUGEINT": integers(-(2**127), 2**127 - 1),
    "UTINYINT": integers(0, 2**8 - 1),
    "USMALLINT": integers(0, 2**16 - 1),
    "UINTEGER": integers(0, 2**32 - 1),
    "UBIGINT": integers(0, 2**64 - 1),
    "UHUGEINT": integers(0, 2**128 - 1),
    "BIGNUM": integers(-(10**60), 10**60).map(quoted),
    "DECIMAL(4,2)": st.integers(-9999, 9999).map(lambda number: f"{number}::DECIMAL(6,0) / 100"),
    "DECIMAL(38,19)": integers(-(10**38) + 1, 10**38 - 1).map(
        lambda text: quoted(f"{Decimal(text).scaleb(-19, Context(prec=38)):f}")
    ),
    "FLOAT": floats(32),
    "DOUBLE": floats(64),
    "VARCHAR": (TEXTS | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)).map(
        quoted
    ),
    "BLOB": st.binary(max_size=3).map(lambda raw: f"unhex('{raw.hex()}')"),
    "BIT": st.text("01", min_size=1, max_size=4).map(quoted),
    "UUID": st.uuids().map(str).map(quoted),
    "ENUM('NaN', 'x', '1')": st.sampled_from(["'NaN'", "'x'", "'1'"]),
    "DATE": (
        around(0, 2932896, 2932897, -719162, -719528) | st.integers(-(2**31) + 3, 2**31 - 3)
    ).map(lambda days: f"make_date({days})")
    | st.sampled_from(["'infinity'", "'-infinity'"]),
    "TIME": clocks(6),
    "TIME_NS": clocks(9),
    "TIMETZ": st.builds(
        lambda clock, zone: f"{clock[:-1]}{zone}'",
        clocks(6),
        st.sampled_from(["+00", "+01", "-00:00:01", "+05:30", "+15:59:59", "-15:59:59"]),
    ),
    "TIMESTAMP": moments(1),
    "TIMESTAMP_S": moments(SECOND),
    "TIMESTAMP_MS": moments(1000),
    "TIMESTAMP_NS": NANOSECONDS,
    "TIMESTAMPTZ": moments(1),
    "TIMESTAMPTZ_NS": NANOSECONDS,
    "INTERVAL": st.builds(
        lambda months, days, part: (
            f"to_months({months}) + to_days({days}) + to_microseconds({part})"
        ),
        around(0, 12),
        around(0, 30, 360),
        around(0, DAY, 30 * DAY),
    ),
    "GEOMETRY": st.builds("'POINT ({} {})'".format, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)),
    "JSON": JSON_TEXTS.map(quoted),
}
"""Every type of DuckDB's that a result can have and that has no parts."""

END = 253402300799 * SECOND  # the last second of the year 9999
BEGIN = -62135596800 * SECOND  # the first of the year 1
INFINITE = ["'infinity'", "'-infinity'"]
MOMENTS = [f"make_timestamp({at})" for at in (END, END + SECOND, BEGIN, BEGIN - SECOND, 0)]

EDGES: dict[str, list[str]] = {
    "BIGINT": ["0", "1", str(2**53), str(2**53 + 1), str(2**63 - 1)],
    "DECIMAL(38,19)": ["'0.1234567890123456789'", "'0.1234567890123456788'", "'1'", "'1.0'"],
    "DOUBLE": ["'nan'", "'inf'", "'-inf'", "'0'", "'-0.0'", "'0.1'", "'1e22'", "'5e-324'"],
    "FLOAT": ["'nan'", "'inf'", "'-inf'", "'0'", "'-0.0'", "'0.1'"],
    "VARCHAR": ["'NaN'", "'Infinity'", "'infinity'", "'1'", "'9999-12-31'", "''", "'null'"],
    "DATE": [*(f"make_date({day})" for day in (2932896, 2932897, -719162, -719163)), *INFINITE],
    "TIME": ["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'01:02:03.5'", "'01:02:03.500001'"],
    "TIME_NS": ["'00:00:00'", "'24:00:00'", "'00:00:00.000000001'", "'00:00:00.000000002'"],
    "TIMETZ": ["'00:00:00+00'", "'24:00:00+00'", "'01:00:00+01'", "'00:00:00-00:00:01'"],
    "TIMESTAMP": [*MOMENTS, f"make_timestamp({END + SECOND - 1})", *INFINITE],
    "TIMESTAMP_S": [*MOMENTS, *INFINITE],
    "TIMESTAMP_MS": [*MOMENTS, "make_timestamp(1000)", *INFINITE],
    "TIMESTAMP_NS": ["make_timestamp_ns(0)", "make_timestamp_ns(1)", *INFINITE],
    "TIMESTAMPTZ": [*MOMENTS, f"make_timestamp({END + SECOND - 1})", *INFINITE],
    "TIMESTAMPTZ_NS": ["make_timestamp_ns(0)", "make_timestamp_ns(1)", *INFINITE],
    "INTERVAL": ["to_months(1)", "to_days(30)", "to_hours(720)", "to_years(1)", "to_days(360)"],
}
"""Values that are taken for another one most easily."""

Typed = tuple[str, Values]


def edges(kind: str) -> list[str]:
    return [f"CAST({text} AS {kind})" for text in (*EDGES.get(kind, ()), "NULL")]


def values(kind: str) -> Values:
    likely = LEAVES[kind] | st.sampled_from(EDGES[kind]) if kind in EDGES else LEAVES[kind]
    return likely.map(lambda text: f"CAST({text} AS {kind})")


def nested(parts: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Types that are made of others."""

    def a_list(part: Typed) -> Typed:
        kind, inner = part
        found = st.lists(inner | st.just("NULL"), max_size=2)
        return f"{kind}[]", found.map(lambda them: f"CAST([{', '.join(them)}] AS {kind}[])")

    def an_array(part: Typed) -> Typed:
        kind, inner = part
        return f"{kind}[1]", (inner | st.just("NULL")).map(
            lambda one: f"CAST([{one}] AS {kind}[1])"
        )

    def a_struct(one: Typed, other: Typed) -> Typed:
        kind = f'STRUCT(a {one[0]}, "b ""c" {other[0]})'
        make = f"CAST({{{{'a': {{}}, 'b \"c': {{}}}}}} AS {kind})".format
        return kind, st.builds(make, one[1], other[1] | st.just("NULL"))

    def a_tuple(one: Typed, other: Typed) -> Typed:
        kind = f"TUPLE({one[0]}, {other[0]})"
        return kind, st.builds(f"CAST(ROW({{}}, {{}}) AS {kind})".format, one[1], other[1])

    def a_map(one: Typed, other: Typed) -> Typed:
        kind = f"MAP({one[0]}, {other[0]})"
        make = f"CAST(MAP {{{{{{}}: {{}}}}}} AS {kind})".format
        return kind, st.builds(make, one[1], other[1]) | st.just(f"CAST(MAP {{}} AS {kind})")

    def a_union(one: Typed, other: Typed) -> Typed:
        kind = f"UNION(a {one[0]}, b {other[0]})"
        first = one[1].map(f"CAST(union_value(a := {{}}) AS {kind})".format)
        return kind, first | other[1].map(f"CAST(union_value(b := {{}}) AS {kind})".format)

    one_of: list[Callable[[Typed], Typed]] = [a_list, an_array]
    two_of: list[Callable[[Typed, Typed], Typed]] = [a_struct, a_tuple, a_map, a_union]
    return st.builds(lambda make, part: make(part), st.sampled_from(one_of), parts) | st.builds(
        lambda make, one, other: make(one, other), st.sampled_from(two_of), parts, parts
    )


LEAF_TYPES: st.SearchStrategy[Typed] = st.sampled_from(sorted(LEAVES)).map(
    lambda kind: (kind, values(kind))
)
TYPES = st.recursive(LEAF_TYPES, nested, max_leaves=3)


@st.composite
def columns(
    draw: st.DrawFn, types: st.SearchStrategy[Typed], least: int, most: int
) -> tuple[str, list[str]]:
    """A type and expressions of its values, some of which are the same."""
    kind, them = draw(types)
    either = them | st.just(f"CAST(NULL AS {kind})")
    return kind, draw(st.lists(either, min_size=least, max_size=most))


class Table:
    """What a query of values gives, and what DuckDB says of each two of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "sql").mkdir(exist_ok=True)
        self._source = DuckDBSource(DuckDBData(query="it"), root)

    def forms(self, expressions: list[str]) -> list[str]:
        """The canonical form of each."""
        rows = ", ".join(f"({at}, {text})" for at, text in enumerate(expressions))
        found = self._asked(f"SELECT i, v FROM (VALUES {rows}) AS t(i, v)")
        by_place = {row["i"]: dumps(row["v"]) for row in found}
        return [by_place[at] for at in range(len(expressions))]

    def same(self, kind: str, expressions: list[str]) -> list[list[bool]]:
        """Which two are the same: by DuckDB, or by what it writes where it takes more for equal."""
        rows = ", ".join(f"({at}, {text})" for at, text in enumerate(expressions))
        # A month equals thirty days to DuckDB, and is another thing to whoever adds it.
        told = "CAST(v AS JSON)" if "INTERVAL" in kind else "v"
        found = self._asked(
            f"WITH t AS (SELECT i, {told} AS v FROM (VALUES {rows}) AS t(i, v)) SELECT one.i, "
            "list(one.v IS NOT DISTINCT FROM other.v ORDER BY other.i) AS row "
            "FROM t AS one, t AS other GROUP BY one.i ORDER BY one.i"
        )
        return [row["row"] for row in found]  # type: ignore[misc]

    def looked(self, expressions: list[str]) -> tuple[Observation, Observation]:
        """What a look sees of them that makes a digest, and one after it."""
        rows = ", ".join(f"({at}, {text})" for at, text in enumerate(expressions))
        (self._root / "sql" / "it.sql").write_text(f"SELECT i, v FROM (VALUES {rows}) AS t(i, v)")
        asked = DuckDBSource(DuckDBData(query="it", key=("i",)), self._root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "UNKEYED_LIMIT", 0)  # so few have no digest else
            seen = asked.observe()
            return seen, asked.observe(remembered(seen))

    def texts(self, expressions: list[str]) -> list[str]:
        """What a digest is made of, for each."""
        rows = ", ".join(f"({at}, {text})" for at, text in enumerate(expressions))
        values = f"(VALUES {rows}) AS t(i, v)"
        parts = distinct_text("v", duckdb.sql(f"SELECT v FROM {values}").types[0])
        assert parts, f"no digest has values such as {expressions[0]}"
        found = self._asked(f"SELECT i, concat({parts}) AS text FROM {values}")
        by_place = {row["i"]: str(row["text"]) for row in found}
        return [by_place[at] for at in range(len(expressions))]

    def in_arrow(self, expressions: list[str]) -> "tuple[pa.Table, pa.Table]":
        """The values in Arrow as a change has them, and as DuckDB has them."""
        rows = ", ".join(f"({at}, {text})" for at, text in enumerate(expressions))
        text = f"SELECT i, v FROM (VALUES {rows}) AS t(i, v)"
        items = [item(str(row["i"]), row) for row in self._asked(text)]  # type: ignore[arg-type]
        names = described(dict(zip("iv", duckdb.sql(text).types, strict=True)))
        ours = rows_in_columns(items, names).read_all()
        return ours, self._source.query_arrow("it", {})

    def _asked(self, text: str) -> list[dict[str, object]]:
        (self._root / "sql" / "it.sql").write_text(text)
        return self._source.query("it", {})  # type: ignore[return-value]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return Table(tmp_path_factory.mktemp("values"))


def hold(table: Table, kind: str, expressions: list[str]) -> int:
    """Two have one form if they are the same and else two: how many pairs that were."""
    forms = table.forms(expressions)
    same = table.same(kind, expressions)
    texts = table.texts(expressions)
    assert len({*zip(forms, texts, strict=True)}) == len({*texts}), "a digest is blind to a form"
    for one, row in enumerate(same):
        for other, equal in enumerate(row):
            assert (forms[one] == forms[other]) == equal, (expressions[one], expressions[other])
    # Beside other values, and in another order, each is what it was.
    assert table.forms(expressions[::-2]) == forms[::-2]
    return len(forms) * (len(forms) - 1) // 2


def is_judged(typed: Typed) -> bool:
    """Whether DuckDB tells apart what we do: to it JSON is a text, in which -0.0 is not 0.0.

    It does not survive everything that can be done with tuples of arrays.
    """
    kind = typed[0]
    is_text = "JSON" in kind or ("INTERVAL" in kind and ("DOUBLE" in kind or "FLOAT" in kind))
    return not is_text and not ("TUPLE" in kind and "[1]" in kind)


JUDGED = TYPES.filter(is_judged)


@pytest.mark.parametrize("kind", sorted(set(LEAVES) - {"JSON"}))
@settings(max_examples=3)
@given(data=st.data())
def test_two_values_of_a_type_have_two_forms(table: Table, kind: str, data: st.DataObject):
    more = data.draw(st.lists(values(kind), max_size=10))
    hold(table, kind, [*edges(kind), *more])


@pytest.mark.parametrize("kind", sorted(EDGES))
def test_nor_are_they_one_inside_of_others(table: Table, kind: str):
    inner = [one for one in edges(kind) if not (kind == "INTERVAL" and "0.0" in one)]
    given = [one for one in inner if "NULL" not in one]
    hold(table, f"{kind}[]", [f"[{one}]" for one in inner])
    hold(table, f"STRUCT(a {kind})", [f"{{'a': {one}}}" for one in inner])
    hold(table, f"MAP({kind}, INTEGER)", [f"MAP {{{one}: 1}}" for one in given])
    members = f"UNION(a {kind}, b VARCHAR)"
    texts = [f"CAST({one} AS VARCHAR)" for one in given]
    hold(
        table,
        members,
        [f"CAST(union_value(a := {one}) AS {members})" for one in given]
        + [f"CAST(union_value(b := {one}) AS {members})" for one in texts],
    )


def test_nor_are_they_one_as_the_keys_of_a_map(table: Table):
    """There JSON has the text of a key, in which a member of a union says not which it is."""
    members = "UNION(a VARCHAR, b INTEGER)"
    keys = [f"CAST(union_value({value}) AS {members})" for value in ("a := '1'", "b := 1")]
    for kind, make in ((f"{members}[]", "[{}]"), (f"STRUCT(u {members})", "{{'u': {}}}")):
        maps = [f"CAST(MAP {{{make.format(key)}: 1}} AS MAP({kind}, INTEGER))" for key in keys]
        assert len({*table.forms(maps)}) == len({*table.texts(maps)}) == 2


@pytest.mark.parametrize("kind", sorted(LEAVES))
@settings(max_examples=2)
@given(data=st.data())
def test_rows_that_come_with_a_digest_are_the_same_rows(
    table: Table, kind: str, data: st.DataObject
):
    expressions = [*edges(kind), data.draw(values(kind))]
    read_with_a_digest(table, expressions)
    read_with_a_digest(table, [f"[{{'a': {one}}}]" for one in expressions])


def read_with_a_digest(table: Table, expressions: list[str]) -> None:
    seen, again = table.looked(expressions)
    items = by_key(seen)
    assert [dumps(items[str(at)].data["v"]) for at in range(len(items))] == table.forms(expressions)
    assert seen.memo, "the digest failed, and rows were read without one"
    assert again.memo == seen.memo
    assert again.fingerprint == seen.fingerprint


def test_what_is_missing_in_a_list_of_json_is_null(table: Table):
    expressions = [f"CAST([{one}] AS JSON[])" for one in ("", "NULL", "NULL, '1.50'", "'null'")]
    assert table.forms(expressions) == ["[]", "[null]", "[null,1.5]", "[null]"]


@given(columns(TYPES, 2, 6))
def test_rows_of_nested_types_that_come_with_a_digest_are_the_same_rows(
    table: Table, column: tuple[str, list[str]]
):
    read_with_a_digest(table, column[1])


@given(columns(JUDGED, 2, 12))
def test_two_values_of_nested_types_have_two_forms(table: Table, column: tuple[str, list[str]]):
    hold(table, *column)


@pytest.mark.thorough
@pytest.mark.seconds(600)
def test_a_hundred_thousand_pairs_of_values_have_two_forms_each(table: Table):
    pairs = 0

    @settings(max_examples=50, suppress_health_check=list(HealthCheck), database=None)
    @given(columns(JUDGED, 40, 60))
    def more(column: tuple[str, list[str]]) -> None:
        nonlocal pairs
        pairs += hold(table, *column)

    while pairs < 100_000:
        more()


# Of these Arrow has no type, or one that holds less than the value, or it is made of values that a
# journal does not keep: a change has texts.
AS_TEXT: Final = ("BIGNUM", "BIT", "ENUM", "GEOMETRY", "TIMETZ", "UNION", "VARIANT")
# Values that DuckDB counts as more than the type of Arrow that it writes them in holds.
TOO_LONG: Final = re.compile(r"(?<!\d)-?\d{39,}")


def hold_in_arrow(table: Table, kind: str, expressions: list[str]) -> None:
    """A change has the type and the values of DuckDB's own Arrow."""
    if "HUGEINT" in kind and any(map(TOO_LONG.search, expressions)):
        with pytest.raises(FlowError, match=r"column 'v' is none of type .*decimal128\(38, 0\)"):
            table.in_arrow(expressions)
        return
    ours, theirs = table.in_arrow(expressions)
    assert ours.schema.field("v").type == theirs.schema.field("v").type
    # As JSON what is equal only by its order, such as a month and thirty days, is not the same.
    same = "IS NOT DISTINCT FROM"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            f"SELECT one.i, one.v::VARCHAR, other.v::VARCHAR FROM ours AS one, theirs AS other "
            f"WHERE one.i = other.i AND NOT one.v {same} other.v"
        ).fetchall()
    assert found == []


@pytest.mark.parametrize("kind", sorted(set(LEAVES) - {"JSON"}))
@settings(max_examples=3)
@given(data=st.data())
def test_a_change_has_the_types_and_values_of_the_query_in_arrow(
    table: Table, kind: str, data: st.DataObject
):
    them = [*edges(kind), *data.draw(st.lists(values(kind), min_size=1, max_size=8))]
    if kind.startswith(AS_TEXT):
        assert table.in_arrow(them)[0].schema.field("v").type == pa.string()
    else:
        hold_in_arrow(table, kind, them)


@given(columns(TYPES, 2, 6))
def test_so_it_has_those_of_nested_types(table: Table, column: tuple[str, list[str]]):
    kind, them = column
    assume(not any(word in kind for word in (*AS_TEXT, "JSON")))
    hold_in_arrow(table, kind, them)


def meaning(text: str) -> object:
    """What a JSON text says, as something that is equal if that is the same."""

    def an_object(pairs: list[tuple[str, Any]]) -> object:
        alike = len(dict(pairs)) == len(pairs)
        return ("object", sorted(pairs, key=lambda pair: pair[0])) if alike else ("pairs", pairs)

    def number(told: str) -> object:
        return ("number", Fraction(told))

    return json.loads(
        text,
        parse_int=number,
        parse_float=number,
        parse_constant=str.swapcase,
        object_pairs_hook=an_object,
    )


@given(st.lists(JSON_TEXTS, min_size=2, max_size=8))
def test_two_json_values_have_two_forms(table: Table, texts: list[str]):
    """Layout, the order of names and the spelling of a number are no difference."""
    for kind in ("JSON", "JSON[]", "STRUCT(a JSON)"):
        make = {"JSON": "{}", "JSON[]": "[{}]", "STRUCT(a JSON)": "{{'a': {}}}"}[kind]
        expressions = [make.format(f"CAST({quoted(text)} AS JSON)") for text in texts]
        forms, digested = table.forms(expressions), table.texts(expressions)
        assert len({*zip(forms, digested, strict=True)}) == len({*digested})
        for one, some in zip(texts, forms, strict=True):
            for other, form in zip(texts, forms, strict=True):
                assert (some == form) == (meaning(one) == meaning(other)), (one, other)
