"""Finds the version ids of objects that arrived, where the bucket keeps versions.

ListObjectsV2 does not tell them. ListObjectVersions does, in the order of keys, so that objects
that arrived side by side are found with few requests, and others with one for each.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from flowproject.changes.difference import Difference, Item
from flowproject.errors import SourceError
from flowproject.sources.s3.signing import Query
from flowproject.tables.manifest import key_bytes

__all__ = ["MOST_OBJECTS", "BucketQueries", "find_versions"]

MOST_OBJECTS: Final = 10_000
"""Objects of one kind for which ids are looked up; a larger change goes without."""

# They come one after the other: a look must not take minutes for ids that nobody may need.
_MOST_PAGES: Final = 100

_PAGE: Final = "1000"


class BucketQueries(Protocol):
    """Answers questions about a bucket."""

    def get(self, query: Query) -> bytes:
        """The body of the answer."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    key: str
    etag: str
    modified: str
    id: str

    def is_of(self, item: Item) -> bool:
        """Whether this is the version that was listed; S3 lists whole seconds."""
        moments = [datetime.fromisoformat(str(it)) for it in (self.modified, item.data["modified"])]
        same = moments[0].replace(microsecond=0) == moments[1].replace(microsecond=0)
        return same and self.etag == item.data["etag"]


def find_versions(bucket: BucketQueries, prefix: str, difference: Difference) -> dict[str, str]:
    """The version ids of what arrived, by key; of an object that is another one by now, none.

    Empty if the bucket keeps no versions, does not let us see them, or very much arrived.
    """
    new = [difference.added, difference.modified]
    if not any(map(len, new)) or max(map(len, new)) > MOST_OBJECTS:
        return {}
    try:
        # A bucket that never had versions has no status: one request, and no others after it.
        if b"<Status>" not in bucket.get({"versioning": ""}):
            return {}
        return _found(bucket, prefix, difference.arrived)
    except (SourceError, ET.ParseError, KeyError, ValueError):
        # To see versions takes permissions of their own, and not every server tells them as S3
        # does; to miss an id is worth no failed look.
        return {}


def _found(bucket: BucketQueries, prefix: str, arrived: Iterable[Item]) -> dict[str, str]:
    wanted = {item.key: item for item in arrived}
    left = deque(sorted(wanted, key=key_bytes))
    found: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        if not left:
            break
        key = left.popleft()
        # All that begins with the same and differs in the last character: a few keys, as a rule.
        page, end = _page(bucket, {"prefix": prefix, "key-marker": key_bytes(key)[:-1]})
        found |= _ids(page, wanted)
        if key not in found:
            # More than a few, or a server that leaves out the first version, as moto's does.
            found |= _ids(_page(bucket, {"prefix": key_bytes(key)})[0], wanted)
        # What the page reached is decided, also for objects that are gone or other ones by now.
        while left and (end is None or key_bytes(left[0]) < end):
            left.popleft()
    return found


def _ids(page: Sequence[_Version], wanted: Mapping[str, Item]) -> dict[str, str]:
    return {
        version.key: version.id
        for version in reversed(page)  # the newest of two that look alike is the one
        if version.key in wanted and version.is_of(wanted[version.key])
    }


def _page(bucket: BucketQueries, query: Query) -> tuple[list[_Version], bytes | None]:
    """Versions, and the key from which on some are missing; None if none are."""
    # A real parser here: a hundred pages at most, and elements that differ from server to server.
    body = bucket.get({"versions": "", "encoding-type": "url", "max-keys": _PAGE, **query})
    root = [(_name(element), element) for element in ET.fromstring(body)]  # noqa: S314  # S3's own
    about = {name: element.text for name, element in root}
    encoded = about.get("EncodingType") == "url"
    versions = [_version(element, encoded=encoded) for name, element in root if name == "Version"]
    if about.get("IsTruncated") != "true":
        return versions, None
    return versions, key_bytes(versions[-1].key) if versions else b""


def _version(element: ET.Element, *, encoded: bool) -> _Version:
    found = {_name(field): field.text or "" for field in element}
    key = found["Key"]
    return _Version(
        key=unquote_plus(key, errors="surrogateescape") if encoded else key,
        etag=found["ETag"].strip('"'),
        modified=found["LastModified"],
        id=found["VersionId"],
    )


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
