"""SQL in Snowflake's words runs on DuckDB, says so, and its errors still name the file."""

from pathlib import Path

import pytest

from flowproject.config.data import DuckDBData
from flowproject.errors import QueryError
from flowproject.sources.duckdb.source import DuckDBSource

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine


def source(root: Path, text: str, **data: object) -> DuckDBSource:
    (root / "sql").mkdir(exist_ok=True)
    (root / "sql" / "it.sql").write_text(text)
    return DuckDBSource(DuckDBData(query="it", dialect="snowflake", **data), root)  # type: ignore[arg-type]


def test_a_query_in_snowflakes_words_is_translated_and_the_observation_says_so(tmp_path: Path):
    text = "SELECT iff(n > 1, 'many', 'one') AS word FROM VALUES (2) AS t(n)"
    seen = source(tmp_path, text).observe()
    assert seen.value == "many"
    assert seen.note == "translated from snowflake's SQL"
    assert seen.query == text, "what is shown is what stands in the file"


def test_a_query_in_duckdbs_own_words_is_not_touched(tmp_path: Path):
    source(tmp_path, "FROM range(3) AS t(n) SELECT max(n)")
    seen = DuckDBSource(DuckDBData(query="it"), tmp_path).observe()
    assert (seen.value, seen.note) == (2, "")


def test_columns_have_the_names_that_they_have_on_snowflake(tmp_path: Path):
    text = 'SELECT n AS Id, n + 1 AS "Next" FROM VALUES (1), (2) AS t(n)'
    for key in ("id", "ID"):
        seen = source(tmp_path, text, key=(key,)).observe()
        assert seen.items is not None
        assert [item.data for item in seen.items.values()] == [
            {"id": 1, "Next": 2},
            {"id": 2, "Next": 3},
        ]


def test_an_arrow_table_has_the_same_names(tmp_path: Path):
    text = 'SELECT n AS Id, n + 1 AS "Next", \'x\' AS "W" FROM VALUES (1) AS t(n)'
    table = source(tmp_path, text).query_arrow("it", {})
    assert table.to_pylist() == [{"id": 1, "Next": 2, "w": "x"}]


def test_parameters_are_bound_in_a_translation(tmp_path: Path):
    text = (
        "SELECT nvl(:word, 'none') AS w, ':word' AS s FROM VALUES (1), (2) AS t(n) WHERE n > :least"
    )
    rows = source(tmp_path, text).query("it", {"word": "o'x", "least": 1})
    assert rows == [{"w": "o'x", "s": ":word"}]


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELEC 1", r"Snowflake's SQL.*sql/it\.sql, line 1, column 7"),
        ("SELECT 1,\n  $v", r"variable of the session.*sql/it\.sql, line 2, column 3"),
        (
            "SELECT iff(true, 1, 2),\n  nosuch\nFROM VALUES (1) AS t(n)",
            r'"nosuch".*line 2, column 3',
        ),
        ("SELECT iff(true, 1, 2)\nFROM nosuch", r"nosuch does not exist.*line 2, column 6"),
        ("SELECT\n  nosuch(1)", r"(?i)nosuch.*line 2, column 3"),
        ("SELECT n, 'é' FROM t AS n\n", r"sql/it\.sql"),
        ("SELECT iff(nosuch > 1, nosuch, 2)", r'"nosuch" was not found.*sql/it\.sql'),
        ("DROP TABLE t", "not only look"),
        ("SELECT :since", r"has no parameters.*:since.*line 1, column 8"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands_in_the_file(tmp_path: Path, text: str, message: str):
    with pytest.raises(QueryError, match=f"(?s){message}"):
        source(tmp_path, text).observe()


def test_a_wrong_parameter_is_told_where_it_stands_in_the_file(tmp_path: Path):
    asked = source(tmp_path, "SELECT iff(true, 1, 2),\n  :since AS a")
    with pytest.raises(QueryError, match=r":since has no value.*line 2, column 3"):
        asked.query("it", {})


@pytest.mark.parametrize("text", ["SELEC 1", "SELECT $v", "SELECT :a", "DROP TABLE t"])
def test_a_check_finds_it_without_a_database(tmp_path: Path, text: str):
    with pytest.raises(QueryError):
        source(tmp_path, text, database="missing.duckdb").check()


def test_a_check_of_what_is_well_formed_reads_no_data(tmp_path: Path):
    source(tmp_path, "SELECT a:b::int FROM missing", database="missing.duckdb").check()
