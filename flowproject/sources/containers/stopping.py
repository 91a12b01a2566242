"""Work that any thread can end: a request that is under way is given up at once."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Lock
from typing import Any, TypeVar

from flowproject.sources import stopped

__all__ = ["Stoppable"]

_T = TypeVar("_T")


class Stoppable:
    """Runs coroutines until it is told to stop, and none after that. Thread-safe."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}
        self._stopped = False
        self._lock = Lock()

    def run(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What the coroutine returns.

        Raises:
            SourceError: if it was stopped before or meanwhile.
        """
        return asyncio.run(self._guarded(start))

    def stop(self) -> None:
        """End whatever runs, and whatever will."""
        with self._lock:
            self._stopped = True
            # As long as a task stands here, its loop is not closed.
            for task, loop in self._running.items():
                loop.call_soon_threadsafe(task.cancel)

    async def _guarded(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        task = asyncio.create_task(self._unless_stopped(start))
        with self._lock:
            self._running[task] = asyncio.get_running_loop()
        try:
            answer = await task
        except asyncio.CancelledError:
            raise stopped() from None
        finally:
            with self._lock:
                del self._running[task]
        return answer

    async def _unless_stopped(self, start: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        if self._stopped:
            raise stopped()
        return await start()
