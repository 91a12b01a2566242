"""What is put on the bus, what counts as taken, and what is said otherwise: enough, no secret."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import metaflow.metaflow_config
import pytest
from metaflow.integrations import ArgoEvent

from flowproject import events
from flowproject.errors import DeliveryError
from flowproject.events import publish

NAME = "mfns.demo.user.me.days_changed"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request that the server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Answer:
    """What the server answers on a path."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"success"


@contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server, and all that it is asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(
                Asked(method=self.command, path=self.path, headers=dict(self.headers), body=body)
            )
            answer = answers[self.path]
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def bus_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda url: monkeypatch.setattr(metaflow.metaflow_config, "ARGO_EVENTS_WEBHOOK_URL", url)


def test_an_event_says_what_metaflow_says_in_signs_that_stay_as_they_are(
    bus_at: Callable[[str], None],
):
    text = "$(id) {{workflow.name}} \x7f ä \ud800"
    with serving({"/event": Answer()}) as (url, asked):
        bus_at(f"{url}/event")
        publish(NAME, {"id": "1", "k": text})
        ArgoEvent(NAME, url=f"{url}/event").publish({"id": "1", "k": text}, ignore_errors=False)
    ours, metaflows = (json.loads(request.body) for request in asked)
    for event in (ours, metaflows):
        assert abs(event["payload"].pop("timestamp") - time.time()) < 60
    assert ours == metaflows
    assert asked[0].headers["Content-Type"] == "application/json"
    assert asked[0].body.isascii()
    for sign in (b"$", b"{{", b"\x7f"):
        assert sign not in asked[0].body


def test_metaflows_headers_go_along_where_it_would_send_them(
    bus_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metaflow.metaflow_config, "SERVICE_HEADERS", {"X-Key": "k"})
    with serving({"/event": Answer()}) as (url, asked):
        bus_at(f"{url}/event")
        publish(NAME, {"id": "1"})
        monkeypatch.setattr(metaflow.metaflow_config, "ARGO_EVENTS_WEBHOOK_AUTH", "service")
        publish(NAME, {"id": "1"})
    assert [request.headers.get("X-Key") for request in asked] == [None, "k"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_does_not_count_as_taken(
    bus_at: Callable[[str], None], status: int
):
    away = Answer(status=status, headers={"Location": "/sign-in?token=secret"}, body=b"")
    with serving({"/event": away, "/sign-in?token=secret": Answer()}) as (url, asked):
        bus_at(f"{url}/event")
        with pytest.raises(DeliveryError, match=f"was not taken by the bus.*{status}") as caught:
            publish(NAME, {"id": "1"})
    assert [request.path for request in asked] == ["/event"]
    assert "/sign-in" in str(caught.value)
    assert "METAFLOW_ARGO_EVENTS_WEBHOOK_AUTH=service" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_page_that_is_answered_is_not_the_bus(bus_at: Callable[[str], None]):
    page = Answer(headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<p>Sign in</p>")
    with serving({"/event": page}) as (url, asked):
        bus_at(f"{url}/event")
        with pytest.raises(DeliveryError, match="a page was answered"):
            publish(NAME, {"id": "1"})
    assert len(asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_the_bus_can_not_take_now_is_sent_again(
    bus_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, status: int
):
    monkeypatch.setattr(events, "_FIRST_WAIT", 0.01)
    answers = {"/event": Answer(status=status)}
    with serving(answers) as (url, asked):
        bus_at(f"{url}/event")
        with pytest.raises(DeliveryError, match=str(status)):
            publish(NAME, {"id": "1"})
        assert len(asked) == 4
        assert {request.body for request in asked} == {asked[0].body}


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_the_bus_refuses_for_good_is_sent_once(bus_at: Callable[[str], None], status: int):
    with serving({"/event": Answer(status=status)}) as (url, asked):
        bus_at(f"{url}/event")
        with pytest.raises(DeliveryError, match=str(status)):
            publish(NAME, {"id": "1"})
    assert len(asked) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://me:secret@127.0.0.1:1/event",
        "http://me:secret@127.0.0.1/event",
        "http://127.0.0.1:1/event?token=secret",
    ],
)
def test_the_address_of_the_bus_is_told_without_its_secrets(
    bus_at: Callable[[str], None], address: str
) -> None:
    bus_at(address)
    with pytest.raises(DeliveryError, match="was not taken by the bus") as caught:
        publish(NAME, {"id": "1"})
    assert "Bus http://127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
