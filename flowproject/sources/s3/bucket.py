"""Sends requests to one bucket, tries again while that makes sense, and can be stopped at once.

What the answers mean stands in `page` and `failures`.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ssl import SSLCertVerificationError
from threading import Event, Lock
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from flowproject.errors import SourceError
from flowproject.sources import stopped
from flowproject.sources.s3.access import Access, SharedAccess
from flowproject.sources.s3.failures import Refusal, not_s3, refused, unreachable, untrusted
from flowproject.sources.s3.http_client import ConnectionPool, HttpResponse
from flowproject.sources.s3.pages import ListingPage
from flowproject.sources.s3.scope import BucketLocation
from flowproject.sources.s3.signing import Query

__all__ = ["Bucket", "RetryLimits"]

T = TypeVar("T")

_FOUND: Final = 200
_FORBIDDEN: Final = 403
_MISSING: Final = 404
# With these a server answers HEAD for reasons that it tells only in a body, which HEAD has none of.
_WORDLESS: Final = (400, _FORBIDDEN)
_ACTIONS: Final = {"versioning": "s3:GetBucketVersioning", "versions": "s3:ListBucketVersions"}


@dataclass(frozen=True, kw_only=True)
class RetryLimits:
    """Says how often and how long a request is tried."""

    tries: int = 8
    first_tries: int = 3
    """For a server that never answered: that is more often a wrong name than a busy server."""
    seconds: float = 60.0
    """After these no other try begins."""
    first_pause: float = 0.25
    """Seconds: a pause is a random part of this, then of twice this, and so on."""


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    action: str
    """The permission that it needs."""
    key: bytes | None = None
    query: Query = field(default_factory=dict)
    expected: tuple[int, ...] = (_FOUND,)


class _TransientError(Exception):
    """A failure that may pass; `explain` makes an error of it, given how often it was tried."""

    def __init__(self, explain: Callable[[str], SourceError], after: float = 0.0) -> None:
        super().__init__()
        self.explain = explain
        self.after = after


class Bucket:
    """Asks one bucket. Threads may share it; close it in the end."""

    # Tries are counted here and not by stamina: it sleeps with `time.sleep`, and whoever cancels a
    # look would wait for up to a minute that the server asked for (ADR 0039).

    requests: int
    """How many requests were answered."""
    received: int
    """How many bytes of answers came, headers not counted."""

    def __init__(
        self,
        location: BucketLocation,
        reach: Callable[[str], Access],
        *,
        limits: RetryLimits | None = None,
    ) -> None:
        """A bucket that `reach` opens, in a region ("" for the one that the settings say)."""
        self.requests = self.received = 0
        self._location = location
        self._limits = limits or RetryLimits()
        self._shared = SharedAccess(reach)
        self._connections = ConnectionPool()
        self._stopped = Event()
        self._counting = Lock()

    def page(self, query: Query) -> ListingPage:
        """One page of a listing: `GET /bucket?query`.

        Raises:
            SourceError: if there is none, after all was tried that may help.
        """
        return self._ask(_listing(query), lambda answer: ListingPage(answer.body))

    def get(self, query: Query) -> bytes:
        """The body of the answer to `GET /bucket?query`; errors as for `page`."""
        return self._ask(_listing(query), lambda answer: answer.body)

    def head(self, key: str) -> Mapping[str, str] | None:
        """The headers of an object, with names in lower case; None if there is no such object.

        Raises:
            SourceError: if that can't be known: no permission, or there is no such bucket.
        """
        request = _Request(
            method="HEAD",
            key=key.encode("utf-8", "surrogateescape"),
            action="s3:GetObject",
            expected=(_FOUND, _MISSING),
        )
        answer = self._ask(request, lambda answer: answer)
        if answer.status == _FOUND:
            return answer.headers
        # A bucket that is missing looks the same; a listing of nothing tells them apart, even if
        # it is not allowed.
        listing = _listing({"list-type": "2", "max-keys": "0", "prefix": request.key or b""})
        self._ask(replace(listing, expected=(_FOUND, _FORBIDDEN)), lambda answer: answer)
        return None

    def cancel(self) -> None:
        """End running requests, from another thread, and all later ones with `stopped`."""
        # First the word, then the cut: an error that the cut causes is told as `stopped` then.
        self._stopped.set()
        self._connections.cut()

    def close(self) -> None:
        """End the connections; the bucket does not answer any more."""
        self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: _Request, read: Callable[[HttpResponse], T]) -> T:
        """What `read` makes of the answer; a ValueError of it is the answer's fault."""
        started = time.monotonic()
        tried = 0
        while True:
            try:
                return self._try(request, read)
            except _TransientError as failure:
                tried += 1
                self._pause(failure, tried, time.monotonic() - started)

    def _pause(self, failure: _TransientError, tried: int, passed: float) -> None:
        """Wait until it is time to try again, or raise the failure that was the last allowed."""
        limits = self._limits
        # Any part of it, so that workers that were refused at once do not all come back at once.
        limit = limits.first_pause * 2 ** (tried - 1)
        pause = max(failure.after, random.uniform(0, limit))  # noqa: S311  # it protects nothing
        tries = limits.tries if self.requests else limits.first_tries
        # A pause that would end too late is not begun: nobody would hear what comes after it.
        if tried >= tries or passed + pause > limits.seconds:
            many = f"{tried} time{'s' if tried > 1 else ''}"
            raise failure.explain(f"Tried {many} in {passed:.0f} s") from failure.__cause__
        if self._stopped.wait(pause):
            raise stopped()

    def _try(
        self,
        request: _Request,
        read: Callable[[HttpResponse], T],
        recovered: frozenset[str] = frozenset(),
    ) -> T:
        """What one request brings; `recovered` is what was put right for its sake before."""
        access = self._shared.access
        credentials = access.frozen()
        # Both are held on to: what another thread puts right meanwhile is not what is refused here.
        answer = self._exchange(access, request, credentials)
        if answer.status in request.expected:
            return _read(answer, read, access.address.server)
        refusal = self._refusal(answer, credentials)
        if not refusal.code and request.method == "HEAD" and refusal.status in _WORDLESS:
            refusal = self._in_words(access, request, credentials, refusal)
        if refusal.is_transient:
            raise _TransientError(partial(self._refused, request, refusal), refusal.retry_after)
        recovery = self._shared.recover(refusal, access, credentials)
        # Each of them once: a server that goes on refusing for the same reason has another one.
        if recovery and recovery not in recovered:
            return self._try(request, read, recovered | {recovery})
        raise self._refused(request, refusal)

    def _exchange(self, access: Access, request: _Request, credentials: Any) -> HttpResponse:
        """The answer to one request.

        Raises:
            _TransientError: if none came.
        """
        if self._stopped.is_set():
            raise stopped()
        text = access.request(
            request.method,
            request.key,
            request.query,
            credentials=credentials,
            ahead=self._shared.ahead,
        )
        server = access.address.server
        try:
            answer = self._connections.ask(access.address, text, to_head=request.method == "HEAD")
        except SSLCertVerificationError as error:  # an OSError too, but none that will pass
            raise untrusted(error, server) from error
        except OSError as error:
            if self._stopped.is_set():
                raise stopped() from None
            raise _TransientError(partial(unreachable, error, server)) from error
        with self._counting:
            self.requests += 1
            self.received += len(answer.body)
        return answer

    def _in_words(
        self, access: Access, request: _Request, credentials: Any, refusal: Refusal
    ) -> Refusal:
        """Give the refusal a reason: an answer to HEAD has no body to give one in."""
        answer = self._exchange(access, replace(request, method="GET"), credentials)
        return refusal if answer.status < _WORDLESS[0] else self._refusal(answer, credentials)

    def _refusal(self, answer: HttpResponse, credentials: Any) -> Refusal:
        hide = (credentials.secret_key, credentials.token, credentials.access_key)
        return Refusal.read(answer, hide=hide)

    def _refused(self, request: _Request, refusal: Refusal, tries: str = "") -> SourceError:
        return refused(refusal, self._location, request.action, tries)


def _listing(query: Query) -> _Request:
    action = next((_ACTIONS[name] for name in _ACTIONS if name in query), "s3:ListBucket")
    return _Request(method="GET", action=action, query=query)


def _read(answer: HttpResponse, read: Callable[[HttpResponse], T], server: str) -> T:
    # With status 200 an answer may still end early, or be the page of a proxy. The next one to the
    # same question is right, as a rule.
    try:
        return read(answer)
    except ValueError as error:
        raise _TransientError(partial(not_s3, str(error), server)) from error
