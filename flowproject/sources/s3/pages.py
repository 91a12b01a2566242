"""Asks for pages of ListObjectsV2, reads what they say, and finds the last key.

Most pages are hashed and never parsed: rows are `<Contents>` elements, raw as the server sent them.
What is unusual (another order of elements, namespaces, comments) goes through a real XML parser,
slowly and with the same outcome.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from flowproject.errors import SourceError
from flowproject.sources.s3.signing import Query
from flowproject.tables.manifest import key_bytes, key_text

__all__ = [
    "Columns",
    "ListingClient",
    "ListingPage",
    "PageProvider",
    "RawRows",
    "UnorderedError",
    "last_key",
    "outside",
    "parse_rows",
    "unreadable",
]

RawRows = bytes | memoryview
"""Rows as they came; whole ones, one after the other."""

_START: Final = b"<Contents>"
_STOP: Final = b"</Contents>"
_END: Final = b"</ListBucketResult>"
_SHOWN_BYTES: Final = 60

# Expressions instead of a parser: of a million keys, which a tick must compare in seconds, nearly
# all are as they were, and a parser would make five objects of each before anyone knows.
# Possessive (`*+`), so that a page of a hostile server costs time in proportion to its length.
_OPENING: Final = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<ListBucketResult[\s>]")
_KEY: Final = re.compile(rb"<Key>([^<]*+)</Key>")
_ROW_STOP: Final = re.compile(_STOP)
_ANY_ROW: Final = re.compile(rb"<(?:\w+:)?Contents[\s/>]")
_TRUNCATED: Final = re.compile(rb"<IsTruncated>\s*(true|false)\s*</IsTruncated>", re.IGNORECASE)
_TOKEN: Final = re.compile(rb"<NextContinuationToken>([^<]*+)</NextContinuationToken>")
_START_AFTER: Final = re.compile(rb"<StartAfter>([^<]*+)</StartAfter>")
_ENCODED: Final = re.compile(rb"<EncodingType>\s*url\s*</EncodingType>")
_PREFIX: Final = re.compile(rb"<CommonPrefixes>\s*+<Prefix>([^<]*+)</Prefix>\s*+</CommonPrefixes>")
_REFERENCE: Final = re.compile(rb"\r\n?|&([^;]{0,10};)?")

# Amazon's order of elements, with the optional ones that it has between those we want.
_ROW: Final = re.compile(
    rb"<Contents>\s*+<Key>([^<]*+)</Key>"
    rb"\s*+<LastModified>([^<]*+)</LastModified>"
    rb"\s*+<ETag>(?:&quot;|&#34;|\")?+([^<&\"]*+)(?:&quot;|&#34;|\")?+</ETag>"
    rb"\s*+(?:<Checksum[^<>]*+>[^<]*+</Checksum[^<>]*+>\s*+)*+"
    rb"<Size>([0-9]++)</Size>"
)
_ENTITIES: Final = {b"amp;": b"&", b"lt;": b"<", b"gt;": b">", b"quot;": b'"', b"apos;": b"'"}

_TRIES: Final = 3
_MOST_EMPTY: Final = 10_000
"""Amazon gives a page without keys for a thousand or so that were deleted; a server that goes on
for ever gives nothing else."""
_DELIMITER: Final = "/"
# What is another key if it is encoded than if it is not.
_UNSURE_KEY: Final = re.compile(rb"<Key>([^<]*(?:%[0-9A-Fa-f]{2}|\+)[^<]*)</Key>")

_LAST: Final = 0x10FFFF
_LAST_ASCII: Final = 0x7F
_LONGEST_KEY: Final = 1024  # bytes; S3's own limit
_SURROGATES: Final = range(0xD800, 0xE000)


class ListingPage:
    """Reads one answer: keys and prefixes are decoded, rows are not looked at.

    Raises:
        ValueError: if the body is not one whole ListBucketResult: cut off, or something else.
    """

    __slots__ = ("_asked", "encoded", "first", "last", "prefixes", "rows", "token", "truncated")

    rows: memoryview
    first: bytes
    last: bytes
    truncated: bool
    token: str
    prefixes: list[bytes]
    encoded: bool

    def __init__(self, body: bytes) -> None:
        # The usual form first: what `_plain` makes of any other takes many times as long.
        if not (_is_whole(body) and self._read(body)) and not self._read(_plain(body)):
            raise _no_listing(body)

    def after(self, rows: RawRows, key: bytes) -> int:
        """The offset in `rows` just after the last whose key is at most `key`; 0 if there is none.

        Rows that are not in order are cut somewhere between two of them.
        """
        # By halves: some ten keys are looked at, instead of a thousand. What is not known lies
        # between `low`, always the end of a row that is not above the key, and `high`.
        low, high = 0, len(rows)
        while found := _KEY.search(rows, (low + high) // 2, high) or _KEY.search(rows, low, high):
            if _decode(found[1], encoded=self.encoded) > key:
                high = found.start()
            elif stop := _ROW_STOP.search(rows, found.end()):
                low = stop.end()
            else:
                raise ValueError("the last row is cut off")
        return low

    def answers(self, start_after: bytes | None) -> bool:
        """Whether it says that it follows this key (None: no key), or does not say what it follows.

        An answer out of a broken cache may be another's.
        """
        asked = self._asked
        return not asked or start_after in (_unescape(asked), _decode(asked, encoded=self.encoded))

    def _read(self, body: bytes) -> bool:
        """Whether the answer has the usual form; only then everything is set."""
        start = body.find(_START)
        stop = body.rfind(_STOP) + len(_STOP) if start >= 0 else -1
        around = body[:start] + body[stop:] if start >= 0 else body
        # A row outside of what was taken for all rows (with a prefix to its name, or an attribute)
        # is a reason to parse: else that row would be missing, and nobody would know.
        if not (truncated := _TRUNCATED.search(around)) or _ANY_ROW.search(around):
            return False
        token, asked = _TOKEN.search(around), _START_AFTER.search(around)
        self.truncated = truncated[1].lower() == b"true"
        self.token = _unescape(token[1]).decode() if token else ""
        self._asked = asked[1] if asked else b""
        self.encoded = bool(_ENCODED.search(around))
        self.rows = memoryview(body)[start:stop] if start >= 0 else memoryview(b"")
        return self._read_keys(body, start, stop) and self._read_prefixes(around)

    def _read_keys(self, body: bytes, start: int, stop: int) -> bool:
        self.first = self.last = b""
        if start < 0:
            return True
        first = _KEY.search(body, start, body.find(_STOP, start))
        last = _KEY.search(body, body.rfind(_START, start, stop), stop)
        if first and last:
            self.first = _decode(first[1], encoded=self.encoded)
            self.last = _decode(last[1], encoded=self.encoded)
        return bool(first and last)

    def _read_prefixes(self, around: bytes) -> bool:
        # Prefixes come with a delimiter only; one between two rows would be missed.
        if b"<Delimiter>" in around and b"CommonPrefixes>" in bytes(self.rows):
            return False
        found: list[bytes] = _PREFIX.findall(around)
        self.prefixes = sorted(_decode_all(found, encoded=self.encoded))
        return 2 * len(found) == around.count(b"CommonPrefixes>")


def parse_rows(
    raw: RawRows, *, encoded: bool
) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]:
    """The columns of the rows: keys (decoded), sizes, ETags (without quotes), times of change.

    Raises:
        ValueError: if that can't be read: no key, no size, no time, or no XML.
    """
    raw = bytes(raw)
    # All or none: if one row is unusual, so is its server, and what was skipped is in no column.
    found: list[tuple[bytes, bytes, bytes, bytes]] = _ROW.findall(raw)
    if len(found) != raw.count(_START):
        found = _parse_slowly(raw)
    keys, modified, etags, sizes = map(list, zip(*found, strict=True)) if found else ([],) * 4
    return _decode_all(keys, encoded=encoded), list(sizes), list(etags), list(modified)


def _parse_slowly(raw: bytes) -> list[tuple[bytes, bytes, bytes, bytes]]:
    """What `_ROW` finds, for elements in any order and with others among them."""
    return [_fields(row) for row in _tree(b"<rows>%b</rows>" % raw)]


def _fields(row: ET.Element) -> tuple[bytes, bytes, bytes, bytes]:
    texts = {_name(child): child.text or "" for child in row}
    etag = texts.get("ETag", "").strip('"')
    try:
        key, modified, size = texts["Key"], texts["LastModified"], texts["Size"]
    except KeyError as missing:
        raise ValueError(f"a row has no {missing.args[0]}") from None
    if not (size.isascii() and size.isdigit()):
        raise ValueError(f"a row has {size[:_SHOWN_BYTES]!r} for its size")
    # The key goes on to be unescaped like those that were never parsed.
    return _escaped(key), modified.encode(), etag.encode(), size.encode()


def _is_whole(body: bytes) -> bool:
    """Whether it begins and ends as it should, which no part of an answer does."""
    # An answer without a length ends where it is cut, and half a page would be a page without the
    # other half: objects would be told as removed.
    return bool(_OPENING.match(body)) and body[-len(_END) - 8 :].rstrip().endswith(_END)


def _plain(body: bytes) -> bytes:
    """Bring the answer into the usual form, as far as it is needed here."""
    root = _tree(body)
    if _name(root) != "ListBucketResult":
        raise _no_listing(body)
    parts = [_plain_part(element) for element in root]
    rows = [part for part in parts if part.startswith(_START)]
    others = [part for part in parts if not part.startswith(_START)]
    return b"".join([b"<ListBucketResult>", *others, *rows, _END])


def _plain_part(element: ET.Element) -> bytes:
    inner = b"".join(map(_plain_part, element)) or _escaped(element.text or "")
    name = _name(element).encode()
    return b"<%b>%b</%b>" % (name, inner, name)


def _tree(xml: bytes) -> ET.Element:
    # An S3 server needs no entities of its own; whoever sends some may want to fill the memory.
    if b"<!DOCTYPE" in xml:
        raise _no_listing(xml)
    try:
        return ET.fromstring(xml)  # noqa: S314  # without a DOCTYPE nothing can be expanded
    except ET.ParseError as error:
        raise ValueError(f"{_no_listing(xml)} ({error})") from error


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _escaped(text: str) -> bytes:
    return escape(text, {"\r": "&#13;"}).encode()


def _no_listing(body: bytes) -> ValueError:
    shown = body[:_SHOWN_BYTES].decode(errors="replace")
    return ValueError(f"the answer is no complete listing; it begins with {shown!r}")


def _decode(raw: bytes, *, encoded: bool) -> bytes:
    """A key or a prefix as it is in the bucket."""
    text = _unescape(raw)
    if not encoded:
        return text
    # The most frequent escape by far (dt=2026-11-22/) first: that is three times as fast. It can't
    # make a new escape out of its neighbours, because "=" is no hexadecimal digit.
    return unquote_to_bytes(text.replace(b"+", b" ").replace(b"%3D", b"="))


def _decode_all(raw: list[bytes], *, encoded: bool) -> list[bytes]:
    """Decode them; in one go, which is ten times as fast, if none has a line break."""
    joined = b"\n".join(raw)
    if b"\r" not in joined:
        texts = _decode(joined, encoded=encoded).split(b"\n")
        if len(texts) == len(raw):
            return texts
    return [_decode(one, encoded=encoded) for one in raw]


def _unescape(raw: bytes) -> bytes:
    """What a text of XML stands for, as an XML parser reads it."""
    return _REFERENCE.sub(_referred, raw) if b"&" in raw or b"\r" in raw else raw


def _referred(found: re.Match[bytes]) -> bytes:
    name = found[1]
    if found[0].startswith(b"\r"):
        return b"\n"
    if name in _ENTITIES:
        return _ENTITIES[name]
    if name and name.startswith(b"#x"):
        return chr(int(name[2:-1], 16)).encode()
    if name and name.startswith(b"#"):
        return chr(int(name[1:-1])).encode()
    raise ValueError(f"{found[0].decode(errors='replace')!r} is no reference that XML knows")


@dataclass(slots=True)
class Columns:
    """Collects objects as a server listed them: each column as a list of what it wrote."""

    keys: list[bytes] = field(default_factory=list)
    sizes: list[bytes] = field(default_factory=list)
    etags: list[bytes] = field(default_factory=list)
    modified: list[bytes] = field(default_factory=list)

    def add(self, raw: RawRows, *, encoded: bool) -> None:
        """Add raw rows.

        Raises:
            ValueError: if they can't be read.
        """
        keys, sizes, etags, modified = parse_rows(raw, encoded=encoded)
        self.keys += keys
        self.sizes += sizes
        self.etags += etags
        self.modified += modified


class PageProvider(Protocol):
    """Answers questions to ListObjectsV2, from many threads at once."""

    def page(self, query: Query) -> ListingPage:
        """The page that answers a query."""
        ...

    def cancel(self) -> None:
        """Let all running and later questions raise an error."""


class UnorderedError(Exception):
    """The server does not list in the byte order of keys, or not from where it was told to."""


class ListingClient:
    """Asks for what is below one prefix, `page_size` keys at a time."""

    def __init__(self, pages: PageProvider, prefix: bytes, page_size: int) -> None:
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

    def after(self, key: bytes | None) -> ListingPage:
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
            # "There is more, but nothing here": the next key to ask from is not known then, and the
            # server's token is the only way on.
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
        """The folders below `prefix`, up to their slash, for keys that follow another one.

        As many as one answer has.
        """
        page = self._ask({"prefix": prefix, "start-after": after, "delimiter": _DELIMITER})
        return page.prefixes

    def in_turn(self) -> Iterator[ListingPage]:
        """Every page, in the server's own order.

        Raises:
            SourceError: if there is no answer that makes sense, or the pages have no end.
        """
        page = self._ask({})
        yield page
        yield from self._following(page)

    def _skip(self, page: ListingPage) -> ListingPage:
        """The first page that follows and has rows, or the last one."""
        for page in self._following(page):  # noqa: B020, PLR1704  # that is the point
            if page.rows:
                break
        return page

    def _following(self, page: ListingPage) -> Iterator[ListingPage]:
        """The pages that follow a page, by the tokens that the server gives.

        None of them may be one that was there before: what should be in its place would be missing.
        """
        # A circle may show in the tokens alone, or in the pages alone, under ever new tokens.
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

    def _stray(self, page: ListingPage) -> bytes:
        """The first or the last key of a page, if it is not below the prefix; else empty."""
        ends = (page.first, page.last) if page.rows else ()
        return next((key for key in ends if not key.startswith(self.prefix)), b"")

    def _ask(self, query: Query) -> ListingPage:
        page = self._pages.page({**self._common, **query})
        # "encoding-type" was asked for; a server that does not say so may or may not encode. It
        # matters only for a key that would be another one, and then nobody can say which it is.
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


def _mark(page: ListingPage) -> bytes:
    # A digest, because ten thousand pages themselves would be gigabytes.
    return sha256(page.rows, usedforsecurity=False).digest()


def _endless() -> SourceError:
    return SourceError(
        "The server's list of objects has no end: the same page comes again and again",
        fix="Report it to whoever runs that server: there is no other way to list",
    )


def last_key(
    client: ListingClient, known: bytes | None = None, *, spend: Callable[[], bool] = lambda: True
) -> bytes | None:
    """The last key, which is `known` or comes after it; None if there is none at all.

    Some thirty requests for a million keys: their number grows with the logarithm of the number of
    keys, and with how many characters tell the last ones apart. Each is told of by `spend`; if it
    says that there may be no more, the result is the greatest key that was seen.
    """
    # Listing can only go up, and S3 has no "last": so keys are guessed from above, character by
    # character, and what comes after a guess says whether it was too high.
    search = _LastKeySearch(client, known, spend)
    while not search.ended:
        search.narrow()
    return search.key


class _LastKeySearch:
    """Holds the greatest key so far; what is greater has its first `fixed` characters, too."""

    def __init__(
        self, client: ListingClient, known: bytes | None, spend: Callable[[], bool]
    ) -> None:
        self.key = known
        self.ended = False
        self._client = client
        self._spend = spend
        self._fixed = len(key_text(client.prefix))
        # If all keys fit on one page, this request was the only one.
        self._list_on()

    def narrow(self) -> None:
        """Come to a greater key, or fix one more character, or end."""
        self._find_place()
        if not self.ended and self._fixed < len(self._text):
            self._raise_character()
        if not self.ended:
            self._list_on()

    @property
    def _text(self) -> str:
        return key_text(self.key or b"")

    def _list_on(self) -> None:
        """See what comes right after the key; if it fits on a page, its last is the last of all."""
        self._look(self.key, ends=True)

    def _find_place(self) -> None:
        """Find the first character in which something differs that is greater."""
        limit = len(self._text)
        while self._fixed + 1 < limit and not self.ended:
            middle = (self._fixed + limit) // 2
            if self._is_more(self._text[:middle]):
                limit = middle
            else:
                self._fixed = middle

    def _raise_character(self) -> None:
        """Make the character behind the fixed ones as great as it gets, and fix it."""
        start, high = self._text[: self._fixed], _LAST
        while (low := ord(self._text[self._fixed])) < high and not self.ended:
            middle = _between(low, high)
            if not self._is_more(start + chr(middle)):
                high = middle
            elif not self._text.startswith(start):
                return
        self._fixed += 1

    def _is_more(self, start: str) -> bool:
        """Whether anything comes after all keys that begin like this; then that is the key."""
        bound = key_bytes(start + chr(_LAST))
        # No key is that long, and a server may refuse to list after one.
        if len(bound) > _LONGEST_KEY:
            return False
        return self._look(bound, ends=False)

    def _look(self, after: bytes | None, *, ends: bool) -> bool:
        """Whether anything comes after a key; `ends` if the search does so when nothing does."""
        may_go_on = self._spend()
        page = self._client.after(after)
        self.key = page.last or self.key
        is_last = not page.truncated and (ends or bool(page.rows))
        self.ended = is_last or not may_go_on
        return bool(page.rows)


def _between(low: int, high: int) -> int:
    """A character from `low` to below `high`; nearly all that matter are ASCII."""
    if low < _LAST_ASCII < high:
        return _LAST_ASCII
    middle = (low + high) // 2
    return low if middle in _SURROGATES else middle
