"""Results of queries as tables, and as frames for those who have pandas."""

import sys

import pyarrow as pa
import pytest

from flowproject.errors import SourceError
from flowproject.tables.arrow import empty, frame, joined, table


def test_tables_with_narrower_and_wider_columns_are_one():
    small, large = pa.table({"n": pa.array([1], pa.int8())}), pa.table({"n": [2**40]})
    whole = joined([small, large])
    assert (whole.column("n").to_pylist(), str(whole.schema.field("n").type)) == (
        [1, 2**40],
        "int64",
    )


def test_batches_are_one_table_even_if_there_are_none():
    schema = pa.schema([("n", pa.int8())])
    assert table([], schema).num_rows == 0
    assert table(pa.table({"n": [1, 2]}).to_batches(1), None).num_rows == 2


def test_a_table_without_rows_has_the_columns_that_it_is_told():
    made = empty({"d": ("decimal128", 10, 2), "t": ("timestamp", "ns", "UTC"), "b": ("bool_",)})
    assert made.num_rows == 0
    assert [str(kind) for kind in made.schema.types] == [
        "decimal128(10, 2)",
        "timestamp[ns, tz=UTC]",
        "bool",
    ]


@pytest.mark.seconds(20)  # the first frame imports pandas
def test_a_frame_has_the_columns_of_the_table():
    assert frame(pa.table({"n": [1, 2]})).to_dict("list") == {"n": [1, 2]}


@pytest.mark.seconds(20)
def test_without_pandas_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SourceError, match=r"needs pandas.*query_arrow.*pip install pandas"):
        frame(pa.table({"n": [1]}))
