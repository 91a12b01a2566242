"""Small JSON objects of the journal, with a digest that shows damage."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flowproject.changes.canonical import Json, digest_value

__all__ = ["opened", "sealed"]

_FORMAT: Final = 1


def sealed(facts: Mapping[str, Json]) -> bytes:
    """The object that says this, with its format and a digest."""
    body: dict[str, Json] = {"v": _FORMAT, **facts}
    return json.dumps({**body, "digest": digest_value(body)}, indent=1).encode("ascii")


def opened(content: bytes) -> dict[str, Any]:
    """What `sealed` was given.

    Raises:
        ValueError: if the object is damaged, or a later flowproject wrote it.
    """
    body = json.loads(content)
    if not isinstance(body, dict) or body.pop("digest", None) != digest_value(body):
        raise ValueError("its digest does not match what it says")
    if (version := body.pop("v", None)) != _FORMAT:
        raise ValueError(f"its format is {version!r}, and this is {_FORMAT}")
    return body
