"""A gated tick asks an emulated Snowflake for commit times, and nothing that needs a warehouse.

fakesnow has no SYSTEM$LAST_CHANGE_COMMIT_TIME: a macro stands in, and reads a table of tokens that
move when a test moves them. It has no plans either, so the names in the query are asked; plans are
tested by their documented shape in tests/unit.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.config import Project, Schedule, Sensor, SnowflakeData
from flowproject.errors import QueryError
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick
from flowproject.sources import open_source
from tests.snow import Snow

TOKEN = "SYSTEM$LAST_CHANGE_COMMIT_TIME"  # noqa: S105  # a function's name
STAND_IN = "SELECT any_value(token) FROM tokens WHERE name = upper(asked)"
QUERY = "SELECT id, n FROM stock WHERE n > 0"


class Account:
    """A database of its own, whose tables have tokens, and a sensor on it."""

    def __init__(self, root: Path, snow: Snow) -> None:
        self.root, self.snow = root, snow
        self.database = snow.database()
        self.keys: dict[str, Any] = {"key": ("id",), "gate": "commit_time"}
        (root / "sql").mkdir()
        self.write_query(QUERY)
        self.run("CREATE TABLE tokens (name VARCHAR, token NUMBER(38, 0))")
        self.duck(f'CREATE MACRO "{TOKEN}"(asked) AS ({STAND_IN})')
        self.run("CREATE TABLE stock (id INT, n INT)", "INSERT INTO stock VALUES (1, 5), (2, 0)")
        self.commit("STOCK", 1661920053987000000)

    def write_query(self, text: str) -> None:
        (self.root / "sql" / "it.sql").write_text(text)

    def run(self, *statements: str) -> None:
        self.snow.run(self.database, *statements)

    def commit(self, table: str, token: int | None) -> None:
        """Give a table another token, as a commit does."""
        self.duck("DELETE FROM tokens WHERE name = ?", table)
        self.duck("INSERT INTO tokens VALUES (?, ?)", table, token)

    def context(self) -> ProjectContext:
        data = SnowflakeData(query="it", database=self.database, schema="PUBLIC", **self.keys)
        sensor = Sensor(name="stock", data=data, event_name="stock_changed")
        project = Project(project_name="p", sensor=Schedule(), sensors={"stock": sensor})
        store = open_store(str(self.root / "store"))
        return ProjectContext(project=project, root=self.root, store=store, branch="user.me")

    def tick(self, *, force: bool = False) -> tuple[Tick, list[str]]:
        """A tick, and the statements that reached the server."""
        before = len(self.snow.asked)
        [seen] = sensing.observe(self.context(), force=force)
        return seen, [asked.sql for asked in self.snow.asked[before:]]

    def duck(self, statement: str, *values: object) -> None:
        """Run a statement behind the emulator, in its own engine."""
        from fakesnow.server import shared_fs

        with closing(shared_fs.duck_conn.cursor()) as connection:
            connection.execute(f"USE {self.database}.PUBLIC")
            connection.execute(statement, values)


@pytest.fixture
def account(tmp_path: Path, snow: Snow) -> Account:
    account = Account(tmp_path, snow)
    seen, asked = account.tick()
    assert seen.outcome == "baseline"
    assert "nothing was known of its tables yet" in seen.reason
    assert QUERY in asked
    return account


def is_real(sql: str) -> bool:
    """Whether a statement needs a warehouse: neither plans nor tokens do."""
    return TOKEN not in sql and not sql.startswith("EXPLAIN")


def ran(asked: list[str]) -> list[str]:
    return [sql for sql in asked if is_real(sql)]


def test_an_unchanged_tick_issues_no_query_that_needs_a_warehouse(account: Account):
    for _ in range(3):
        seen, asked = account.tick()
        assert seen.outcome == "unchanged"
        assert "no commit to 1 table, the query did not run" in seen.reason
        assert (seen.value, seen.total) == (1, 1)
        assert ran(asked) == []
        assert len([sql for sql in asked if TOKEN in sql]) == 1
        assert seen.cost["requests"] == len(asked)


def test_the_names_of_the_tables_are_bound_and_not_pasted(account: Account):
    before = len(account.snow.asked)
    account.tick()
    [asked] = [asked for asked in account.snow.asked[before:] if TOKEN in asked.sql]
    assert asked.sql == f"SELECT {TOKEN}(?)"
    assert [bound["value"] for bound in asked.bindings.values()] == ["stock"]


def test_a_moved_token_runs_the_query_and_finds_the_change(account: Account):
    account.run("UPDATE stock SET n = 7 WHERE id = 2")
    account.commit("STOCK", 1661920053987000001)
    seen, asked = account.tick()
    assert seen.outcome == "changed"
    assert seen.counts == {"added": 1, "modified": 0, "removed": 0}
    assert "the query ran: written to stock" in seen.reason
    assert ran(asked) == [QUERY]
    assert ran(account.tick()[1]) == []


def test_a_moved_token_with_the_same_result_is_gated_again_at_the_next_tick(account: Account):
    account.run("UPDATE stock SET n = -1 WHERE id = 2")
    account.commit("STOCK", 1661920053987000002)
    seen, asked = account.tick()
    assert (seen.outcome, ran(asked)) == ("unchanged", [QUERY])
    seen, asked = account.tick()
    assert (seen.outcome, ran(asked)) == ("unchanged", [])


def test_an_edited_query_is_never_gated_by_an_old_memo(account: Account):
    edited = QUERY.replace("n > 0", "n > 4")
    account.write_query(edited)
    seen, asked = account.tick()
    assert (seen.outcome, ran(asked)) == ("unchanged", [edited])
    assert "not the same as before" in seen.reason
    account.write_query(QUERY.replace("n > 0", "n > 9"))
    assert account.tick()[0].outcome == "changed"


@pytest.mark.parametrize("other", [{"key": ("n",)}, {"warehouse": "SMALL"}, {"row_limit": 5}])
def test_an_edited_sensor_is_never_gated_by_an_old_memo(account: Account, other: dict[str, Any]):
    account.keys |= other
    assert ran(account.tick()[1]) == [QUERY]


def test_a_forced_tick_runs_the_query(account: Account):
    seen, asked = account.tick(force=True)
    assert (seen.outcome, ran(asked)) == ("forced", [QUERY])


def test_a_tick_without_its_memo_runs_the_query(account: Account):
    account.commit("STOCK", 1661920053987000003)
    account.tick()
    store = account.context().store
    [memo] = [key for key in store.keys("flowproject") if key.endswith("source-memo.json")]
    store.put(memo, b"damaged")
    seen, asked = account.tick()
    assert (seen.outcome, ran(asked)) == ("unchanged", [QUERY])
    assert ran(account.tick()[1]) == []


def test_a_table_without_a_token_is_asked_and_the_reason_says_why(account: Account):
    account.commit("STOCK", None)
    for _ in range(2):
        seen, asked = account.tick()
        assert (seen.outcome, ran(asked)) == ("unchanged", [QUERY])
        assert "not gated: stock has no commit time (None)" in seen.reason


def test_a_gate_that_fails_is_open_and_the_reason_says_why(account: Account):
    account.duck(f'DROP MACRO "{TOKEN}"')
    seen, asked = account.tick()
    assert (seen.outcome, ran(asked)) == ("unchanged", [QUERY])
    assert "not gated: Snowflake: " in seen.reason


def test_tables_that_are_listed_by_hand_are_asked(account: Account):
    account.keys["tables"] = (f"{account.database}.PUBLIC.STOCK", "other")
    account.commit(f"{account.database}.PUBLIC.STOCK", 5)
    account.commit("OTHER", 6)
    account.tick()
    seen, asked = account.tick()
    assert ran(asked) == []
    assert "no commit to 2 tables" in seen.reason
    account.commit("OTHER", 7)
    seen, asked = account.tick()
    assert ran(asked) == [QUERY]
    assert "written to other" in seen.reason


def test_a_write_while_the_query_runs_is_seen_by_the_next_tick(
    account: Account, monkeypatch: pytest.MonkeyPatch
):
    """The tokens were read before the query, so what it saw may be newer, and never older."""
    account.commit("STOCK", 10)

    def write(_: object, sql: str) -> None:
        if sql == QUERY:
            account.commit("STOCK", 11)

    with monkeypatch.context() as patch:
        patch.setattr(account.snow, "_unwilling", write)  # asked before each statement runs
        seen, _ = account.tick()
    assert "written to while it ran" in seen.reason
    assert ran(account.tick()[1]) == [QUERY]
    assert ran(account.tick()[1]) == []


@pytest.mark.parametrize("clock", ["CURRENT_TIMESTAMP()", "RANDOM()"])
def test_a_query_that_moves_by_itself_runs_every_time_and_check_tells_of_it(
    account: Account, clock: str
):
    text = QUERY.replace("n FROM", f"n, {clock} AS it FROM")
    account.write_query(text)
    for _ in range(2):
        seen, asked = account.tick()
        assert (seen.outcome, asked) == ("changed", [text])
        assert f"not gated: it has {clock}, which changes by itself" in seen.reason
    source = open_source(account.context().project.sensors["stock"].data, account.root)
    with pytest.raises(QueryError, match="gate is of no use"):
        source.check()


def test_without_a_gate_every_tick_runs_the_query_and_nothing_else(account: Account):
    account.keys["gate"] = ""
    seen, asked = account.tick()
    assert (seen.outcome, asked) == ("unchanged", [QUERY])
    assert "gate" not in seen.reason
