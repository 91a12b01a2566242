"""The digest that PostgreSQL makes of a result moves with everything that moves in it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.config.data import PostgresData
from flowproject.sources.postgres.connection import Session, connect
from flowproject.sources.postgres.gate import begin
from flowproject.sources.postgres.source import described
from flowproject.sql import Query
from tests.observations import remembered, table
from tests.postgres import Postgres, Project

KINDS = ("bigint", "text", "numeric", "jsonb", "text[]")
Row = tuple[str | None, ...]


@pytest.fixture(scope="module")
def session(postgres_settings: Postgres) -> Iterator[Session]:
    assert postgres_settings.port  # where it is found
    session = connect(PostgresData(query="it"))
    yield session
    session.close()


def digest(session: Session, rows: list[Row]) -> str:
    written = [
        "(" + ", ".join("NULL" if one is None else f"'{one}'" for one in row) + ")" for row in rows
    ]
    names = ", ".join(f"c{place}::{kind}" for place, kind in enumerate(KINDS))
    columns = ", ".join(f"c{place}" for place in range(len(KINDS)))
    query = Query(file="it", text=f"SELECT {names} FROM (VALUES {', '.join(written)}) v({columns})")  # noqa: S608  # the tests' own
    with session.transaction("REPEATABLE READ"):
        begin(session, PostgresData(query="it"), query)
        return described(session, query, {}).digest(7)


def values(kind: str) -> st.SearchStrategy[str | None]:
    some = {
        "bigint": st.sampled_from(["0", "1", "-1", "4294967296", "4294967297", "9"]),
        "text": st.sampled_from(["", "a", "b", "ab", "1"]),
        "numeric": st.sampled_from(["0", "1", "1.5", "-1", "NaN", "Infinity"]),
        "jsonb": st.sampled_from(["1", "-1", '"1"', "[]", "{}", '{"a": 1}']),
        "text[]": st.sampled_from(["{}", "{a}", "{a,b}", "{{a},{b}}", '{"a,b"}']),
    }
    return st.none() | some[kind]


ROWS = st.lists(st.tuples(*map(values, KINDS)), min_size=2, max_size=8)


def exchanged(rows: list[Row], places: list[int], column: int) -> list[Row]:
    """The rows after those at the places passed on a value in a circle."""
    made = list(rows)
    for place, following in zip(places, [*places[1:], places[0]], strict=True):
        made[place] = (*rows[place][:column], rows[following][column], *rows[place][column + 1 :])
    return made


@settings(max_examples=12)
@given(rows=ROWS, data=st.data())
def test_it_moves_if_and_only_if_the_rows_do(
    session: Session, rows: list[Row], data: st.DataObject
):
    column = data.draw(st.integers(0, len(KINDS) - 1))
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=3, unique=True))
    one = data.draw(st.sampled_from(rows))
    before = digest(session, rows)
    for other in (exchanged(rows, places, column), [*rows, one], rows[1:], rows[::-1]):
        is_same = sorted(map(str, other)) == sorted(map(str, rows))
        assert (digest(session, other) == before) == is_same


def test_two_rows_that_exchange_a_value_are_seen_in_every_column(session: Session):
    rows: list[Row] = [
        ("1", "a", "1", '"x"', "{a}"),
        ("2", "b", "2", '"y"', "{b}"),
        ("3", "c", "3", '"z"', "{c}"),
    ]
    before = digest(session, rows)
    for column, places in itertools.product(range(len(KINDS)), ([0, 1], [1, 2], [0, 1, 2])):
        assert digest(session, exchanged(rows, places, column)) != before


def test_a_missing_value_is_seen_wherever_it_moves(session: Session):
    rows: list[list[Row]] = [
        [(None, "5", None, None, None)],
        [("5", None, None, None, None)],
        [(None, None, "5", None, None)],
        [(None, None, None, None, None)],
        [(None, None, None, None, None)] * 2,
        [(None, "", None, None, "{}")],
    ]
    found = [digest(session, one) for one in rows]
    assert len({*found}) == len(rows)


def test_an_exchange_between_two_of_many_rows_is_a_change(
    tmp_path: Path, postgres_settings: Postgres
):
    project = Project(tmp_path, postgres_settings)
    project.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT n, n * 7 FROM generate_series(1, 1200) AS n",
    )
    before = project.look("SELECT * FROM t", key=("id",))
    again = project.source(key=("id",)).observe(remembered(before))
    project.run("UPDATE t SET v = CASE id WHEN 3 THEN 28 ELSE 21 END WHERE id IN (3, 4)")
    after = project.source(key=("id",)).observe(remembered(again))
    assert (table(after)["3"].data["v"], table(after)["4"].data["v"]) == (28, 21)


def test_of_the_same_rows_none_is_read_again(tmp_path: Path, postgres_settings: Postgres):
    project = Project(tmp_path, postgres_settings)
    project.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t SELECT n, n * 7 FROM generate_series(1, 1200) AS n",
    )
    before = project.look("SELECT * FROM t", key=("id",))
    project.run("UPDATE t SET v = v", "CREATE TABLE other ()")
    after = project.source(key=("id",)).observe(remembered(before))
    assert after.note == "the server's digest of the result is the same, no row was read"
    assert (after.value, after.fingerprint) == (1200, before.fingerprint)
    shut = project.source(key=("id",)).observe(remembered(after))
    assert "did not run" in shut.note


def test_another_database_or_major_version_is_not_believed(
    tmp_path: Path, postgres_settings: Postgres
):
    project = Project(tmp_path, postgres_settings)
    project.run("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 1200) AS n")
    before = project.look("SELECT * FROM t", key=("id",))
    elsewhere = postgres_settings.new_database()
    elsewhere.run("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 1200) AS n")
    project.write("SELECT * FROM t")
    there = project.source(key=("id",), url=elsewhere.url, schema="public").observe()
    assert there.fingerprint == before.fingerprint
    assert there.memo["rule"] != before.memo["rule"]
    before.memo["rule"] = "that of another major version"
    project.run("CREATE TABLE other ()")
    after = project.source(key=("id",)).observe(remembered(before))
    assert (after.note, after.fingerprint) == ("", before.fingerprint)


@pytest.mark.parametrize(
    "kind, old, new",
    [
        ("numeric", "1", "-1"),
        ("numeric", "NaN", "Infinity"),
        ("bigint", "1", "4294967296"),
        ("bigint", "5", str(5 << 32)),
        ("timestamp", "2000-01-01 00:00:00.000001", "2000-01-01 01:11:34.967296"),
        ("jsonb", "1", "-1"),
        ("jsonb", "[1]", "[-1]"),
        ("numeric[]", "{1}", "{-1}"),
        ("numrange", "[1,2]", "[-1,2]"),
    ],
)
def test_values_that_the_server_hashes_alike_are_a_change(
    tmp_path: Path, postgres_settings: Postgres, kind: str, old: str, new: str
):
    project = Project(tmp_path, postgres_settings)
    project.run(
        f"CREATE TABLE t (id int, v {kind})",
        f"INSERT INTO t SELECT n, '{old}' FROM generate_series(1, 1200) AS n",  # noqa: S608  # the tests' own
    )
    if kind != "numrange":  # of which the server hashes something else besides
        row = "SELECT hash_record_extended(ROW(v), 5) FROM t WHERE id = 7"
        [hashed] = project.run(row)
        project.run("CREATE TABLE u AS TABLE t", f"UPDATE u SET v = '{new}' WHERE id = 7")  # noqa: S608  # the tests' own
        assert project.run(row.replace("FROM t", "FROM u")) == [hashed]
    before = project.look("SELECT * FROM t", key=("id",))
    project.run(f"UPDATE t SET v = '{new}' WHERE id = 7")  # noqa: S608  # the tests' own
    after = project.source(key=("id",)).observe(remembered(before))
    assert after.fingerprint != before.fingerprint
