"""What a query's text tells is told exactly."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.dialect import (
    check_syntax,
    table_names,
    unknown_functions,
    volatile_parts,
    with_tables_at,
)
from flowproject.errors import QueryError
from flowproject.sql import Query

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the parser


def query(*text: str) -> Query:
    return Query(file="sql/it.sql", text=" ".join(text))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 1; -- the end",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a",
        "(SELECT 1) UNION ALL SELECT 2",
        "SELECT a:b.c::int, t.v[0]:x FROM t WHERE x>:since AND y = :until::date",
        "SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY b) = 1",
        "SELECT * FROM t, LATERAL FLATTEN(input => t.a) f",
        "SELECT ':no', $$ it's :no $$, \"a:b\" /* :no */ FROM t",
    ],
)
def test_a_query_that_only_looks_is_well_formed(text: str):
    check_syntax(query(text), "snowflake")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no statement in sql/it.sql"),
        ("-- nothing\n;", "no statement in sql/it.sql"),
        ("SELEC 1", r"line 1, column 7.*\n {4}SELEC 1\n {10}\^ here"),
        ("SELECT\n  'é' AS \"x\", x y z", r"line 2, column 19"),
        ("SELECT :since y z", r"line 1, column 17"),
        ("SELECT 1 FROM", r"Expected table name\. sql/it\.sql, line 1, column 10"),
        ("SELECT a :b FROM t", r"line 1, column 13"),
        ("SELECT\n 1, 'abc\n", r"never closed.*line 2, column 5"),
        ('SELECT 1 AS "abc', r"never closed.*line 1, column 13"),
        ("SELECT 1,\n\n  $$abc", r"never closed.*line 3, column 3"),
        ("SELECT 1 /* abc", r"never closed.*line 1, column 10"),
        ("SELECT ';';\n-- second\nSELECT 2", r"2 statements.*line 3, column 1"),
        ("DROP TABLE t", r"not only look.*line 1, column 1.*SELECT or WITH"),
        ("-- it\n\nDELETE FROM t", r"not only look"),
        ("INSERT INTO t SELECT 1", "not only look"),
        ("CALL it()", "not only look"),
        ("SHOW TABLES", "not only look"),
        ("USE ROLE accountadmin", "not only look"),
        ("COPY INTO @there FROM t", "not only look"),
        ("BEGIN", "not only look"),
    ],
)
def test_what_is_no_query_is_refused_with_its_place(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(QueryError, match=f"(?s){message}"):
        check_syntax(query(text), "snowflake")
    assert capsys.readouterr() == ("", "")


def test_a_query_that_is_nested_too_deeply_is_an_expected_error():
    with pytest.raises(QueryError, match=r"sql/it\.sql is nested too deeply"):
        check_syntax(query("SELECT", "(" * 9000, "1", ")" * 9000), "snowflake")


@settings(max_examples=200)
@given(st.text(alphabet="SELCT FROMabt1:;'\"$-/*\\\n(){}[],.=<>?@é", max_size=40))
def test_any_text_parses_or_is_an_expected_error(text: str):
    with suppress(QueryError):
        check_syntax(query("SELECT", text), "snowflake")


@pytest.mark.parametrize(
    "text, names",
    [
        ("SELECT 1", []),
        ("SELECT * FROM a, X.Y.Z JOIN A ON 1 = 1 JOIN x.y.z q ON 1 = 1", ["a", "X.Y.Z"]),
        ('SELECT * FROM "a", a, "A", "b""c"."d.e"', ['"a"', "a", '"b""c"."d.e"']),
        ("SELECT * FROM db..t", ["db..t"]),
        ("SELECT (SELECT max(x) FROM u) FROM t WHERE EXISTS (SELECT 1 FROM v)", ["u", "t", "v"]),
        ("(SELECT * FROM a) UNION ALL (SELECT * FROM b)", ["a", "b"]),
        ("WITH x AS (SELECT * FROM t) SELECT * FROM x, X, s.x", ["s.x", "t"]),
        ('WITH x AS (SELECT 1) SELECT * FROM "x"', ['"x"']),
        ("WITH x AS (SELECT * FROM x) SELECT * FROM x", ["x"]),
        ("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x, y", ["y"]),
        ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 2 FROM r) SELECT * FROM r", []),
        ("SELECT * FROM q, (WITH q AS (SELECT 1) SELECT * FROM q)", ["q"]),
        ("WITH q AS (SELECT 1) SELECT * FROM (SELECT * FROM (SELECT * FROM q))", []),
        ("SELECT * FROM t, LATERAL FLATTEN(input => t.a), LATERAL (SELECT * FROM u)", ["t", "u"]),
        ("SELECT * FROM TABLE(GENERATOR(ROWCOUNT => 3)), VALUES (1)", []),
        ("SELECT * FROM (SELECT * FROM w) PIVOT(sum(a) FOR b IN (1))", ["w"]),
        ("SELECT * FROM t SAMPLE (10)", ["t"]),
    ],
)
def test_the_tables_behind_a_query_are_those_with_names(text: str, names: list[str]):
    assert table_names(query(text), "snowflake") == tuple(names)


@pytest.mark.parametrize(
    "origin, column",
    [
        ("@stage/x", 15),
        ("IDENTIFIER('x')", 15),
        ("TABLE('x')", 15),
        ("TABLE(their_function(1))", 15),
        ("their_function(1)", 15),
        ("TABLE(RESULT_SCAN(LAST_QUERY_ID()))", 15),
        ("DIRECTORY(@stage)", 15),
        ("t, LATERAL their_function(t.a)", 26),
    ],
)
def test_what_is_read_without_a_name_is_said_to_be(origin: str, column: int):
    with pytest.raises(QueryError, match=rf"No name tells.*line 1, column {column}\."):
        table_names(query("SELECT * FROM", origin), "snowflake")


NAMES = st.from_regex(r"[a-z][a-z0-9]{2,6}x", fullmatch=True)
QUOTED = st.text(alphabet="aB.\"' é", min_size=1, max_size=6).map(
    lambda name: '"' + name.replace('"', '""') + '"'
)


@settings(max_examples=40)
@given(st.lists(st.lists(NAMES | QUOTED, min_size=1, max_size=3).map(".".join), unique=True))
def test_names_come_back_as_they_are_written(names: list[str]):
    distinct = list({name.upper() if '"' not in name else name: name for name in names}.values())
    text = "SELECT 1 " + " ".join(
        f"{'JOIN' if index else 'FROM'} {name} AS t{index}{' ON 1 = 1' if index else ''}"
        for index, name in enumerate(distinct)
    )
    found = table_names(query(text), "snowflake")
    assert {name for name in found if '"' not in name} == {n for n in distinct if '"' not in n}
    assert set(found) <= set(distinct)


@pytest.mark.parametrize(
    "expression, name",
    [
        ("current_timestamp", "CURRENT_TIMESTAMP()"),
        ("CURRENT_DATE()", "CURRENT_DATE"),
        ("current_time", "CURRENT_TIME"),
        ("sysdate()", "SYSDATE()"),
        ("getdate()", "CURRENT_TIMESTAMP()"),
        ("random()", "RANDOM()"),
        ("randstr(5, 1)", "RANDSTR(5, 1)"),
        ("uuid_string()", "UUID_STRING()"),
        ("seq4()", "SEQ4()"),
        ("s.nextval", "s.nextval"),
        ("db.s.it.NEXTVAL", "db.s.it.NEXTVAL"),
        ("$v", "$v"),
    ],
)
def test_what_moves_by_itself_is_named(expression: str, name: str):
    asked = query("SELECT a FROM (SELECT max(", expression, ") AS a FROM t)")
    assert volatile_parts(asked, "snowflake") == (name,)


@pytest.mark.parametrize("table", ["t SAMPLE (10)", "t AT(OFFSET => -60)", "t BEFORE(OFFSET => 1)"])
def test_samples_and_the_past_move_by_themselves(table: str):
    assert len(volatile_parts(query("SELECT * FROM", table), "snowflake")) == 1


def test_steady_queries_have_nothing_that_moves():
    asked = query("SELECT nextval, max(a), upper(b), to_date(c) FROM t WHERE d > :since LIMIT 3")
    assert volatile_parts(asked, "snowflake") == ()


def test_functions_of_the_users_own_are_strangers():
    asked = query("SELECT mine(1), db.s.theirs(2), upper(a), TO_TIMESTAMP(b), is_array(c) FROM t")
    assert unknown_functions(asked, "snowflake") == ("mine", "theirs")


@pytest.mark.parametrize(
    "call",
    [
        "is_holiday(d)",
        "as_price(d)",
        "is_role_in_session('R')",
        "db.udfs.is_date(d)",
        "db.udfs.hash(d)",
        "udfs.sum(d)",
        '"is_date"(d)',
    ],
)
def test_a_function_is_a_stranger_however_much_its_name_is_like_a_known_one(call: str):
    assert len(unknown_functions(query("SELECT", call, "FROM t"), "snowflake")) == 1


@pytest.mark.parametrize(
    "text, expected",
    [
        ("SELECT * FROM t", "SELECT * FROM t AT(X)"),
        ('SELECT * FROM a.b."t u" AS x', 'SELECT * FROM a.b."t u" AT(X) AS x'),
        ("SELECT * FROM t JOIN u USING (id)", "SELECT * FROM t AT(X) JOIN u AT(X) USING (id)"),
        ("SELECT * FROM t AT(OFFSET => -5)", "SELECT * FROM t AT(OFFSET => -5)"),
        (
            "WITH c AS (SELECT * FROM t WHERE n > :least) SELECT * FROM c, d -- t",
            "WITH c AS (SELECT * FROM t AT(X) WHERE n > :least) SELECT * FROM c, d AT(X) -- t",
        ),
        (
            "SELECT (SELECT max(n) FROM t) FROM u, LATERAL FLATTEN(u.v) f",
            "SELECT (SELECT max(n) FROM t AT(X)) FROM u AT(X), LATERAL FLATTEN(u.v) f",
        ),
    ],
)
def test_every_table_is_read_as_it_was(text: str, expected: str) -> None:
    assert with_tables_at(query(text), "AT(X)", "snowflake").text == expected
