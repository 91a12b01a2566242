"""Looks at an HTTP API: rows by their keys, and nothing at all while its ETag is what it was."""

import json
import time
from http.client import HTTPException
from threading import Event
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from flowproject.changes.canonical import parsed
from flowproject.changes.observation import Cost, Observation, Past
from flowproject.errors import SourceError
from flowproject.sources import WithoutQueries, stopped
from flowproject.sources.result import keyed

from . import HttpData

__all__ = ["HttpSource"]

_SECONDS = 60
_NOT_MODIFIED = 304


class HttpSource(WithoutQueries):
    """Observes the rows of one address."""

    def __init__(self, data: HttpData, root):  # noqa: ARG002  # where relative paths would start
        super().__init__(data)
        self._data = data
        self._cancelled = Event()

    def check(self):
        """Refuse an address that no request could be made of; nothing is asked."""
        if not self._data.url.startswith(("http://", "https://")):
            raise SourceError(
                f"url = {self._data.url!r} is no address",
                where="[data] in flowproject.toml",
                allowed="It begins with http:// or https://",
            )

    def observe(self, past: Past | None = None) -> Observation:
        """The rows; without reading them if the server says that they are as they were."""
        self._check_running()
        self.check()
        known = str(past.memo.get("etag", "")) if past else ""
        started = time.perf_counter()
        try:
            body, etag = self._get(known)
        except (OSError, HTTPException) as error:
            raise SourceError(
                f"The API can't be read: {error}",
                where=self._data.url.partition("?")[0],
                fix="Ask it with `curl`; the next tick tries again",
            ) from error
        self._check_running()
        cost = Cost(seconds=time.perf_counter() - started, requests=1, bytes=len(body or b""))
        if body is None and past:
            return past.still(cost=cost, query="", note="not modified")
        return self._observation(body or b"", etag, cost)

    def progress(self):
        """Nothing is known of how much there is to come."""

    def cancel(self):
        """End a running look when its answer comes."""
        self._cancelled.set()

    def _get(self, known: str):
        headers = {"If-None-Match": known} if known else {}
        try:
            with urlopen(Request(self._data.url, headers=headers), timeout=_SECONDS) as answer:
                return answer.read(), answer.headers.get("ETag", "")
        except HTTPError as error:
            if error.code == _NOT_MODIFIED and known:
                return None, known
            raise

    def _observation(self, body: bytes, etag: str, cost: Cost) -> Observation:
        where = self._data.url.partition("?")[0]
        try:
            rows = parsed(body.decode("utf-8"))
        except ValueError as error:
            raise SourceError(f"The API answers no JSON: {error}", where=where) from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceError(
                f"The API answers {json.dumps(rows)[:80]}",
                where=where,
                allowed="A JSON list of objects, each a row",
            )
        for row in rows:
            if missing := [name for name in self._data.key if name not in row]:
                raise SourceError(
                    f"A row has no {missing[0]!r}, which `key` names",
                    where=where,
                    allowed=f"It has {', '.join(row)}",
                )
        seen = keyed(rows, self._data.key, where)
        memo = {"v": 1, "etag": etag} if etag else {}
        return Observation(
            value=seen.value,
            fingerprint=seen.fingerprint,
            items=seen.items,
            memo=memo,
            cost=cost,
        )

    def _check_running(self):
        if self._cancelled.is_set():
            raise stopped()
