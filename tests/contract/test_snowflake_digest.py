"""Rows stay in Snowflake while their digests are what they were, and few of them move otherwise.

fakesnow has no MD5_NUMBER_UPPER64 and ..._LOWER64: it is taught both as they are documented. What
real floats, intervals and semi-structured values look like as text is tested by the statement.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest

from flowproject.changes.observation import Observation, Past
from flowproject.config.data import SnowflakeData
from flowproject.sources.snowflake.connection import connect
from flowproject.sources.snowflake.digest import BucketDigests
from flowproject.sql import Query
from flowproject.tables.typed_rows import rows_in_columns
from tests.observations import remembered, table
from tests.proxy import Answer, proxied
from tests.snow_project import Project, on_queries, snowflake_says, through

ROWS = 1500
DIGEST = "MD5_NUMBER"
TOLD = "GROUP BY flowproject_bucket"
MADE = """CREATE OR REPLACE TABLE stock AS SELECT SEQ8() AS id, 'x' || SEQ8() AS word,
(SEQ8() / 7)::FLOAT AS share, NULL::INT AS n FROM TABLE(GENERATOR(ROWCOUNT => 1500))"""


class Stock:
    """A table of three thousand rows, the looks at it, and what was asked for the last one."""

    def __init__(self, project: Project, key: tuple[str, ...] = ("id",)) -> None:
        self.project, self.key = project, key
        self.asked: list[str] = []
        project.run(MADE)
        project.write("SELECT id, word, share, n FROM stock -- all of it")

    def look(self, past: Past | None = None) -> Observation:
        before = len(self.project.snow.asked)
        seen = self.project.source(key=self.key).observe(past)
        self.asked = [asked.sql for asked in self.project.snow.asked[before:]]
        return seen

    def digested(self) -> Observation:
        """A look after which digests are known: one does not know yet how many rows there are."""
        return self.look(remembered(self.look()))

    def run(self, *statements: str) -> None:
        self.project.run(*statements)


@pytest.fixture
def stock(project: Project) -> Stock:
    return Stock(project)


def test_no_row_is_fetched_while_none_changed(stock: Stock):
    first = stock.look()
    assert not any(DIGEST in sql for sql in stock.asked)
    second = stock.look(remembered(first))
    assert second.fingerprint == first.fingerprint
    third = stock.look(remembered(second))
    assert (third.fingerprint, third.value) == (first.fingerprint, ROWS)
    assert third.columns == second.columns == first.columns
    assert third.cost.rows == 0
    assert third.cost.requests == len(stock.asked) == 2
    assert table(third) == table(first)


def test_after_any_edits_a_look_is_what_one_without_a_past_would_be(stock: Stock):
    chance = random.Random(4)
    seen = stock.digested()
    for _ in range(3):
        edits = [
            "UPDATE stock SET word = 'y' WHERE id = {}",
            "DELETE FROM stock WHERE id = {}",
            "UPDATE stock SET id = id + 100000 WHERE id = {}",
            "INSERT INTO stock VALUES (-{}, NULL, 'NaN'::FLOAT, 5)",
        ]
        stock.run(*(edit.format(chance.randrange(ROWS)) for edit in chance.sample(edits, k=2)))
        seen = stock.look(remembered(seen))
        assert TOLD in stock.asked[1]
        assert 0 < seen.cost.rows < ROWS
        assert seen.version["statement"]
        fresh = stock.look()
        assert (seen.fingerprint, seen.value) == (fresh.fingerprint, fresh.value)
        assert table(seen) == table(fresh)


def test_two_rows_that_exchange_a_value_are_seen(stock: Stock):
    seen = stock.digested()
    stock.run("UPDATE stock SET word = 'x' || (11 - id) WHERE id IN (5, 6)")
    moved = stock.look(remembered(seen))
    assert {item.key for item in table(moved).values() if item not in table(seen).values()} == {
        "5",
        "6",
    }


@pytest.mark.parametrize("key", [("share",), ("id", "share")])
def test_rows_whose_keys_have_no_text_of_ours_are_all_fetched(project: Project, key: Any):
    stock = Stock(project, key)
    seen = stock.digested()
    assert stock.look(remembered(seen)).cost.rows == 0
    stock.run("UPDATE stock SET word = 'new' WHERE id = 7")
    assert stock.look(remembered(seen)).cost.rows == ROWS


@pytest.mark.parametrize("key", [("word",), ("word", "id")])
def test_texts_and_several_columns_make_buckets(project: Project, key: Any):
    stock = Stock(project, key)
    stock.run("UPDATE stock SET word = 'ä''|\U0001f600' || id WHERE id < 50")
    seen = stock.digested()
    stock.run("UPDATE stock SET n = 1 WHERE id = 7")
    moved = stock.look(remembered(seen))
    assert 0 < moved.cost.rows < ROWS
    assert table(moved) == table(stock.look())


def test_what_is_as_it_was_in_other_words_is_fetched_and_is_no_change(stock: Stock):
    seen = stock.digested()
    stock.project.write("SELECT id, word, share, n::NUMBER(20, 3) AS n FROM stock")
    stock.run("UPDATE stock SET word = word || '' WHERE id = 1")
    again = stock.look(remembered(seen))
    assert again.fingerprint == seen.fingerprint
    stock.project.write("SELECT id, word AS text, share, n FROM stock")
    assert stock.look(remembered(again)).cost.rows == ROWS


def while_fetching(stock: Stock, disturb: Callable[[], None], times: int) -> Any:
    """Disturb the account after digests were told, and before rows are fetched."""
    left = [times]

    def trouble(answer: Answer) -> Answer:
        if left[0] and stock.project.snow.asked[-1].sql.endswith(TOLD):
            left[0] -= 1
            disturb()
        return answer

    return on_queries(trouble)


@pytest.mark.parametrize("times", [1, 9])
def test_what_is_written_between_digest_and_fetch_is_whole_in_the_look_or_not_in_it(
    stock: Stock, times: int
):
    """Every write moves a unit between two rows, so that a mix of two moments shows in the sum."""
    stock.run("UPDATE stock SET n = 100")
    seen = stock.digested()
    stock.run("UPDATE stock SET n = n + 1 WHERE id = 3")

    def move() -> None:
        stock.run("UPDATE stock SET n = IFF(id = 3, n - 1, n + 1) WHERE id IN (3, 1400)")

    with proxied(stock.project.snow.url) as proxy, through(proxy):
        proxy.plan = while_fetching(stock, move, times)
        moved = stock.look(remembered(seen))
    assert sum(int(str(item.data["n"])) for item in table(moved).values()) == 100 * ROWS + 1
    assert moved.value == ROWS
    # And the next look goes on from there.
    assert table(stock.look(remembered(moved))) == table(stock.look())


def test_a_past_of_other_rows_than_the_digests_is_not_believed(stock: Stock):
    seen = stock.digested()
    stock.run("UPDATE stock SET word = 'new' WHERE id = 7")
    items = {key: item for key, item in table(seen).items() if key != "9"}
    past = remembered(replace(seen, items=items))
    past.total = ROWS
    assert table(stock.look(past)) == table(stock.look())


def test_what_can_t_be_digested_is_read_as_before(stock: Stock):
    seen = stock.digested()
    stock.run("UPDATE stock SET word = 'new' WHERE id = 7")
    refused = snowflake_says("100078", "String is too long and would be truncated")

    def trouble(answer: Answer) -> Answer:
        return refused if DIGEST in stock.project.snow.asked[-1].sql else answer

    with proxied(stock.project.snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(trouble)
        read = stock.look(remembered(seen))
    assert (read.cost.rows, read.memo) == (ROWS, {})
    assert table(read) == table(stock.look())


@pytest.mark.parametrize("memo", [{"rows": {"v": 99}}, {"rows": "x"}, {"v": 1, "tokens": {}}])
def test_the_memo_of_another_version_is_none(stock: Stock, memo: Any):
    seen = replace(stock.look(), memo=memo)
    again = stock.look(remembered(seen))
    assert (again.fingerprint, again.cost.rows) == (seen.fingerprint, ROWS)
    assert stock.look(remembered(again)).cost.rows == 0


def test_few_rows_are_fetched_without_a_digest(project: Project):
    project.write("SELECT SEQ8() AS id FROM TABLE(GENERATOR(ROWCOUNT => 900))")
    seen = project.source(key=("id",)).observe()
    again = project.source(key=("id",)).observe(remembered(seen))
    assert (again.cost.rows, again.cost.requests, again.memo) == (900, 1, {})


@pytest.mark.parametrize(
    "values",
    [
        ["NULL::VARCHAR", "''", "';'", "'0:'", "'a'", "'A'", "'a '", "'ä'"],
        ["NULL::INT", "0", "1", "10", "-1", "12345678901234567890123456789012345678"],
        ["NULL::NUMBER(9, 2)", "0.01", "0.1", "-0.1"],
        ["NULL::FLOAT", "0.1::FLOAT", "0.1::FLOAT + 0.2::FLOAT", "0.3::FLOAT", "'NaN'::FLOAT"],
        ["'inf'::FLOAT", "'-inf'::FLOAT", "1e300::FLOAT", "1e-300::FLOAT"],
        ["NULL::DATE", "'0001-01-01'::DATE", "'9999-12-31'::DATE", "'1969-12-31'::DATE"],
        ["'1969-12-31 23:59:59.5'::TIMESTAMP_NTZ", "'1970-01-01 00:00:00.5'::TIMESTAMP_NTZ"],
        ["'01:02:03'::TIME", "'01:02:03.000001'::TIME", "NULL::TIME"],
        ["TRUE", "FALSE", "NULL::BOOLEAN"],
        ["PARSE_JSON('1')", "PARSE_JSON('\"1\"')", "PARSE_JSON('[1]')", "NULL::VARIANT"],
    ],
)
def test_values_that_have_two_forms_have_two_digests(project: Project, values: list[str]):
    data = SnowflakeData(query="it", database=project.database, schema="PUBLIC")
    told = {}
    with connect(data) as connection, connection.cursor() as cursor:
        for value in values:
            query = Query(file="it.sql", text=f"SELECT 1 AS id, {value} AS v")
            described = cursor.describe(query.text)
            digests = BucketDigests.expected(Past(0, dict, total=0), described, ("id",))
            assert digests
            sql, bound = replace(digests, salt="salt").told(query)
            rows = cursor.execute(sql, ["salt" for _ in bound]).fetchall()
            told[value] = tuple(map(int, rows[0]))
    assert all(told[one] != told[other] for one, other in combinations(values, 2))


def test_a_change_has_the_types_and_values_of_the_query_in_arrow(project: Project):
    project.write(
        "SELECT 1 AS id, 12.50::NUMBER(10, 2) AS n, 0.1::FLOAT AS f, 'x' AS word, "
        "'9999-12-31'::DATE AS day, '9999-12-31 23:59:59.5'::TIMESTAMP_NTZ AS at, "
        "'2024-01-01 12:00:00+00:00'::TIMESTAMP_TZ AS at_tz, TRUE AS yes, NULL::INT AS missing "
        "UNION ALL SELECT 2, 3, 'NaN'::FLOAT, NULL, '0001-01-01', '2024-01-01', NULL, FALSE, 5"
    )
    seen = project.source(key=("id",)).observe()
    items = list(table(seen).values())
    ours = rows_in_columns(items, {**seen.columns, **seen.types}).read_all().sort_by("id")
    theirs = project.source().query_arrow("it", {}).sort_by("id")
    # In pieces that hold small numbers only, Snowflake's integers are small ones.
    assert ours.schema.types[1:] == [
        theirs.schema.field(name).type if name != "missing" else pa.int64()
        for name in theirs.schema.names[1:]
    ]
    assert repr(ours.to_pylist()) == repr(theirs.to_pylist())
