"""Matches paths with patterns (globs), in the same way for sources, packages and branches."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import translate
from typing import Final

__all__ = ["Globs"]

_ANY_DEPTH: Final = "**"

_Piece = re.Pattern[str] | None
"""What one name of a path must look like; None stands for any number of names (`**`)."""


class Globs:
    """Holds patterns of which a key must match one; without any, every key does.

    A key and a pattern are compared name by name, case matters. `*`, `?` and `[...]` stay within
    one name, `**` stands for any number of folders, also none: `*.csv` is a file at the top,
    `**/*.csv` one at any depth, `2024/**` everything below `2024`.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [_pieces(pattern) for pattern in patterns]

    def match(self, key: str) -> bool:
        """Whether one of the patterns stands for this key."""
        names = key.split("/")
        return not self._patterns or any(
            len(names) in reached
            for pieces in self._patterns
            for left, reached in _steps(names, pieces)
            if not left
        )

    def enter(self, folder: str) -> bool:
        """Whether one of the patterns can stand for a key below this folder."""
        # A folder is worth opening while pieces are left for what is in it, or the last is `**`.
        names = folder.split("/")
        return not self._patterns or any(
            len(names) in reached and (left or pieces[-1] is None)
            for pieces in self._patterns
            for left, reached in _steps(names, pieces)
        )


def _pieces(pattern: str) -> list[_Piece]:
    return [
        # fnmatch for one name only: for a whole path its `*` would go across slashes.
        None if part == _ANY_DEPTH else re.compile(translate(part))
        for part in pattern.split("/")
    ]


def _steps(names: Sequence[str], pieces: Sequence[_Piece]) -> Iterator[tuple[int, set[int]]]:
    """For each piece in turn: how many are left, and how many names those so far may stand for."""
    # All possibilities go on side by side, so that a pattern with many `**` takes time in
    # proportion to its length and not exponentially more.
    reached = {0}
    for left, piece in zip(range(len(pieces) - 1, -1, -1), pieces, strict=True):
        if piece is None:
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {
                count + 1 for count in reached if count < len(names) and piece.match(names[count])
            }
        if not reached:
            return
        yield left, reached
