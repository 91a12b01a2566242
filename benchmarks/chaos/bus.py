"""An event bus on 127.0.0.1 that does to an event what the sender's dice say.

The fate of an event is the end of the address that it is sent to, so that all is drawn by the
actor whose turn it is. Everything else is as always: Metaflow's `ArgoEvent`, HTTP, a socket.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import quote, unquote

__all__ = ["Bus", "Event", "reset"]

Event = dict[str, Any]

_STATUS: Final = {
    "bus: answers 500": 500,
    "bus: answers 500 and has taken it": 500,
    "bus: answers 429": 429,
    "bus: answers 400": 400,
}
_NOT_TAKEN: Final = (
    "bus: hangs and has not taken it",
    "bus: answers 500",
    "bus: answers 429",
    "bus: answers 400",
)


class Bus:
    """Takes events and tells `taken` of each, with its fate and what `now` was when it was sent.

    On a machine that has much to do an event can come after its sender has given up, and so later.
    """

    def __init__(self) -> None:
        self.taken: Callable[[Event, str, str], None] = lambda _event, _fate, _now: None
        self.now = ""
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self._url = f"http://127.0.0.1:{self._server.server_port}/"
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            self._refusing = f"http://127.0.0.1:{nobody.getsockname()[1]}/"

    def address(self, fate: str = "") -> str:
        """Where to send an event that is to have this fate."""
        return self._refusing if "refuses" in fate else f"{self._url}{quote(fate)}?{self.now}"

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        bus = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fate, _, now = unquote(self.path[1:]).rpartition("?")
                if fate not in _NOT_TAKEN:
                    bus.taken(event, fate, now)
                if "hangs" in fate:
                    bus.wait()
                if "hangs" in fate or "resets" in fate:
                    reset(self)
                    return
                self.send_response(_STATUS.get(fate, 200))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads an access log."""

        return Handler

    def wait(self) -> None:
        """Let who asked wait for nothing."""
        self._stopped.wait(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A sender that went away is what this is about."""


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection as a machine that crashed does: no farewell."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RDWR)
