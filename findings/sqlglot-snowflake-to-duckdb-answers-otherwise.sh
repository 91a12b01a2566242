#!/usr/bin/env bash
# sqlglot 30.22.0 (Snowflake's SQL written as DuckDB's), duckdb 2.0.0, Python 3.11.
#
# Behaviour: with `unsupported_level=ErrorLevel.RAISE`, which refuses what has no translation (SHA2 of 512 bits), these are
# translated without a word, and answer otherwise than Snowflake's documentation says:
# - LISTAGG without a separator puts commas between the texts (Snowflake: nothing);
# - a text taken out of a VARIANT and cast to STRING keeps its JSON quotes, so that `= 'open'` finds nothing;
# - DATEADD of days to a DATE gives a timestamp (Snowflake: a date);
# - TO_TIMESTAMP of 13 digits takes seconds (Snowflake: milliseconds, by the number of digits);
# - OBJECT_CONSTRUCT keeps a key whose value is NULL (Snowflake: leaves it out).
#
# Expected: the same value, or a refusal.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install sqlglot==30.22.0 duckdb==2.0.0
cat >see.py <<'PY'
import duckdb
import sqlglot
from sqlglot import ErrorLevel

duckdb.execute("CREATE TABLE t AS SELECT 'b' AS s, DATE '2026-11-30' AS d UNION ALL SELECT 'b', DATE '2026-11-30'")
for query in (
    "SELECT LISTAGG(s) FROM t",
    """SELECT PARSE_JSON('{"status": "open"}'):status::STRING""",
    "SELECT TO_CHAR(DATEADD(day, 1, DATE '2026-11-30'))",
    "SELECT TO_TIMESTAMP('1764499400000')",
    "SELECT OBJECT_CONSTRUCT('a', 1, 'b', NULL)",
    "SELECT LENGTH(SHA2('a', 512))",
):
    try:
        [translated] = sqlglot.transpile(query, read="snowflake", write="duckdb", unsupported_level=ErrorLevel.RAISE)
    except sqlglot.UnsupportedError:
        print(f"{query} -> refused")
        continue
    print(f"{query} -> {duckdb.execute(translated).fetchall()[0][0]}")
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='SELECT LISTAGG(s) FROM t -> b,b
SELECT PARSE_JSON('\''{"status": "open"}'\''):status::STRING -> "open"
SELECT TO_CHAR(DATEADD(day, 1, DATE '\''2026-11-30'\'')) -> 2026-12-01 00:00:00
SELECT TO_TIMESTAMP('\''1764499400000'\'') -> 57884-10-04 18:13:20
SELECT OBJECT_CONSTRUCT('\''a'\'', 1, '\''b'\'', NULL) -> {'\''a'\'': 1, '\''b'\'': None}
SELECT LENGTH(SHA2('\''a'\'', 512)) -> refused'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
