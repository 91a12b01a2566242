"""A project whose local loop serves a page, and how a browser and a program ask that page."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flowproject.dev.loop import Loop, PageSettings, Settings
from flowproject.dev.messages import LoopStarted
from flowproject.dev.scheduler import SystemClock
from tests.running_loop import PATIENCE, RunningLoop

__all__ = [
    "Asker",
    "Jumping",
    "ServerSentEvent",
    "asking",
    "number_in",
    "paged",
    "server_sent_events",
    "token_of",
]

JSON = {"accept": "application/json"}


class Jumping(SystemClock):
    """A clock on which what is due next becomes due when a test says so, and never by itself."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._due = threading.Semaphore(0)
        self._news = threading.Semaphore(0)

    def now(self) -> datetime:
        return super().now() + self._ahead

    def jump(self) -> None:
        """Let the next scheduled run start."""
        self._due.release()
        assert self._news.acquire(timeout=PATIENCE)

    async def sleep_until(self, when: datetime) -> None:
        while not self._due.acquire(blocking=False):  # noqa: ASYNC110  # released in another thread
            await asyncio.sleep(0.02)
        self._ahead += max(timedelta(), when - self.now())
        self._news.release()


@dataclass(frozen=True, kw_only=True)
class ServerSentEvent:
    """One server-sent event."""

    event: str
    data: str
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Who asks the page of a loop."""

    client: httpx.Client
    loop: RunningLoop

    def html(self, address: str, **headers: str) -> httpx.Response:
        return self.client.get(address, headers=headers)

    def view(self, address: str) -> Any:
        """The view at the address, as a machine gets it."""
        answer = self.client.get(address, headers=JSON)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["v"] == 1
        return told["view"]

    def act(self, name: str, **values: str) -> httpx.Response:
        """Post the form of an action, as the page does."""
        values = {"token": token_of(self.client), **values}
        origin = str(self.client.base_url).rstrip("/")
        return self.client.post(f"/actions/{name}", data=values, headers={"origin": origin})

    def result(self, name: str, **values: str) -> Any:
        """What came of the action, as a machine gets it."""
        values = {"token": token_of(self.client), **values}
        return self.client.post(f"/actions/{name}", data=values, headers=JSON).json()["view"]


def token_of(client: httpx.Client) -> str:
    """The token in the form of a plan."""
    found = re.search(
        r'name="token" value="([^"]+)"', client.get("/actions/pause?sensor=days").text
    )
    return found[1] if found else ""


@contextmanager
def asking(loop: RunningLoop) -> Iterator[Asker]:
    """Somebody who asks the page of this loop, and has shown its token if there is one."""
    (started,) = loop.wait(LoopStarted)
    address = httpx.URL(started.page)
    base = address.copy_with(query=None, host="127.0.0.1")
    with httpx.Client(base_url=base, trust_env=False, timeout=PATIENCE) as client:
        yield Asker(client=client, loop=loop)


@contextmanager
def paged(
    root: Path, *, page: PageSettings | None = None, clock: Jumping | None = None, **settings: Any
) -> Iterator[Asker]:
    """A loop with a page, and somebody who asks it."""
    chosen = Settings(page=page or PageSettings(), **settings)
    loop = RunningLoop(lambda tell: Loop(root, listener=tell, settings=chosen, clock=clock))
    try:
        with asking(loop) as asker:
            yield asker
    finally:
        loop.stop()


def server_sent_events(answer: httpx.Response) -> Iterator[ServerSentEvent]:
    """The server-sent events of a stream, as they come."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, text = line.partition(": ")
        if line:
            fields[name] = f"{fields[name]}\n{text}" if name == "data" and name in fields else text
        elif "event" in fields:
            yield ServerSentEvent(
                event=fields["event"], data=fields["data"], id=fields.get("id", "")
            )
            fields = {}


def number_in(page: str) -> int:
    """How many things had happened when the page was made."""
    found = re.search(r'data-live="/live\?since=(\d+)"', page)
    assert found
    return int(found[1])
