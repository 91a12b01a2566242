"""Speaks HTTP to one server, over connections that stay open and can all be cut.

urllib3 speaks TLS and talks to proxies; the sockets are ours, so that whoever waits for a server
that does not answer can be told to stop. So is the reader, for the part of HTTP/1.1 that S3 speaks.
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
from typing import Any, BinaryIO, Final, cast

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["Address", "BrokenResponseError", "ConnectionPool", "HttpResponse", "read_response"]

# Against a server that never stops; a page of the thousand longest keys is far smaller.
_LINE_BYTES: Final = 1 << 16
_HEADERS: Final = 200
_BODY_BYTES: Final = 1 << 26
_WITHOUT_BODY: Final = (204, 304)
_FIRST_FINAL_STATUS: Final = 200

_OnSocket = Callable[[socket.socket], None]
"""Is told of a socket before it connects."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Says which server it is, and how to get there."""

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


class BrokenResponseError(ConnectionError):
    """The connection ended before the answer did, or what came is no HTTP."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpResponse:
    """Holds what a server said; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    keeps: bool
    """Whether the connection can carry another request."""


class ConnectionPool:
    """Keeps the connections of one bucket; threads may share them.

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
    """Carries one request at a time."""

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
    """Keeps a second handle on each socket, to cut it whoever is reading from it."""

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


# By hand, because http.client makes an e-mail message out of the headers, and urllib3 a response
# around that: a tick of a million keys would take a tenth more of a processor (ADR 0039).
def read_response(stream: BinaryIO, *, to_head: bool = False) -> HttpResponse:
    """The next answer; one to a HEAD request has no body, whatever its headers say.

    Raises:
        BrokenResponseError: if it is not there whole.
        OSError: whatever else befalls the connection, a timeout for one.
    """
    version, status = _read_status(stream)
    headers = _read_headers(stream)
    # "100 Continue" and its like come before the answer, and proxies send them unasked.
    while status < _FIRST_FINAL_STATUS:
        version, status = _read_status(stream)
        headers = _read_headers(stream)
    if to_head or status in _WITHOUT_BODY:
        body, ends = b"", True
    else:
        body, ends = _read_body(stream, headers)
    return HttpResponse(
        status=status, headers=headers, body=body, keeps=ends and _keeps(version, headers)
    )


def _read_status(stream: BinaryIO) -> tuple[bytes, int]:
    line = stream.readline(_LINE_BYTES)
    version, _, rest = line.partition(b" ")
    status = rest[:3]
    # An error here, because what speaks another protocol may well go on sending for ever.
    if not (version.startswith(b"HTTP/1.") and status.isdigit()):
        shown = line[:40].decode(errors="replace")
        raise BrokenResponseError(f"what came is no HTTP: {shown!r}" if line else "nothing came")
    return version, int(status)


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(_HEADERS):
        line = stream.readline(_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise BrokenResponseError("the answer's headers are cut off")
        name, _, value = line.decode("latin-1").partition(":")
        if not (name := name.strip().lower()):
            return headers
        headers[name] = value.strip()
    raise BrokenResponseError(f"the answer has more than {_HEADERS} headers")


def _read_body(stream: BinaryIO, headers: dict[str, str]) -> tuple[bytes, bool]:
    """The body, and whether its end was told by anything but the end of the connection."""
    # Chunks go before a length: that is the standard's order, and who reads the other way round can
    # be made to take one answer for two.
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream), True
    if (length := headers.get("content-length")) is None:
        return _checked(stream.read(_BODY_BYTES + 1)), False
    return _read_exactly(stream, _number(length, 10)), True


def _read_chunks(stream: BinaryIO) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while size := _number(stream.readline(_LINE_BYTES).partition(b";")[0].decode("latin-1"), 16):
        # Before the chunk is read: its size is only what the server says.
        total += size
        chunks.append(_read_exactly(stream, size, before=total))
        stream.readline(_LINE_BYTES)
    _read_headers(stream)
    return b"".join(chunks)


def _read_exactly(stream: BinaryIO, size: int, before: int = 0) -> bytes:
    if max(size, before) > _BODY_BYTES:
        raise _too_large()
    data = stream.read(size)
    if len(data) != size:
        raise BrokenResponseError(f"{len(data)} of {size} bytes came")
    return data


def _checked(body: bytes) -> bytes:
    if len(body) > _BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> BrokenResponseError:
    return BrokenResponseError(f"the answer has more than {_BODY_BYTES} bytes")


def _number(text: str, base: int) -> int:
    digits = text.strip()
    if not digits.isalnum():  # int() would take "-1", "1_0" and nothing but a sign, too
        raise BrokenResponseError(f"the answer's length is {digits[:20]!r}")
    try:
        return int(digits, base)
    except ValueError as error:
        raise BrokenResponseError(f"the answer's length is {digits[:20]!r}") from error


def _keeps(version: bytes, headers: dict[str, str]) -> bool:
    # HTTP/1.0 closes unless it says otherwise, HTTP/1.1 keeps unless it says otherwise.
    wish = headers.get("connection", "").lower()
    return "close" not in wish and (version != b"HTTP/1.0" or "keep-alive" in wish)
