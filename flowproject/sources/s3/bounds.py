"""Where a region of unknown size can be cut, so that several workers list it."""

from collections.abc import Callable
from typing import Final

from flowproject.sources.s3.asking import Asker
from flowproject.sources.s3.last import last_key
from flowproject.sources.s3.page import parse_rows
from flowproject.sources.s3.units import Lump

__all__ = ["find_bounds", "guess_bounds"]

_ENOUGH: Final = 8
_SLASH: Final = ord("/")
_FIRST_OF_SEVERAL: Final = 0x80
_FIRST_LEADING: Final = 0xC0


def find_bounds(ask: Asker, lump: Lump, *, spend: Callable[[], bool]) -> tuple[list[bytes], int]:
    """Keys at which the region can be cut, and the length of the prefix that was asked for them.

    They are folders, of the highest level that has any. If none has, they are guesses from what
    keys look like, and some of them may have nothing behind them. `spend` is told of each request
    and says whether there may be more.
    """
    levels = _levels(lump, len(ask.prefix))
    for level in levels:
        may_go_on = spend()
        folders = ask.folders(lump.after[:level], lump.after)
        bounds = [folder for folder in folders if _is_within(folder, lump)]
        if bounds or not may_go_on:
            return bounds, level
    last = lump.region.high or last_key(ask, lump.after, spend=spend) or lump.after
    spend()
    page = ask.after(lump.after)
    keys, *_ = parse_rows(page.rows, encoded=page.encoded)
    return guess_bounds(lump.after, last, keys), levels[0] if levels else lump.region.level


def guess_bounds(after: bytes, last: bytes, sample: list[bytes]) -> list[bytes]:
    """Keys between `after` and `last`, from characters that stand in a sample of what follows.

    With `a03` and `a9`, and digits in the sample, they are a1, a2, ... to a8 and a9.
    """
    shared = _shared(after, last)
    characters = {byte for key in sample for byte in key[shared:] if byte < _FIRST_OF_SEVERAL}
    bounds: list[bytes] = []
    for place in range(shared, len(after)):
        if len(bounds) >= _ENOUGH:
            break
        if not _FIRST_OF_SEVERAL <= after[place] < _FIRST_LEADING:  # within a character
            greater = (byte for byte in sorted(characters) if byte > after[place])
            guesses = (after[:place] + bytes([byte]) for byte in greater)
            bounds += [guess for guess in guesses if guess < last]
    return bounds


def _levels(lump: Lump, prefix: int) -> list[int]:
    """How long the prefixes are, from the top, that may have several folders in the region."""
    shared = lump.after[: _shared(lump.after, lump.region.high or b"")].rfind(b"/") + 1
    ends = [place + 1 for place, byte in enumerate(lump.after) if byte == _SLASH]
    lowest = max(prefix, shared, lump.region.level + 1)
    return sorted({end for end in (prefix, *ends) if end >= lowest})


def _is_within(key: bytes, lump: Lump) -> bool:
    return lump.after < key and (lump.region.high is None or key < lump.region.high)


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
