"""The same promises on the real service, for those who have an account: nobody has, in CI.

They run where the environment says how to connect (SNOWFLAKE_ACCOUNT and so on), and in which
schema they may make tables: FLOWPROJECT_TEST_SCHEMA=database.schema.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.difference import diff
from flowproject.changes.observation import Observation
from flowproject.config.data import SnowflakeData
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Source, open_source
from flowproject.sources.snowflake.connection import connect
from tests.observations import remembered, table

SCHEMA: Final = os.environ.get("FLOWPROJECT_TEST_SCHEMA", "")
NUMBERS: Final = itertools.count(1)
pytestmark = [
    pytest.mark.real_snowflake,
    pytest.mark.skipif(
        not (SCHEMA and os.environ.get("SNOWFLAKE_ACCOUNT")),
        reason="no real Snowflake: set SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER and so on, and "
        "FLOWPROJECT_TEST_SCHEMA=database.schema, where the tests may make tables",
    ),
]


class Account:
    """A folder with SQL files, and a table of its own in the account."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sql").mkdir()
        self.database, _, self.schema = SCHEMA.partition(".")
        self.table = f"FLOWPROJECT_TEST_{os.getpid()}_{next(NUMBERS)}"

    def data(self, **keys: Any) -> SnowflakeData:
        own = {"query": "it", "database": self.database, "schema": self.schema}
        return SnowflakeData(**(own | keys))

    def source(self, text: str, **keys: Any) -> Source:
        (self.root / "sql" / "it.sql").write_text(text)
        return open_source(self.data(**keys), self.root)

    def run(self, *statements: str) -> None:
        with closing(connect(self.data())) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path)
    account.run(f"CREATE TRANSIENT TABLE {account.table} (id INT, content VARCHAR)")
    yield account
    account.run(f"DROP TABLE IF EXISTS {account.table}")


@pytest.mark.parametrize(
    "expression, value",
    [
        ("NULL", None),
        ("12345678901234567890123456789012345678", 12345678901234567890123456789012345678),
        ("1.50::NUMBER(10, 2)", 1.5),
        ("0.1::FLOAT", 0.1),
        ("'NaN'::FLOAT", "NaN"),
        ("'2024-01-01 12:00:00.123456789'::TIMESTAMP_NTZ", "2024-01-01T12:00:00.123456789"),
        ("'2024-01-01 12:00:00 +0200'::TIMESTAMP_TZ", "2024-01-01T10:00:00+00:00"),
        ("'2024-01-01 12:00:00 +0200'::TIMESTAMP_LTZ", "2024-01-01T10:00:00+00:00"),
        ("'0001-01-01'::DATE", "0001-01-01"),
        ("'9999-12-31 23:59:59.999'::TIMESTAMP_NTZ", "9999-12-31T23:59:59.999000"),
        ("'01:02:03.000000004'::TIME(9)", "01:02:03.000000004"),
        ("TO_BINARY('00FF', 'HEX')", "AP8="),
        ("""PARSE_JSON('{"b": 1.10, "a": [1, null]}')""", {"a": [1, None], "b": 1.1}),
        ("ARRAY_CONSTRUCT(1, NULL)", [1, None]),
        ("OBJECT_CONSTRUCT('b', 1, 'a', 'x')", {"a": "x", "b": 1}),
        ("TO_GEOGRAPHY('POINT(1 2)')", {"coordinates": [1, 2], "type": "Point"}),
    ],
)
def test_values(account: Account, expression: str, value: Json):
    seen = account.source(f"SELECT {expression} AS v").observe()
    assert dumps(seen.value) == dumps(value)
    assert seen.cost.query_id


def test_insert_update_delete_and_reorder(account: Account):
    text = f"SELECT id, content FROM {account.table}"  # noqa: S608  # the table is the test's own

    def look() -> Observation:
        return account.source(text, key=("id",)).observe()

    empty = look()
    account.run(f"INSERT INTO {account.table} VALUES (1, 'a'), (2, 'b')")  # noqa: S608
    two = look()
    assert diff(table(empty), table(two)).counts == {"added": 2, "modified": 0, "removed": 0}
    again = f"SELECT * FROM {account.table} ORDER BY id DESC"  # noqa: S608
    account.run(f"INSERT OVERWRITE INTO {account.table} {again}")
    assert look().fingerprint == two.fingerprint
    account.run(f"UPDATE {account.table} SET content = 'B' WHERE id = 2")  # noqa: S608
    account.run(f"DELETE FROM {account.table} WHERE id = 1")  # noqa: S608
    assert diff(table(two), table(look())).counts == {"added": 0, "modified": 1, "removed": 1}


def test_rows_stay_there_while_their_digests_are_what_they_were(account: Account):
    text = (
        "SELECT SEQ8() AS id, id / 7 AS share, id::FLOAT / 7 AS f, 'x' || id AS word, "
        "DATEADD(day, id, '2026-01-01'::DATE) AS due, '2026-01-01'::TIMESTAMP_TZ AS at_tz, "
        "'2026-01-01'::TIMESTAMP_LTZ AS at_ltz, '2026-01-01'::TIMESTAMP_NTZ AS at_ntz, "
        "OBJECT_CONSTRUCT('f', f) AS o, TO_BINARY('00FF', 'HEX') AS b, '01:02:03'::TIME AS t, "
        "TRUE AS yes FROM TABLE(GENERATOR(ROWCOUNT => 3000))"
    )
    seen = account.source(text, key=("id",)).observe()
    for _ in range(2):
        seen = account.source(text, key=("id",)).observe(remembered(seen))
    assert (seen.value, seen.cost.rows) == (3000, 0)
    edited = text.replace("TRUE AS yes", "id <> 7 AS yes")
    moved = account.source(edited, key=("id",)).observe(remembered(seen))
    assert 0 < moved.cost.rows < 3000
    assert diff(table(seen), table(moved)).counts == {"added": 0, "modified": 1, "removed": 0}
    assert table(moved) == table(account.source(edited, key=("id",)).observe())


