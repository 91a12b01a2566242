#!/usr/bin/env bash
# metaflow 2.19.39, Python 3.11.
#
# Behaviour: what Metaflow prints of a failed step goes through a markup in which *...* is bold. So stars in the message
# of an exception vanish: a secret that a program masked as `***` reads as if nothing stood there, and `2 * 3 * 4` loses
# its signs.
#
# Expected: a message is shown as it is.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install metaflow==2.19.39
cat >starflow.py <<'PY'
from metaflow import FlowSpec, step
from metaflow.exception import MetaflowException


class StarFlow(FlowSpec):
    @step
    def start(self):
        raise MetaflowException("no answer from https://***@host, tried 2 * 3 * 4 times")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StarFlow()
PY
export METAFLOW_USER=you METAFLOW_HOME="$folder" METAFLOW_DATASTORE_SYSROOT_LOCAL="$folder/store"
seen=$(venv/bin/python starflow.py --no-pylint run 2>&1 | grep -o 'no answer from .*' | sort -u || true)
echo "$seen"
wanted='no answer from https://@host, tried 2  3  4 times'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
