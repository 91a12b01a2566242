"""Holds a connection to a server in a thread that can be left at any moment.

Drivers wait for a server as long as that takes; whoever looks at a source must not.
"""

import threading
from collections.abc import Callable
from contextlib import closing
from queue import Empty, Queue
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from flowproject.sources import stopped

__all__ = ["ConnectionThread"]

_CANCEL_SECONDS: Final = 1.0
_CANCEL_AGAIN_SECONDS: Final = 0.5
_CANCEL_TIMES: Final = 20
_CLOSE_SECONDS: Final = 2.0  # to end the session; the server ends it later by itself


class _Connection(Protocol):
    def close(self) -> None: ...


_C = TypeVar("_C", bound=_Connection)
_T = TypeVar("_T")


class ConnectionThread(Generic[_C]):
    """A connection that is opened, used and closed in a thread, which nobody has to wait for.

    To leave it ends what runs on the server, too: `cancel` says how, from another thread.
    """

    def __init__(
        self, opened: Callable[[], _C], cancel: Callable[[_C], object], *, name: str
    ) -> None:
        self._opened = opened
        self._cancel = cancel
        self._name = name
        self._answers: Queue[Any] = Queue()
        self._connection: _C | None = None
        # Whether it was opened: of what took too long the message must say which of both it was.
        self.is_open = False
        self._left = threading.Event()
        self._ended = threading.Event()

    def run(self, work: Callable[[_C], _T], seconds: float) -> _T:
        """Run `work` in a thread with the connection, for at most so many seconds: what it returns.

        Raises:
            TimeoutError: if it takes longer; it is ended on the server.
            SourceError: if it was left meanwhile.
        """
        # A daemon: a connection that hangs must not keep the process alive.
        thread = threading.Thread(target=self._work, args=(work,), name=self._name, daemon=True)
        thread.start()
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            self.leave()
            raise TimeoutError from None
        except BaseException:  # Ctrl-C: nothing that was started here may run on, and cost
            self.leave()
            raise
        thread.join(_CLOSE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return cast("_T", answer)

    def leave(self) -> None:
        """Stop waiting, and end what runs on the server; returns after a second at most."""
        self._left.set()
        self._answers.put(stopped())
        if self._ended.is_set():
            return
        canceller = threading.Thread(
            target=self._cancel_until_ended, name=f"{self._name}-cancel", daemon=True
        )
        canceller.start()
        canceller.join(_CANCEL_SECONDS)

    def check_not_left(self) -> None:
        """Raise the SourceError of what was stopped, if nobody waits any more."""
        if self._left.is_set():
            raise stopped()

    def _work(self, work: Callable[[_C], object]) -> None:
        try:
            self.check_not_left()
            connection = self._opened()
        except Exception as error:  # noqa: BLE001  # handed to whoever waits, who raises it
            self._answer(error)
            return
        self.is_open = True
        with closing(connection):
            self._connection = connection
            try:
                self.check_not_left()
                answer = work(connection)
            except Exception as error:  # noqa: BLE001  # the same
                answer = error
            self._connection = None
            self._answer(answer)

    def _answer(self, answer: object) -> None:
        self._ended.set()
        self._answers.put(answer)

    def _cancel_until_ended(self) -> None:
        """Cancel on the server until the work has ended."""
        # More than once: a query may begin after the first time.
        for _ in range(_CANCEL_TIMES):
            if (connection := self._connection) is not None:
                self._cancel(connection)
            if self._ended.wait(_CANCEL_AGAIN_SECONDS):
                return
