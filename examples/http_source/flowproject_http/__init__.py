"""Rows of an HTTP API as a source of flowproject: `type = "http"` in `[data]`.

Imported by every step of every run that reads the configuration, so nothing heavy stands here.
"""

from dataclasses import dataclass
from typing import Literal

from flowproject.config import Data
from flowproject.plugins import SourcePlugin

__all__ = ["HttpData", "plugin"]


@dataclass(frozen=True, kw_only=True)
class HttpData(Data):
    """Rows of an HTTP API, which answers with a JSON list of objects."""

    type: Literal["http"] = "http"
    """An address that answers to GET. Its ETag, if it sends one, makes unchanged ticks cheap."""

    url: str
    """The address, with its query."""

    key: tuple[str, ...]
    """The members of an object that identify a row."""


plugin = SourcePlugin(data=HttpData, source="flowproject_http.source:HttpSource")