def test_parameters_are_bound_and_results_come_in_chunks(account: Account):
    source = account.source(
        "SELECT SEQ8() AS n, :word AS w FROM TABLE(GENERATOR(ROWCOUNT => 300000))"
    )
    rows = source.query("it", {"word": "o'x"})
    assert (len(rows), rows[0]["w"]) == (300_000, "o'x")
    assert source.query_arrow("it", {"word": "o'x"}).num_rows == 300_000


def test_a_query_over_its_time_is_cancelled_on_the_server(account: Account):
    marker = f"slow_{account.table}"
    text = f"SELECT SYSTEM$WAIT(60) AS {marker}"
    with pytest.raises(SourceError, match="longer than 3 s"):
        account.source(text, timeout=3.0).observe()
    assert ended(account, marker)


def test_a_query_is_cancelled_from_another_thread(account: Account):
    marker = f"slow_{account.table}"
    source, errors = account.source(f"SELECT SYSTEM$WAIT(60) AS {marker}"), []

    def look() -> None:
        try:
            source.observe()
        except SourceError as error:
            errors.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    assert is_told(account, marker, lambda states: "RUNNING" in states)
    source.cancel()
    thread.join(10)
    assert errors
    assert ended(account, marker)


def ended(account: Account, marker: str) -> bool:
    """Whether a query with this word in it is no longer running."""
    return is_told(account, marker, lambda states: bool(states) and "RUNNING" not in states)


def is_told(account: Account, marker: str, right: Callable[[set[Json]], bool]) -> bool:
    """Whether Snowflake comes to say what is right of the queries with this word in them."""
    text = (
        "SELECT execution_status AS state FROM TABLE(information_schema.query_history_by_user()) "
        "WHERE CONTAINS(query_text, :marker) AND NOT CONTAINS(query_text, 'query_history')"
    )
    (account.root / "sql" / "history.sql").write_text(text)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        rows = open_source(account.data(), account.root).query("history", {"marker": marker})
        if right({row["state"] for row in rows}):
            return True
        time.sleep(1)
    return False


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"role": "NO_SUCH_ROLE_HERE"}, "GRANT ROLE|not exist"),
        ({"warehouse": "NO_SUCH_WAREHOUSE_HERE"}, "not exist|No active warehouse"),
        ({"database": "NO_SUCH_DATABASE_HERE"}, "not exist"),
    ],
)
def test_what_is_wrong_is_named(account: Account, keys: dict[str, str], message: str):
    with pytest.raises(SourceError, match=message):
        account.source(f"SELECT COUNT(*) AS n FROM {account.table}", **keys).observe()  # noqa: S608


def test_a_mistake_is_shown_where_it_is(account: Account):
    with pytest.raises(QueryError, match=r"sql/it\.sql, line 2, column 3"):
        account.source(f"SELECT\n  nosuch\nFROM {account.table}").observe()


def gated(account: Account, name: str, past: Observation | None = None) -> Observation:
    text = f"SELECT id, content FROM {name}"  # noqa: S608  # the table is the test's own
    source = account.source(text, key=("id",), gate="commit_time")
    return source.observe(remembered(past) if past else None)


def test_a_gate_knows_without_the_query_whether_anything_was_committed(account: Account):
    """What the gate takes for granted of the real service, step by step."""
    account.run(f"INSERT INTO {account.table} VALUES (1, 'a')")  # noqa: S608
    first = gated(account, account.table)
    assert first.memo, first.note
    again = gated(account, account.table, first)
    assert "the query did not run" in again.note
    assert "no plan" not in again.note
    assert (again.fingerprint, again.cost.rows) == (first.fingerprint, 0)
    account.run(f"UPDATE {account.table} SET content = 'b'")  # noqa: S608
    moved = gated(account, account.table, first)
    assert "written to" in moved.note
    assert moved.fingerprint != first.fingerprint


def test_a_view_is_gated_by_what_is_behind_it_until_it_is_defined_anew(account: Account):
    view = f"{account.table}_V"
    account.run(
        f"INSERT INTO {account.table} VALUES (1, 'a')",  # noqa: S608
        f"CREATE VIEW {view} AS SELECT * FROM {account.table}",  # noqa: S608
    )
    try:
        first = gated(account, view)
        assert "the query did not run" in gated(account, view, first).note
        other = f"SELECT id, 'x' AS content FROM {account.table}"  # noqa: S608
        account.run(f"CREATE OR REPLACE VIEW {view} AS {other}")
        assert gated(account, view, first).fingerprint != first.fingerprint
    finally:
        account.run(f"DROP VIEW {view}")


def test_the_gate_itself_uses_no_warehouse(account: Account):
    gated(account, account.table)
    text = (
        "SELECT warehouse_size AS size FROM TABLE(information_schema.query_history_by_user()) "
        "WHERE query_text LIKE 'EXPLAIN USING JSON%' AND CONTAINS(query_text, :marker) "
        "OR query_text LIKE 'SELECT SYSTEM$LAST_CHANGE_COMMIT_TIME(?)%'"
    )
    rows = account.source(text).query("it", {"marker": account.table})
    assert rows
    assert {row["size"] for row in rows} == {None}
