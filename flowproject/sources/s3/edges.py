"""Whether two units meet: what one saw beyond its bound must be what the other saw first.

A server that does not list in byte order may hide a key from both, and nothing else would tell.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Final

from flowproject.sources.s3.asking import Asker, UnorderedError
from flowproject.sources.s3.page import Page, parse_rows

__all__ = ["Edges"]

_ROW_STOP: Final = b"</Contents>"


@dataclass(frozen=True, slots=True)
class _End:
    """How the unit below a bound ended: with `key` beyond it, on the page after `asked`."""

    asked: bytes | None
    key: bytes


class Edges:
    """What was seen on either side of the bounds between units. Thread-safe."""

    def __init__(self) -> None:
        self._ends: dict[bytes, _End] = {}
        self._begins: dict[bytes, bytes] = {}
        self._lock = Lock()

    def begin(self, bound: bytes | None, page: Page) -> None:
        """Note the page with which the unit above a bound began."""
        if bound is not None:
            with self._lock:
                self._begins[bound] = page.first

    def end(self, bound: bytes, page: Page, asked: bytes | None) -> None:
        """Note the page with which the unit below a bound ended; it follows the key `asked`."""
        with self._lock:
            self._ends[bound] = _End(asked, _beyond(page, bound))

    def check(self, ask: Asker) -> None:
        """See that both sides fit together; to be called when everything is listed.

        What came or went between the two looks does no harm. So both sides are looked at again
        before they are judged.

        Raises:
            UnorderedError: if they do not fit.
        """
        for bound, end in self._ends.items():
            if self._begins.get(bound) != end.key:
                key = _beyond(ask.after(end.asked), bound)
                if key and key != ask.after(bound).first:
                    raise UnorderedError


def _beyond(page: Page, bound: bytes) -> bytes:
    """The first key of a page that is greater than the bound; empty if there is none."""
    rows = bytes(page.rows[page.after(page.rows, bound) :])
    keys, *_ = parse_rows(rows[: rows.find(_ROW_STOP) + len(_ROW_STOP)], encoded=page.encoded)
    return keys[0] if keys else b""
