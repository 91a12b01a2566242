"""The gate is shut only if everything is as it was; whatever it can't vouch for opens it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from flowproject.changes.observation import Memo
from flowproject.config.data import SnowflakeData
from flowproject.errors import QueryError, SourceError
from flowproject.sources.snowflake.gate import Gate, ask_gate, check_gateable, read_plan
from flowproject.sql import Query

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the parser

SESSION = {"account": "a", "role": "R", "database": "DB", "schema": "S"}


def query(text: str = "SELECT n FROM t JOIN v ON true") -> Query:
    return Query(file="sql/it.sql", text=text)


def plan_of(*tables: str, **more: object) -> str:
    scans = [{"operation": "TableScan", "objects": [table]} for table in tables]
    return json.dumps({"Operations": [[*scans, *([more] if more else [])]]})


class Account:
    """What answers the gate: tokens by table, and a plan or an error in its place."""

    def __init__(self) -> None:
        self.tokens: dict[str, object] = {"t": 7, "v": 8, "DB.S.T": 7, "DB.S.U": 9}
        self.plan: str | Exception = plan_of("DB.S.T", "DB.S.U")
        self.asked: list[str] = []

    def __call__(self, sql: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        if sql.startswith("EXPLAIN USING JSON "):
            if isinstance(self.plan, Exception):
                raise self.plan
            return [(self.plan,)]
        assert sql == "SELECT " + ", ".join(["SYSTEM$LAST_CHANGE_COMMIT_TIME(?)"] * len(values))
        missing = [value for value in values if value not in self.tokens]
        if missing:
            raise SourceError(f"Snowflake: {missing[0]!r} does not exist", where="sql/it.sql")
        return [tuple(self.tokens[value] for value in values)]


@pytest.fixture
def account() -> Account:
    return Account()


def data(**keys: Any) -> SnowflakeData:
    return SnowflakeData(**{"query": "it", "gate": "commit_time", **keys})


def gate(account: Account, memo: Memo | None = None, **keys: Any) -> Gate:
    asked = query(keys.pop("text")) if "text" in keys else query()
    session = keys.pop("session", SESSION)
    return ask_gate(account, asked, data(**keys), session, memo or {})


def test_a_first_look_is_open_and_notes_every_token(account: Account):
    found = gate(account)
    assert not found.is_shut
    assert "nothing was known" in found.reason
    assert found.memo["tokens"] == {"t": "7", "v": "8", "DB.S.T": "7", "DB.S.U": "9"}


def test_the_same_again_is_shut_with_two_questions(account: Account):
    memo = gate(account).memo
    account.asked.clear()
    again = gate(account, json.loads(json.dumps(memo)))
    assert again.is_shut
    assert again.reason == "no commit to 4 tables, the query did not run"
    assert again.memo == memo
    assert len(account.asked) == 2


@pytest.mark.parametrize("table", ["t", "v", "DB.S.U"])
def test_a_token_that_moved_opens_it_and_is_named(account: Account, table: str):
    memo = gate(account).memo
    account.tokens[table] = 10
    again = gate(account, memo)
    assert not again.is_shut
    assert again.reason == f"the query ran: written to {table}"
    assert gate(account, again.memo).is_shut


@pytest.mark.parametrize(
    "other",
    [
        {"text": "SELECT n + 1 FROM t JOIN v ON true"},
        {"text": "SELECT n FROM t JOIN v ON true -- edited"},
        {"key": ("n",)},
        {"role": "OTHER"},
        {"database": "OTHER"},
        {"row_limit": 5},
        {"tables": ("t", "v", "DB.S.T", "DB.S.U")},
        {"session": {**SESSION, "role": "OTHER"}},
        {"session": {**SESSION, "account": "b"}},
        {"session": {**SESSION, "schema": "OTHER"}},
        {"session": {**SESSION, "warehouse": "OTHER"}},
    ],
)
def test_whatever_decides_the_result_opens_it(account: Account, other: dict[str, Any]):
    again = gate(account, gate(account).memo, **other)
    assert not again.is_shut
    assert "not the same as before" in again.reason
    assert gate(account, again.memo, **other).is_shut


def test_a_plan_that_does_something_else_opens_it(account: Account):
    memo = gate(account).memo
    account.plan = plan_of("DB.S.T", "DB.S.U", operation="Filter", expressions=["X > 1"])
    assert not gate(account, memo).is_shut


@pytest.mark.parametrize(
    "memo",
    [
        {},
        {"v": 1},
        {"v": 1, "tokens": None},
        {"v": 1, "tokens": {"t": "7"}},
        {"v": 1, "tokens": ["t"]},
        {"odd": [1]},
    ],
)
def test_a_foreign_memo_opens_it(account: Account, memo: Memo):
    assert not gate(account, memo).is_shut


def test_a_memo_of_another_version_or_with_less_in_it_opens_it(account: Account):
    memo = gate(account).memo
    assert not gate(account, {**memo, "v": 2}).is_shut
    for lost in memo:
        assert not gate(account, {key: memo[key] for key in memo if key != lost}).is_shut


@pytest.mark.parametrize("token", [None, "7", 7.0, Decimal("7.5"), Decimal("NaN"), True, b"7"])
def test_what_is_no_token_opens_it_and_leaves_no_memo(account: Account, token: object):
    memo = gate(account).memo
    account.tokens["v"] = token
    found = gate(account, memo)
    assert (found.is_shut, found.memo) == (False, {})
    assert f"not gated: v has no commit time ({token!r})" in found.reason


def test_a_token_may_be_a_decimal(account: Account):
    memo = gate(account).memo
    account.tokens["t"] = Decimal(7)
    assert gate(account, memo).is_shut


def test_an_object_that_has_no_token_opens_it_with_the_servers_words(account: Account):
    del account.tokens["v"]
    found = gate(account)
    assert found.memo == {}
    assert found.reason == "not gated: Snowflake: 'v' does not exist. sql/it.sql"


@pytest.mark.parametrize("rows", [[], [()], [(1,)], [(1, 2, 3, 4, 5)]])
def test_an_answer_of_another_shape_opens_it(account: Account, rows: list[tuple[int, ...]]):
    def odd(sql: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        return account(sql, values) if sql.startswith("EXPLAIN") else rows

    found = ask_gate(odd, query(), data(), SESSION, {})
    assert (found.is_shut, found.memo) == (False, {})


def test_without_a_plan_the_names_in_the_query_are_asked_and_that_is_said(account: Account):
    account.plan = QueryError("Snowflake: EXPLAIN is not known", where="sql/it.sql")
    memo = gate(account).memo
    assert memo["tokens"] == {"t": "7", "v": "8"}
    again = gate(account, memo)
    assert again.is_shut
    assert "no plan (Snowflake: EXPLAIN is not known. sql/it.sql), so the names" in again.reason
    assert again.reason.endswith("and not what is behind views")


@pytest.mark.parametrize("text", ["no plan", "{}", '{"Operations": [[1]]}'])
def test_a_plan_of_another_shape_is_none(account: Account, text: str):
    account.plan = text
    assert "no plan" in gate(account).reason


def test_a_function_of_somebodys_own_may_read_anything_unless_tables_are_listed(account: Account):
    text = "SELECT theirs(n) FROM t"
    found = gate(account, text=text)
    assert (found.memo, found.reason) == ({}, "not gated: it calls theirs, which may read anything")
    assert gate(account, text=text, tables=("t",)).memo["tokens"] == {"t": "7"}


@pytest.mark.parametrize(
    "text, told",
    [
        ("SELECT n, CURRENT_TIMESTAMP() FROM t", "CURRENT_TIMESTAMP()"),
        ("SELECT n FROM t WHERE d > CURRENT_DATE", "CURRENT_DATE"),
        ("SELECT n FROM t ORDER BY RANDOM() LIMIT 3", "RANDOM()"),
        ("SELECT n FROM t SAMPLE (10)", "TABLESAMPLE"),
        ("SELECT n FROM t AT(OFFSET => -60)", "OFFSET"),
        ("SELECT 1 AS n", "reads no table"),
        ("SELECT n FROM @stage", "@stage"),
        ("SELECT n FROM TABLE(theirs(1))", "calls theirs"),
        ("SELEC 1", "Snowflake's SQL"),
    ],
)
def test_what_can_not_be_vouched_for_is_never_gated(account: Account, text: str, told: str):
    account.plan = plan_of() if "reads no" in told else account.plan
    found = gate(account, text=text)
    assert (found.is_shut, found.memo) == (False, {})
    assert found.reason.startswith("not gated: ")
    assert told in found.reason
    assert "\n" not in found.reason


def test_a_plan_that_hides_something_is_not_enough_unless_tables_are_listed(account: Account):
    account.plan = plan_of("DB.S.T", operation="DynamicSecureView", objects=["V (+ Policy)"])
    assert "DynamicSecureView" in gate(account).reason
    assert gate(account, tables=("t",)).memo["tokens"] == {"t": "7"}


def test_a_clock_behind_a_view_is_not_enough_even_then(account: Account):
    account.plan = plan_of("DB.S.T", operation="Filter", expressions=["D > CURRENT_DATE()"])
    for keys in ({}, {"tables": ("t",)}):
        assert "CURRENT_DATE" in gate(account, **keys).reason
        assert gate(account, **keys).memo == {}


def test_a_table_that_is_written_to_while_the_query_runs_leaves_no_memo(account: Account):
    before = gate(account)
    assert before.after(account) == before
    account.tokens["DB.S.U"] = 10
    after = before.after(account)
    assert after == replace(before, memo={}, reason=f"{before.reason}; written to while it ran")
    del account.tokens["t"]
    assert before.after(account).memo == {}


def test_what_was_not_gated_asks_nothing_afterwards(account: Account):
    account.tokens["v"] = None
    found = gate(account)
    account.asked.clear()
    assert found.after(account) == found
    assert account.asked == []


@pytest.mark.parametrize(
    "text, told",
    [
        ("SELECT RANDOM(), CURRENT_DATE FROM t", r'has RANDOM\(\).*sql/it\.sql.*gate = ""'),
        ("SELECT theirs(n) FROM t", "calls theirs.*`tables`"),
        ("SELECT n FROM @stage", "No name tells.*line 1, column 15"),
    ],
)
def test_what_can_be_known_without_an_account_is_an_error_with_a_way_out(text: str, told: str):
    with pytest.raises(QueryError, match=told):
        check_gateable(query(text), ())


def test_listed_tables_are_a_way_out_and_not_of_a_clock():
    check_gateable(query("SELECT n FROM t"), ())
    check_gateable(query("SELECT theirs(n) FROM @stage"), ("t",))
    with pytest.raises(QueryError, match="CURRENT_DATE"):
        check_gateable(query("SELECT CURRENT_DATE"), ("t",))


# As Snowflake's documentation of EXPLAIN shows it.
DOCUMENTED: dict[str, Any] = {
    "GlobalStats": {"partitionsTotal": 2, "partitionsAssigned": 2, "bytesAssigned": 1024},
    "Operations": [
        [
            {"id": 0, "operation": "Result", "expressions": ["Z1.ID", "Z2.ID"]},
            {
                "id": 1,
                "parentOperators": [0],
                "operation": "InnerJoin",
                "expressions": ["joinKey: (Z2.ID = Z1.ID)"],
            },
            {
                "id": 2,
                "parentOperators": [1],
                "operation": "TableScan",
                "objects": ["TESTDB.TEMPORARY_DOC_TEST.Z2"],
                "expressions": ["ID"],
                "partitionsAssigned": 1,
                "partitionsTotal": 1,
                "bytesAssigned": 512,
            },
            {"id": 3, "parentOperators": [1], "operation": "JoinFilter"},
            {
                "id": 4,
                "parentOperators": [3],
                "operation": "TableScan",
                "objects": ["TESTDB.TEMPORARY_DOC_TEST.Z1"],
                "expressions": ["ID"],
                "partitionsAssigned": 1,
                "partitionsTotal": 1,
                "bytesAssigned": 512,
            },
        ]
    ],
}


def plan(*operations: dict[str, Any]) -> str:
    return json.dumps({"GlobalStats": {}, "Operations": [list(operations)]})


def scan(*names: str, **more: object) -> dict[str, Any]:
    return {"operation": "TableScan", "objects": [*names], **more}


def test_the_documented_plan_tells_its_tables():
    found = read_plan(json.dumps(DOCUMENTED))
    assert found.tables == ("TESTDB.TEMPORARY_DOC_TEST.Z2", "TESTDB.TEMPORARY_DOC_TEST.Z1")
    assert (found.hidden, found.moving) == ("", "")


def test_every_step_counts_and_a_table_counts_once():
    text = json.dumps({"Operations": [[scan("A.B.C")], [scan("A.B.D"), scan("A.B.C")]]})
    assert read_plan(text).tables == ("A.B.C", "A.B.D")


def test_how_much_is_read_does_not_count_and_what_is_done_does():
    before = read_plan(plan(scan("A.B.C", expressions=["X"], bytesAssigned=1)))
    assert (
        before.digest == read_plan(plan(scan("A.B.C", expressions=["X"], bytesAssigned=2))).digest
    )
    assert before.digest != read_plan(plan(scan("A.B.C", expressions=["Y"]))).digest
    assert before.digest != read_plan(plan(scan("A.B.D", expressions=["X"]))).digest


@pytest.mark.parametrize("name", ['DB."My Schema"."a.b"', '"d""b".S.T', "DB.S.T$1", "_DB.S.T_2"])
def test_a_full_name_hides_nothing(name: str):
    assert read_plan(plan(scan(name))).hidden == ""


@pytest.mark.parametrize(
    "operation, told",
    [
        (
            {"operation": "DynamicSecureView", "objects": ['"EMP (+ RowAccessPolicy)"']},
            "behind Dyn",
        ),
        ({"operation": "ExternalScan"}, "behind ExternalScan"),
        ({"operation": "ExternalFunction"}, "behind ExternalFunction"),
        ({"operation": "InternalObject"}, "behind InternalObject"),
        ({"operation": "TableFunction"}, "behind TableFunction"),
        ({"operation": "New", "objects": ["A.B.C"]}, "behind New"),
        (scan("ARCHIVE OF A.B.C"), "'ARCHIVE OF A.B.C'"),
        (scan("C"), "'C'"),
        (scan("A.B.lower"), "'A.B.lower'"),
    ],
)
def test_what_a_plan_does_not_show_is_said(operation: dict[str, Any], told: str):
    assert told in read_plan(plan(scan("A.B.C"), operation)).hidden


def test_a_window_function_hides_nothing():
    assert read_plan(plan({"operation": "WindowFunction"}, scan("A.B.C"))).hidden == ""


@pytest.mark.parametrize(
    "expression",
    [
        "T.D > CURRENT_DATE()",
        "CURRENT_TIMESTAMP",
        "(RANDOM())",
        "sysdate()",
        "SEQ4()",
        "S.NEXTVAL",
        "'it''s' || RANDOM ()",
        "'\\' || RANDOM() || '.'",
        '"it\'s" || RANDOM() || "it\'s"',
    ],
)
def test_what_moves_by_itself_behind_a_view_is_said(expression: str):
    found = read_plan(plan({"operation": "Filter", "expressions": ["T.X = 1", expression]}))
    assert "changes by itself" in found.moving


@pytest.mark.parametrize(
    "expression",
    [
        "T.RANDOMNESS > 1",
        "MY_CURRENT_DATE",
        "T.STATUS = 'normal'",
        "T.STATUS = 'it''s random()'",
        "T.UNIFORM",
        'T."current_date"',
    ],
)
def test_a_column_or_a_text_with_a_like_name_does_not_move(expression: str):
    assert read_plan(plan({"operation": "Filter", "expressions": [expression]})).moving == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no plan",
        "[]",
        "{}",
        "1",
        '{"Operations": 1}',
        '{"Operations": [[1]]}',
        '{"Operations": [{}]}',
        '{"Operations": [[{}]]}',
        '{"Operations": [[{"operation": "X", "objects": 1}]]}',
    ],
)
def test_what_is_no_plan_is_an_error(text: str):
    with pytest.raises(ValueError, match="."):
        read_plan(text)
