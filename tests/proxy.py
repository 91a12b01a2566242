"""A proxy in front of an HTTP server that a test tells what to do with each request.

It speaks real HTTP over real sockets, so that what it does to an answer is what a network, a busy
server or a middlebox does to it.
"""

import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

__all__ = ["DROP", "HANG", "Answer", "Asked", "Plan", "Proxy", "failure", "proxied"]

_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding"}
_PAGE_SIZE: Final = re.compile("max-keys=[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived, with its number (the first is 1)."""

    number: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def query(self) -> dict[str, str]:
        """The parameters, decoded."""
        asked = parse_qs(urlsplit(self.target).query, keep_blank_values=True, errors="replace")
        return {name: values[-1] for name, values in asked.items()}

    @property
    def lists(self) -> bool:
        """Whether it asks for a page of a listing."""
        return self.method == "GET" and self.query.get("list-type") == "2"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back.

    `cut` is the number of bytes of the body after which the line goes dead; `unsized` leaves the
    length of the body unsaid, so that the client can't know that anything is missing.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    unsized: bool = False

    def with_body(self, body: bytes) -> "Answer":
        """The same answer about something else."""
        headers = {key: value for key, value in self.headers.items() if not _is_length(key)}
        return replace(self, headers=headers, body=body)

    def cut_at(self, share: float) -> "Answer":
        """The same answer, of which only this share arrives."""
        return replace(self, cut=int(len(self.body) * share))

    def cut_unseen(self, size: int) -> "Answer":
        """The same answer, of which only `size` bytes arrive, as if that were all."""
        return replace(self.with_body(self.body[:size]), unsized=True)


DROP: Final = Answer(status=0)
"""No answer: the connection is reset."""

HANG: Final = Answer(status=-1)
"""No answer: the connection stays open, until the proxy is stopped."""

Plan = Callable[[Asked, Callable[[], Answer]], Answer]
"""What to do with a request; the second argument asks the server behind the proxy."""


def failure(status: int, code: str, message: str = "", **headers: str) -> Answer:
    """An error in S3's words."""
    body = f"<Error><Code>{code}</Code><Message>{message or code}</Message></Error>"
    return Answer(
        status=status,
        headers={"Content-Type": "application/xml", **headers},
        body=f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(),
    )


class Proxy:
    """Passes everything on until `plan` says otherwise, and remembers what was asked."""

    def __init__(self, upstream: str) -> None:
        self.plan: Plan = lambda _, forward: forward()
        self.asked: list[Asked] = []
        self.page_size = 0  # keys on a page, at most; 0: as many as were asked for
        self.clock: float | None = None  # seconds since 1970 in the header Date; None: the truth
        self._upstream = urlsplit(upstream).netloc
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def pages(self) -> list[Asked]:
        """The requests for pages of a listing, in the order in which they came."""
        return [asked for asked in self.asked if asked.lists]

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def note(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Asked:
        """The request with its number; kept."""
        with self._lock:
            asked = Asked(
                number=len(self.asked) + 1,
                method=method,
                target=target,
                headers=headers,
                body=body,
            )
            self.asked.append(asked)
        return asked

    def answer(self, asked: Asked) -> Answer:
        """What the plan says; a request that hangs does so here."""
        answer = self.plan(asked, lambda: self._forward(asked))
        if answer is HANG:
            self._stopped.wait()
            return DROP
        return answer

    def _forward(self, asked: Asked) -> Answer:
        target = asked.target
        if self.page_size:
            target = _PAGE_SIZE.sub(f"max-keys={self.page_size}", target)
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request(asked.method, target, asked.body, asked.headers)
            response = connection.getresponse()
            body = response.read()
            kept = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in _HOP_BY_HOP
            }
            return Answer(status=response.status, headers=kept, body=body)
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in _HOP_BY_HOP
                }
                asked = proxy.note(self.command, self.path, headers, self.rfile.read(length))
                _send(self, proxy.answer(asked), proxy.clock)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Tests read what was asked, not the access log."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is what some tests are about."""


def _send(handler: BaseHTTPRequestHandler, answer: Answer, clock: float | None) -> None:
    if answer is DROP:
        _reset(handler)
        return
    headers = dict(answer.headers)
    if clock is not None:
        headers = {key: value for key, value in headers.items() if key.lower() != "date"}
        headers["Date"] = formatdate(clock, usegmt=True)
    if answer.unsized:
        headers["Connection"] = "close"
        handler.close_connection = True
    elif not any(map(_is_length, headers)):
        headers["Content-Length"] = str(len(answer.body))
    handler.send_response_only(answer.status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(answer.body[: answer.cut])
    if answer.cut is not None:
        handler.wfile.flush()
        _reset(handler)


def _is_length(header: str) -> bool:
    return header.lower() == "content-length"


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection as a machine that crashed does: no farewell."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A proxy for as long as it is needed."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.stop()
