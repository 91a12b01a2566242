#!/usr/bin/env bash
# snowflake-connector-python 4.8.1, pyarrow 26.0.1, Python 3.11.
#
# Behaviour: pieces of a result as the server describes them (Arrow, with the metadata that the connector reads), made a table
# by `create_iter(iter_unit=TABLE_UNIT, structure="arrow")`, as `fetch_arrow_batches()` does:
# - two values of TIME(9) that differ in nanoseconds are the same;
# - two values of TIMESTAMP_NTZ(9) that differ in nanoseconds are two, and the same once `9999-12-31` is a third;
# - a TIMESTAMP_NTZ(7) of `9999-12-31`, in the 64 bits in which the server sends it, is another one, in 1816;
# - a DECFLOAT is an Exception.
# `fetchone()` and its like have microseconds at most, which Python's types are to blame for.
#
# Expected: what was sent, or an error.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install snowflake-connector-python==4.8.1 pyarrow==26.0.1
cat >see.py <<'PY'
import logging
from base64 import b64encode

import pyarrow as pa
from snowflake.connector.arrow_context import ArrowConverterContext
from snowflake.connector.constants import IterUnit
from snowflake.connector.result_batch import ArrowResultBatch

logging.disable()
parts = pa.struct([("epoch", pa.int64()), ("fraction", pa.int32())])
floating = pa.struct([("exponent", pa.int16()), ("significand", pa.binary())])
day = 253402214400  # 9999-12-31


def see(word: str, scale: int, kind: pa.DataType, *values: object) -> None:
    about = {"logicalType": word, "scale": str(scale), "precision": "38"}
    schema = pa.schema([pa.field("C", kind, metadata=about)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_arrays([pa.array(values, kind)], schema=schema))
    batch = ArrowResultBatch.from_data(
        b64encode(sink.getvalue()).decode(),
        len(values),
        ArrowConverterContext({"TIMEZONE": "UTC"}),
        use_dict_result=False,
        numpy=False,
        schema=[],
        number_to_decimal=True,
    )
    try:
        [table] = batch.create_iter(iter_unit=IterUnit.TABLE_UNIT, structure="arrow")
    except Exception as error:
        print(f"{word}({scale}): {type(error).__name__}")
        return
    print(f"{word}({scale}): {', '.join(table.column(0).cast('string').to_pylist())}")


see("TIME", 9, pa.int64(), 1, 2)
near = [{"epoch": 0, "fraction": 1}, {"epoch": 0, "fraction": 2}]
see("TIMESTAMP_NTZ", 9, parts, *near)
see("TIMESTAMP_NTZ", 9, parts, *near, {"epoch": day, "fraction": 0})
see("TIMESTAMP_NTZ", 7, pa.int64(), day * 10**7)
see("DECFLOAT", 0, floating, {"exponent": -1, "significand": b"\x0f"})
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='TIME(9): 00:00:00.000000, 00:00:00.000000
TIMESTAMP_NTZ(9): 1970-01-01 00:00:00.000000001, 1970-01-01 00:00:00.000000002
TIMESTAMP_NTZ(9): 1970-01-01 00:00:00.000000, 1970-01-01 00:00:00.000000, 9999-12-31 00:00:00.000000
TIMESTAMP_NTZ(7): 1816-03-29 05:56:08.066277376
DECFLOAT(0): Exception'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
