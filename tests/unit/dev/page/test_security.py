"""Who may ask, as a table; the answers are strict whatever they are."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.responses import PlainTextResponse

from flowproject.dev.page.security import Guard

SESAME = "sesame"
OWN = "127.0.0.1:4711"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def ask(
    guard: Guard,
    headers: dict[str, str],
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    port: int = 4711,
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "scheme": "http",
        "server": ("127.0.0.1", port),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
    }
    asyncio.run(guard(scope, receive, send))
    answered = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], answered, body.decode()


@pytest.fixture
def guard() -> Guard:
    return Guard(PlainTextResponse("in"))


@pytest.mark.parametrize(
    "method, headers, status",
    [
        ("GET", {"host": OWN}, 200),
        ("GET", {"host": "localhost:4711"}, 200),
        ("GET", {"host": "LOCALHOST"}, 200),
        ("GET", {"host": "[::1]:4711"}, 200),
        ("GET", {}, 403),
        ("GET", {"host": ""}, 403),
        ("GET", {"host": "evil.example"}, 403),
        ("GET", {"host": "evil.example:4711"}, 403),
        ("GET", {"host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"host": "localhost.evil.example:4711"}, 403),
        ("GET", {"host": "[::1"}, 403),
        ("GET", {"host": "192.168.1.7:4711"}, 403),
        # A fetch says where it comes from.
        ("GET", {"host": OWN, "origin": f"http://{OWN}"}, 200),
        ("GET", {"host": OWN, "origin": "http://evil.example"}, 403),
        ("GET", {"host": OWN, "origin": "http://localhost:4711"}, 403),
        ("GET", {"host": OWN, "origin": "http://127.0.0.1:8888"}, 403),
        ("GET", {"host": OWN, "origin": "null"}, 403),
        ("POST", {"host": OWN, "origin": f"http://{OWN}"}, 200),
        ("POST", {"host": OWN, "origin": "null"}, 403),
        ("POST", {"host": OWN, "origin": "http://evil.example"}, 403),
        # So does a browser, of whatever a page asks for.
        ("GET", {"host": OWN, "sec-fetch-site": "same-origin"}, 200),
        ("GET", {"host": OWN, "sec-fetch-site": "none"}, 200),
        ("GET", {"host": OWN, "sec-fetch-site": "cross-site"}, 403),
        ("GET", {"host": OWN, "sec-fetch-site": "same-site"}, 403),
        ("GET", {"host": OWN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
        ("POST", {"host": OWN, "sec-fetch-site": "cross-site"}, 403),
        ("POST", {"host": OWN, "sec-fetch-site": "same-origin"}, 200),
        # A link that was followed may come from anywhere; a frame or a form may not.
        ("GET", {"host": OWN, **LINK}, 200),
        ("GET", {"host": OWN, **LINK, "sec-fetch-dest": "iframe"}, 403),
        ("POST", {"host": OWN, **LINK}, 403),
        ("GET", {"host": "evil.example", **LINK}, 403),
    ],
)
def test_who_may_ask(guard: Guard, method: str, headers: dict[str, str], status: int):
    got, _, body = ask(guard, headers, method=method)
    assert got == status
    assert body == "in" if status == 200 else body.startswith("This request is refused: ")


def shown(guard: Guard, token: str = SESAME, port: int = 4711) -> tuple[str, dict[str, str]]:
    """The cookie that one gets who shows the token, and the whole answer."""
    query = urlencode({"token": token, "span": "5m"})
    status, headers, _ = ask(guard, {"host": "h:1"}, path="/runs", query=query, port=port)
    assert status == 303
    return headers["set-cookie"].partition(";")[0], headers


@pytest.mark.parametrize(
    "headers, query, status",
    [
        ({}, "", 403),
        ({}, "token=wrong", 403),
        ({}, "token=", 403),
        ({}, "token=sesame", 303),
        ({"cookie": "flowproject-4711=wrong"}, "", 403),
        ({"cookie": "flowproject-4711=sesame"}, "", 403),
        ({"cookie": "flowproject-4711="}, "", 403),
        ({"cookie": "a=\x01;;;"}, "", 403),
        ({"cookie": "ITS"}, "", 200),
        ({"cookie": "other=1; ITS"}, "", 200),
        ({"cookie": "ITS", "origin": "http://evil.example"}, "", 403),
        ({"cookie": "ITS", "sec-fetch-site": "cross-site"}, "", 403),
        ({"cookie": "ITS", **LINK}, "", 200),
        ({"cookie": "ITS", "host": "evil/x"}, "", 403),
        ({"sec-fetch-site": "cross-site"}, "token=sesame", 403),
    ],
)
def test_with_a_token_only_who_has_shown_it_may_ask_under_any_name(
    headers: dict[str, str], query: str, status: int
):
    guard = Guard(PlainTextResponse("in"), token=SESAME)
    if "ITS" in headers.get("cookie", ""):
        headers = {**headers, "cookie": headers["cookie"].replace("ITS", shown(guard)[0])}
    assert ask(guard, {"host": "machine.local:1", **headers}, query=query)[0] == status


@pytest.mark.parametrize("token", ["sesame", "a b", 'quo"te', "semi;colon", "é", "→"])
def test_who_shows_the_token_is_sent_on_without_it_and_known_by_a_cookie(token: str):
    guard = Guard(PlainTextResponse("in"), token=token)
    cookie, headers = shown(guard, token)
    assert headers["location"] == "/runs?span=5m"
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(headers["set-cookie"].split("; "))
    assert token not in headers["set-cookie"]
    assert ask(guard, {"host": "h:1", "cookie": cookie})[0] == 200


def test_the_cookie_of_one_loop_opens_no_other_one_and_does_not_replace_its_cookie():
    one, other = (Guard(PlainTextResponse("in"), token=SESAME) for _ in range(2))
    cookies = shown(one)[0], shown(other, port=4712)[0]
    assert {cookie.partition("=")[0] for cookie in cookies} == {
        "flowproject-4711",
        "flowproject-4712",
    }
    headers = {"host": "h:1", "cookie": cookies[1].replace("4712", "4711")}
    assert ask(one, headers)[0] == 403
    assert ask(one, {"host": "h:1", "cookie": "; ".join(cookies)})[0] == 200


def test_an_address_cannot_send_who_shows_the_token_elsewhere():
    guard = Guard(PlainTextResponse("in"), token=SESAME)
    _, headers, _ = ask(guard, {"host": "h"}, path="//evil.example/x", query="token=sesame")
    assert headers["location"] == "/evil.example/x"


def test_every_answer_is_strict_and_keeps_what_is_stricter(guard: Guard):
    refused = ask(guard, {"host": "evil.example"})
    allowed = ask(guard, {"host": OWN})
    for _, headers, _ in (refused, allowed):
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
    own = Guard(PlainTextResponse("card", headers={"Content-Security-Policy": "sandbox"}))
    assert ask(own, {"host": OWN})[1]["content-security-policy"] == "sandbox"


def test_only_what_is_named_by_its_content_is_kept_by_the_browser(guard: Guard):
    asked = [("/static/page.css", "v=1"), ("/static/page.css", ""), ("/", "v=1")]
    kept = [
        ask(guard, {"host": OWN}, path=path, query=query)[1]["cache-control"]
        for path, query in asked
    ]
    assert kept == ["max-age=31536000, immutable", "no-store", "no-store"]
