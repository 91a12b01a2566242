#!/usr/bin/env bash
# hera 7.1.0 (Python 3.11), and the types that argo-events v1.9.11's own controllers read (Go 1.26).
#
# Behaviour: `waitTimeSeconds` of an event source of SQS is an integer for Argo Events, whose own example says 20. hera's
# `EventSource` refuses 20 and takes "20", and writes it as a text, which Argo Events' type can't read. So no event
# source with that field, which Argo Events does not mark as optional, passes both.
#
# Expected: an integer on both sides.
# Fails if that changes. Needs Go, and some minutes to compile the first time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install hera==7.1.0
cat >see.py <<'PY'
import subprocess

from hera.events.models import EventSource
from pydantic import ValidationError

for seconds in ("20", '"20"'):
    text = '{"metadata":{"name":"a"},"spec":{"sqs":{"a":{"queue":"a","region":"b","waitTimeSeconds":%s}}}}' % seconds
    try:
        written = EventSource.model_validate_json(text).model_dump_json(by_alias=True, exclude_none=True)
        said = "written as it was" if written == text else written
    except ValidationError as error:
        said = error.errors()[0]["msg"]
    print(f"{seconds} for hera: {said}")
    answer = subprocess.run(["./read"], input=text, capture_output=True, text=True, check=True)
    print(f"{seconds} for Argo Events: {answer.stdout.strip()}")
PY
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
)

func main() {
	var source v1alpha1.EventSource
	if err := json.NewDecoder(os.Stdin).Decode(&source); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(source.Spec.SQS["a"].WaitTimeSeconds)
}
GO
go mod init finding 2>/dev/null
go get github.com/argoproj/argo-events@v1.9.11 2>/dev/null
go mod tidy 2>/dev/null
go build -o read .
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='20 for hera: Input should be a valid string
20 for Argo Events: 20
"20" for hera: written as it was
"20" for Argo Events: json: cannot unmarshal string into Go struct field SQSEventSource.spec.sqs.waitTimeSeconds of type int64'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
