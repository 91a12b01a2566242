#!/usr/bin/env bash
# duckdb 2.0.0, Python 3.11.
#
# Behaviour: `to_json` of a map with a list of unions as its key does not say which member of the union it is: two maps that DuckDB itself
# calls different have one JSON text. A union that is a value, or stands alone, keeps the name of its member.
#
# Expected: two texts, as for the same unions as values.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install duckdb==2.0.0
cat >see.py <<'PY'
import duckdb

KIND = "UNION(a VARCHAR, b INTEGER)"
A, B = f"union_value(a := '1')::{KIND}", f"union_value(b := 1)::{KIND}"
for form in ("MAP([[{}]], [1])", "MAP([1], [{}])", "{}"):
    one, two = form.format(A), form.format(B)
    print(*duckdb.sql(f"SELECT ({one}) = ({two}), to_json({one})::VARCHAR, to_json({two})::VARCHAR").fetchall()[0])
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='False {"[1]":1} {"[1]":1}
False {"1":{"a":"1"}} {"1":{"b":1}}
False {"a":"1"} {"b":1}'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
