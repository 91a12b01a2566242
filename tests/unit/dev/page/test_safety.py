"""Who may ask, as a table; the answers are strict whatever they are."""

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from flowproject.dev.page.safety import COOKIE, Guard, is_loopback

OWN = "127.0.0.1:4711"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def ask(
    guard: Guard, headers: dict[str, str], *, method: str = "GET", path: str = "/", query: str = ""
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
        "server": ("127.0.0.1", 4711),
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


@pytest.mark.parametrize(
    "headers, query, status",
    [
        ({}, "", 403),
        ({}, "token=wrong", 403),
        ({}, "token=", 403),
        ({"cookie": f"{COOKIE}=wrong"}, "", 403),
        ({"cookie": f"{COOKIE}="}, "", 403),
        ({"cookie": "a=\x01;;;"}, "", 403),
        ({"cookie": f"{COOKIE}=sesame"}, "", 200),
        ({"cookie": f"other=1; {COOKIE}=sesame"}, "", 200),
        ({}, "token=sesame", 303),
        ({"cookie": f"{COOKIE}=sesame", "origin": "http://evil.example"}, "", 403),
        ({"cookie": f"{COOKIE}=sesame", "sec-fetch-site": "cross-site"}, "", 403),
        ({"sec-fetch-site": "cross-site"}, "token=sesame", 403),
    ],
)
def test_with_a_token_only_who_has_shown_it_may_ask_under_any_name(
    headers: dict[str, str], query: str, status: int
):
    guard = Guard(PlainTextResponse("in"), token="sesame")  # noqa: S106  # of a test
    assert ask(guard, {"host": "machine.local:1", **headers}, query=query)[0] == status


@pytest.mark.parametrize("token", ["sesame", "a b", 'quo"te', "semi;colon", "é", "→"])
def test_a_token_that_was_shown_comes_back_as_a_cookie(token: str):
    from urllib.parse import urlencode

    guard = Guard(PlainTextResponse("in"), token=token)
    query = urlencode({"token": token, "span": "5m"})
    status, headers, _ = ask(guard, {"host": "h:1"}, query=query)
    assert (status, headers["location"]) == (303, "http://h:1/?span=5m")
    cookie, *flags = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(flags)
    assert ask(guard, {"host": "h:1", "cookie": cookie})[0] == 200


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


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_has_three_names(name: str):
    assert is_loopback(name)
    assert not is_loopback(f"{name}.example")
