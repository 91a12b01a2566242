#!/usr/bin/env bash
# metaflow 2.19.39 with kubernetes 36.0.3, Python 3.11; the datastore is moto 5.2.2's S3.
#
# Behaviour: a flow with `@exit_hook`, of a person who uses no PagerDuty, compiles to a Workflow that asks
# `https://events.pagerduty.com/v2/enqueue` (GET) at the end of each run, to work around something in Argo Workflows. Where
# pods may not reach that address, or every request out is looked at, that is a surprise; with Slack configured, the address
# of its webhook is asked instead.
#
# Expected: nothing leaves the cluster that nobody configured.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install metaflow==2.19.39 kubernetes==36.0.3 "moto[s3,server]==5.2.2"
cat >flow.py <<'PY'
from metaflow import FlowSpec, exit_hook, step


def tell(run):
    print(run)


@exit_hook(on_error=[tell])
class HookFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    HookFlow()
PY
cat >kubeconfig <<'YAML'
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
YAML
port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/moto_server -H 127.0.0.1 -p "$port" >/dev/null 2>&1 &
server=$!
export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL="http://127.0.0.1:$port"
export METAFLOW_USER=you METAFLOW_HOME="$folder" METAFLOW_S3_ENDPOINT_URL="$AWS_ENDPOINT_URL" KUBECONFIG="$folder/kubeconfig"
export METAFLOW_DEFAULT_DATASTORE=s3 METAFLOW_DATASTORE_SYSROOT_S3=s3://findings/metaflow
venv/bin/python - <<'PY'
import time

import boto3

for left in reversed(range(50)):
    try:
        boto3.client("s3").create_bucket(Bucket="findings")
        break
    except Exception:
        if not left:
            raise
        time.sleep(0.2)
PY
venv/bin/python flow.py --quiet argo-workflows create --only-json >compiled 2>errors || { cat errors; exit 1; }
seen=$(venv/bin/python - <<'PY'
import json

text = open("compiled").read()
spec = json.loads(text[text.index("{"):])["spec"]
[asks] = [one["http"] for one in spec["templates"] if "http" in one]
print(asks["method"], asks["url"], "by the hook", *[name for name, one in spec["hooks"].items() if one["template"] == "exit-hook-hack"])
PY
)
echo "$seen"
wanted='GET https://events.pagerduty.com/v2/enqueue by the hook exit'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
