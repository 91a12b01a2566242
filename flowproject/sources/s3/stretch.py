"""Rows that were listed and not yet judged: as they came, page by page."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import lt
from typing import Final

from flowproject.sources.s3.asking import UnorderedError, unreadable
from flowproject.sources.s3.page import Page, Raw
from flowproject.sources.s3.scope import Columns
from flowproject.sources.s3.waiting import Waiting, WaitingRoom

__all__ = ["Stretch", "Window"]

_DIGEST_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class _Piece:
    """Raw rows out of one page, and the last key of that page."""

    raw: Raw | Waiting
    high: bytes
    encoded: bool

    def read(self) -> Raw:
        return self.raw.read() if isinstance(self.raw, Waiting) else self.raw


@dataclass(frozen=True, slots=True)
class Window:
    """All that is listed after `low` (None: from the beginning) up to and including `high`.

    `digest` is of the raw rows, wherever the pages were cut.
    """

    low: bytes | None
    high: bytes
    digest: str
    pieces: Sequence[_Piece]

    def columns(self) -> Columns:
        """The objects, in the order of their keys.

        Raises:
            UnorderedError: if the keys do not rise from `low` to `high`.
            SourceError: if the rows can't be read.
        """
        found = Columns()
        try:
            for piece in self.pieces:
                found.add(piece.read(), encoded=piece.encoded)
        except ValueError as error:
            raise unreadable(error) from error
        keys = found.keys
        if keys and not (self._is_around(keys[0], keys[-1]) and all(map(lt, keys, keys[1:]))):
            raise UnorderedError
        return found

    def _is_around(self, first: bytes, last: bytes) -> bool:
        return (self.low is None or self.low < first) and last <= self.high


class Stretch:
    """The keys after `low` that one worker has listed and not handed on.

    `is_whole` says that nothing was taken out of it since it began.
    """

    def __init__(self, low: bytes | None) -> None:
        self._room = WaitingRoom()
        self._fits = True
        self.begin(low)

    def begin(self, low: bytes | None) -> None:
        """Begin anew, after this key."""
        self.low = low
        self.is_whole = True
        self._pieces: list[_Piece] = []
        self._empty()

    def close(self) -> None:
        """Forget everything, for good."""
        self._pieces.clear()
        self._room.close()

    @property
    def digest(self) -> str:
        """The digest of all raw rows, as long as the stretch is whole."""
        return _text(self._state)

    @property
    def last(self) -> bytes | None:
        """The last key that was listed, or the one that the stretch begins after."""
        return self._pieces[-1].high if self._pieces else self.low

    def add(self, page: Page, raw: memoryview, *, waits: bool) -> None:
        """Add rows of a page; `waits` if more pages come before they are judged."""
        if raw:
            self._state.update(raw)
            held = self._room.admit(raw) if waits else raw
            self._pieces.append(_Piece(held, page.last, page.encoded))

    def take(self, pages: int, *, keep: int = 0) -> Iterator[Window]:
        """What is on so many pages, and again, from below, as long as `keep` pages are left.

        A window must be used up before the next one is asked for.
        """
        while len(self._pieces) >= pages + keep:
            yield self._take(pages, self._pieces[pages - 1].high)
            if not self._pieces:
                self._empty()

    def rest(self, high: bytes) -> Window:
        """All that has not been taken, up to a key; to be used up before the stretch goes on."""
        return self._take(len(self._pieces), high)

    def _take(self, pages: int, high: bytes) -> Window:
        taken, self._pieces = self._pieces[:pages], self._pieces[pages:]
        # The state is of all rows since the stretch was last empty.
        digest = _text(self._state) if self._fits and not self._pieces else _digest(taken)
        window = Window(self.low, high, digest, taken)
        self.low, self.is_whole, self._fits = high, False, False
        return window

    def _empty(self) -> None:
        self._state = hashlib.sha256(usedforsecurity=False)
        self._fits = True
        self._room.clear()


def _digest(pieces: Sequence[_Piece]) -> str:
    state = hashlib.sha256(usedforsecurity=False)
    for piece in pieces:
        state.update(piece.read())
    return _text(state)


def _text(state: "hashlib._Hash") -> str:
    return state.hexdigest()[:_DIGEST_DIGITS]
