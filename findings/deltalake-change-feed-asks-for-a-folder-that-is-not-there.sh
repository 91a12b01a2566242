#!/usr/bin/env bash
# deltalake 1.6.6, pyarrow 26.0.1, Python 3.11.
#
# Behaviour: rows are appended to a table with a change feed, in a partition whose value has a space, slash, colon, percent
# sign or accent. The folder has the value percent-encoded, and the log, whose paths are percent-encoded by Delta's
# protocol, has that encoded once more. An ordinary read finds the file. `load_cdf` of the same commit looks in a folder
# of the name that the log has, and raises "not found". A partition of plain letters is read by both.
#
# Expected: the rows, as inserts.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install deltalake==1.6.6 pyarrow==26.0.1
cat >see.py <<'PY'
import json
import re
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

for number, value in enumerate(("plain", "a b", "a/b", "a:b", "50%", "é")):
    place = Path(f"table{number}")
    write_deltalake(
        place,
        pa.table({"p": [value], "x": [1]}),
        partition_by=["p"],
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    [folder] = place.glob("p=*")
    lines = map(json.loads, (place / "_delta_log" / f"{0:020}.json").read_text().splitlines())
    [path] = [line["add"]["path"] for line in lines if "add" in line]
    table = DeltaTable(place)
    [row] = table.to_pyarrow_table().to_pylist()
    assert row == {"p": value, "x": 1}, row
    try:
        feed = pa.table(table.load_cdf(starting_version=0)).select(["p", "x", "_change_type"])
        said = str(feed.to_pylist())
    except pa.ArrowInvalid as error:
        [wrong, *_] = re.findall("file (p=.*?)/part-", str(error))
        said = f"{wrong} not found" if " not found" in str(error) else str(error)
    print(f"{value}: is in {folder.name}, {path.partition('/')[0]} in the log; read; feed: {said}")
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='plain: is in p=plain, p=plain in the log; read; feed: [{'\''p'\'': '\''plain'\'', '\''x'\'': 1, '\''_change_type'\'': '\''insert'\''}]
a b: is in p=a%20b, p=a%2520b in the log; read; feed: p=a%2520b not found
a/b: is in p=a%2Fb, p=a%252Fb in the log; read; feed: p=a%252Fb not found
a:b: is in p=a%3Ab, p=a%253Ab in the log; read; feed: p=a%253Ab not found
50%: is in p=50%25, p=50%2525 in the log; read; feed: p=50%2525 not found
é: is in p=%C3%A9, p=%25C3%25A9 in the log; read; feed: p=%25C3%25A9 not found'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
