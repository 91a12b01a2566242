"""Processes that are started by a fork, and killed with `kill -9` when their time has come."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Children"]


class Children:
    """Those that run, when each of them is killed, and who wants to hear how it ended."""

    def __init__(self) -> None:
        self._running: dict[int, Callable[[int], None]] = {}
        self._deadlines: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(
        self, work: Callable[[], int], ended: Callable[[int], None], life: float | None = None
    ) -> None:
        """Have a child do some work; after `life` seconds it is killed.

        `ended` hears what the work came to, or minus the number of the signal that killed it.
        """
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(work())
        self._running[pid] = ended
        if life is not None:
            self._deadlines[pid] = time.monotonic() + life

    def look(self) -> None:
        """Kill whose time has come, and hear of who has ended."""
        for pid, deadline in list(self._deadlines.items()):
            if time.monotonic() >= deadline:
                del self._deadlines[pid]
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for pid in list(self._running):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._deadlines.pop(pid, None)
                self._running.pop(pid)(os.waitstatus_to_exitcode(status))
