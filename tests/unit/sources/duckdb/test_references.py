"""A query of DuckDB's looks at data: it writes, loads and changes nothing."""

from pathlib import Path

import duckdb
import pytest

from flowproject.changes.canonical import Json
from flowproject.config.data import DuckDBData
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.sources.duckdb import references
from flowproject.sources.duckdb.references import REFUSED_FUNCTIONS
from flowproject.sources.duckdb.source import DuckDBSource

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine

LOOKING = [
    "generate_series",
    "glob",
    "icu_calendar_names",
    "json_each",
    "json_tree",
    "parquet_bloom_probe",
    "parquet_file_metadata",
    "parquet_full_metadata",
    "parquet_kv_metadata",
    "parquet_metadata",
    "parquet_scan",
    "parquet_schema",
    "pg_timezone_names",
    "query",
    "query_table",
    "range",
    "read_blob",
    "read_csv",
    "read_csv_auto",
    "read_duckdb",
    "read_json",
    "read_json_auto",
    "read_json_objects",
    "read_json_objects_auto",
    "read_ndjson",
    "read_ndjson_auto",
    "read_ndjson_objects",
    "read_parquet",
    "read_single_csv_file",
    "read_single_json_file",
    "read_single_parquet_file",
    "read_text",
    "repeat",
    "repeat_row",
    "seq_scan",
    "sniff_csv",
    "summary",
    "test_all_types",
    "test_vector_types",
    "unnest",
    "which_secret",
]
"""Table functions of DuckDB 2.0 that only look, besides those that tell of the engine itself."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sql").mkdir()
    (tmp_path / "a.csv").write_text("id,v\n1,2\n")
    return tmp_path


def look(root: Path, text: str, **data: object) -> Json:
    (root / "sql" / "it.sql").write_text(text)
    return DuckDBSource(DuckDBData(query="it", **data), root).observe().value  # type: ignore[arg-type]


def files(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def log(root: Path) -> str:
    return f"enable_logging(storage = 'file', storage_path = '{root}/log')"


@pytest.mark.parametrize(
    "text",
    [
        "FROM {log}",
        "SELECT 1 AS a WHERE EXISTS (FROM {log})",
        "WITH t AS (FROM {log}) FROM t",
        'FROM system.main."Enable_Logging"()',
        "FROM query('FROM enable_logging()')",
        "FROM query('FROM enable' || '_logging()')",
        "FROM enable_profiling(save_location = 'profile.json')",
        "FROM checkpoint()",
        "SELECT write_log('it')",
        "SELECT nextval('s')",
        "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "FROM register_external_resource_type()",
    ],
)
def test_a_function_that_does_more_than_look_is_refused(root: Path, text: str):
    before = files(root)
    with pytest.raises(QueryError, match=r"only looks at data.*sql/it\.sql.*docs/duckdb\.md"):
        look(root, text.format(log=log(root)))
    assert files(root) == before


def test_a_check_finds_it_too(root: Path):
    (root / "sql" / "it.sql").write_text("FROM enable_logging()")
    with pytest.raises(QueryError, match=r"enable_logging\(\).*line 1, column 6"):
        DuckDBSource(DuckDBData(query="it"), root).check()


def test_it_is_found_behind_views_and_macros(root: Path):
    with duckdb.connect(root / "it.duckdb") as connection:
        connection.execute(f"CREATE VIEW behind AS FROM {log(root)}")
        connection.execute("CREATE VIEW above AS SELECT 1 FROM behind")
        connection.execute(f"CREATE MACRO of_it() AS TABLE FROM {log(root)}")
        connection.execute("CREATE MACRO summary() AS write_log('it')")
    for file in root.glob("log*"):  # to make the view has written it
        file.unlink()
    before = files(root)
    for text in ("FROM behind", "FROM above", "FROM of_it()", "SELECT summary()"):
        with pytest.raises(QueryError, match=r"only looks at data.*a view or macro that it names"):
            look(root, text, database="it.duckdb")
    assert files(root) == before


@pytest.mark.parametrize("database", ["", "it.duckdb"])
def test_the_engine_refuses_it_as_well(root: Path, database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(references, "REFUSED_FUNCTIONS", frozenset())
    duckdb.connect(root / "it.duckdb").close()
    before = files(root)
    with pytest.raises(QueryError, match="the configuration has been locked"):
        look(root, f"FROM {log(root)}", database=database)
    assert files(root) == before


@pytest.mark.parametrize(
    "text",
    [
        "COPY (SELECT 1) TO 'it.csv'",
        "ATTACH 'it.duckdb'",
        "LOAD httpfs",
        "INSTALL httpfs",
        "PRAGMA enable_profiling",
        "SET threads = 2",
        "CALL enable_logging()",
        "EXPLAIN ANALYZE SELECT 1",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SET threads = 2",
    ],
)
def test_a_statement_that_does_more_than_look_is_refused(root: Path, text: str):
    before = files(root)
    with pytest.raises(QueryError, match=r"sql/it\.sql"):
        look(root, text)
    assert files(root) == before


def test_an_extension_that_does_more_than_read_is_refused(root: Path):
    with pytest.raises(SourceError, match=r"'sqlite_scanner'.*more than read.*excel, httpfs"):
        look(root, "FROM sqlite_scan('it.sqlite', 't')")


def test_an_extension_that_reads_is_named_if_it_is_missing(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(root))
    with pytest.raises(SourceError, match=r"'excel', which is not installed.*install_extension"):
        look(root, "FROM read_xlsx('it.xlsx')")


def test_no_query_reads_a_variable_of_this_process(root: Path):
    with pytest.raises(QueryError, match="Table with name params does not exist"):
        look(root, "FROM params")  # there is one where DuckDB is called


@pytest.mark.parametrize(
    "text",
    [
        "SELECT v FROM 'a.csv'",
        "SELECT v FROM read_csv(['a.csv'])",
        "SELECT v FROM query('FROM ''a.csv''')",
        "SELECT v FROM 'a.csv' WHERE id IN (SELECT unnest([1]))",
        "SELECT max(v) FROM 'a.csv' GROUP BY ALL ORDER BY ALL",
        "SELECT count(*) + 1 FROM glob('*.csv')",
        "PIVOT 'a.csv' ON id IN (1) USING max(v)",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t WHERE n < 2) FROM t OFFSET 1",
        "SELECT 2 -- enable_logging()",
        "SELECT length('nextval(''s'')') - 10",
    ],
)
def test_what_looks_may_be_used(root: Path, text: str):
    assert look(root, text) in (2, {"1": 2})


def test_every_table_function_of_the_engine_is_known_here():
    """A new version of the engine may bring more of them: somebody must say what they do."""
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table'"
        ).fetchall()
    strange = {name for (name,) in found if not name.startswith(("duckdb_", "pragma_"))}
    assert strange - REFUSED_FUNCTIONS == set(LOOKING)


def test_nothing_is_left_behind_in_the_folder_or_at_home(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    (root / "home").mkdir()
    monkeypatch.setenv("HOME", str(root / "home"))
    before = files(root)
    for text in (
        "FROM 'a.csv'",
        "FROM duckdb_secrets()",
        "FROM duckdb_extensions()",
        "FROM nosuch",
    ):
        try:
            look(root, text, row_limit=1000)
        except FlowprojectError:
            assert text == "FROM nosuch"
    assert files(root) == before
    assert not any((root / "home").iterdir())
