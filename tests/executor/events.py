"""Argo Events where no real one runs: a webhook, and the Sensors that hear what it takes.

A Sensor hears an event before the webhook has answered, and keeps what it waits for in memory: the
bus of a real cluster is later and more durable, and repeats (docs/executor.md).
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

from tests.executor.api import Api
from tests.executor.expressions import evaluate
from tests.executor.golang import OutOfRangeError, compact, decode, encode, is_json, member

__all__ = ["ArgoEvents", "accepts", "arguments", "workflow"]

_FORM: Final = "application/x-www-form-urlencoded"
"""A body of exactly this type is read as a form, JSON or not, and no filter finds its name."""

_LARGEST_BODY: Final = 1_048_576
_LARGEST_EVENT: Final = 786_000
"""Bytes of a body: as base64, with what is said about it, a message of the bus is full."""

_PATH: Final = "/metaflow-event"
_GET: Final = re.compile(r'get \$\.Input\.body\.payload ("(?:[^"\\]|\\.)*")')
_TEXT_AS_IT_IS: Final = 'kindIs "string" $pv'
_DESTINATION: Final = re.compile(r"spec\.arguments\.parameters\.#\(name=(.*)\)\.value")

Events = Mapping[str, str]
"""Name of a dependency → the compact text of the event that satisfied it."""


class ArgoEvents:
    """A running webhook; `url` is where to post to."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: dict[tuple[str, str], dict[str, str]] = {}
        self._hearing = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.take))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{_PATH}"

    def stop(self) -> None:
        """Close the webhook."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes, kind: str = "application/json") -> tuple[int, str]:
        """What the webhook answers to a body of a type; its Sensors have heard it by then."""
        if len(body) > _LARGEST_BODY:
            return 400, "failed to parse request body, http: request body too large"
        text = body.decode("utf-8", errors="replace")
        if kind == _FORM:
            text = json.dumps(parse_qs(text, keep_blank_values=True, separator="&"))
        if not is_json(text):
            return 400, "json: error calling MarshalJSON for type *json.RawMessage"
        if len(body) > _LARGEST_EVENT:
            return 500, "failed to record event"
        with self._hearing:
            self._hear(compact(text))
        return 200, "success"

    def _hear(self, body: str) -> None:
        event = f'{{"body":{body}}}'
        for sensor in self._api.list("sensors"):
            key = (sensor["metadata"]["namespace"], sensor["metadata"]["name"])
            waiting = self._waiting.setdefault(key, {})
            heard = [one for one in sensor["spec"]["dependencies"] if accepts(one, event)]
            for dependency in heard:
                waiting[dependency["name"]] = event
                if _is_met(sensor, waiting):
                    made = workflow(sensor, waiting)
                    self._api.create("workflows", made["metadata"]["namespace"], made)
                    waiting.clear()


def accepts(dependency: Mapping[str, Any], event: str) -> bool:
    """Whether an event passes all filters of a dependency."""
    for one in (dependency.get("filters") or {}).get("exprs") or ():
        values = {field["name"]: member(event, field["path"]) for field in one["fields"]}
        if None in values.values():
            return False
        read = {name: json.loads(text or "null") for name, text in values.items()}
        if not evaluate(one["expr"], read):
            return False
    return True


def workflow(sensor: Mapping[str, Any], events: Events) -> dict[str, Any]:
    """The Workflow that a Sensor makes of what it waited for."""
    [trigger] = sensor["spec"]["triggers"]
    made: dict[str, Any] = json.loads(json.dumps(trigger["template"]["k8s"]["source"]["resource"]))
    given = arguments(sensor, events)
    for parameter in made["spec"]["arguments"]["parameters"]:
        if parameter["name"] in given:
            parameter["value"] = given[parameter["name"]]
    return made


def arguments(sensor: Mapping[str, Any], events: Events) -> dict[str, str]:
    """Name → text of the parameters that a Sensor fills from its events."""
    [trigger] = sensor["spec"]["triggers"]
    given: dict[str, str] = {}
    for parameter in trigger["template"]["k8s"].get("parameters") or ():
        name = _DESTINATION.fullmatch(parameter["dest"])
        assert name, parameter["dest"]
        source = parameter["src"]
        # One of several is enough for some triggers: of the others nothing has come.
        event = events.get(source["dependencyName"])
        value = None if event is None else _value(source, event)
        given[name[1]] = source["value"] if value is None else value
    return given


def _value(source: Mapping[str, Any], event: str) -> str | None:
    """The text that a source takes from an event; None where it fails, so the default holds."""
    if source.get("dataKey"):
        found = member(event, source["dataKey"])
        is_text = found is not None and found.startswith('"')
        return str(json.loads(found or "")) if is_text else found
    if "{{" not in source["dataTemplate"]:
        return str(source["dataTemplate"])
    [quoted] = set(_GET.findall(source["dataTemplate"]))
    try:
        payload = decode(event)["body"].get("payload")
    except OutOfRangeError:
        return None
    key = json.loads(quoted)
    if not isinstance(payload, dict) or key not in payload:
        return None
    text = encode(payload[key])
    if _TEXT_AS_IT_IS in source["dataTemplate"] and not isinstance(payload[key], str):
        return encode(text)
    return text


def _is_met(sensor: Mapping[str, Any], waiting: Events) -> bool:
    [trigger] = sensor["spec"]["triggers"]
    names = [one["name"] for one in sensor["spec"]["dependencies"]]
    conditions = trigger["template"].get("conditions") or " && ".join(names)
    return bool(evaluate(conditions, {name: name in waiting for name in names}))


def _handler(take: Callable[[bytes, str], tuple[int, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.path.partition("?")[0] != _PATH:
                self._answer(404, "404 page not found")
                return
            self._answer(*take(body, self.headers.get("Content-Type") or ""))

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(400, "http method does not match")

        do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse  # noqa: N815

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests read the events, not the access log."""

    return Handler
