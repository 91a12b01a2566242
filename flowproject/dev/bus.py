"""The event bus of one machine: receives the HTTP POST that Argo Events' webhook receives.

Bound to 127.0.0.1 only. It checks and hands over events; what they start is not its business.
"""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flowproject.dev.triggers import Event
from flowproject.errors import UsageError

__all__ = ["HOST", "PATH", "application", "parse_event", "serve_bus"]

HOST: Final = "127.0.0.1"
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
    bound = _bind(port)
    config = uvicorn.Config(
        application(accept), log_config=None, access_log=False, lifespan="off", date_header=False
    )
    server = _QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await server.ready.wait()
        yield f"http://{HOST}:{bound.getsockname()[1]}{PATH}"
    finally:
        server.over.set()
        await serving


class _QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers and without waking up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.over = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.ready.set()
        await self.over.wait()


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise UsageError(
            f"Port {port} of {HOST} can't be used: {error.strerror}",
            fix="Leave the port out, and any free one is taken",
        ) from error
    return bound


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
