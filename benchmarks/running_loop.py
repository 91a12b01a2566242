"""A local loop in a thread of its own, and what it told and when."""

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from flowproject.dev.loop import Loop, Settings
from flowproject.dev.messages import LoopStarted, Message, RunFinished

__all__ = ["RunningLoop"]

_PATIENCE: Final = 180


class RunningLoop:
    """A loop that runs until it is stopped. It listens when it has been made."""

    def __init__(self, root: Path, settings: Settings | None = None) -> None:
        self._loop = Loop(root, listener=self._hear, settings=settings)
        self._told: list[tuple[float, Message]] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()
        started: LoopStarted = self.wait(lambda one: isinstance(one, LoopStarted))[1]
        self.url = started.url

    def forget(self) -> None:
        """Forget what it has told so far."""
        self._told.clear()

    def has_told(self, wanted: Callable[[Message], bool]) -> bool:
        """Whether it has told such a message."""
        return any(wanted(message) for _, message in self._told)

    def wait(self, wanted: Callable[[Message], bool]) -> tuple[float, Any]:
        """When it told the first such message, and that message."""

        def found() -> tuple[float, Message] | None:
            return next(((at, told) for at, told in self._told if wanted(told)), None)

        with self._news:
            answer = self._news.wait_for(found, _PATIENCE)
        if answer is None:
            raise RuntimeError(f"the loop did not tell it, but: {self._told}")
        return answer

    def wait_for_success(self, flow: str) -> None:
        """Return when a run of the flow is over, which must not have failed."""
        _, finished = self.wait(lambda one: isinstance(one, RunFinished) and one.flow == flow)
        if not finished.ok:
            raise RuntimeError("\n".join(finished.tail))

    def stop(self) -> None:
        """Return when nothing of it is left."""
        self._loop.stop()
        self._thread.join(_PATIENCE)

    def _hear(self, message: Message) -> None:
        with self._news:
            self._told.append((perf_counter(), message))
            self._news.notify_all()
