"""New connections to a server: urllib3 speaks TLS and talks to proxies, the socket is ours.

It is ours so that whoever waits for a server that does not answer can be told to stop.
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from ssl import CERT_NONE, SSLContext
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["Address", "Dialled", "dial"]

Dialled = Callable[[socket.socket], None]
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


def dial(address: Address, dialled: Dialled) -> HTTPConnection:
    """A connection on which a request can be sent.

    Raises:
        OSError: if there is none to be had.
    """
    link = _link(address)
    link.dialled = dialled
    if address.proxy and address.secure:
        link.set_tunnel(address.host, address.port, headers=address.proxy_headers)
    try:
        link.connect()
        link.sock.settimeout(address.seconds_to_read)
    except HTTPException as error:  # a proxy that does not speak HTTP
        link.close()
        raise ConnectionError(str(error) or type(error).__name__) from error
    except BaseException:
        link.close()
        raise
    return link


def _link(address: Address) -> "_Link | _SecureLink":
    proxy = parse_url(address.proxy) if address.proxy else None
    host, port = address.host, address.port
    if proxy is not None:
        host, port = proxy.host or "", proxy.port or 80
    if not address.secure:
        return _Link(host, port, timeout=address.seconds_to_connect, proxy=proxy)
    context = _context(address.ca_bundle, address.certificate)
    return _SecureLink(
        host,
        port,
        timeout=address.seconds_to_connect,
        ssl_context=context,
        proxy=proxy,
        proxy_config=ProxyConfig(context, False, None, None) if proxy else None,  # noqa: FBT003
    )


class _Link(HTTPConnection):
    dialled: Dialled

    def _new_conn(self) -> socket.socket:
        return _connected(self, self.dialled)


class _SecureLink(HTTPSConnection):
    dialled: Dialled

    def _new_conn(self) -> socket.socket:
        return _connected(self, self.dialled)


def _connected(link: HTTPConnection, dialled: Dialled) -> socket.socket:
    """A socket to the first of the host's addresses that takes it."""
    failure: OSError = ConnectionError(f"{link.host} has no address")
    for family, kind, protocol, target in _targets(link):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(link.timeout)
            dialled(sock)
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _targets(link: HTTPConnection) -> Iterator[tuple[int, int, int, Any]]:
    try:
        found = socket.getaddrinfo(link.host, link.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # no name can be like that
        raise ConnectionError(f"{link.host} has no address") from error
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
