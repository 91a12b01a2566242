"""A bucket on a real socket: what it asks, and what it asks again."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from flowproject.errors import SourceError
from flowproject.sources.s3.bucket import Bucket, RetryLimits
from flowproject.sources.s3.http_client import Address
from tests.proxy import DROP, HANG, Answer, failure
from tests.unit.sources.s3.lake import (
    KEY_ID,
    LOCATION,
    PAGE,
    QUERY,
    QUICK,
    SECRET,
    TOKEN,
    Lake,
    access,
    port_of,
)


def test_a_page_is_asked_for_with_a_signed_request(lake: Lake):
    assert lake.keys() == b"raw/a"
    (asked,) = lake.server.asked
    assert asked.target == "/lake?list-type=2&prefix=raw%2F"
    assert asked.headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/")
    assert asked.headers["x-amz-security-token"] == TOKEN
    assert SECRET not in str(asked)


def test_requests_and_bytes_are_counted(lake: Lake):
    lake.answers(failure(503, "SlowDown"), PAGE)
    lake.keys()
    assert lake.bucket.requests == 2
    assert lake.bucket.received == len(failure(503, "SlowDown").body) + len(PAGE.body)


def test_one_connection_carries_many_requests(lake: Lake):
    threads = set()

    def plan(*_: object) -> Answer:
        threads.add(threading.get_ident())  # the server has one for each connection
        return PAGE

    lake.server.plan = plan
    for _ in range(5):
        lake.keys()
    assert len(threads) == 1


def test_threads_share_a_bucket(lake: Lake):
    def work() -> None:
        for _ in range(10):
            assert lake.keys() == b"raw/a"

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.bucket.requests == len(lake.server.asked) == 80


def test_the_headers_of_an_object_are_asked_for_by_its_exact_key(lake: Lake):
    lake.answers(Answer(status=200, headers={"ETag": '"x"', "Content-Length": "1000000"}))
    assert lake.bucket.head("a//b c+%\n\udcff") == {"etag": '"x"', "content-length": "1000000"}
    assert lake.server.asked[0].target == "/lake/a//b%20c%2B%25%0A%FF"


@pytest.mark.parametrize("listing", [PAGE, failure(403, "AccessDenied")], ids=str)
def test_a_missing_object_is_none(lake: Lake, listing: Answer):
    lake.server.plan = lambda asked, _: Answer(status=404) if asked.method == "HEAD" else listing
    assert lake.bucket.head("raw/x.csv") is None


def test_an_object_in_a_missing_bucket_is_an_error(lake: Lake):
    lake.answers(failure(404, "NoSuchBucket"))
    with pytest.raises(SourceError, match="There is no bucket 'lake'"):
        lake.bucket.head("raw/x.csv")


@pytest.mark.parametrize(
    "trouble",
    [
        failure(503, "SlowDown"),
        failure(500, "InternalError"),
        failure(400, "RequestTimeout"),
        failure(429, "TooManyRequests"),
        Answer(status=502, body=b"<html>Bad gateway</html>"),
        DROP,
        PAGE.cut_at(0.5),
        PAGE.cut_unseen(50),
        Answer(status=200, body=b"<html>Please wait</html>"),
        Answer(status=200),
    ],
    ids=str,
)
@pytest.mark.parametrize("before", [(), (PAGE,)], ids=["first", "later"])
def test_what_passes_is_tried_again(lake: Lake, trouble: Answer, before: tuple[Answer, ...]):
    lake.answers(*before, trouble, trouble, PAGE)
    for _ in before:
        lake.keys()
    assert lake.keys() == b"raw/a"
    assert len(lake.server.asked) == len(before) + 3


def test_a_server_is_left_alone_for_as_long_as_it_asks(lake: Lake):
    lake.answers(failure(503, "SlowDown", **{"Retry-After": "1"}), PAGE)
    started = time.monotonic()
    lake.keys()
    assert time.monotonic() - started >= 1


def test_a_server_that_asks_for_more_than_there_is_patience_for_is_not_waited_for(lake: Lake):
    lake.answers(failure(503, "SlowDown", **{"Retry-After": "3600"}))
    assert "503 SlowDown" in lake.message()
    assert len(lake.server.asked) == 1


def test_patience_ends_and_the_error_says_how_much_there_was(lake: Lake):
    lake.answers(failure(503, "SlowDown", "Reduce your request rate."))
    message = lake.message()
    assert "503 SlowDown: Reduce your request rate" in message
    assert f"Tried {QUICK.tries} times" in message
    assert len(lake.server.asked) == QUICK.tries


def test_a_connection_that_was_closed_while_idle_is_no_failure(lake: Lake):
    lake.bucket._limits = RetryLimits(tries=1, first_tries=1)
    lake.answers(PAGE, DROP, PAGE)
    lake.keys()
    assert lake.keys() == b"raw/a"


def test_a_server_that_never_answered_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = pytest.raises(SourceError, match="can't be reached: Connection refused")
    with Bucket(LOCATION, lambda _: access(port), limits=QUICK) as bucket, refused as raised:
        bucket.page(QUERY)
    assert f"http://127.0.0.1:{port}" in str(raised.value)
    assert f"Tried {QUICK.first_tries} times" in str(raised.value)


def test_a_name_that_leads_nowhere_is_an_error():
    nowhere = Address(secure=False, host=f"{'x' * 64}.invalid", port=80)
    lost = pytest.raises(SourceError, match="can't be reached: .* has no address")
    with Bucket(LOCATION, lambda _: access(1, address=nowhere), limits=QUICK) as bucket, lost:
        bucket.page(QUERY)


def test_a_server_that_is_silent_is_asked_again(lake: Lake):
    impatient = Address(
        secure=False, host="127.0.0.1", port=port_of(lake.server), seconds_to_read=0.1
    )
    lake.answers(HANG, PAGE)
    with Bucket(LOCATION, lambda _: access(1, address=impatient), limits=QUICK) as bucket:
        assert bucket.page(QUERY).first == b"raw/a"


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
        bucket = Bucket(LOCATION, lambda _: access(port), limits=QUICK)
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
        bucket = Bucket(LOCATION, lambda _: access(port), limits=QUICK)
        connecting = until(lambda: bucket._connections._sockets._handles)
        assert ends(bucket, connecting)
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
