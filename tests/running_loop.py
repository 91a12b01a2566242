"""A local loop in a thread of its own, with all that it told; and waiting for what must come."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

from flowproject.dev.loop import Loop, Result
from flowproject.dev.messages import LoopStarted, Message, RunPrinted

__all__ = ["PATIENCE", "RunningLoop", "alive", "wait_for"]

Kind = TypeVar("Kind", bound=Message)
PATIENCE = 60.0


class RunningLoop:
    """A loop in a thread of its own, with all that it told."""

    def __init__(self, loop: Callable[[Callable[[Message], None]], Loop]) -> None:
        self.told: list[Message] = []
        self._news = threading.Condition()
        self._loop = loop(self._hear)
        self._result: list[Result] = []
        self._thread = threading.Thread(target=lambda: self._result.append(self._loop.run()))
        self._thread.start()

    def _hear(self, message: Message) -> None:
        with self._news:
            self.told.append(message)
            self._news.notify_all()

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [item for item in self.told if isinstance(item, kind)]

    def wait(self, kind: type[Kind], many: int = 1) -> list[Kind]:
        """The messages of a kind, once there are that many."""
        with self._news:
            enough = self._news.wait_for(lambda: len(self.all(kind)) >= many, PATIENCE)
        assert enough, self.told
        return self.all(kind)

    def post(self, event: str, **payload: Any) -> None:
        (started,) = self.wait(LoopStarted)
        body = {"name": event, "payload": {"name": event, "id": f"id-{event}", **payload}}
        kind = {"Content-Type": "application/json"}
        urlopen(Request(started.url, json.dumps(body).encode(), kind)).close()  # noqa: S310

    def said(self) -> list[Any]:
        """What the flows said, in order."""
        parts = [item.line.partition("SAID ") for item in self.all(RunPrinted)]
        return [json.loads(text) for _, mark, text in parts if mark]

    def end(self) -> Result:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self._result[0]

    def stop(self) -> Result:
        self.wait(LoopStarted)
        if not self._result:
            self._loop.stop()
        return self.end()


def wait_for(check: Callable[[], Any]) -> Any:
    """What the check gives once that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def alive(process: int) -> bool:
    """Whether a process goes on, by its number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
