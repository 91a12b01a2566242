"""One thing that a source holds."""

from dataclasses import dataclass, field

from flowproject.changes.canonical import Json, digest_value

__all__ = ["Item", "item"]


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


def item(key: str, data: dict[str, Json], *, identity: Json = None) -> Item:
    """The item `key`, whose version is the digest of `identity` (default: of all its data)."""
    return Item(key=key, version=digest_value(data if identity is None else identity), data=data)
