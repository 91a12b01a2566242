"""ConnectionPool to a server: made with TLS and through proxies, kept open, and all cut at once.

urllib3 speaks TLS and talks to proxies; the socket is ours, so that whoever waits for a server that
does not answer can be told to stop.
"""

import socket
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from ssl import CERT_NONE, SSLContext
from threading import Lock
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context

from flowproject.sources.s3.responses import BrokenResponseError, HttpResponse, read_response

__all__ = ["Address", "ConnectionPool"]

_OnSocket = Callable[[socket.socket], None]
"""Is told of a socket before it connects."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A server, and how to get there."""

    secure: bool
    host: str
    port: int
    ca_bundle: str = ""
    """File or folder with the certificates to trust. Empty: none are checked."""
    certificate: str | tuple[str, str] | None = None
    """File of our own certificate, or that and the file of its key."""
    proxy: str = field(default="", repr=False)  # it can hold a password
    seconds_to_connect: float = 10.0
    seconds_to_read: float = 60.0

    @property
    def server(self) -> str:
        """The server in messages and in whole URLs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    @property
    def forwarded(self) -> bool:
        """Whether a proxy reads the requests themselves, and so needs whole URLs."""
        return bool(self.proxy) and not self.secure

    @property
    def proxy_headers(self) -> dict[str, str]:
        """What the proxy wants to see besides."""
        auth = parse_url(self.proxy).auth if self.proxy else None
        return dict(make_headers(proxy_basic_auth=auth)) if auth else {}


class ConnectionPool:
    """The connections of one bucket; threads may share them.

    A request takes a free one or makes one, so there are as many as there are requests at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: defaultdict[Address, deque[_PooledConnection]] = defaultdict(deque)
        self._sockets = _SocketHandles()

    def ask(self, address: Address, request: bytes, *, to_head: bool = False) -> HttpResponse:
        """What the server answers to a request.

        Raises:
            OSError: if there is no connection, or it ends before the answer does.
        """
        with self._lock:
            free = self._free[address]
            # The one that was used last: a server has hardly closed that one for being idle.
            connection = free.pop() if free else None
        if connection is not None:
            # A server may close a connection while it is idle: that is no failure yet.
            with suppress(_StaleError):
                return self._ask(connection, address, request, to_head=to_head)
        return self._ask(
            _PooledConnection(address, self._sockets), address, request, to_head=to_head
        )

    def _ask(
        self, connection: "_PooledConnection", address: Address, request: bytes, *, to_head: bool
    ) -> HttpResponse:
        answer = None
        try:
            answer = connection.ask(request, to_head=to_head)
        finally:
            self._give_back(connection, address, usable=answer is not None and answer.keeps)
        return answer

    def _give_back(
        self, connection: "_PooledConnection", address: Address, *, usable: bool
    ) -> None:
        with self._lock:
            if usable and not self._sockets.are_cut:
                self._free[address].append(connection)
                return
        connection.close()

    def cut(self) -> None:
        """End every connection, also one that is only being made; there will be no more."""
        with self._lock:
            self._sockets.cut()
            free = [connection for some in self._free.values() for connection in some]
            self._free.clear()
        for connection in free:
            connection.close()


class _StaleError(ConnectionError):
    """A connection that carried a request before turned out to be closed."""


class _PooledConnection:
    """One connection; one request at a time."""

    def __init__(self, address: Address, sockets: "_SocketHandles") -> None:
        self._sockets = sockets
        self._handles: list[socket.socket] = []
        self._used = False
        try:
            self._http = _connect(address, lambda sock: self._handles.append(sockets.add(sock)))
        except BaseException:
            sockets.drop(self._handles)
            raise
        self._socket = cast("socket.socket", self._http.sock)
        self._stream = self._socket.makefile("rb")

    def ask(self, request: bytes, *, to_head: bool) -> HttpResponse:
        try:
            self._send(request)
        except TimeoutError:  # the server is there, and slow: a new connection would not help
            raise
        except OSError as error:
            raise (_StaleError(str(error)) if self._used else error) from error
        self._used = True
        return read_response(self._stream, to_head=to_head)

    def _send(self, request: bytes) -> None:
        """Send it and wait for the first byte of the answer."""
        self._socket.sendall(request)
        # Nothing at all, on a connection that was idle, means that the server had closed it. Once
        # an answer has begun, its end is a failure, and that counts as a try.
        if not self._stream.peek(1):
            raise BrokenResponseError("the server closed the connection without an answer")

    def close(self) -> None:
        self._sockets.drop(self._handles)
        with suppress(OSError):  # TLS may have something to say to a peer that is gone
            self._stream.close()
            self._http.close()


