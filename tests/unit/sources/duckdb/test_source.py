"""DuckDB's values are canonical, and what is wrong with a query is said where it is wrong."""

from pathlib import Path

import duckdb
import pytest

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.observation import Observation
from flowproject.config.data import DuckDBData
from flowproject.errors import QueryError, SourceError
from flowproject.secrecy import safe
from flowproject.sources.duckdb.source import DuckDBSource

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine


class Project:
    """A folder with SQL files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sql").mkdir()

    def write(self, text: str, name: str = "it") -> None:
        (self.root / "sql" / f"{name}.sql").write_text(text)

    def source(self, **data: object) -> DuckDBSource:
        return DuckDBSource(DuckDBData(query="it", **data), self.root)  # type: ignore[arg-type]

    def look(self, text: str, **data: object) -> Observation:
        self.write(text)
        return self.source(**data).observe()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize(
    "expression, value",
    [
        ("NULL", None),
        ("true", True),
        ("1::TINYINT", 1),
        ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
        ("340282366920938463463374607431768211455::UHUGEINT", 2**128 - 1),
        ("1.10::DECIMAL(4,2)", 1.1),
        ("1.00::DECIMAL(4,2)", 1),
        ("12345678901234567890123456.0123456789", "12345678901234567890123456.0123456789"),
        ("0.1::DOUBLE", 0.1),
        ("'nan'::DOUBLE", "NaN"),
        ("'-inf'::FLOAT", "-Infinity"),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("DATE '294247-01-10'", "294247-01-10"),
        ("TIME '01:02:03.000004'", "01:02:03.000004"),
        ("TIME_NS '01:02:03.000000004'", "01:02:03.000000004"),
        ("TIMESTAMP '2024-01-01 12:00:00'", "2024-01-01T12:00:00"),
        ("TIMESTAMP_NS '2024-01-01 12:00:00.000000001'", "2024-01-01T12:00:00.000000001"),
        ("TIMESTAMPTZ '2024-01-01 12:00:00+02'", "2024-01-01T10:00:00+00:00"),
        ("TIMESTAMPTZ '2024-01-01 12:00:00'", "2024-01-01T12:00:00+00:00"),
        ("NULL::TIMESTAMPTZ", None),
        ("DATE 'infinity'", "infinity"),
        ("DATE '-infinity'", "-infinity"),
        ("DATE '9999-12-31'", "9999-12-31"),
        ("DATE '0001-01-01'", "0001-01-01"),
        ("DATE '0044-03-15 (BC)'", "0044-03-15 (BC)"),
        ("TIMESTAMP 'infinity'", "infinity"),
        ("TIMESTAMP '-infinity'", "-infinity"),
        ("TIMESTAMP '9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999"),
        ("TIMESTAMP '0001-01-01 00:00:00'", "0001-01-01T00:00:00"),
        ("TIMESTAMP '10000-01-01 00:00:00.5'", "10000-01-01 00:00:00.5"),
        ("TIMESTAMP_S 'infinity'", "infinity"),
        ("TIMESTAMP_MS '-infinity'", "-infinity"),
        ("TIMESTAMP_NS 'infinity'", "infinity"),
        ("TIMESTAMPTZ 'infinity'", "infinity"),
        ("TIMESTAMPTZ '-infinity'", "-infinity"),
        ("TIMESTAMPTZ '10000-01-01 00:00:00+00'", "10000-01-01 00:00:00+00:00"),
        (
            "TIMESTAMPTZ_NS '2024-01-01 00:00:00.000000001+00'",
            "2024-01-01T00:00:00.000000001+00:00",
        ),
        ("TIME '24:00:00'", "24:00:00"),
        ("TIMETZ '24:00:00-01'", "24:00:00-01"),
        ("[DATE 'infinity', DATE '9999-12-31', NULL]", ["infinity", "9999-12-31", None]),
        ("[TIMESTAMP '-infinity', TIMESTAMP '0001-01-01']", ["-infinity", "0001-01-01T00:00:00"]),
        ("[DATE 'infinity']::DATE[1]", ["infinity"]),
        ("{'a b': [{'at': TIMESTAMP 'infinity'}]}", {"a b": [{"at": "infinity"}]}),
        ("ROW(1, DATE 'infinity')", [1, "infinity"]),
        (
            "MAP {DATE 'infinity': 1, DATE '9999-12-31': 2}",
            [["9999-12-31", 2], ["infinity", 1]],
        ),
        ("MAP {[DATE 'infinity']: 1}", {"key": [["infinity"]], "value": [1]}),
        (
            "MAP {[1]: TIMESTAMPTZ_NS '2024-01-01 00:00:00+00'}",
            {"key": [[1]], "value": ["2024-01-01T00:00:00+00:00"]},
        ),
        ("MAP {}::MAP(INTEGER[], TIMESTAMPTZ_NS)", {"key": [], "value": []}),
        ("union_value(d := DATE '-infinity')", "-infinity"),
        ("union_value(a := 1)::UNION(a INTEGER, b INTEGER)", {"a": 1}),
        ("union_value(n := 'nan')::UNION(n DOUBLE, t VARCHAR)", {"$number": "NaN"}),
        ("union_value(t := 'NaN')::UNION(n DOUBLE, t VARCHAR)", "NaN"),
        ("INTERVAL '1 month'", "1 month"),
        ("INTERVAL '30 days'", "30 days"),
        ("'\\x00\\xFF'::BLOB", "AP8="),
        ("'101'::BIT", "101"),
        ("UUID '11111111-1111-1111-1111-111111111111'", "11111111-1111-1111-1111-111111111111"),
        ("'x'::ENUM('x', 'y')", "x"),
        ("[1, 2]", [1, 2]),
        ("[1, 2]::INTEGER[2]", [1, 2]),
        ("[NULL, 0.5::DOUBLE]", [None, 0.5]),
        ("{'b': 1, 'a': DATE '2024-01-01'}", {"a": "2024-01-01", "b": 1}),
        ("MAP {'b': 1, 'a': 2}", {"a": 2, "b": 1}),
        ("MAP {2: 'b', 1: 'a'}", [[1, "a"], [2, "b"]]),
        ("union_value(n := 1)", 1),
        ("""'{"b": 1.10, "a": [1e0]}'::JSON""", {"a": [1], "b": 1.1}),
        ("""'{"b": 1}'::JSON::VARIANT""", {"b": 1}),
        ("NULL::JSON", None),
        ("'1e400'::JSON", {"$number": "1E+400"}),
        ("""'"1E+400"'::JSON""", "1E+400"),
        ("""'{"a": 1, "a": 2}'::JSON""", {"$object": [["a", 1], ["a", 2]]}),
        ("['nan'::DOUBLE]", ["NaN"]),
        ("[INTERVAL '1 month']", ["1 month"]),
        ("{'at': TIMESTAMPTZ '2024-01-01 12:00:00+02'}", {"at": "2024-01-01 10:00:00+00"}),
        ("['[1]'::JSON]", [[1]]),
    ],
)
def test_values(project: Project, expression: str, value: Json):
    seen = project.look(f"SELECT {expression} AS v; -- the end")
    assert dumps(seen.value) == dumps(value)


@pytest.mark.parametrize("tail", ["", ";", "; -- the end", "\n-- the end", " /* ; */ ;;"])
def test_a_query_may_end_in_any_way(project: Project, tail: str):
    project.write(f"SELECT 1 AS a, now() < now() AS b, INTERVAL '1 day' AS c{tail}")
    assert project.source().observe().value == {"a": 1, "b": False, "c": "1 day"}


def test_columns_may_have_any_name(project: Project):
    seen = project.look("""SELECT INTERVAL '1 day' AS "a ""b"" INTERVAL", 1 AS "select" """)
    assert seen.value == {'a "b" INTERVAL': "1 day", "select": 1}


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "America/New_York"])
def test_the_zone_of_the_machine_does_not_matter(
    project: Project, monkeypatch: pytest.MonkeyPatch, zone: str
):
    monkeypatch.setenv("TZ", zone)
    seen = project.look("SELECT TIMESTAMPTZ '2024-01-01 23:30:00+00'::DATE")
    assert seen.value == "2024-01-01"


def test_an_observation_says_what_ran_and_what_it_cost(project: Project):
    seen = project.look("SELECT * FROM range(5) AS t(n)", key=("n",))
    assert seen.query == "SELECT * FROM range(5) AS t(n)"
    assert (seen.cost.rows, seen.cost.requests) == (5, 1)
    assert seen.cost.seconds > 0


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no statement in sql/it.sql"),
        ("-- nothing", "no statement in sql/it.sql"),
        ("SELECT 1;\nSELECT 2", r"2 statements.*sql/it\.sql, line 2, column 1"),
        ("CREATE TABLE t (a INT)", "a CREATE statement"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "a COPY statement"),
        ("ATTACH 'x.db'", "an? ATTACH statement"),
        ("SELECT :since", r"has no parameters.*:since.*sql/it\.sql, line 1, column 8"),
        ("SELECT $since", r"own spelling \(since\).*:name"),
        ("SELECT ?", r"own spelling \(1\)"),
        ("SELECT 1 AS a, 2 AS a", "2 columns named 'a'"),
        ("SELECT\n  'é', x y z", r'"z".*sql/it\.sql, line 2, column 12\.(.|\n)*\n {15}\^ here'),
    ],
)
def test_what_is_no_query_is_refused(project: Project, text: str, message: str):
    with pytest.raises(QueryError, match=message):
        project.look(text)
    assert not (project.root / "stolen.csv").exists()


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT :a", "SELECT 1; SELECT 2", "DROP TABLE t"])
def test_a_check_finds_it_without_a_database(project: Project, text: str):
    project.write(text)
    with pytest.raises(QueryError):
        project.source(database="missing.duckdb").check()


def test_a_check_reads_no_data(project: Project):
    project.write("FROM 'missing.csv'")
    project.source(database="missing.duckdb").check()


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT 1,\n  nosuch", r'"nosuch" was not found.*sql/it\.sql, line 2, column 3'),
        ("SELECT *\nFROM nosuch", r"nosuch does not exist.*line 2, column 6"),
        ("SELECT 'é',\n CAST('x' AS INT)", r"'x' to INT32.*line 2, column 2"),
        ("SELECT error('it broke')", r"it broke\. sql/it\.sql"),
        ("SELECT error('late'), INTERVAL '1 day' AS i", r"late\. sql/it\.sql"),
    ],
)
def test_a_query_that_fails_says_where(project: Project, text: str, message: str):
    with pytest.raises(QueryError, match=message):
        project.look(text)


def test_a_row_that_fails_late_is_an_error_too(project: Project):
    text = "SELECT n, if(n = 90000, error('late'), '') AS e FROM range(100000) AS t(n)"
    with pytest.raises(QueryError, match="late"):
        project.look(text, key=("n",))


def test_a_missing_file_is_the_sources_error(project: Project):
    with pytest.raises(SourceError, match=r'pattern "data/\*\.csv".*sql/it\.sql'):
        project.look("FROM 'data/*.csv'")


def test_a_missing_extension_is_never_downloaded_but_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(project.root))
    with pytest.raises(SourceError, match=r"needs its extension 'httpfs'.*install_extension"):
        project.look("FROM 'https://example.invalid/a.csv?signature=secret'")


@pytest.mark.parametrize(
    "message, said",
    [
        ("can't open https://me:secret@host/a.csv", "can't open https://***@host/a.csv"),
        ("403 for https://host/a?X-Sig=secret&b=c here", "403 for https://host/a?*** here"),
        ("host=a PASSWORD=secret user=b", "host=a PASSWORD=*** user=b"),
        ("what is it? a date", "what is it? a date"),
    ],
)
def test_secrets_are_left_out_of_messages(message: str, said: str):
    assert safe(message) == said


def test_a_result_over_the_limit_is_an_error_with_advice(project: Project):
    with pytest.raises(QueryError, match=r"more than 10 rows.*row_limit"):
        project.look("FROM range(11) AS t(n)", key=("n",), row_limit=10)
    with pytest.raises(QueryError, match="more than 10 rows"):
        project.look("FROM range(11)", row_limit=10)
    assert project.look("FROM range(10) AS t(n)", key=("n",), row_limit=10).value == 10


def test_a_result_without_end_is_not_read_to_its_end(project: Project):
    with pytest.raises(QueryError, match="more than 5,000 rows"):
        project.look("FROM range(1000000000000)", row_limit=5_000)


def test_an_edited_list_of_columns_changes_rows_and_not_keys(project: Project):
    before = project.look("SELECT 1 AS id, 'x' AS v", key=("id",))
    after = project.look("SELECT 'x' AS v, 1 AS id", key=("id",))
    assert before.fingerprint == after.fingerprint


def test_a_query_takes_parameters_and_keeps_its_order(project: Project):
    project.write(
        "SELECT n, :word || n AS w, :day::DATE AS d, INTERVAL (n) DAY AS i FROM range(3) AS t(n) "
        "WHERE n >= :least ORDER BY n DESC",
        "rows",
    )
    rows = project.source().query("rows", {"word": "o'x", "day": "2024-01-01", "least": 1})
    assert rows == [
        {"n": 2, "w": "o'x2", "d": "2024-01-01", "i": "2 days"},
        {"n": 1, "w": "o'x1", "d": "2024-01-01", "i": "1 day"},
    ]


@pytest.mark.parametrize("value", [None, 1, 0.5, "'; DROP TABLE t; --", [1, 2], {"a": 1}])
def test_a_parameter_is_a_value_and_never_sql(project: Project, value: Json):
    project.write("SELECT :value AS v", "rows")
    assert project.source().query("rows", {"value": value}) == [{"v": value}]


def test_a_value_that_the_engine_has_no_type_for_is_an_error(project: Project):
    project.write("SELECT :value AS v", "rows")
    with pytest.raises(QueryError, match=r"sql/rows\.sql"):
        project.source().query("rows", {"value": object()})


def test_a_missing_database_is_an_error_with_the_closest(project: Project):
    (project.root / "weather.duckdb").touch()
    with pytest.raises(SourceError, match=r"no database 'wether.duckdb'.*'weather.duckdb'"):
        project.look("SELECT 1", database="wether.duckdb")


def test_a_file_that_is_no_database_is_an_error(project: Project):
    (project.root / "it.duckdb").write_text("id,v\n" * 1000)
    with pytest.raises(SourceError, match=r"it\.duckdb.*can't be opened"):
        project.look("SELECT 1", database="it.duckdb")


def test_a_database_that_another_writes_to_is_an_error(project: Project):
    with (
        duckdb.connect(project.root / "it.duckdb"),
        pytest.raises(SourceError, match=r"can't be opened.*let that one close the file first"),
    ):
        project.look("SELECT 1", database="it.duckdb")


def test_a_database_is_free_again_after_a_look(project: Project):
    with duckdb.connect(project.root / "it.duckdb") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert project.look("FROM t", database="it.duckdb").value == 1
    with duckdb.connect(project.root / "it.duckdb") as connection:
        connection.execute("UPDATE t SET a = 2")
    assert project.source(database="it.duckdb").observe().value == 2


def test_an_overwritten_file_is_read_anew_even_if_its_time_is_the_same(project: Project):
    import os

    path = project.root / "it.parquet"
    values = []
    for number in (1, 2):
        duckdb.sql(f"SELECT {number} AS n").write_parquet(str(path))
        os.utime(path, ns=(1, 1))
        values.append(project.look("FROM 'it.parquet'").value)
    assert values == [1, 2]


def test_a_comma_in_the_project_s_path_is_refused(tmp_path: Path):
    root = tmp_path / "a,b"
    root.mkdir()
    with pytest.raises(SourceError, match="comma"):
        Project(root).look("SELECT 1")


def test_a_result_is_a_table_with_the_engine_s_own_types(project: Project):
    project.write(
        "SELECT n::TINYINT AS n, 1.50::DECIMAL(10, 2) AS price, :word AS word "
        "FROM range(3) AS t(n) ORDER BY n DESC",
        "rows",
    )
    table = project.source().query_arrow("rows", {"word": "x"})
    assert {field.name: str(field.type) for field in table.schema} == {
        "n": "int8",
        "price": "decimal128(10, 2)",
        "word": "string",
    }
    assert table.column("n").to_pylist() == [2, 1, 0]
    empty = project.source().query_arrow("rows", {"word": None}).slice(0, 0)
    assert empty.column_names == ["n", "price", "word"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("FROM range(100000)", r"more than 10 rows.*row_limit"),
        ("SELECT 1 AS a, 2 AS a", "2 columns named 'a'"),
        ("SELECT nosuch", r'"nosuch" was not found.*line 1, column 8'),
        ("SELECT error('late')", r"late\. sql/it\.sql"),
        ("DROP TABLE t", "a DROP statement"),
    ],
)
def test_a_table_keeps_to_the_same_rules(project: Project, text: str, message: str):
    project.write(text)
    with pytest.raises(QueryError, match=message):
        project.source(row_limit=10).query_arrow("it", {})
