"""How queries are asked of PostgreSQL: bound by the server, within limits, and only looking."""

import datetime as dt
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.errors import QueryError, SourceError
from tests.postgres import Postgres, Project

ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3"
SECONDS = 60.0


@pytest.fixture
def project(tmp_path: Path, postgres_settings: Postgres) -> Project:
    return Project(tmp_path, postgres_settings)


@pytest.fixture(scope="module")
def asking(postgres_settings: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("asking"), postgres_settings)


@pytest.mark.parametrize(
    "text, value, expected",
    [
        ("DATE '2024-01-02' > :it", "2024-01-01", True),
        ("DATE '2024-01-02' > :it", dt.date(2024, 1, 1), True),
        ("'infinity'::timestamptz = :it", "infinity", True),
        ("TIMESTAMPTZ '2024-01-01 00:00+00' = :it", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), True),
        ("1 + :it", 41, 42),
        ("9223372036854775806 + :it", 1, 9223372036854775807),
        ("1.1::numeric + :it", Decimal("1.1"), 2.2),
        ("0.5::float8 * :it", 0.1, 0.05),
        ("NOT :it", False, True),
        ("upper(:it)", "it's :x $1 ?", "IT'S :X $1 ?"),
        (":it::text IS NULL", None, True),
        ("3 = ANY (:it)", [1, 2, 3], True),
        ("array_length(:it::text[], 1)", ['a"b\\', None, "NULL", ""], 4),
        ("to_json(:it::int[])", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (":it::jsonb -> 'a'", {"a": [1, None]}, [1, None]),
        (":it::json", [1, "x"], [1, "x"]),
        ("octet_length(:it::bytea)", b"\x00\xff", 2),
        ("interval '1 day' < :it", dt.timedelta(days=2), True),
        (
            ":it::uuid",
            UUID("550e8400-e29b-41d4-a716-446655440000"),
            "550e8400-e29b-41d4-a716-446655440000",
        ),
        ("'abc'::char(5) = :it", "abc", True),
        ("B'101' = :it", "101", True),
        (":it || :it", "x", "xx"),
    ],
)
def test_a_parameter_is_bound_as_the_type_that_it_stands_for(
    asking: Project, text: str, value: object, expected: object
):
    assert asking.ask(f"SELECT {text} AS v", it=value) == [{"v": expected}]
    assert asking.ask_arrow(f"SELECT {text} AS v", it=value).num_rows == 1


@settings(max_examples=8)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_arrives_as_it_is(asking: Project, value: str):
    assert asking.ask("SELECT :it AS v, :many::text[] AS w", it=value, many=[value]) == [
        {"v": value, "w": [value]}
    ]


@pytest.mark.parametrize(
    "text, params, said",
    [
        ("SELECT :a AS v", {}, r"Parameter :a has no value.*line 1, column 8"),
        ("SELECT 1 AS v", {"a": 1}, r"no parameter :a"),
        ("SELECT 1 + :a AS v", {"a": "x"}, r'invalid input syntax for type integer: "x"'),
        ("SELECT :a IS NULL AS v", {"a": 1}, r"could not determine data type of parameter \$1"),
        ("SELECT :a AS v", {"a": object()}, r"Parameter :a is a object.*line 1, column 8"),
        ("SELECT 1 AS v;\nSELECT 2", {}, r"cannot insert multiple commands"),
        ("DELETE FROM t", {}, r"does not only look at data.*SELECT, WITH, VALUES, TABLE"),
        ("WITH x AS (DELETE FROM pg_class RETURNING 1 AS v) SELECT * FROM x", {}, r"top level"),
        ("SELECT FROM pg_class", {}, r"no columns"),
        (
            "SELECT\n  nosuch\nFROM pg_class",
            {},
            r'column "nosuch" does not exist.*line 2, column 3',
        ),
        ("SELECT 1 + :ab + :c + x", {"ab": 1, "c": 2}, r'column "x" does not exist.*column 23'),
        ("SELECT 1 +", {}, r"syntax error.*line 1"),
        ("SELECT 1 / 0 AS v", {}, r"division by zero"),
        ("SELECT a / (a - 3) AS v FROM generate_series(1, 5) AS a", {}, r"division by zero"),
        ("", {}, r"does not only look at data"),
    ],
)
def test_what_is_wrong_with_a_query_is_told_where_it_stands(
    asking: Project, text: str, params: dict[str, Any], said: str
):
    with pytest.raises(QueryError, match=r"(?s)" + said) as failed:
        asking.ask(text, **params)
    assert "sql/it.sql" in str(failed.value)


