"""A bucket in memory that answers ListObjectsV2 in real XML, as Amazon's answers look.

What servers do differently can be told to it; nothing here knows who asks.
"""

import datetime as dt
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from html import escape
from itertools import groupby, islice
from threading import Lock
from urllib.parse import quote

from flowproject.sources import stopped
from flowproject.sources.s3.pages import ListingPage

Query = Mapping[str, str | bytes]

START = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Stored:
    """An object: its size and its generation, from which ETag and time follow."""

    size: int = 1
    generation: int = 0

    @property
    def etag(self) -> str:
        return f"{self.generation:032x}"

    @property
    def modified(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.generation)

    def headers(self) -> dict[str, str]:
        """What an answer to HEAD says."""
        return {
            "content-length": str(self.size),
            "etag": f'"{self.etag}"',
            "last-modified": format_datetime(self.modified, usegmt=True),
        }


def amazon(key: str, stored: Stored) -> str:
    """A row as Amazon writes it."""
    return (
        f"<Contents><Key>{key}</Key><LastModified>{stored.modified:%Y-%m-%dT%H:%M:%S}.000Z"
        f"</LastModified><ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def seaweed(key: str, stored: Stored) -> str:
    """A row with its elements in another order, and others among them."""
    return (
        f"<Contents><ETag>&#34;{stored.etag}&#34;</ETag><Key>{key}</Key><Owner><ID>0</ID></Owner>"
        f"<Size>{stored.size}</Size><LastModified>{stored.modified:%Y-%m-%dT%H:%M:%S}Z"
        "</LastModified></Contents>"
    )


@dataclass
class MemoryBucket:
    """Objects by key, listed in `order`, with the rows that `row` writes.

    `hears` gets every query and says what is answered: the same one, if it is not a hostile server.
    It may raise, and change the objects.
    """

    objects: dict[bytes, Stored] = field(default_factory=dict)
    order: Callable[[bytes], object] = bytes
    row: Callable[[str, Stored], str] = amazon
    hears: Callable[[Query], Query] = lambda query: query
    requests: int = 0
    received: int = 0
    cancelled: bool = False
    closed: bool = False
    _lock: Lock = field(default_factory=Lock)

    def page(self, query: Query) -> ListingPage:
        with self._lock:
            if self.cancelled:
                raise stopped()
            self.requests += 1
            body = self._answer(self.hears(query))
            self.received += len(body)
        return ListingPage(body)

    def get(self, query: Query) -> bytes:
        del query  # it keeps no versions
        return b"<VersioningConfiguration/>"

    def head(self, key: str) -> dict[str, str] | None:
        self.requests += 1
        stored = self.objects.get(key.encode())
        return None if stored is None else stored.headers()

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed = True

    def _answer(self, query: Query) -> bytes:
        limit = int(query.get("max-keys", "1000"))
        prefix, delimiter = _raw(query.get("prefix", b"")), _raw(query.get("delimiter", b""))
        groups = groupby(self._after(query, prefix), lambda key: _rolled_up(key, prefix, delimiter))
        shown = [(name, list(keys)) for name, keys in islice(groups, limit)]
        truncated = next(groups, None) is not None
        rows = [
            self.row(quote(name, safe="/"), self.objects[name])
            for name, keys in shown
            if keys == [name] and not _is_folder(name, prefix, delimiter)
        ]
        folders = [name for name, _ in shown if _is_folder(name, prefix, delimiter)]
        token = b64encode(shown[-1][1][-1]).decode() if truncated else ""
        return _document(rows, folders, token, delimiter)

    def _after(self, query: Query, prefix: bytes) -> Iterable[bytes]:
        keys = sorted((key for key in self.objects if key.startswith(prefix)), key=self.order)
        if token := query.get("continuation-token"):
            last = b64decode(_raw(token))
            return keys[keys.index(last) + 1 :] if last in keys else self._beyond(keys, last)
        start = _raw(query.get("start-after", b""))
        return self._beyond(keys, start) if "start-after" in query else keys

    def _beyond(self, keys: list[bytes], start: bytes) -> list[bytes]:
        bound = self.order(start)
        return [key for key in keys if self.order(key) > bound]  # type: ignore[operator]


def _rolled_up(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """The key, or the folder that stands for it."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


def _is_folder(name: bytes, prefix: bytes, delimiter: bytes) -> bool:
    return bool(delimiter) and delimiter in name[len(prefix) :]


def _document(rows: list[str], folders: list[bytes], token: str, delimiter: bytes) -> bytes:
    end = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    common = "".join(
        f"<CommonPrefixes><Prefix>{quote(name, safe='/')}</Prefix></CommonPrefixes>"
        for name in folders
    )
    asked = f"<Delimiter>{quote(delimiter, safe='/')}</Delimiter>" if delimiter else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
        f"<EncodingType>url</EncodingType>{asked}<IsTruncated>{str(bool(token)).lower()}"
        f"</IsTruncated>{end}{''.join(rows)}{common}</ListBucketResult>"
    ).encode()


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
