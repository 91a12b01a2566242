"""A look at Snowflake that fails changes nothing: not the journal, not the other sensors."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor, SnowflakeData
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick
from tests.proxy import DROP, HANG, Answer, Asked, Plan, Proxy, proxied
from tests.snow import Snow
from tests.snow_project import wait_until

QUERY: Final = "SELECT id, content FROM it"


class Bus(Protocol):
    events: list[dict[str, Any]]
    payloads: list[dict[str, Any]]


@pytest.fixture
def proxy(snow: Snow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxied(snow.url) as proxy:
        monkeypatch.setenv("SNOWFLAKE_PORT", proxy.endpoint_url.rpartition(":")[2])
        yield proxy


@pytest.fixture
def database(snow: Snow) -> str:
    name = snow.database()
    snow.run(name, "CREATE TABLE it (id INT, content VARCHAR)", "INSERT INTO it VALUES (1, 'a')")
    return name


@pytest.fixture
def context(tmp_path: Path, proxy: Proxy, database: str) -> ProjectContext:
    """Two sensors: one on a table, one on a folder."""
    assert proxy
    for folder in ("data", "sql"):
        (tmp_path / folder).mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    (tmp_path / "sql" / "watched.sql").write_text(QUERY)
    table = SnowflakeData(
        query="watched", key=("id",), database=database, schema="PUBLIC", timeout=2.0
    )
    sensors = {
        "table": Sensor(name="table", data=table, event_name="table_changed"),
        "files": Sensor(name="files", data=FilesData(path="data"), event_name="files_changed"),
    }
    return ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors=sensors),
        root=tmp_path,
        store=open_store(str(tmp_path / "store")),
        branch="user.tester",
        run="SensorFlow/1",
    )


def tick(context: ProjectContext) -> dict[str, Tick]:
    return {seen.sensor: seen for seen in sensing.publish(context, sensing.observe(context))}


def journal(context: ProjectContext) -> dict[str, bytes | None]:
    location = context.journal("table").location
    return {key: context.store.get(key) for key in context.store.keys(location)}


def failed(code: str, message: str) -> Answer:
    """What Snowflake's server answers when it does not do what it was asked."""
    body = {"data": {"queryId": "01b2"}, "code": code, "message": message, "success": False}
    return Answer(
        status=200, headers={"Content-Type": "application/json"}, body=json.dumps(body).encode()
    )


def on(part: str, trouble: Callable[[Answer], Answer]) -> Plan:
    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        return trouble(forward()) if part in asked.target else forward()

    return plan


SUSPENDED = failed("000606", "No active warehouse selected in the current session.")
INVALID = failed(
    "000904", "SQL compilation error: error line 1 at position 7\ninvalid identifier 'ID'"
)
FAILURES: Final[dict[str, tuple[Plan, str]]] = {
    "login refused": (on("login", lambda _: failed("390100", "Incorrect username.")), "Incorrect"),
    "no such account": (on("login", lambda _: Answer(status=403)), "myorg-myaccount"),
    "token expired": (
        on("login", lambda _: failed("390318", "OAuth access token expired.")),
        "new",
    ),
    "warehouse suspended": (on("query", lambda _: SUSPENDED), "AUTO_RESUME"),
    "column gone": (on("query", lambda _: INVALID), "sql/watched.sql, line 1, column 8"),
    "answer cut": (on("query", lambda answer: answer.cut_at(0.5)), "was lost|Invalid Snowflake"),
    "answer dropped": (on("query", lambda _: DROP), "longer than 2 s"),
    "no answer": (on("query", lambda _: HANG), "longer than 2 s"),
    "no JSON": (on("query", lambda answer: answer.with_body(b"<html>")), "longer than 2 s|Invalid"),
}


@pytest.mark.parametrize("why", FAILURES)
def test_a_look_that_fails_leaves_the_journal_and_the_others_alone(
    context: ProjectContext, proxy: Proxy, bus: Bus, snow: Snow, database: str, why: str
) -> None:
    plan, said = FAILURES[why]
    tick(context)
    before = journal(context)
    snow.run(database, "INSERT INTO it VALUES (2, 'b')")
    (context.root / "data" / "b.csv").write_text("2")
    proxy.plan = plan
    seen = tick(context)
    assert seen["table"].outcome == "failed"
    assert re.search(said, seen["table"].reason)
    assert "Traceback" not in seen["table"].reason
    assert seen["files"].outcome == "changed"
    assert journal(context) == before
    assert [event["name"].rpartition(".")[2] for event in bus.events] == ["files_changed"]
    proxy.plan = lambda _, forward: forward()
    after = tick(context)["table"]
    assert (after.outcome, after.counts) == ("changed", {"added": 1, "modified": 0, "removed": 0})


def test_a_table_that_is_dropped_between_two_ticks_is_a_failure_and_no_change(
    context: ProjectContext, bus: Bus, snow: Snow, database: str
) -> None:
    tick(context)
    before = journal(context)
    snow.run(database, "DROP TABLE it")
    seen = tick(context)["table"]
    assert seen.outcome == "failed"
    assert "GRANT SELECT" in seen.reason
    assert journal(context) == before
    snow.run(
        database, "CREATE TABLE it (id INT, content VARCHAR)", "INSERT INTO it VALUES (1, 'a')"
    )
    assert tick(context)["table"].outcome == "unchanged"
    assert not bus.events


def test_a_sensor_s_own_time_limit_ends_its_query_on_the_server(
    context: ProjectContext, bus: Bus, snow: Snow
) -> None:
    never = "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 1000000000000)) WHERE SEQ8() % 7 = 3"
    (context.root / "sql" / "watched.sql").write_text(never)
    sensors = dict(context.project.sensors)
    sensors["table"] = replace(sensors["table"], timeout=2.0)
    before = len(snow.cancelled)
    ticks = tick(replace(context, project=replace(context.project, sensors=sensors)))
    assert "no answer within 2 s" in ticks["table"].reason
    assert ticks["files"].outcome == "baseline"
    wait_until(lambda: len(snow.cancelled) > before)
    assert not bus.events


def test_changes_are_exactly_where_the_data_changed(
    context: ProjectContext, bus: Bus, snow: Snow, database: str
) -> None:
    assert tick(context)["table"].outcome == "baseline"
    steps: list[tuple[str, str, dict[str, int]]] = [
        ("SELECT 1", "unchanged", {}),
        ("INSERT INTO it VALUES (3, 'c'), (2, 'b')", "changed", {"added": 2}),
        ("CREATE OR REPLACE TABLE it AS SELECT * FROM it ORDER BY id DESC", "unchanged", {}),
        ("UPDATE it SET content = 'B' WHERE id = 2", "changed", {"modified": 1}),
        ("UPDATE it SET content = content", "unchanged", {}),
        ("DELETE FROM it WHERE id = 1", "changed", {"removed": 1}),
    ]
    for statement, outcome, counts in steps:
        snow.run(database, statement)
        seen = tick(context)["table"]
        assert (seen.outcome, {kind: n for kind, n in seen.counts.items() if n}) == (
            outcome,
            counts,
        ), statement
        assert len(str(seen.cost["query_id"])) == 36
    assert [payload["change"]["counts"] for payload in bus.payloads] == [
        {"added": 2, "modified": 0, "removed": 0},
        {"added": 0, "modified": 1, "removed": 0},
        {"added": 0, "modified": 0, "removed": 1},
    ]
    entry = context.journal("table").head().entry
    assert entry is not None
    assert entry.cost["rows"] == 2
    assert entry.cost["query_id"]