class _SocketHandles:
    """A second handle on each socket, by which it can be cut whoever is reading from it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._handles: set[socket.socket] = set()
        self.are_cut = False

    def add(self, sock: socket.socket) -> socket.socket:
        """The handle on a socket; TLS will take the socket itself out of our hands."""
        with self._lock:
            if self.are_cut:
                raise ConnectionAbortedError("told to stop")
            # `close` does not wake a thread that reads, in any system; `shutdown` does, and needs a
            # handle that nobody else closes meanwhile.
            handle = sock.dup()
            self._handles.add(handle)
            return handle

    def drop(self, handles: list[socket.socket]) -> None:
        with self._lock:
            for handle in handles:
                self._handles.discard(handle)
                handle.close()

    def cut(self) -> None:
        with self._lock:
            self.are_cut = True
            for handle in self._handles:
                with suppress(OSError):  # not connected (any more)
                    handle.shutdown(socket.SHUT_RDWR)


def _connect(address: Address, on_socket: _OnSocket) -> HTTPConnection:
    """A connection on which a request can be sent.

    Raises:
        OSError: if there is none to be had.
    """
    # urllib3's class, not its pool: that one's sockets can't be cut from another thread.
    connection = _unconnected(address)
    connection.on_socket = on_socket
    if address.proxy and address.secure:
        connection.set_tunnel(address.host, address.port, headers=address.proxy_headers)
    try:
        connection.connect()
        connection.sock.settimeout(address.seconds_to_read)
    except HTTPException as error:  # a proxy that does not speak HTTP
        connection.close()
        raise ConnectionError(str(error) or type(error).__name__) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _unconnected(address: Address) -> "_PlainConnection | _TlsConnection":
    proxy = parse_url(address.proxy) if address.proxy else None
    host, port = address.host, address.port
    if proxy is not None:
        host, port = proxy.host or "", proxy.port or 80
    if not address.secure:
        return _PlainConnection(host, port, timeout=address.seconds_to_connect, proxy=proxy)
    context = _context(address.ca_bundle, address.certificate)
    return _TlsConnection(
        host,
        port,
        timeout=address.seconds_to_connect,
        ssl_context=context,
        proxy=proxy,
        proxy_config=ProxyConfig(context, False, None, None) if proxy else None,  # noqa: FBT003
    )


class _PlainConnection(HTTPConnection):
    on_socket: _OnSocket

    def _new_conn(self) -> socket.socket:
        return _connect_socket(self, self.on_socket)


class _TlsConnection(HTTPSConnection):
    on_socket: _OnSocket

    def _new_conn(self) -> socket.socket:
        return _connect_socket(self, self.on_socket)


def _connect_socket(connection: HTTPConnection, on_socket: _OnSocket) -> socket.socket:
    """A socket to the first of the host's addresses that takes it."""
    failure: OSError = ConnectionError(f"{connection.host} has no address")
    for family, kind, protocol, target in _targets(connection):
        sock = socket.socket(family, kind, protocol)
        try:
            # A request is one small packet: Nagle's algorithm would keep it for an acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(connection.timeout)
            # Before it connects: a server that drops packets would keep us for its whole timeout.
            on_socket(sock)
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _targets(connection: HTTPConnection) -> Iterator[tuple[int, int, int, Any]]:
    try:
        found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # no name can be like that
        raise ConnectionError(f"{connection.host} has no address") from error
    for family, kind, protocol, _, target in found:
        yield family, kind, protocol, target


@lru_cache(maxsize=8)
def _context(ca_bundle: str, certificate: str | tuple[str, str] | None) -> SSLContext:
    """Shared by all connections: reading the certificates takes longer than a listing page."""
    context = create_urllib3_context()
    if not ca_bundle:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    elif Path(ca_bundle).is_dir():
        context.load_verify_locations(capath=ca_bundle)
    else:
        context.load_verify_locations(cafile=ca_bundle)
    if certificate:
        context.load_cert_chain(*((certificate,) if isinstance(certificate, str) else certificate))
    return context
