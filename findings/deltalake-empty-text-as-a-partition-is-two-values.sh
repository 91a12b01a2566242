#!/usr/bin/env bash
# deltalake 1.6.6, pyarrow 26.0.1, Python 3.11.
#
# Behaviour: three rows, whose partition column holds an empty text, null and a letter, are appended to a table with a change
# feed, without a word. The empty text is null in an ordinary read and in `get_add_actions`; in `load_cdf` of the same
# commit it is an empty text. So who keeps a copy by the feed has another table than who reads it. Delta's protocol calls
# an empty partition value null: the surprise is that one library answers both.
#
# Expected: one answer, or a refusal to write what can't be read.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install deltalake==1.6.6 pyarrow==26.0.1
cat >see.py <<'PY'
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

write_deltalake(
    "table",
    pa.table({"p": ["", None, "a"], "x": [1, 2, 3]}),
    partition_by=["p"],
    configuration={"delta.enableChangeDataFeed": "true"},
)
table = DeltaTable("table")


def see(name: str, rows: pa.Table) -> None:
    print(f"{name}: {[tuple(row.values()) for row in sorted(rows.to_pylist(), key=lambda row: row['x'])]}")


see("read", table.to_pyarrow_table().select(["p", "x"]))
files = pa.table(table.get_add_actions(flatten=True))
see("files", files.select(["partition.p", "min.x"]).rename_columns(["p", "x"]))
see("feed", pa.table(table.load_cdf(starting_version=0)).select(["p", "x"]))
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='read: [(None, 1), (None, 2), ('\''a'\'', 3)]
files: [(None, 1), (None, 2), ('\''a'\'', 3)]
feed: [('\'''\'', 1), (None, 2), ('\''a'\'', 3)]'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
