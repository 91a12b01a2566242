"""Queries that Snowflake runs: results of any size, parameters, and what is wrong with some."""

import gzip
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from flowproject.changes.canonical import Json
from flowproject.errors import QueryError, SourceError
from tests.proxy import Answer, proxied
from tests.snow import Snow
from tests.snow_project import Project, on_queries, snowflake_says, through


@pytest.mark.parametrize(
    "text, value",
    [
        ("SELECT 1 AS n WHERE FALSE", []),
        ("SELECT NULL AS n", None),
        ("SELECT 1 AS n UNION ALL SELECT 2", [{"n": 1}, {"n": 2}]),
    ],
)
def test_a_result_may_have_any_shape(project: Project, text: str, value: Json):
    assert project.look(text).value == value


def test_too_many_rows_are_refused_before_they_are_read(project: Project):
    text = "SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1000001))"
    with pytest.raises(QueryError, match=r"has 1,000,001 rows, more than 1,000,000.*row_limit"):
        project.look(text, key=("n",))
    with pytest.raises(QueryError, match=r"more than 1,000 rows.*key = "):
        project.look("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1001))")


@pytest.mark.parametrize("chunk_rows", [0, 4])
def test_too_many_rows_are_refused_even_if_snowflake_does_not_say_how_many_there_are(
    project: Project, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
):
    monkeypatch.setattr(project.snow, "chunk_rows", chunk_rows)
    project.write("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 11))")
    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(without_total)
        enough, few = (project.source(key=("n",), row_limit=limit) for limit in (11, 10))
        assert enough.observe().value == len(enough.query("it", {})) == 11
        assert enough.query_arrow("it", {}).num_rows == 11
        for look in (few.observe, lambda: few.query("it", {}), lambda: few.query_arrow("it", {})):
            with pytest.raises(QueryError, match=r"rows, more than 10\..*row_limit"):
                look()


def without_total(answer: Answer) -> Answer:
    """The answer of a server that does not announce how many rows there are."""
    body = answer.body
    told = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    told["data"].pop("total", None)
    headers = {key: value for key, value in answer.headers.items() if "ncoding" not in key}
    return replace(answer, headers=headers).with_body(json.dumps(told).encode())


def test_a_million_rows_are_a_table(project: Project):
    project.write("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1000000))")
    table = project.source().query_arrow("it", {})
    assert (table.num_rows, table.column_names) == (1_000_000, ["n"])


def test_a_result_in_many_chunks_is_one_result(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(project.snow, "chunk_rows", 10)
    text = "SELECT SEQ8() AS n, 'x' || SEQ8() AS name FROM TABLE(GENERATOR(ROWCOUNT => 95))"
    seen = project.look(text, key=("n",))
    assert seen.value == 95
    project.write(text)
    assert project.source().query_arrow("it", {}).num_rows == 95


@pytest.mark.parametrize("value", [None, 1, True, "x", "'; DROP TABLE t; --", ":x ?", "é\n"])
def test_a_parameter_is_a_value_and_never_sql(project: Project, value: Json):
    assert project.ask("SELECT :value AS v", value=value) == [{"v": value}]
    [asked] = [asked for asked in project.snow.asked if asked.sql.startswith("SELECT ?")][-1:]
    assert asked.sql.split() == ["SELECT", "?", "AS", "v"]
    assert list(asked.bindings) == ["1"]


def test_a_parameter_may_stand_in_many_places_and_rows_keep_their_order(project: Project):
    rows = project.ask(
        "SELECT n, :word || n AS w FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) "
        "WHERE n >= :least AND :word <> '' ORDER BY n DESC",
        word="o'x",
        least=2,
    )
    assert rows == [{"n": 3, "w": "o'x3"}, {"n": 2, "w": "o'x2"}]


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {"a": 1}, object()])
def test_a_value_that_can_not_be_bound_is_an_error(project: Project, value: Any):
    with pytest.raises(QueryError, match=r":value|object.*sql/it\.sql"):
        project.ask("SELECT :value AS v", value=value)


