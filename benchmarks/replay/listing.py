"""The answer to ListObjectsV2, cut out of the rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final
from urllib.parse import quote

from benchmarks.replay.rows import Rows

__all__ = ["Buffers", "list_objects"]

Buffers = list[bytes | memoryview]
"""What to send, one after the other."""

_MOST: Final = 1000
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)
_TAIL: Final = b"</ListBucketResult>"


@dataclass
class _Found:
    """The rows and the common prefixes of one page, and the rows' numbers that it ends before."""

    rows: Buffers = field(default_factory=list)
    count: int = 0
    prefixes: list[bytes] = field(default_factory=list)
    stop: int = 0


def list_objects(rows: Rows, bucket: str, query: Mapping[str, str]) -> Buffers:
    """One page, for the parameters of the request.

    Raises:
        ValueError: if a parameter is not what S3 takes.
    """
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    most = min(int(query.get("max-keys", _MOST)), _MOST)
    token, start_after = query.get("continuation-token", ""), query.get("start-after", "")
    among = rows.within(prefix.encode())
    start = rows.after(bytes.fromhex(token) if token else start_after.encode())
    among = range(max(among.start, start), among.stop)
    if delimiter:
        found = _folded(rows, among, most, prefix.encode(), delimiter.encode())
    else:
        found = _flat(rows, among, most)
    truncated = found.stop < among.stop and most > 0
    facts = {
        "Name": bucket,
        "Prefix": _text(prefix, query),
        "StartAfter": _text(start_after, query),
        "ContinuationToken": token,
        "NextContinuationToken": rows[found.stop - 1].hex() if truncated else "",
        "KeyCount": found.count + len(found.prefixes),
        "MaxKeys": most,
        "Delimiter": _text(delimiter, query),
        "EncodingType": query.get("encoding-type", ""),
        "IsTruncated": "true" if truncated else "false",
    }
    head = "".join([f"<{name}>{value}</{name}>" for name, value in facts.items() if value != ""])
    common = "".join(
        f"<CommonPrefixes><Prefix>{_text(each.decode(), query)}</Prefix></CommonPrefixes>"
        for each in found.prefixes
    )
    return [f"{_HEAD}{head}".encode(), *found.rows, common.encode() + _TAIL]


def _flat(rows: Rows, among: range, most: int) -> _Found:
    stop = among.start + min(most, len(among))
    return _Found([rows.xml(among.start, stop)], stop - among.start, stop=stop)


def _folded(rows: Rows, among: range, most: int, prefix: bytes, delimiter: bytes) -> _Found:
    """Keys with the delimiter behind the prefix stand together as one common prefix."""
    found = _Found(stop=among.start)
    while found.stop < among.stop and found.count + len(found.prefixes) < most:
        key = rows[found.stop]
        end = key.find(delimiter, len(prefix))
        if end < 0:
            found.rows.append(rows.xml(found.stop, found.stop + 1))
            found.count += 1
            found.stop += 1
        else:
            found.prefixes.append(key[: end + len(delimiter)])
            found.stop = rows.within(found.prefixes[-1]).stop
    return found


def _text(raw: str, query: Mapping[str, str]) -> str:
    return quote(raw) if query.get("encoding-type") == "url" else escape(raw)
