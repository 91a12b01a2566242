#!/usr/bin/env bash
# deltalake 1.6.6, pyarrow 26.0.1, Python 3.11.
#
# Behaviour: the metrics of a DELETE or a MERGE, in `history()`, say how many files were added. Of a table with a change
# feed they say two, where the commit adds one file to the table and writes one of the feed; an UPDATE that does the
# same says one, and so do all three of a table without a feed. So who holds the number against the commit's `add`
# actions misses a file that never was one.
#
# Expected: the number of files added to the table, with and without a feed.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install deltalake==1.6.6 pyarrow==26.0.1
cat >see.py <<'PY'
import json
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

for feed in ("false", "true"):
    place = Path(f"feed-{feed}")
    write_deltalake(place, pa.table({"x": [1, 2, 3]}), configuration={"delta.enableChangeDataFeed": feed})
    for operation in ("delete", "update", "merge"):
        table = DeltaTable(place)
        if operation == "delete":
            table.delete("x = 1")
        elif operation == "update":
            table.update({"x": "x + 10"}, predicate="x = 2")
        else:
            merging = table.merge(pa.table({"x": [3]}), "s.x = t.x", source_alias="s", target_alias="t")
            said = merging.when_matched_update({"x": "s.x + 10"}).execute()
        log = place / "_delta_log" / f"{table.version():020}.json"
        kinds = [kind for line in log.read_text().splitlines() for kind in json.loads(line)]
        [metrics] = [one["operationMetrics"] for one in table.history(1)]
        name = "num_target_files_added" if operation == "merge" else "num_added_files"
        print(f"feed {feed}, {operation}: {kinds.count('add')} add, {kinds.count('cdc')} cdc, {name} {metrics[name]}")
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='feed false, delete: 1 add, 0 cdc, num_added_files 1
feed false, update: 1 add, 0 cdc, num_added_files 1
feed false, merge: 1 add, 0 cdc, num_target_files_added 1
feed true, delete: 1 add, 1 cdc, num_added_files 2
feed true, update: 1 add, 1 cdc, num_added_files 1
feed true, merge: 1 add, 1 cdc, num_target_files_added 2'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
