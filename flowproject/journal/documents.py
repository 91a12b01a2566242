"""Small JSON objects of the journal, with a digest that shows damage."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flowproject.changes.canonical import Json, digest_value
from flowproject.errors import JournalError

__all__ = ["NewerDocumentError", "opened", "sealed"]

_FORMAT: Final = 1


class NewerDocumentError(JournalError):
    """A later flowproject wrote it: it is whole, and must stay as it is."""

    def __init__(self, key: str, version: int) -> None:
        super().__init__(
            f"{key!r} of the journal can't be read: its format is {version}, and this is {_FORMAT}",
            allowed="It is not damaged, so leave it where it is",
            fix="Use the version of flowproject that wrote it, or a newer one",
        )


def sealed(facts: Mapping[str, Json]) -> bytes:
    """The object that says this, with its format and a digest."""
    body: dict[str, Json] = {"v": _FORMAT, **facts}
    return json.dumps({**body, "digest": digest_value(body)}, indent=1).encode("ascii")


def opened(key: str, content: bytes) -> dict[str, Any]:
    """What `sealed` was given, which lies under this key.

    Raises:
        NewerDocumentError: if a later flowproject wrote it.
        ValueError: if the object is damaged.
    """
    body = json.loads(content)
    version = body.get("v") if isinstance(body, dict) else None
    if isinstance(version, int) and version > _FORMAT:  # its digest may be of another kind
        raise NewerDocumentError(key, version)
    if not isinstance(body, dict) or body.pop("digest", None) != digest_value(body):
        raise ValueError("its digest does not match what it says")
    if body.pop("v", None) != _FORMAT:
        raise ValueError(f"its format is {version!r}, and this is {_FORMAT}")
    return body
