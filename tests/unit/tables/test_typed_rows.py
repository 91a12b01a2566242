"""Rows become columns of the types that an engine told; where none did, values decide."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from flowproject.changes.canonical import Json, canonical, parsed, unmarked_text
from flowproject.changes.difference import item
from flowproject.errors import FlowError
from flowproject.tables.typed_rows import edits_in_columns, rows_in_columns


def table(values: list[Json], word: str | None) -> Any:
    rows = [item(str(at), {"v": value}) for at, value in enumerate(values)]
    told: Mapping[str, str] = {} if word is None else {"v": word}
    return rows_in_columns(rows, told).read_all()


@pytest.mark.parametrize(
    "word, values, kind",
    [
        ("BIGINT", [1, None], pa.int64()),
        ("DECIMAL(10,2)", [1, 1.5, "0.10"], pa.decimal128(10, 2)),
        ("NUMBER", [1, 2], pa.int64()),
        ("NUMBER", [1, 2.25], pa.decimal128(38, 2)),
        ("NUMBER", [2**64], pa.decimal128(38, 0)),
        ("FLOAT", [0.5, "NaN"], pa.float32()),
        ("FLOAT", [0.1], pa.float64()),  # Snowflake's has 64 bits
        ("DOUBLE", [1, "Infinity", "-Infinity"], pa.float64()),
        ("VARCHAR", ["x", None], pa.string()),
        ("BINARY", ["AP8="], pa.binary()),
        ("VARIANT", [{"a": 1}, "x"], pa.string()),
        ("DATE", ["9999-12-31"], pa.date32()),
        ("TIME", ["01:02:03.000004"], pa.time64("us")),
        ("TIME", ["01:02:03.000000004"], pa.time64("ns")),
        ("TIMESTAMP_NTZ", ["9999-12-31T00:00:00"], pa.timestamp("us")),
        ("TIMESTAMP_NTZ", ["2024-01-01T00:00:00.123456789"], pa.timestamp("ns")),
        ("TIMESTAMP_TZ", ["9999-01-01T00:00:00+00:00"], pa.timestamp("us", "UTC")),
        ("TIMESTAMP_TZ", ["10000-01-01T00:00:00+00:00"], pa.timestamp("us", "UTC")),
        ("TIMESTAMP_LTZ", ["2024-01-01T00:00:00.123456789+00:00"], pa.timestamp("ns", "UTC")),
        ('STRUCT("a, (b" INTEGER[2], c MAP(VARCHAR, DATE))', [None], None),
        ("ENUM", ["a"], pa.string()),
        ("STRUCT(a INTEGER, b VARCHAR, … (12345678)", [{"a": 1}], pa.struct({"a": pa.int64()})),
        (None, [1, None], pa.int64()),
        (None, [1, 1.5], pa.float64()),
        (None, [True], pa.bool_()),
        (None, ["x"], pa.string()),
        (None, [1, "x"], pa.string()),
        (None, [2**70], pa.string()),
        (None, [None], pa.string()),
        (None, [[1], [2.5, None]], pa.list_(pa.float64())),
        (None, [{"a": 1}, {"b": ["x"]}], pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())})),
        (None, [[]], pa.string()),
    ],
)
def test_a_column_has_the_type_that_was_told_or_one_that_holds_its_values(
    word: str | None, values: list[Json], kind: Any
):
    column = table(values, word)["v"]
    assert kind is None or column.type == kind
    assert len(column) == len(values)
    assert column.null_count == values.count(None)


def test_names_and_sizes_of_nested_types_are_read_as_they_are_written():
    column = table([None], 'STRUCT("a, (""b" INTEGER[2], c MAP(VARCHAR, DECIMAL(4,1)[]))')["v"]
    inner = pa.struct(
        {
            'a, ("b': pa.list_(pa.int32(), 2),
            "c": pa.map_(pa.string(), pa.list_(pa.decimal128(4, 1))),
        }
    )
    assert column.type == inner


def test_rows_that_lack_a_column_have_none_there():
    rows = [item("1", {"id": 1}), item("2", {"id": 2, "w": "x"})]
    assert rows_in_columns(rows, {"id": "INTEGER", "w": "VARCHAR"}).read_all().to_pylist() == [
        {"id": 1, "w": None},
        {"id": 2, "w": "x"},
    ]


def test_a_modified_row_has_each_column_before_and_after():
    edits = [(item("1", {"id": 1, "n": 1}), item("1", {"id": 1, "n": "one"}))]
    found = edits_in_columns(
        edits, {"id": "INTEGER", "n": "BIGINT"}, {"id": "INTEGER", "n": "VARCHAR"}
    )
    assert found.schema.names == ["old_id", "old_n", "new_id", "new_n"]
    assert found.read_all().to_pylist() == [{"old_id": 1, "old_n": 1, "new_id": 1, "new_n": "one"}]


def test_what_arrow_can_t_hold_names_the_column_and_not_the_value():
    with pytest.raises(FlowError, match=r"column 'v' is none of type timestamp\[us\]") as error:
        table(["2300-01-01T00:00:00.123456789"], "TIMESTAMP_NTZ")
    assert "2300" not in str(error.value)
    with pytest.raises(FlowError, match="column 'v' is none of type int32"):
        table(["secret"], "INTEGER")


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', "1E+400", '{"$number":"1"}', '{"$$object":[]}', "[1,{}]", '"x"']
)
def test_json_is_what_it_was(text: str):
    assert parsed(unmarked_text(parsed(text))) == parsed(text)
    assert table([parsed(text)], "JSON")["v"].to_pylist() == [unmarked_text(parsed(text))]


def test_decimals_keep_every_digit():
    number = Decimal("1234567890123456789012345678.0123456789")
    assert table([canonical(number)], "DECIMAL(38,10)")["v"].to_pylist() == [number]
