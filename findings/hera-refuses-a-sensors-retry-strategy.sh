#!/usr/bin/env bash
# hera 7.1.0, whose models are generated from Argo Events' OpenAPI description, Python 3.11.
#
# Behaviour: a Sensor as Argo Events' own documentation and controllers have it, with
# `retryStrategy: {steps: 3, duration: "1s", factor: 1.2}` on a trigger, is refused by `hera.events.models.Sensor`:
# `duration` (an integer or a text) and `factor` (a number) are taken for objects. So who checks objects for a cluster
# against these models calls a right Sensor wrong.
#
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install hera==7.1.0
cat >see.py <<'PY'
from hera.events.models import Sensor
from pydantic import ValidationError

template = {"name": "start", "log": {}}
sensor = {
    "metadata": {"name": "one"},
    "spec": {
        "dependencies": [{"name": "a", "eventSourceName": "hook", "eventName": "event"}],
        "triggers": [{"template": template}],
    },
}
Sensor.model_validate(sensor)
print("without a retry strategy: taken")
sensor["spec"]["triggers"][0]["retryStrategy"] = {"steps": 3, "duration": "1s", "factor": 1.2}
try:
    Sensor.model_validate(sensor)
    print("with a retry strategy: taken")
except ValidationError as error:
    print("with a retry strategy:", *sorted({".".join(map(str, one["loc"][-2:])) for one in error.errors()}))
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='without a retry strategy: taken
with a retry strategy: retryStrategy.duration retryStrategy.factor'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
