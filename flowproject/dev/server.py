"""Run web servers in the loop's own process, each on a port of its own, ended when told.

Who connects shares the loop's open files with its runs. So connections are limited, and those that
ask nothing do not stay: whoever it is, the loop goes on.
"""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from flowproject.errors import UsageError

__all__ = ["HOST", "LOOPBACK", "serve"]

HOST: Final = "127.0.0.1"
LOOPBACK: Final = frozenset({HOST, "localhost", "::1"})
"""The names of this machine that no other machine reaches."""
# Seconds that open connections get to end by themselves.
_LAST_WORDS: Final = 2
# Seconds in which a request must have come, from the connection or the answer before it on.
_REQUEST: Final = 15.0
# Connections to one server, where the system allows the process five times as many files.
_MOST: Final = 100
# Connections that are taken at a time: none of them is counted before.
_BACKLOG: Final = 32
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n"
    b"Connection: close\r\nRetry-After: 15\r\n\r\ntoo many open connections\n"
)


@asynccontextmanager
async def serve(
    application: ASGIApp, *, port: int, host: str = HOST
) -> AsyncIterator[tuple[str, int]]:
    """Serve the application, and give its host and port. Port 0 is any free one."""
    # Bound here and not by uvicorn, which would end the process with sys.exit where the port is
    # taken; and so the port is known before anything is served.
    bound = _bind(host, port)
    config = uvicorn.Config(
        application,
        # A class of our own takes h11 for granted: with httptools installed, uvicorn's "auto" would
        # choose that.
        http=_LimitedConnection,
        limit_concurrency=_most_connections(),
        backlog=_BACKLOG,
        # uvicorn's own configuration of logging would replace that of whoever runs the loop.
        log_config=None,
        log_level="error",  # not what strangers send
        access_log=False,
        # The applications have nothing to start or to end: the loop does that.
        lifespan="off",
        date_header=False,
        server_header=False,
        # Nothing stands in front of these servers, so a header that names another client is a lie.
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_WORDS,
    )
    # A server that fails to start never gets ready: whichever comes first is waited for.
    server = _QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        ready = asyncio.create_task(server.ready.wait())
        await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            ready.cancel()
            serving.result()
        yield host, bound.getsockname()[1]
    finally:
        server.over.set()
        await serving


class _LimitedConnection(H11Protocol):
    """Uvicorn's, but refused where there are too many, and ended if nothing is asked in time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._refused = False
        self._waits_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency - 1:
            # Refused before a request is read: one that asks nothing would never be answered by
            # uvicorn's own limit, which looks at requests only.
            self._refused = True
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self.loop.call_later(_REQUEST, self._end_if_idle)

    def data_received(self, data: bytes) -> None:
        # What was refused never became one of uvicorn's connections: its protocol has no state to
        # call.
        if not self._refused:
            super().data_received(data)

    def eof_received(self) -> None:
        if not self._refused:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._refused:
            super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def _end_if_idle(self) -> None:
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None at first, whatever its type says
        # A stream of events is a response that is not complete: it may stay as long as it likes.
        # What is closed is who sends nothing, or stops in the middle of a body.
        waits = cycle is None or cycle.response_complete or cycle.more_body
        left = self._waits_since + _REQUEST - self.loop.time() if waits else _REQUEST
        if left > 0:
            self.loop.call_later(left, self._end_if_idle)
        else:
            self.transport.close()


class _QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers and without waking up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.over = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        # Not `super().serve()`: that takes over Ctrl-C and SIGTERM, which are the loop's.
        await self._serve(sockets)

    async def main_loop(self) -> None:
        # The first tick sets the headers that every answer has. uvicorn makes ten of them a second
        # for limits and reloads that are not used here; an idle loop is to be idle.
        await self.on_tick(0)
        self.ready.set()
        await self.over.wait()


def _most_connections() -> int:
    """Give one more than may be open at a time: uvicorn answers 503 from this number on."""
    # The other four fifths are for logs of runs, journals and connections to object stores: where
    # they fail, a change is late; where a browser waits, nothing is lost.
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 + (_MOST if files == resource.RLIM_INFINITY else min(_MOST, max(8, files // 5)))


def _bind(host: str, port: int) -> socket.socket:
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UsageError(
            f"The host {host!r} can't be found: {error.strerror}",
            allowed="An address of this machine, such as 127.0.0.1 or 0.0.0.0",
        ) from error
    bound = socket.socket(family, kind, protocol)
    # A loop that is started again at once finds its port in use by connections that linger.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"Port {port} of {host} can't be used: {error.strerror}",
            fix="Leave the port out, and any free one is taken",
        ) from error
    return bound
