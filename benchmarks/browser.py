"""What a browser asks that has the overview open: the stream, and its pieces whenever that says so.

A program of its own: what a browser costs is none of the server's.
"""

import http.client
import sys
from typing import Final
from urllib.parse import urlsplit

_PIECES: Final = ("sensors", "timeline", "flows", "news")


def main(address: str) -> None:
    """Follow the page at the address, and print a line each time it was renewed."""
    place = urlsplit(address)
    host, port = str(place.hostname), place.port
    pieces = http.client.HTTPConnection(host, port)
    _read(pieces, "/")
    stream = http.client.HTTPConnection(host, port)
    stream.request("GET", "/live?since=0")
    answer = stream.getresponse()
    print("open", flush=True)
    while line := answer.readline():
        if line.startswith(b"event: happened"):
            for piece in _PIECES:
                _read(pieces, f"/?part={piece}")
            print("renewed", flush=True)


def _read(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{path}: {answer.status}\n{content.decode()}")


if __name__ == "__main__":
    main(sys.argv[1])
