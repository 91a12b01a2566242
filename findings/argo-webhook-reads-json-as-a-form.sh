#!/usr/bin/env bash
# argo-events v1.9.11 (its event source `webhook`, Go 1.26), with what Python 3.11's urllib sends.
#
# Behaviour: a body of JSON is read as a form if its Content-Type is exactly `application/x-www-form-urlencoded`, which
# `urllib.request.urlopen(address, data=...)` says unless it is told another: the whole text becomes the name of a field
# without a value. The request is answered 200, the event has no field that a Sensor's filter could match, and nothing
# starts, without a word. With `; charset=utf-8` behind the same type it is taken as JSON, as with every other type.
#
# Expected by who publishes so: the type that is no JSON is refused, or the body taken as it is.
# Fails if that changes. Needs Go, and some minutes to compile the first time.
set -euo pipefail
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	common "github.com/argoproj/argo-events/pkg/eventsources/common/webhook"
	"github.com/argoproj/argo-events/pkg/eventsources/sources/webhook"
	"github.com/argoproj/argo-events/pkg/metrics"
	"go.uber.org/zap"
)

func main() {
	log := zap.NewNop().Sugar()
	route := common.NewRoute(&v1alpha1.WebhookContext{}, log, "hook", "event", metrics.NewMetrics("none"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := webhook.GetBody(&w, r, route, log)
		if err != nil {
			fmt.Println("refused:", err)
			return
		}
		fmt.Printf("%s: %s\n", r.Header.Get("Content-Type"), *body)
	}))
	defer server.Close()
	child := exec.Command("python3", "send.py", server.URL)
	child.Stderr = os.Stderr
	if err := child.Run(); err != nil {
		panic(err)
	}
}
GO
cat >send.py <<'PY'
import sys
from urllib.request import Request, urlopen

event = b'{"payload":{"name":"prices"}}'
types = [None, "application/x-www-form-urlencoded; charset=utf-8", "text/plain", "application/json"]
for one in types:
    headers = {"Content-Type": one} if one else {}
    assert urlopen(Request(sys.argv[1], data=event, headers=headers)).status == 200
PY
go mod init finding 2>/dev/null
go get github.com/argoproj/argo-events@v1.9.11 2>/dev/null
go mod tidy 2>/dev/null
seen=$(go run .)
echo "$seen"
wanted='application/x-www-form-urlencoded: {"{\"payload\":{\"name\":\"prices\"}}":[""]}
application/x-www-form-urlencoded; charset=utf-8: {"payload":{"name":"prices"}}
text/plain: {"payload":{"name":"prices"}}
application/json: {"payload":{"name":"prices"}}'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
