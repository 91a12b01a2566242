"""Who may see the page, how it tells what happens, and how it ends. No flow runs here."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest

from flowproject.dev.loop import Loop, PageSettings, Settings
from flowproject.dev.messages import EventDropped
from flowproject.errors import UsageError
from tests.flows.served_page import Asker, ServerSentEvent, number_in, paged, server_sent_events
from tests.running_loop import PATIENCE

LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Asker]:
    """The page of a loop that has nothing to run."""
    with paged(tmp_path) as asker:
        yield asker


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Asker]:
    """A page for whoever knows the token, from any machine."""
    own = PageSettings(host="0.0.0.0", token="se same&")  # noqa: S104, S106  # what is tested
    with paged(tmp_path, page=own) as asker:
        yield asker


class Stream:
    """A live stream that is read in a thread: each event with the time at which it came."""

    def __init__(self, client: httpx.Client, address: str, **headers: str) -> None:
        self.came: Queue[tuple[float, ServerSentEvent | None]] = Queue()
        self._request = (client.base_url, address, headers)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def next(self) -> ServerSentEvent | None:
        """The next event; None if the stream is over."""
        return self.came.get(timeout=PATIENCE)[1]

    def rest(self) -> list[tuple[float, ServerSentEvent]]:
        """All that comes until the stream is over."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        found = [self.came.get() for _ in range(self.came.qsize())]
        return [(at, event) for at, event in found if event]

    def _read(self) -> None:
        base, address, headers = self._request
        with (
            httpx.Client(base_url=base, trust_env=False, timeout=PATIENCE) as client,
            client.stream("GET", address, headers=headers) as answer,
        ):
            for event in server_sent_events(answer):
                self.came.put((time.monotonic(), event))
        self.came.put((time.monotonic(), None))


# ------------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    ],
)
def test_what_comes_from_elsewhere_is_neither_shown_nor_done(
    page: Asker, method: str, headers: dict[str, str]
):
    for address in ("/", "/live", "/static/page.css", "/actions/pause"):
        answer = page.client.request(method, address, headers=headers)
        assert answer.status_code == 403
        assert answer.text.startswith("This request is refused")


def test_a_link_from_another_page_may_be_followed_but_not_acted_through(page: Asker):
    link = {"sec-fetch-site": "cross-site", **LINK}
    assert page.html("/", **link).status_code == 200
    assert page.client.post("/actions/pause", headers=link).status_code == 403
    assert page.html("/", **{**link, "sec-fetch-dest": "iframe"}).status_code == 403


def test_only_a_form_is_read_and_only_a_small_one(page: Asker):
    plain = page.client.post(
        "/actions/pause", content="token=x", headers={"content-type": "text/plain"}
    )
    bare = page.client.post("/actions/pause", json={"token": "x"})
    large = page.client.post("/actions/pause", data={"token": "x" * 70_000})
    assert [answer.status_code for answer in (plain, bare, large)] == [415, 415, 413]
    assert "larger than 65536 bytes" in large.text
    assert page.client.put("/actions/pause").status_code == 405


def test_every_answer_keeps_the_browser_strict(page: Asker):
    answers = [
        page.html("/"),
        page.html("/static/page.css"),
        page.html("/nothing"),
        page.html("/actions/nothing"),
        page.html("/", host="evil.example"),
        page.client.post("/actions/pause", data={"token": "wrong"}),
        page.client.post("/actions/pause", json={}),
        page.client.put("/"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 403, 403, 415, 405]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_no_page_needs_what_its_policy_forbids(page: Asker):
    for address in ("/", "/runs", "/graph", "/nothing"):
        text = page.html(address).text
        for forbidden in ("<style", " style=", " onclick", " onload", "javascript:", "http://cdn"):
            assert forbidden not in text
        assert all("src=" in tag for tag in text.split("<script")[1:])


def test_with_a_token_only_who_shows_it_sees_the_page(guarded: Asker):
    client = guarded.client
    assert client.get("/").status_code == 403
    assert client.get("/?token=wrong").status_code == 403
    assert client.get("/static/page.css").status_code == 403
    answer = client.get("/?token=se+same%26&span=5m")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?span=5m"
    assert "content-security-policy" in answer.headers
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"origin": "http://evil.example"}).status_code == 403