def test_a_table_has_the_engine_s_own_types(project: Project):
    project.write(
        "SELECT 1.50::NUMBER(10, 2) AS price, '2024-01-01'::DATE AS day, :word AS word, "
        "'2024-01-01 12:00:00'::TIMESTAMP_NTZ AS moment"
    )
    table = project.source().query_arrow("it", {"word": "x"})
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["price"].startswith("decimal128(10, 2")
    assert (kinds["day"], kinds["word"]) == ("date32[day]", "string")
    assert kinds["moment"].startswith("timestamp[")


def test_a_table_without_rows_has_columns_all_the_same(project: Project):
    project.write(
        "SELECT 1.50::NUMBER(10, 2) AS price, 'x' AS word, 1 AS n, "
        "'2024-01-01 12:00:00'::TIMESTAMP_LTZ AS moment WHERE FALSE"
    )
    table = project.source().query_arrow("it", {})
    assert table.num_rows == 0
    assert {field.name: str(field.type) for field in table.schema} == {
        "price": "decimal128(10, 2)",
        "word": "string",
        "n": "int64",
        "moment": "timestamp[ns, tz=UTC]",
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("DELETE FROM t", "does not only look"),
        ("SELEC 1", r"line 1, column"),
        ("SELECT :since", r"has no parameters.*:since.*sql/it\.sql, line 1, column 8"),
    ],
)
def test_a_check_finds_it_without_a_connection(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, message: str
):
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")
    project.write(text)
    with pytest.raises(QueryError, match=message):
        project.source().check()


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES LIKE 'x' IN SCHEMA a.b",
        "DESCRIBE TABLE t",
        "LIST @stage",
        "EXPLAIN USING JSON SELECT 1",
        "VALUES (1)",
        "(SELECT 1)",
        "-- all of it\n/* - */ // it's\nWITH a AS (SELECT 1 AS n) SELECT n FROM a",
    ],
)
def test_a_check_lets_pass_what_a_tick_runs(project: Project, text: str):
    project.write(text)
    project.source().check()


@pytest.mark.parametrize("end", ["", "\n@stage", "\n(SELECT 1)"])
def test_a_ruler_in_a_comment_is_read_at_once(project: Project, end: str):
    project.write(f"-- SELECT 1\n{'-' * 200}\n/* {'-- ' * 200}*/{end}")
    started = time.process_time()
    if "SELECT" in end:
        project.source().check()
    else:  # nothing but comments is no query, whatever is in them
        with pytest.raises(QueryError, match="does not only look"):
            project.source().check()
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text", ["DELETE FROM t", "CREATE TABLE t (a INT)", "-- x\nUPDATE t SET a = 1"]
)
def test_what_does_not_only_look_is_never_sent(project: Project, text: str):
    project.write(text)
    before = len(project.snow.asked)
    for look in (project.source().observe, lambda: project.source().query("it", {})):
        with pytest.raises(QueryError, match="does not only look"):
            look()
    assert len(project.snow.asked) == before


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("SELECT * FROM nosuch", SourceError, r"(?i)nosuch does not exist.*GRANT SELECT"),
        ("SELECT 'x'::INT AS n", QueryError, r"'x'.*sql/it\.sql"),
        ("SELECT 1 AS a, 2 AS A", QueryError, "2 columns named 'a'"),
    ],
)
def test_a_query_that_fails_says_where(
    project: Project, text: str, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        project.look(text)


def test_a_place_that_snowflake_names_is_shown_in_the_file(project: Project, snow: Snow):
    told = "SQL compilation error: error line 2 at position 9\ninvalid identifier 'NOSUCH'"
    text = "\n\nSELECT id, :word,\n     x + nosuch FROM it"
    with proxied(snow.url) as proxy:
        proxy.plan = on_queries(lambda _: snowflake_says("000904", told, "42000"))
        project.write(text)
        with through(proxy), pytest.raises(QueryError) as failed:
            project.source().query("it", {"word": "w"})
    assert "invalid identifier 'NOSUCH'" in str(failed.value)
    assert "sql/it.sql, line 4, column 10" in str(failed.value)
    assert "query id 01b2c3d4-" in str(failed.value)
    assert str(failed.value).splitlines()[-1].index("^") == 4 + 9
