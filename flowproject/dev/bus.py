"""The event bus of one machine: receives the HTTP POST that Argo Events' webhook receives.

Bound to 127.0.0.1 only. It checks and hands over events; what they start is not its business.
"""

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flowproject.dev.serving import HOST, serve
from flowproject.dev.triggers import Event

__all__ = ["PATH", "application", "parse_event", "serve_bus"]

PATH: Final = "/event"
_LARGEST: Final = 1024 * 1024
"""Bytes of a body: the default of Argo Events' webhook."""

Accept = Callable[[Event], bool]
"""Takes an event, or answers False because the loop is stopping."""


class _Refused(Exception):  # noqa: N818  # an answer to a client, not a fault of ours
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def application(accept: Accept) -> Starlette:
    """The web application: 200 once the event was accepted, else a status and a reason."""

    async def receive(request: Request) -> Response:
        try:
            _check_type(request)
            taken = accept(parse_event(await _body(request)))
        except _Refused as refusal:
            return PlainTextResponse(f"{refusal}\n", status_code=refusal.status)
        if not taken:
            return PlainTextResponse("the loop is stopping\n", status_code=503)
        return PlainTextResponse("success\n")

    # A page in a browser may resolve its own name to this address: its Host gives it away.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[Route(PATH, receive, methods=["POST"])], middleware=[hosts])


def parse_event(body: bytes) -> Event:
    """The event in the body of a POST, as `metaflow.integrations.ArgoEvent` sends it."""
    try:
        data = json.loads(
            body, parse_constant=_no_constant, parse_float=_finite, parse_int=_in_range
        )
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"the body is not JSON: {error}") from error
    if not _is_text(data):
        raise _Refused(400, "the body has half of a surrogate pair, which is no text")
    if not isinstance(data, dict) or not isinstance(data.get("payload"), dict):
        raise _Refused(400, 'the body must be {"name": ..., "payload": {...}}')
    payload: dict[str, Any] = data["payload"]
    name = payload.get("name")
    if not isinstance(name, str) or not name:
        raise _Refused(400, 'payload["name"] must be the name of the event: sensors compare it')
    return Event(payload=payload)


def _is_text(data: object) -> bool:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@asynccontextmanager
async def serve_bus(accept: Accept, *, port: int = 0) -> AsyncIterator[str]:
    """The URL to post events to, for as long as the bus is open. Port 0 is any free one."""
    async with serve(application(accept), port=port) as (host, taken):
        yield f"http://{host}:{taken}{PATH}"


def _check_type(request: Request) -> None:
    # A web page can post a form or plain text to any address without asking; JSON it can't.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refused(415, "the Content-Type must be application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise _Refused(413, f"the body is larger than {_LARGEST} bytes")
    return bytes(body)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _in_range(text: str) -> int:
    _finite(text)
    return int(text)
