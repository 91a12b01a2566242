"""Snowflake's values through its own connector, against an emulator: the same as on DuckDB."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pyarrow as pa
import pytest

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.columns import columns_change
from flowproject.changes.decision import compare
from flowproject.cli import main
from flowproject.config.data import DuckDBData
from flowproject.errors import QueryError, SourceError
from flowproject.sources import open_source
from tests.proxy import Answer, proxied
from tests.snow import Snow
from tests.snow_project import CONNECTOR, Project, on_queries, through

COLUMN = {"nullable": True, "length": None, "byteLength": None, "precision": 38}


@pytest.mark.parametrize(
    "expression, value",
    [
        ("NULL", None),
        ("TRUE", True),
        ("7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("1.10::NUMBER(4, 2)", 1.1),
        ("1.00::NUMBER(4, 2)", 1),
        ("0.1::FLOAT", 0.1),
        ("'é'", "é"),
        ("'2024-02-29'::DATE", "2024-02-29"),
        ("'01:02:03.000004'::TIME", "01:02:03.000004"),
        ("'2024-01-01 12:00:00.5'::TIMESTAMP_NTZ", "2024-01-01T12:00:00.500000"),
        ("'9999-12-31 00:00:00'::TIMESTAMP_NTZ", "9999-12-31T00:00:00"),
        ("'2024-01-01 12:00:00'::TIMESTAMP_LTZ", "2024-01-01T12:00:00+00:00"),
        ("'2024-01-01 12:00:00 +0200'::TIMESTAMP_TZ", "2024-01-01T10:00:00+00:00"),
        ("TO_BINARY('00FF', 'HEX')", "AP8="),
        ("""PARSE_JSON('{"b": 1.10, "a": [1, null]}')""", {"a": [1, None], "b": 1.1}),
        ("OBJECT_CONSTRUCT('b', 1, 'a', 'x')", {"a": "x", "b": 1}),
    ],
)
def test_values_through_the_connector(project: Project, expression: str, value: Json):
    assert dumps(project.look(f"SELECT {expression} AS v").value) == dumps(value)


def test_the_same_file_gives_the_same_rows_as_on_duckdb(project: Project):
    text = """
        SELECT n AS id, n / 4 AS share, n > 1 AS more, 'é' || n AS name,
               DATEADD('day', n, '2024-01-01'::DATE)::DATE AS day,
               DATEADD('hour', n, '2024-01-01 00:30:00'::TIMESTAMP) AS moment,
               CASE WHEN n = 2 THEN NULL ELSE n END AS gap
        FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)
    """
    seen = project.look(text, key=("id",))
    duckdb = DuckDBData(query="it", key=("id",), dialect="snowflake")
    expected = open_source(duckdb, project.root).observe()
    assert {key: item.data for key, item in (seen.items or {}).items()} == {  # type: ignore[attr-defined]
        key: item.data
        for key, item in (expected.items or {}).items()  # type: ignore[attr-defined]
    }
    assert seen.fingerprint == expected.fingerprint


def test_a_result_has_columns_with_types(project: Project):
    seen = project.look(
        "SELECT 1 AS id, 1.5::NUMBER(4, 2) AS share, 'x' AS name, '2024-01-01'::DATE AS \"Day\", "
        "PARSE_JSON('{}') AS more, '2024-01-01'::TIMESTAMP_NTZ AS at"
    )
    assert seen.columns == {
        "id": "NUMBER",
        "share": "NUMBER",
        "name": "VARCHAR",
        "Day": "DATE",
        "more": "VARIANT",
        "at": "TIMESTAMP_NTZ",
    }


def test_a_table_that_gets_a_column_modifies_no_row(project: Project):
    project.run("CREATE TABLE grown AS SELECT 1 AS id, 'x' AS name")
    before = project.look("SELECT * FROM grown", key=("id",))
    project.run("ALTER TABLE grown ADD COLUMN more NUMBER")
    after = project.look("SELECT * FROM grown", key=("id",))
    change = columns_change(before.columns, after.columns)
    assert str(change) == "columns changed: more NUMBER added"
    assert compare(before.items, after).counts["modified"] == 1
    assert compare(before.items, after, change).counts["modified"] == 0


def test_an_observation_says_what_ran_and_what_it_cost(project: Project):
    seen = project.look("SELECT 1 AS n", key=("N",))
    assert seen.query == "SELECT 1 AS n"
    assert (seen.cost.rows, seen.cost.requests) == (1, 1)
    assert seen.cost.seconds > 0
    assert len(str(seen.cost.to_json()["query_id"])) == 36


def test_what_is_no_select_is_watched_all_the_same(project: Project):
    project.run("CREATE TABLE watched (id INT)")
    seen = project.look("SHOW TABLES", key=("name",))
    assert list(seen.items or {}) == ["WATCHED"]  # type: ignore[call-overload]


def test_an_answer_without_arrow_is_read_as_well(project: Project, snow: Snow):
    """Snowflake answers SHOW in JSON; the emulator does not."""
    kinds = {"created_on": "timestamp_ltz", "name": "text", "rows": "fixed", "options": "variant"}
    data = {
        "rowtype": [
            {"name": name, "type": kind, **COLUMN, "scale": 9 if "time" in kind else 0}
            for name, kind in kinds.items()
        ],
        "rowset": [["1704067200.500000000", "IT", "3", '{"b": 1.10}'], [None] * 4],
        "total": 2,
        "returned": 2,
        "queryResultFormat": "json",
        "queryId": "01b2",
        "parameters": [{"name": "TIMEZONE", "value": "America/New_York"}],
    }
    body = json.dumps({"data": data, "success": True}).encode()
    headers = {"Content-Type": "application/json"}
    with proxied(snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(lambda _: Answer(status=200, headers=headers, body=body))
        assert project.ask("SHOW TABLES") == [
            {
                "created_on": "2024-01-01T00:00:00.500000+00:00",
                "name": "IT",
                "rows": 3,
                "options": {"b": 1.1},
            },
            dict.fromkeys(kinds),
        ]
        if CONNECTOR == 4:  # 5 makes Arrow of it
            with pytest.raises(QueryError, match=r"as rows, and not as a table.*`query`"):
                project.source().query_arrow("it", {})


@pytest.mark.parametrize("form", ["arrow", "json"])
@pytest.mark.parametrize(
    "word, arrow, in_arrow, in_json, value",
    [
        ("time", "int64", [1, 2], ["0.000000001", "0.000000002"], "00:00:00.00000000%d"),
        (
            "timestamp_ntz",
            "moment",
            [{"epoch": 253402214400, "fraction": digit} for digit in (1, 2)],
            ["253402214400.000000001", "253402214400.000000002"],
            "9999-12-31T00:00:00.00000000%d",
        ),
        (
            "timestamp_tz",
            "zoned",
            [{"epoch": -1, "fraction": digit, "timezone": 1500} for digit in (1, 2)],
            ["-0.999999999 1500", "-0.999999998 1500"],
            "1969-12-31T23:59:59.00000000%d+00:00",
        ),
        ("interval_day_time", "int64", [1, 2], ["1", "2"], "PT0.00000000%dS"),
    ],
)
def test_no_digit_is_lost_in_whatever_format_a_result_comes(
    project: Project,
    snow: Snow,
    form: str,
    word: str,
    arrow: str,
    in_arrow: list[Any],
    in_json: list[str],
    value: str,
):
    """The connector's own conversion gives one value of two that differ in a nanosecond."""
    column = {"name": "AT", "type": word, **COLUMN, "scale": 9}
    sent = answer_in(form, column, ARROW[arrow], in_arrow, in_json)
    with proxied(snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(lambda _: sent)
        assert project.ask("SELECT at FROM t") == [{"at": value % digit} for digit in (1, 2)]


ARROW = {
    "int64": pa.int64(),
    "moment": pa.struct([("epoch", pa.int64()), ("fraction", pa.int32())]),
    "zoned": pa.struct([("epoch", pa.int64()), ("fraction", pa.int32()), ("timezone", pa.int32())]),
}


def answer_in(
    form: str, column: dict[str, Any], arrow: pa.DataType, in_arrow: list[Any], in_json: list[str]
) -> Answer:
    """The answer to a query, of one column, as the real server gives it."""
    data = {
        "rowtype": [column],
        "total": len(in_json),
        "returned": len(in_json),
        "queryResultFormat": form,
        "queryId": "01b2",
        "parameters": [{"name": "TIMEZONE", "value": "UTC"}],
    }
    if form == "json":
        data["rowset"] = [[text] for text in in_json]
    else:
        about = {"logicalType": column["type"].upper(), "scale": str(column["scale"])}
        schema = pa.schema([pa.field(column["name"], arrow, metadata=about)])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(pa.Table.from_arrays([pa.array(in_arrow, arrow)], schema=schema))
        data["rowsetBase64"] = b64encode(sink.getvalue()).decode()
    body = json.dumps({"data": data, "success": True}).encode()
    return Answer(status=200, headers={"Content-Type": "application/json"}, body=body)


def test_a_connector_of_which_nobody_knows_what_was_sent_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    from snowflake.connector import result_batch

    if CONNECTOR == 4:
        monkeypatch.delattr(result_batch.ResultBatch, "populate_data", raising=False)
        monkeypatch.delattr(result_batch.ArrowResultBatch, "populate_data")
        project.snow.chunk_rows = 1
    else:
        monkeypatch.delattr(result_batch.ResultBatch, "_take_arrow_stream_ptr")
    try:
        with pytest.raises(
            SourceError, match=r"Version \d.*connector.*not known here.*pip install"
        ):
            project.look("SELECT 1 AS n UNION ALL SELECT 2")
    finally:
        project.snow.chunk_rows = 0


def test_preview_and_check_show_what_the_server_knows_the_query_by(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(project.root)
    (project.root / ".metaflow").mkdir()
    (project.root / "flowproject.toml").write_text(
        f"""
project_name = "demo"
[data]
type = "snowflake"
query = "it"
database = "{project.database}"
"""
    )
    project.write("SELECT 7 AS n")
    assert main(["preview"]) == 0
    header, row = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert header[-1] == "query id"
    assert len(row[-1]) == 36
    assert main(["check", "--connect"]) == 0
    assert "snowflake: answered in" in capsys.readouterr().out


def test_the_answer_of_a_binary_is_bytes(project: Project):
    assert b64decode(str(project.look("SELECT TO_BINARY('00FF', 'HEX') AS b").value)) == b"\x00\xff"
