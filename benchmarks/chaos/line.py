"""The line to an S3 server, which answers for it, loses answers and is slow: real HTTP."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

from benchmarks.chaos.bus import reset

__all__ = ["Line"]

_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding"}
_SLOW: Final = 0.03
_CODES: Final = {500: "InternalError", 503: "SlowDown"}


class Line:
    """Passes requests on, but for what the fault of the moment does to them."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._fault = ""
        self._struck = 0
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def broken(self, fault: str, store: Any) -> Iterator[Any]:
        """The store behind this line, on which this happens for as long as it lasts."""
        self._fault, self._struck = fault, 0
        yield store
        self._fault = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Let a request and its answer pass, or not."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self._struck += 1
        fault = self._fault
        if "once" in fault and self._struck > 1:
            fault = ""
        if "slow" in fault:
            time.sleep(_SLOW)
        if "500" in fault or "503" in fault:
            if "after it was done" in fault:
                self._forward(handler, body)
            _refuse(handler, 503 if "503" in fault else 500)
            return
        status, headers, answer = self._forward(handler, body)
        if "reset" in fault:
            reset(handler)
            return
        _send(handler, status, headers, answer)

    def _forward(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP}
            return response.status, kept, response.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                line.answer(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nobody reads an access log."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what this is about."""


def _refuse(handler: BaseHTTPRequestHandler, status: int) -> None:
    code = _CODES[status]
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    _send(handler, status, {"Content-Type": "application/xml"}, body)


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
) -> None:
    handler.send_response_only(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    if not any(name.lower() == "content-length" for name in headers):
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
