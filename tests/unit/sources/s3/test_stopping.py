"""A bucket that is told to stop, whatever it is waiting for."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from flowproject.errors import SourceError
from flowproject.sources.s3.transport import Bucket
from tests.proxy import HANG, failure
from tests.unit.sources.s3.lake import (
    LOCATION,
    QUERY,
    QUICK,
    Lake,
    access,
)

SECONDS = 25.0
"""Less than a request, a connection or a pause takes that nobody stops."""


def ends(bucket: Bucket, after: Callable[[], object]) -> bool:
    """Whether a request ends that the bucket is told to stop, long before it would by itself."""
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            bucket.page(QUERY)
        except SourceError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    after()
    bucket.cancel()
    thread.join(SECONDS)
    return [str(error) for error in raised] == ["The source was told to stop before it was done."]


def until(condition: Callable[[], object]) -> Callable[[], None]:
    def wait() -> None:
        while not condition():
            time.sleep(0.005)

    return wait


def test_a_request_that_hangs_ends_when_told(lake: Lake):
    lake.answers(HANG)
    assert ends(lake.bucket, until(lambda: lake.server.asked))


def test_a_body_that_trickles_ends_when_told():
    silent = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<List")
                silent.set()
                peer.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        bucket = Bucket(LOCATION, lambda _: access(port), patience=QUICK)
        assert ends(bucket, silent.wait)
        thread.join()


def test_a_connection_that_is_not_taken_ends_when_told():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(busy.getsockname())
        port = busy.getsockname()[1]
        bucket = Bucket(LOCATION, lambda _: access(port), patience=QUICK)
        dialling = until(lambda: bucket._connections._wires._handles)
        assert ends(bucket, dialling)
        for filler in fillers:
            filler.close()


def test_a_pause_ends_when_told(lake: Lake):
    lake.answers(failure(503, "SlowDown", **{"Retry-After": "50"}))
    assert ends(lake.bucket, until(lambda: lake.bucket.requests))


def test_nothing_is_asked_after_it_was_told_to_stop(lake: Lake):
    lake.bucket.cancel()
    assert "told to stop" in lake.message()
    with pytest.raises(SourceError, match="told to stop"):
        lake.bucket.head("x")
    assert lake.server.asked == []