def test_the_address_that_the_terminal_shows_opens_the_page(guarded: Asker):
    from flowproject.dev.messages import LoopStarted

    (started,) = guarded.loop.all(LoopStarted)
    address = started.page.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=PATIENCE) as client:
        answer = client.get(address)
    assert answer.status_code == 200
    assert "token" not in str(answer.url)


def test_a_port_that_is_taken_is_said(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(page=PageSettings(port=port))
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 can't be used"):
            Loop(tmp_path, settings=settings).run()


def test_a_host_that_is_not_this_machine_is_said(tmp_path: Path):
    for host in ("no.such.host.invalid", "192.0.2.1"):
        settings = Settings(page=PageSettings(host=host, token="t"))  # noqa: S106
        with pytest.raises(UsageError, match="can't be"):
            Loop(tmp_path, settings=settings).run()


# --------------------------------------------------------------------------------------------- live


def test_what_happens_is_told_within_a_second(page: Asker):
    stream = Stream(page.client, f"/live?since={number_in(page.html('/').text)}")
    waits = []
    for number in range(5):
        begun = time.monotonic()
        page.loop.post(f"event{number}")
        page.loop.wait(EventDropped, many=number + 1)
        at, event = stream.came.get(timeout=PATIENCE)
        assert event
        assert event.event == "happened"
        assert json.loads(event.data)["number"] == int(event.id)
        waits.append(at - begun)
        drained(stream, page)
    assert min(waits) < 1  # another process may hold the machine for a while
    page.loop.stop()
    assert stream.rest()[-1][1].event == "over"


def drained(stream: Stream, page: Asker) -> None:
    """Wait until the stream has told the newest event."""
    newest = number_in(page.html("/").text)
    while not stream.came.empty():
        _, event = stream.came.get()
        if event and int(event.id) == newest:
            return


def test_a_thousand_messages_at_once_are_few_events_and_the_last_one_is_told(page: Asker):
    stream = Stream(page.client, "/live?since=0")
    first = stream.next()
    assert first
    begun = time.monotonic()
    (started,) = page.loop.told[:1]
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for number in range(500):
            sent = {"payload": {"name": "e", "id": str(number)}}
            assert client.post(vars(started)["url"], json=sent).status_code == 200
    newest = number_in(page.html("/").text)
    assert newest >= 1000
    told: list[ServerSentEvent] = []
    while not told or int(told[-1].id) < newest:
        event = stream.next()
        assert event
        told.append(event)
    assert len(told) <= 3.1 * (time.monotonic() - begun) + 2
    page.loop.stop()
    assert [event.event for _, event in stream.rest()][-1] == "over"


def test_a_browser_that_comes_back_hears_only_what_it_has_missed(page: Asker):
    page.loop.post("first")
    page.loop.wait(EventDropped)
    newest = str(number_in(page.html("/").text))
    behind = Stream(page.client, "/live?since=0", **{"last-event-id": "1"})
    even = Stream(page.client, "/live?since=0", **{"last-event-id": newest})
    beyond = Stream(page.client, "/live?since=0", **{"last-event-id": "999999"})  # of another loop
    assert [told.id for told in (behind.next(), beyond.next()) if told] == [newest, newest]
    assert even.came.empty()
    page.loop.post("second")
    told = even.next()
    assert told
    assert int(told.id) > int(newest)
    page.loop.stop()
    for stream in (behind, even, beyond):
        assert stream.rest()[-1][1].event == "over"


# ------------------------------------------------------------------------------------------ the end

PROGRAM = """
import sys
from pathlib import Path
from flowproject.dev.messages import LoopStarted
from flowproject.dev.loop import Loop
from flowproject.dev.loop import PageSettings, Settings
def tell(message):
    if isinstance(message, LoopStarted):
        print(message.page, flush=True)
loop = Loop(Path.cwd(), listener=tell, settings=Settings(page=PageSettings()))
sys.exit(loop.run().exit_code)
"""


def test_ctrl_c_ends_a_loop_promptly_while_pages_are_open_and_they_are_told(tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as loop:
        assert loop.stdout
        address = loop.stdout.readline().strip()
        with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE) as client:
            assert client.get("/").status_code == 200  # and the connection stays open
            streams = [Stream(client, "/live?since=0") for _ in range(5)]
            for stream in streams:
                assert stream.next()
            loop.send_signal(signal.SIGINT)
            _, complaints = loop.communicate(timeout=PATIENCE)
        assert (loop.returncode, complaints) == (130, "")
    for stream in streams:
        assert stream.rest()[-1][1].event == "over"
