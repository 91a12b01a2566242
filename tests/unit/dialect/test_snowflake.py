"""Snowflake's SQL on DuckDB: every form answers as it does on Snowflake, or is refused by name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from flowproject.config.data import DuckDBData
from flowproject.dialect.snowflake import FORMS as TRANSLATED
from flowproject.errors import FlowprojectError, QueryError
from flowproject.sources.duckdb.source import DuckDBSource
from tests.unit.dialect.snowflake_forms import FORMS, Refused

pytestmark = pytest.mark.seconds(30)

ROWS = [(page, *row) for page, rows in FORMS.items() for row in rows]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[DuckDBSource, Path]:
    root = tmp_path_factory.mktemp("forms")
    (root / "sql").mkdir()
    return DuckDBSource(DuckDBData(query="it", dialect="snowflake"), root), root


def answer(source: tuple[DuckDBSource, Path], form: str) -> Any:
    engine, root = source
    (root / "sql/it.sql").write_text(f"SELECT {form}\n")
    rows = [list(row.values()) for row in engine.query("it", {})]
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0]
    return [row[0] for row in rows] if all(len(row) == 1 for row in rows) else rows


@pytest.mark.parametrize("page, form, value", ROWS, ids=[form for _, form, _ in ROWS])
def test_a_form_answers_as_documented_or_is_refused(
    source: tuple[DuckDBSource, Path], page: str, form: str, value: Any
):
    if not isinstance(value, Refused):
        assert answer(source, form) == value, page
        return
    with pytest.raises(FlowprojectError, match=f"(?i){value.because}"):
        answer(source, form)


def test_every_form_that_is_translated_has_a_row():
    """What has none was looked at by nobody."""
    answered = [form for _, form, value in ROWS if not isinstance(value, Refused)]
    trees = [sqlglot.parse_one(f"SELECT {form}", read="snowflake") for form in answered]
    met = {type(node).__name__ for tree in trees for node in tree.walk()}
    # Of a moment that moves there is no value; a placeholder is no form of Snowflake's.
    assert TRANSLATED - met == {"CurrentDate", "CurrentTimestamp", "Placeholder"}


@pytest.mark.parametrize("form", ["CURRENT_TIMESTAMP()", "SYSDATE()", "CURRENT_DATE", "GETDATE()"])
def test_the_clock_is_that_of_a_session_in_utc(source: tuple[DuckDBSource, Path], form: str):
    seen = datetime.fromisoformat(answer(source, f"{form}::TIMESTAMP_LTZ"))
    assert abs(datetime.now(UTC) - seen) < timedelta(days=1, minutes=10)


def test_a_null_of_json_is_found_where_a_text_is_asked_for(
    source: tuple[DuckDBSource, Path],
):
    """The sensor of the report: an order is open if its payload says so."""
    rows = """id FROM (SELECT 1 AS id, PARSE_JSON('{"status": "open"}') AS payload UNION ALL
        SELECT 2, PARSE_JSON('{"status": null}') UNION ALL SELECT 3, PARSE_JSON('{}'))"""
    assert answer(source, f"{rows} WHERE payload:status::STRING = 'open'") == 1
    assert answer(source, f"{rows} WHERE payload:status::STRING IS NULL ORDER BY id") == [2, 3]


def checked(root: Path, text: str, **data: Any) -> None:
    (root / "sql").mkdir(exist_ok=True)
    (root / "sql/it.sql").write_text(text)
    DuckDBSource(DuckDBData(query="it", dialect="snowflake", **data), root).check()


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER, day DATE, payload JSON, share DOUBLE, tags VARCHAR[])"
        )
    return tmp_path


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT id, payload FROM orders WHERE payload = 'open'", "need a cast"),
        ("SELECT UPPER(tags) AS t FROM orders", r"upper\(VARCHAR\[\]\).*line 1, column 8"),
        ("SELECT payload, COUNT(*) AS n FROM orders GROUP BY payload", "need a cast"),
        ("SELECT share::STRING AS s FROM orders", "DOUBLE"),
        ("SELECT day::INT AS d FROM orders", "no number is DATE"),
        ("SELECT RATIO_TO_REPORT(id) OVER () AS r FROM orders", r"RATIO_TO_REPORT\(id\).*line 1"),
        ("SELECT id FROM orders WHERE NOSUCH(id) > 1", r"NOSUCH\(id\).*line 1, column 29"),
        ("SELECT ids FROM orders", r'"ids".*line 1, column 8'),
        ("SELECT id FROM order_lines", "order_lines"),
        ("SELECT DATEADD(day, 1, id) AS d FROM orders", "DATEADD has no translation for the types"),
    ],
)
def test_a_check_refuses_what_the_tick_would_without_a_row_being_there(
    orders: Path, text: str, message: str
):
    with pytest.raises(QueryError, match=f"(?s){message}"):
        checked(orders, text, database="shop.duckdb")


def test_a_check_passes_what_has_a_translation(orders: Path):
    checked(
        orders,
        "SELECT payload:status::STRING AS status, DATE_TRUNC('month', day) AS month, COUNT(*), "
        "AVG(id) AS mean, LISTAGG(id, ',') AS ids FROM orders, LATERAL FLATTEN(input => tags) f "
        "WHERE f.value::STRING = 'new' GROUP BY 1, 2",
        database="shop.duckdb",
    )
