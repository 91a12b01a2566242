"""What a source looks like at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flowproject.changes.canonical import Json, digest, digest_value

__all__ = ["Cost", "Item", "Observation", "fingerprint_items", "fingerprint_value", "item"]

_MODULUS: Final = 2**128


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one observation took: seconds of wall time, requests, bytes and rows read."""

    seconds: float = 0.0
    requests: int = 0
    bytes: int = 0
    rows: int = 0

    def to_json(self) -> dict[str, Json]:
        """The four figures, seconds rounded to milliseconds."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "bytes": self.bytes,
            "rows": self.rows,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that a source holds: a row, a file, an object.

    `key` says which, `version` (32 hexadecimal digits) changes whenever it does, and `data` is
    what a reader wants to see of it, as canonical JSON.
    """

    key: str
    version: str
    data: dict[str, Json] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, Json]:
        """What a reader sees of it: its data, or its key if it has no more."""
        return dict(self.data) or {"key": self.key}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A value, the items behind it if the source has any, and one fingerprint of it all.

    `query` is the SQL that ran, for sources that have one.
    """

    value: Json
    fingerprint: str
    items: Mapping[str, Item] | None = None
    cost: Cost = field(default_factory=Cost)
    query: str = ""


def item(key: str, data: dict[str, Json], *, identity: Json = None) -> Item:
    """The item `key`, whose version is the digest of `identity` (default: of all its data)."""
    return Item(key=key, version=digest_value(data if identity is None else identity), data=data)


def fingerprint_value(value: Json) -> str:
    """The fingerprint of an observation that has no items."""
    return digest("value", digest_value(value))


def fingerprint_items(items: Iterable[Item]) -> str:
    """The fingerprint of a table of items: the same for the same items in any order.

    A sum over digests (Bellare and Micciancio's AdHash), so that it follows from the items that
    were added and removed, without all the others.
    """
    count, total = 0, 0
    for item in items:
        count += 1
        total += int(digest(item.key, item.version), 16)
    return digest("items", str(count), f"{total % _MODULUS:032x}")
