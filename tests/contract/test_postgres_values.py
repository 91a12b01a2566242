"""What PostgreSQL's values become: each what it was, or refused by the name of its column."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flowproject.errors import QueryError
from tests.observations import remembered, table
from tests.postgres import Postgres, Project

OTHER_SETTINGS = (
    "-c DateStyle=German -c TimeZone=Asia/Tokyo -c IntervalStyle=sql_standard "
    "-c extra_float_digits=0 -c bytea_output=escape -c search_path=public"
)


@pytest.fixture(scope="module")
def typed(postgres_settings: Postgres) -> Postgres:
    """A database with types of its own."""
    server = postgres_settings.new_database()
    server.run(
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TYPE place AS (name text, at numeric)",
        "CREATE DOMAIN price AS numeric(10, 2) CHECK (VALUE > 0)",
        "CREATE DOMAIN fine AS price",
        "CREATE DOMAIN words AS text",
        "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', "
        "deterministic = false)",
        "CREATE TABLE it (id int, caseless text COLLATE caseless)",
    )
    return server


@pytest.fixture
def project(tmp_path: Path, typed: Postgres, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PGDATABASE", typed.database)
    return Project(tmp_path, typed)


VALUES: list[tuple[str, Any]] = [
    # Moments: infinity is not a day before minus infinity, and 24:00 is not 00:00.
    ("'infinity'::timestamptz", "infinity"),
    ("'-infinity'::timestamp", "-infinity"),
    ("'infinity'::date", "infinity"),
    ("'294276-12-31 23:59:59.999999'::timestamp", "294276-12-31 23:59:59.999999"),
    ("'10000-01-01'::date", "10000-01-01"),
    ("'0044-03-15 BC'::date", "0044-03-15 BC"),
    ("'0044-03-15 12:00 BC'::timestamp", "0044-03-15 12:00:00 BC"),
    ("'2024-02-03 04:05:06.7+02'::timestamptz", "2024-02-03T02:05:06.700000+00:00"),
    ("'2024-02-03 04:05:06+02'::timestamptz", "2024-02-03T02:05:06+00:00"),
    ("'2024-02-03 04:05:06.789'::timestamp", "2024-02-03T04:05:06.789000"),
    ("'1800-01-01 00:00'::timestamp AT TIME ZONE 'Europe/Paris'", "1799-12-31T23:50:39+00:00"),
    ("'24:00'::time", "24:00:00"),
    ("'00:00:00.5'::time", "00:00:00.500000"),
    ("'10:00:00.5-03:30'::timetz", "10:00:00.500000-03:30"),
    ("'10:00+01'::timetz", "10:00:00+01:00"),
    ("'1 mon'::interval", "1 mon"),
    ("'30 days'::interval", "30 days"),
    ("'1000000000 days'::interval", "1000000000 days"),
    # Numbers: equal ones are the same, and none loses a digit.
    ("1.50::numeric", 1.5),
    (
        "12345678901234567890.12345678901234567890::numeric",
        "12345678901234567890.1234567890123456789",
    ),
    ("'NaN'::numeric", "NaN"),
    ("'-Infinity'::numeric", "-Infinity"),
    ("0.1::float4", 0.1),
    ("0.1::float8 + 0.2::float8", 0.30000000000000004),
    ("'-0'::float8", 0),
    ("'NaN'::float8", "NaN"),
    ("'Infinity'::float4", "Infinity"),
    ("9223372036854775807::bigint", 9223372036854775807),
    ("4294967295::oid", 4294967295),
    ("1234.5::money", "$1,234.50"),
    # What JSON holds, with every digit and every member.
    ('\'{"a": 1.00, "b": [null, "x"]}\'::jsonb', {"a": 1, "b": [None, "x"]}),
    ('\'{"a": 1, "a": 2}\'::json', {"$object": [["a", 1], ["a", 2]]}),
    ("'1.23456789012345678901'::jsonb", {"$number": "1.23456789012345678901"}),
    ("'null'::jsonb", None),
    # Arrays in all their dimensions.
    ("ARRAY[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    ("ARRAY[1.50, NULL, 'NaN']::numeric[]", [1.5, None, "NaN"]),
    ("ARRAY['good', 'bad']::mood[]", ["good", "bad"]),
    ("'{}'::text[]", []),
    ("ARRAY['a,b', 'c\"d', NULL, 'NULL']", ["a,b", 'c"d', None, "NULL"]),
    # Texts, with their blanks.
    ("'ab'::char(5)", "ab   "),
    ("'é日本'::varchar(3)", "é日本"),
    ("'x'::\"char\"", "x"),
    ("'t'::name", "t"),
    ("''", ""),
    ("'a'::words", "a"),
    # All else in the words of the server.
    ("'\\x00ff'::bytea", "AP8="),
    ("'good'::mood", "good"),
    ("1.5::price", 1.5),
    ("2.5::fine", 2.5),
    ("int4range(1, 4)", "[1,4)"),
    ("numrange(1.0, 2.00)", "[1.0,2.00)"),
    ("'{[1,3), [5,7)}'::int4multirange", "{[1,3),[5,7)}"),
    ("ROW('Oslo', 59.90)::place", {"name": "Oslo", "at": 59.9}),
    ("ROW(1, 'q')", {"f1": 1, "f2": "q"}),
    ("'550e8400-e29b-41d4-a716-446655440000'::uuid", "550e8400-e29b-41d4-a716-446655440000"),
    ("'192.168.0.1/24'::inet", "192.168.0.1/24"),
    ("'101'::bit(3)", "101"),
    ("'101'::varbit", "101"),
    ("'(1.5,2)'::point", "(1.5,2)"),
    ("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
    ("'0/16B3748'::pg_lsn", "0/16B3748"),
    ("'12'::xid8", "12"),
    ("to_tsvector('simple', 'a b a')", "'a':1,3 'b':2"),
    ("'pg_class'::regclass", "pg_class"),
    ("NULL", None),
    ("NULL::int4range", None),
    ("true", True),
]


@pytest.fixture(scope="module")
def answered(typed: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All of them in one row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGDATABASE", typed.database)
        project = Project(tmp_path_factory.mktemp("values"), typed)
        columns = ", ".join(f"{sql} AS c{place}" for place, (sql, _) in enumerate(VALUES))
        [row] = project.ask(f"SELECT {columns}")
    return {sql: row[f"c{place}"] for place, (sql, _) in enumerate(VALUES)}


@pytest.mark.parametrize("sql, expected", VALUES)
def test_a_value_is_exactly_what_it_was(answered: dict[str, Any], sql: str, expected: Any):
    assert (answered[sql], type(answered[sql])) == (expected, type(expected))


def test_settings_of_the_session_change_no_value(project: Project, monkeypatch: pytest.MonkeyPatch):
    columns = ", ".join(f"{sql} AS c{place}" for place, (sql, _) in enumerate(VALUES))
    one = project.look(f"SELECT {columns}")
    monkeypatch.setenv("PGOPTIONS", OTHER_SETTINGS)
    monkeypatch.setenv("PGTZ", "Australia/Perth")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    assert project.look().value == one.value


def test_a_type_that_is_younger_than_the_project_is_known(project: Project):
    name = f"young_{project.schema}"
    project.run(
        f"CREATE TYPE {name} AS ENUM ('a')", f"CREATE TABLE young AS SELECT 'a'::{name} AS v"
    )
    assert project.ask("SELECT v FROM young") == [{"v": "a"}]


def test_texts_that_a_collation_calls_equal_are_two(project: Project):
    project.run(
        "CREATE TABLE t (id int, v text COLLATE public.caseless)",
        "INSERT INTO t SELECT n, 'Abc' FROM generate_series(1, 1200) AS n",
    )
    before = project.look("SELECT * FROM t", key=("id",))
    project.run("UPDATE t SET v = 'aBC' WHERE id = 7")
    after = project.source(key=("id",)).observe(remembered(before))
    assert table(after)["7"].data["v"] == "aBC"


@pytest.mark.parametrize(
    "kind, old, new",
    [
        ("numeric", "1.0", "1.00"),
        ("jsonb", "1.0", "1.00"),
        ("float8", "0", "-0"),
        ("json", '{"a": 1}', '{ "a":1.0 }'),
    ],
)
def test_numbers_that_are_equal_are_no_change(project: Project, kind: str, old: str, new: str):
    project.run(
        f"CREATE TABLE t (id int, v {kind})",
        f"INSERT INTO t SELECT n, '{old}' FROM generate_series(1, 1200) AS n",  # noqa: S608  # the tests' own
    )
    before = project.look("SELECT * FROM t", key=("id",))
    project.run(f"UPDATE t SET v = '{new}' WHERE id = 7")  # noqa: S608  # the tests' own
    after = project.source(key=("id",)).observe(remembered(before))
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "kind, old, new",
    [
        ("interval", "1 mon", "30 days"),
        ("char(3)", "a", "b"),
        ("xml", "<a/>", "<a></a>"),
        ("numrange", "[1.0,2)", "[1.00,2)"),
        ("box", "(1,1),(0,0)", "(3,3),(2,2)"),
        ("int[]", "{1,2}", "{{1},{2}}"),
        ("timetz", "10:00+00", "11:00+01"),
        ("bytea", "\\x00", "\\x0000"),
        ("money", "1", "2"),
    ],
)
def test_values_that_the_server_calls_equal_and_are_not_are_a_change(
    project: Project, kind: str, old: str, new: str
):
    project.run(
        f"CREATE TABLE t (id int, v {kind})",
        f"INSERT INTO t SELECT n, '{old}' FROM generate_series(1, 1200) AS n",  # noqa: S608  # the tests' own
    )
    before = project.look("SELECT * FROM t", key=("id",))
    project.run(f"UPDATE t SET v = '{new}' WHERE id = 7")  # noqa: S608  # the tests' own
    after = project.source(key=("id",)).observe(remembered(before))
    assert after.fingerprint != before.fingerprint
    assert table(after)["7"].data != table(before)["7"].data


def test_a_text_without_an_encoding_is_an_error_that_says_so(
    tmp_path: Path, postgres_settings: Postgres, monkeypatch: pytest.MonkeyPatch
):
    server = postgres_settings.new_database(
        "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    monkeypatch.setenv("PGDATABASE", server.database)
    project = Project(tmp_path, server)
    project.run(r"CREATE TABLE t AS SELECT convert_from('\xe9'::bytea, 'SQL_ASCII') AS v")
    with pytest.raises(QueryError, match=r'invalid byte sequence for encoding "UTF8": 0xe9'):
        project.ask("SELECT v FROM t")


ARROW: list[tuple[str, Any, Any]] = [
    ("1::int2", pa.int16(), 1),
    ("1::bigint", pa.int64(), 1),
    ("0.1::float4", pa.float32(), pytest.approx(0.1)),
    ("1.50::numeric(10, 3)", pa.decimal128(38, 3), Decimal("1.500")),
    ("1.50::numeric", pa.decimal128(38, 2), Decimal("1.50")),
    ("9::numeric", pa.decimal128(38, 0), Decimal(9)),
    ("2.5::fine", pa.decimal128(38, 2), Decimal("2.50")),
    ("1200::numeric(2, -2)", pa.decimal128(38, 0), Decimal(1200)),
    ("'2024-02-03'::date", pa.date32(), dt.date(2024, 2, 3)),
    ("'2024-02-03 04:05'::timestamp", pa.timestamp("us"), dt.datetime(2024, 2, 3, 4, 5)),  # noqa: DTZ001
    ("'04:05'::time", pa.time64("us"), dt.time(4, 5)),
    ("ARRAY[1, NULL]", pa.list_(pa.int32()), [1, None]),
    ("ARRAY['a']", pa.list_(pa.string()), ["a"]),
    ("ARRAY[1.50]", pa.string(), "[1.50]"),
    ("'\\x00ff'::bytea", pa.binary(), b"\x00\xff"),
    ("'good'::mood", pa.string(), "good"),
    ("4294967295::oid", pa.int64(), 4294967295),
    ("int4range(1, 4)", pa.string(), "[1,4)"),
    ("'1 mon'::interval", pa.string(), "1 mon"),
    ("'{\"a\": 1.00}'::json", pa.string(), '{"a": 1.00}'),
    ("true", pa.bool_(), True),
]


def test_arrow_gets_the_types_that_it_has(project: Project):
    columns = ", ".join(f"{sql} AS c{place}" for place, (sql, *_) in enumerate(ARROW))
    answer = project.ask_arrow(f"SELECT {columns}")
    [row] = answer.to_pylist()
    kinds = [str(field.type).replace("element", "item") for field in answer.schema]
    assert kinds == [str(kind).replace("element", "item") for _, kind, _ in ARROW]
    assert [*row.values()] == [expected for *_, expected in ARROW]


@pytest.mark.parametrize(
    "sql, what",
    [
        ("'infinity'::timestamptz", "an infinite moment"),
        ("'-infinity'::timestamp", "an infinite moment"),
        ("'294276-12-31'::timestamp", "after the year 294246"),
        ("'infinity'::date", "an infinite date"),
        ("'24:00'::time", "the time 24:00"),
        ("'NaN'::numeric", "a number that is none"),
        ("1e40::numeric + 0.5", "more than 38 digits"),
        ("ARRAY[[1, 2], [3, 4]]", "an array of more than one dimension"),
        ("'[0:1]={1,2}'::int[]", "whose first element is not the first"),
    ],
)
def test_what_arrow_has_no_value_for_is_refused_by_the_name_of_its_column(
    project: Project, sql: str, what: str
):
    with pytest.raises(QueryError, match=rf"Column 'it' has .*{what}"):
        project.ask_arrow(f"SELECT {sql} AS it UNION ALL SELECT {sql}")


def test_two_columns_of_one_name_are_an_error(project: Project):
    with pytest.raises(QueryError, match=r"2 columns named 'id'.*AS"):
        project.ask("SELECT 1 AS id, 2 AS id")
    with pytest.raises(QueryError, match=r"2 columns named 'Id'"):
        project.ask('SELECT 1 AS "Id", 2 AS id')
