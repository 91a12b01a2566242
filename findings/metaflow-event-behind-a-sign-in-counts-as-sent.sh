#!/usr/bin/env bash
# metaflow 2.19.39, Python 3.11.
#
# Behaviour: `ArgoEvent.publish(ignore_errors=False)` follows a redirect. A sign-in proxy in front of the webhook answers
# the POST with 302; Metaflow then GETs the sign-in page, is answered 200, and returns the event's id: "published". The
# event reached no bus, and nothing is raised.
#
# Expected: only an answer to the POST itself says that an event was taken.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install metaflow==2.19.39
cat >see.py <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from metaflow.integrations import ArgoEvent

requests = []


class Proxy(BaseHTTPRequestHandler):
    """Sends who is not signed in to its page, as an identity-aware proxy does."""

    def do_POST(self):
        requests.append("POST " + self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", "/sign-in")
        self.end_headers()

    def do_GET(self):
        requests.append("GET " + self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Please sign in</html>")

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
told = ArgoEvent("data_changed", url=f"http://127.0.0.1:{server.server_port}/event").publish(ignore_errors=False)
print("requests:", *requests, sep=" | ")
print("an id was returned:", len(told) == 36)
server.shutdown()
PY
seen=$(METAFLOW_USER=you METAFLOW_HOME="$folder" venv/bin/python see.py 2>/dev/null)
echo "$seen"
wanted='requests: | POST /event | GET /sign-in
an id was returned: True'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }
