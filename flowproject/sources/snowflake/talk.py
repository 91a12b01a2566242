"""One talk with Snowflake in a thread of its own: whoever waits for it can leave at any moment.

Leaving ends what runs on the server, too. What is asked and what an answer means stands elsewhere.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from flowproject.secrecy import safe
from flowproject.sources import stopped

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

__all__ = ["Talk"]

_CANCEL_SECONDS: Final = 1.0
_CANCEL_AGAIN_SECONDS: Final = 0.5
_CANCEL_TIMES: Final = 20
_CLOSE_SECONDS: Final = 2.0  # to end the session; the server ends it later by itself

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Talk:
    """A connection, from opening to closing, and what is done with it."""

    def __init__(self, opened: Callable[[], "SnowflakeConnection"]) -> None:
        self._opened = opened
        self._answers: Queue[Any] = Queue()
        self._connection: SnowflakeConnection | None = None
        self.is_in = False  # whether Snowflake has opened the connection
        self._left = threading.Event()
        self._ended = threading.Event()

    def held(self, work: Callable[["SnowflakeConnection"], _T], seconds: float) -> _T:
        """What `work` returns when it is given the connection.

        Raises:
            TimeoutError: if it takes longer; it is ended on the server.
            SourceError: if it was left meanwhile.
        """
        # A daemon: a connection that hangs must not keep the process alive.
        talk = threading.Thread(target=self._talk, args=(work,), name="snowflake", daemon=True)
        talk.start()
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            self.leave()
            raise TimeoutError from None
        except BaseException:  # Ctrl-C: nothing that was started here may run on, and cost
            self.leave()
            raise
        talk.join(_CLOSE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return cast("_T", answer)

    def leave(self) -> None:
        """Stop waiting, and end what runs on the server; returns after a second at most."""
        self._left.set()
        self._answers.put(stopped())
        if self._ended.is_set():
            return
        canceller = threading.Thread(target=self._cancel, name="snowflake-cancel", daemon=True)
        canceller.start()
        canceller.join(_CANCEL_SECONDS)

    def check_staying(self) -> None:
        """Raise the SourceError of what was stopped, if nobody waits any more."""
        if self._left.is_set():
            raise stopped()

    def _talk(self, work: Callable[["SnowflakeConnection"], object]) -> None:
        try:
            self.check_staying()
            connection = self._opened()
        except Exception as error:  # noqa: BLE001  # handed to whoever waits, who raises it
            self._answer(error)
            return
        self.is_in = True
        with closing(connection):
            self._connection = connection
            try:
                self.check_staying()
                answer = work(connection)
            except Exception as error:  # noqa: BLE001  # the same
                answer = error
            self._connection = None
            self._answer(answer)

    def _answer(self, answer: object) -> None:
        self._ended.set()
        self._answers.put(answer)

    def _cancel(self) -> None:
        """Cancel on the server until the talk has ended: a query may begin after the first time."""
        for _ in range(_CANCEL_TIMES):
            if connection := self._connection:
                _cancel_queries(connection)
            if self._ended.wait(_CANCEL_AGAIN_SECONDS):
                return


def _cancel_queries(connection: "SnowflakeConnection") -> None:
    """Cancel what runs in the session, as Snowflake's documentation does it, from a second cursor.

    docs.snowflake.com/en/user-guide/querying-cancel-statements; dbt does the same.
    """
    from snowflake.connector import Error

    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(connection.session_id)})")
    except (Error, OSError, TypeError, AttributeError) as error:  # it may have been closed since
        _log.warning("A query could not be cancelled: %s", safe(str(error)))
