"""Small JSON objects of the journal, with a digest that shows damage."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flowproject.changes.canonical import Json, digest_value

__all__ = ["NewerFormatError", "opened", "sealed"]

_FORMAT: Final = 1


class NewerFormatError(ValueError):
    """A later flowproject wrote the object: it is whole, and must stay as it is."""


def sealed(facts: Mapping[str, Json]) -> bytes:
    """The object that says this, with its format and a digest."""
    body: dict[str, Json] = {"v": _FORMAT, **facts}
    return json.dumps({**body, "digest": digest_value(body)}, indent=1).encode("ascii")


def opened(content: bytes) -> dict[str, Any]:
    """What `sealed` was given.

    Raises:
        NewerFormatError: if a later flowproject wrote it.
        ValueError: if the object is damaged.
    """
    body = json.loads(content)
    version = body.get("v") if isinstance(body, dict) else None
    if isinstance(version, int) and version > _FORMAT:  # its digest may be of another kind
        raise NewerFormatError(f"its format is {version}, and this is {_FORMAT}")
    if not isinstance(body, dict) or body.pop("digest", None) != digest_value(body):
        raise ValueError("its digest does not match what it says")
    if (version := body.pop("v", None)) != _FORMAT:
        raise ValueError(f"its format is {version!r}, and this is {_FORMAT}")
    return body
