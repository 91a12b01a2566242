"""Receive events as Argo Events' webhook does: the event bus of one machine.

Bound to 127.0.0.1 only. It checks and hands over events; what they start is not its business.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flowproject.changes.payload import EVENT_LIMIT
from flowproject.dev.server import HOST, serve
from flowproject.dev.triggers import Event

__all__ = ["PATH", "RefusedEvent", "application", "parse_event", "serve_bus"]

PATH: Final = "/event"
# Bytes of a body: the default of Argo Events' webhook.
_LARGEST: Final = 1024 * 1024

# All of them are routed, so that the answer to another method is Argo Events' own (400), not
# Starlette's (405).
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Headers that a browser adds to what a page posts elsewhere, and that no page can leave out.
_FROM_A_PAGE: Final = ("origin", "sec-fetch-site")

# With anything behind it, Argo Events takes the body for JSON, as it does with all other types.
_FORM: Final = "application/x-www-form-urlencoded"

Accept = Callable[[Event], bool]
"""Takes an event, or answers False because the loop is stopping."""


class RefusedEvent(Exception):  # noqa: N818  # an answer to a client, not a fault of ours
    """Refuses a request that is no event, or not one to be taken, with a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def application(accept: Accept) -> Starlette:
    """Make the web application. It answers an accepted event with 200, or says what is wrong."""

    async def receive(request: Request) -> Response:
        try:
            _check_sender(request)
            taken = accept(parse_event(await _body(request)))
        except RefusedEvent as refusal:
            return PlainTextResponse(f"{refusal}\n", status_code=refusal.status)
        if not taken:
            return PlainTextResponse("the loop is stopping\n", status_code=503)
        return PlainTextResponse("success\n")

    # A page in a browser may resolve its own name to this address: its Host gives it away.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    bus = Starlette(routes=[Route(PATH, receive, methods=_METHODS)], middleware=[hosts])
    # A client that follows a redirect repeats the POST as a GET and takes the page it gets for
    # success: the event would be lost without a word.
    bus.router.redirect_slashes = False
    return bus


def parse_event(body: bytes) -> Event:
    """Read the event in the body of a POST, as `metaflow.integrations.ArgoEvent` sends it."""
    try:
        # Nesting is a matter of Python's stack, not of JSON: it is the one input for which the
        # parser raises something else.
        event = Event.received(body)
    except RecursionError as error:
        raise RefusedEvent(400, "the body is nested too deep") from error
    except ValueError as error:
        raise RefusedEvent(400, f"the body is not JSON: {error}") from error
    if event is None:
        raise RefusedEvent(
            400, 'the body must be {"name": ..., "payload": {...}}; a cluster drops any other'
        )
    if not event.name:
        raise RefusedEvent(
            400,
            'payload["name"] must be the name of the event: sensors compare it, and a cluster '
            "drops an event without",
        )
    return event


@asynccontextmanager
async def serve_bus(accept: Accept, *, port: int = 0) -> AsyncIterator[str]:
    """Open the bus and give the URL to post events to. Port 0 is any free one."""
    async with serve(application(accept), port=port) as (host, taken):
        yield f"http://{host}:{taken}{PATH}"


def _check_sender(request: Request) -> None:
    if request.method != "POST":
        raise RefusedEvent(400, "http method does not match: send an event with POST")
    if request.headers.get("content-type") == _FORM:
        raise RefusedEvent(
            400,
            f"the body is sent as {_FORM}, which is what curl and urllib say unless told another "
            "type: a cluster reads it as a form, answers 200, and starts nothing. Send it as "
            "application/json",
        )
    # A page of any site can post to this address without asking; a cluster is out of its reach.
    if any(header in request.headers for header in _FROM_A_PAGE):
        raise RefusedEvent(403, "a page in a browser may not send events to this machine's bus")


async def _body(request: Request) -> bytes:
    body = bytearray()
    # Counted while it comes: the length that a request declares is only what its sender says.
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise RefusedEvent(400, f"the body is larger than {_LARGEST} bytes")
    # 500 and these words are what a cluster answers: its bus refuses the message, not its webhook.
    if len(body) > EVENT_LIMIT:
        raise RefusedEvent(
            500,
            f"failed to record event: it has {len(body)} bytes, and the bus of a cluster holds no "
            f"more than about {EVENT_LIMIT}. Send a reference to the data instead",
        )
    return bytes(body)