def test_places_are_right_behind_more_than_nine_parameters(asking: Project):
    names = [f"{letter}" for letter in "abcdefghijkl"]
    text = "SELECT " + " + ".join(f":{name}::int" for name in names) + "\n + nosuch"
    with pytest.raises(QueryError, match=r"line 2, column 4"):
        asking.ask(text, **dict.fromkeys(names, 1))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS v -- at the end",
        "SELECT 1 AS v ; -- and behind it",
        "/* before */ (SELECT 1 AS v)",
        "WITH t AS (SELECT 1 AS v) TABLE t",
        "SELECT '{}'::jsonb ? 'a' AS a, (ARRAY[1,2])[1:2] AS b, $$:x$$ AS c, E'\\':y' AS d, 1 AS v",
    ],
)
def test_the_whole_of_sql_is_asked_as_it_stands(asking: Project, text: str):
    assert asking.ask(text)[0]["v"] == 1


def test_rows_come_in_the_query_s_own_order(asking: Project):
    rows = asking.ask("SELECT g AS v FROM generate_series(1, 5) AS g ORDER BY g % 3, g DESC")
    assert [row["v"] for row in rows] == [3, 4, 1, 5, 2]


def test_nothing_can_be_written(project: Project):
    project.run(
        "CREATE TABLE t (v int)",
        "CREATE FUNCTION put() RETURNS int LANGUAGE sql VOLATILE "
        "AS 'INSERT INTO t VALUES (1) RETURNING v'",
    )
    with pytest.raises(QueryError, match=r"read-only transaction.*only looks at data"):
        project.ask("SELECT put() AS v")
    assert project.run("SELECT count(*) FROM t") == [(0,)]


def test_a_table_of_any_name_is_the_database_s_own(project: Project):
    names = ["it", "q", "one", "based", "m", "flowproject"]
    project.run(*(f"CREATE TABLE {name} AS SELECT '{name}' AS c0" for name in names))
    for name in names:
        assert project.ask(f"SELECT c0 AS v FROM {name}") == [{"v": name}]  # noqa: S608  # the tests' own
        assert project.look(f"SELECT c0 FROM {name}").value == name  # noqa: S608  # the tests' own


def test_the_limits_of_a_result_are_kept(project: Project):
    project.write("SELECT a AS id FROM generate_series(1, 2000) AS a, generate_series(1, 2000)")
    with pytest.raises(QueryError, match=r"row_limit is 10\b"):
        project.source(row_limit=10).query("it", {})
    with pytest.raises(QueryError, match=r"row_limit is 10\b"):
        project.source(row_limit=10).query_arrow("it", {})
    with pytest.raises(QueryError, match=r"row_limit is 10\b"):
        project.source(row_limit=10, key=("id",)).observe()
    with pytest.raises(QueryError, match=r"more than 1,000 rows.*key"):
        project.source().observe()


def test_a_time_limit_ends_the_query_on_the_server(project: Project):
    with pytest.raises(SourceError, match=r"longer than 0\.5 s.*cancelled on the server"):
        project.look(ENDLESS, timeout=0.5)
    wait_for_nothing_running(project)


def test_what_is_cancelled_ends_on_the_server(project: Project):
    project.write(f"/* {project.schema} */ {ENDLESS}")
    source, errors = project.source(), []

    def look() -> None:
        try:
            source.observe()
        except SourceError as error:
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not running(project):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    source.cancel()
    thread.join()
    assert "told to stop" in str(errors[0])
    wait_for_nothing_running(project)


def test_who_waits_for_a_lock_gives_up_in_time(project: Project):
    project.run("CREATE TABLE t (v int)")
    with project.connect(autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError, match=r"longer than 0\.5 s.*waited for a lock"):
            project.look("SELECT * FROM t", timeout=0.5)


def running(project: Project) -> bool:
    told = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%n % 7%'"
    return any(
        "generate_series" in query and "pg_stat" not in query for (query,) in project.run(told)
    )


def wait_for_nothing_running(project: Project) -> None:
    deadline = time.monotonic() + SECONDS
    while running(project):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_not_there_or_not_allowed_is_told_with_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(SourceError, match=r'relation "nosuch" does not exist.*line 1.*Correct'):
        project.look("SELECT * FROM nosuch")
    project.run("CREATE TABLE t (v int)")
    monkeypatch.setenv("PGUSER", "reader")
    monkeypatch.setenv("PGPASSWORD", "let me in")
    with pytest.raises(SourceError, match=r"permission denied for table t.*GRANT SELECT"):
        project.look("SELECT * FROM t")


def test_a_check_asks_no_server(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPORT", "1")
    project.write("SELECT * FROM t")
    project.source().check()
    project.write("UPDATE t SET v = 1")
    with pytest.raises(QueryError, match=r"only look at data"):
        project.source().check()
    project.write("SELECT :day")
    with pytest.raises(QueryError, match=r"no parameters.*:day"):
        project.source().check()
