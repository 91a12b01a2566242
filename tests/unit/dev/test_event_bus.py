"""The bus, asked over a real socket."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from flowproject.dev.event_bus import parse_event, serve_bus
from flowproject.dev.triggers import Event
from flowproject.errors import UsageError

GOOD = {"name": "x", "payload": {"name": "x", "id": "1"}}


def ask(send: Callable[[httpx.Client, str], httpx.Response], *, taken: bool = True) -> Any:
    """The answer to a request, and the events that the bus handed over."""
    events: list[Event] = []

    def accept(event: Event) -> bool:
        events.append(event)
        return taken

    async def serve() -> httpx.Response:
        async with serve_bus(accept) as url:
            return await asyncio.to_thread(lambda: send(httpx.Client(trust_env=False), url))

    return asyncio.run(serve()), events


def test_an_event_is_accepted_before_the_answer():
    answer, events = ask(lambda client, url: client.post(url, json=GOOD))
    assert answer.status_code == 200
    assert events == [Event.sent({"name": "x", "id": "1"})]


def test_what_argo_event_sends_is_accepted():
    from metaflow.plugins.argo.argo_events import ArgoEvent

    def publish(_: httpx.Client, url: str) -> Any:
        return ArgoEvent("x", url=url).publish({"n": 1}, ignore_errors=False)

    sent, events = ask(publish)
    (event,) = events
    assert (event.name, event.id, event.payload["n"]) == ("x", sent, 1)


def test_an_event_that_is_not_taken_is_not_confirmed():
    answer, _ = ask(lambda client, url: client.post(url, json=GOOD), taken=False)
    assert answer.status_code == 503


@pytest.mark.parametrize(
    "body,reason",
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "must be"),
        (b'{"name": "x"}', "must be"),
        (b'{"name": "x", "payload": 3}', "must be"),
        (b'{"name": "x", "payload": {}}', "name of the event"),
        (b'{"name": "x", "payload": {"name": 3}}', "name of the event"),
        (b'{"payload": {"name": "x", "n": NaN}}', "NaN"),
        (b"[" * 100_000, "too deep"),
        (b'{"payload": {"name": "x", "n": ' + b"[" * 300 + b"]" * 300 + b"}}", "more than 200"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else "",
)
def test_a_malformed_body_is_refused_with_the_reason(body: bytes, reason: str):
    kind = {"content-type": "application/json"}
    answer, events = ask(lambda client, url: client.post(url, content=body, headers=kind))
    assert answer.status_code == 400
    assert reason in answer.text
    assert events == []


@pytest.mark.parametrize(
    "size,status,reason",
    [(1024 * 1024, 400, "larger than"), (900_000, 500, "a reference to the data")],
)
def test_a_body_that_the_bus_of_a_cluster_would_not_hold_is_refused(
    size: int, status: int, reason: str
):
    big = {"payload": {"name": "x", "blob": "x" * size}}
    answer, events = ask(lambda client, url: client.post(url, json=big))
    assert (answer.status_code, events) == (status, [])
    assert reason in answer.text


def test_a_page_of_another_site_is_refused_by_its_host():
    headers = {"host": "evil.example"}
    answer, events = ask(lambda client, url: client.post(url, json=GOOD, headers=headers))
    assert (answer.status_code, events) == (400, [])


@pytest.mark.parametrize("header", ["origin", "sec-fetch-site"])
def test_what_a_page_posts_to_any_address_is_refused(header: str):
    """A form or plain text needs no leave of the address; the browser says where it is from."""
    answer, events = ask(
        lambda client, url: client.post(url, content=json.dumps(GOOD), headers={header: "null"})
    )
    assert (answer.status_code, events) == (403, [])


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded; charset=utf-8"]
)
def test_the_type_of_a_body_does_not_matter(kind: str):
    headers = {"content-type": kind} if kind else {}
    answer, events = ask(
        lambda client, url: client.post(url, content=json.dumps(GOOD), headers=headers)
    )
    assert (answer.status_code, len(events)) == (200, 1)


def test_what_a_cluster_would_read_as_a_form_is_refused_with_the_type_to_send():
    """`curl -d` and `urllib` call it a form; a cluster answers 200, and no filter ever matches."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer, events = ask(
        lambda client, url: client.post(url, content=json.dumps(GOOD), headers=kind)
    )
    assert (answer.status_code, events) == (400, [])
    assert "application/json" in answer.text


def test_only_a_post_to_the_path_of_the_bus_is_an_event():
    answer, _ = ask(lambda client, url: client.get(url))
    assert (answer.status_code, "POST" in answer.text) == (400, True)
    assert ask(lambda client, url: client.post(url + "s", json=GOOD))[0].status_code == 404
    assert ask(lambda client, url: client.post(url + "/", json=GOOD))[0].status_code == 404


def test_the_bus_listens_on_this_machine_only():
    async def address() -> str:
        async with serve_bus(lambda _: True) as url:
            return url

    assert asyncio.run(address()).startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_said():
    async def twice() -> None:
        async with serve_bus(lambda _: True) as url:
            port = int(url.split(":")[2].partition("/")[0])
            await serve_bus(lambda _: True, port=port).__aenter__()

    with pytest.raises(UsageError, match="can't be used"):
        asyncio.run(twice())


def test_names_are_read_from_the_payload_because_sensors_do():
    body = json.dumps({"name": "outer", "payload": {"name": "inner"}}).encode()
    assert parse_event(body).name == "inner"
