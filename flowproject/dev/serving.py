"""The web servers of the loop's own process: each on a port of its own, ended when told."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from flowproject.errors import UsageError

__all__ = ["HOST", "LOOPBACK", "serve"]

HOST: Final = "127.0.0.1"
LOOPBACK: Final = frozenset({HOST, "localhost", "::1"})
"""The names of this machine that no other machine reaches."""
_LAST_WORDS: Final = 2
"""Seconds that open connections get to end by themselves."""


@asynccontextmanager
async def serve(
    application: ASGIApp, *, port: int, host: str = HOST
) -> AsyncIterator[tuple[str, int]]:
    """The host and port at which the application is served meanwhile. Port 0 is any free one."""
    bound = _bind(host, port)
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        date_header=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_WORDS,
    )
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
