"""A plan of the documented shape tells its tables, and what it does not show is not guessed."""

import json
from typing import Any

import pytest

from flowproject.sources.snowflake.gate import read_plan

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
