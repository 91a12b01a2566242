"""Questions to ListObjectsV2, one page each, and what every answer must fulfil."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, Protocol

from flowproject.errors import SourceError
from flowproject.sources.s3.page import Page
from flowproject.sources.s3.signing import Query
from flowproject.tables.spans import key_text

__all__ = ["Asker", "Pages", "UnorderedError", "outside", "unreadable"]

_TRIES: Final = 3
_MOST_EMPTY: Final = 10_000
"""Amazon gives a page without keys for a thousand or so that were deleted; a server that goes on
for ever gives nothing else."""
_DELIMITER: Final = "/"
# What is another key if it is encoded than if it is not.
_UNSURE_KEY: Final = re.compile(rb"<Key>([^<]*(?:%[0-9A-Fa-f]{2}|\+)[^<]*)</Key>")


class Pages(Protocol):
    """Whoever answers questions to ListObjectsV2, from many threads at once."""

    def page(self, query: Query) -> Page:
        """The page that answers a query."""
        ...

    def cancel(self) -> None:
        """Let all running and later questions raise an error."""


class UnorderedError(Exception):
    """The server does not list in the byte order of keys, or not from where it was told to."""


class Asker:
    """Asks for what is below one prefix, `page_size` keys at a time."""

    def __init__(self, pages: Pages, prefix: bytes, page_size: int) -> None:
        self.prefix = prefix
        self._pages = pages
        self._common: Query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(page_size),
            "prefix": prefix,
        }

    def cancel(self) -> None:
        """Let all running and later questions raise an error."""
        self._pages.cancel()

    def after(self, key: bytes | None) -> Page:
        """The rows after a key (None: the first ones); a page without any is the last.

        Raises:
            UnorderedError: if there are rows that do not come after the key.
            SourceError: if there is no answer that makes sense.
        """
        start: Query = {"start-after": key} if key else {}
        stray = b""
        for _ in range(_TRIES):  # an answer may have been meant for another question
            page = self._ask(start)
            if not page.answers(key or None):
                continue
            if page.truncated and not page.rows:
                page = self._skip(page)
            if stray := self._stray(page):
                continue
            if not page.rows or ((key is None or key < page.first) and page.first <= page.last):
                return page
        if stray:
            raise outside(stray, self.prefix)
        raise UnorderedError

    def folders(self, prefix: bytes, after: bytes) -> list[bytes]:
        """What goes on from `prefix` to the next slash, for keys that follow another one.

        As many as one answer has.
        """
        page = self._ask({"prefix": prefix, "start-after": after, "delimiter": _DELIMITER})
        return page.prefixes

    def in_turn(self) -> Iterator[Page]:
        """Every page, in the server's own order.

        Raises:
            SourceError: if there is no answer that makes sense, or the pages have no end.
        """
        page = self._ask({})
        yield page
        yield from self._following(page)

    def _skip(self, page: Page) -> Page:
        """The first page that follows and has rows, or the last one."""
        for page in self._following(page):  # noqa: B020, PLR1704  # that is the point
            if page.rows:
                break
        return page

    def _following(self, page: Page) -> Iterator[Page]:
        """The pages that follow a page, by the tokens that the server gives.

        None of them may be one that was there before: what should be in its place would be missing.
        """
        tokens = {""}
        seen = {_mark(page)} if page.rows else set()
        empty = 0
        while page.truncated:
            if page.token in tokens or empty > _MOST_EMPTY:
                raise _endless()
            token = page.token
            tokens.add(token)
            for _ in range(_TRIES):  # an answer may have been meant for another question
                page = self._ask({"continuation-token": token})
                if not page.rows or _mark(page) not in seen:
                    break
            else:
                raise _endless()
            if page.rows:
                seen.add(_mark(page))
            empty = 0 if page.rows else empty + 1
            yield page

    def _stray(self, page: Page) -> bytes:
        """The first or the last key of a page, if it is not below the prefix; else empty."""
        ends = (page.first, page.last) if page.rows else ()
        return next((key for key in ends if not key.startswith(self.prefix)), b"")

    def _ask(self, query: Query) -> Page:
        page = self._pages.page({**self._common, **query})
        if not page.encoded and (found := _UNSURE_KEY.search(page.rows)):
            raise _unsure(found[1])
        return page


def unreadable(error: ValueError) -> SourceError:
    """The error for rows that make no sense."""
    return SourceError(
        f"The server's list of objects can't be read: {error}",
        fix="Check that `endpoint_url` is the address of an S3 server",
    )


def outside(key: bytes, prefix: bytes) -> SourceError:
    """The error for an object that a server lists although nobody asked for it."""
    return SourceError(
        f"The server lists the object {key_text(key)!r}, which is not below {key_text(prefix)!r}",
        fix="Report it to whoever runs that server: what it leaves out instead nobody can tell",
    )


def _unsure(key: bytes) -> SourceError:
    return SourceError(
        f"The server's list of objects does not say whether its keys are encoded, and "
        f"{key.decode(errors='replace')!r} would be two different ones",
        allowed="<EncodingType>url</EncodingType> in the answer, as Amazon S3 has it",
        fix="Report it to whoever runs that server, or rename objects with % or + in their key",
    )


def _mark(page: Page) -> bytes:
    return sha256(page.rows, usedforsecurity=False).digest()


def _endless() -> SourceError:
    return SourceError(
        "The server's list of objects has no end: the same page comes again and again",
        fix="Report it to whoever runs that server: there is no other way to list",
    )
