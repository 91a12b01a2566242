"""The last key below a prefix, found without listing what comes before it."""

from collections.abc import Callable
from typing import Final

from flowproject.sources.s3.asking import Asker
from flowproject.tables.spans import key_bytes, key_text

__all__ = ["last_key"]

_LAST: Final = 0x10FFFF
_LAST_ASCII: Final = 0x7F
_LONGEST_KEY: Final = 1024
_SURROGATES: Final = range(0xD800, 0xE000)


def last_key(
    ask: Asker, known: bytes | None = None, *, spend: Callable[[], bool] = lambda: True
) -> bytes | None:
    """The last key, which is `known` or comes after it; None if there is none at all.

    Some thirty requests for a million keys: their number grows with the logarithm of the number of
    keys, and with how many characters tell the last ones apart. Each is told of by `spend`; if it
    says that there may be no more, the result is the greatest key that was seen.
    """
    search = _Search(ask, known, spend)
    while not search.ended:
        search.narrow()
    return search.key


class _Search:
    """The greatest key that was seen; what is greater has its first `fixed` characters too."""

    def __init__(self, ask: Asker, known: bytes | None, spend: Callable[[], bool]) -> None:
        self.key = known
        self.ended = False
        self._ask = ask
        self._spend = spend
        self._fixed = len(key_text(ask.prefix))
        self._list_on()

    def narrow(self) -> None:
        """Come to a greater key, or fix one more character, or end."""
        self._find_place()
        if not self.ended and self._fixed < len(self._text):
            self._raise_character()
        if not self.ended:
            self._list_on()

    @property
    def _text(self) -> str:
        return key_text(self.key or b"")

    def _list_on(self) -> None:
        """See what comes right after the key; if it fits on a page, its last is the last of all."""
        self._look(self.key, ends=True)

    def _find_place(self) -> None:
        """Find the first character in which something differs that is greater."""
        limit = len(self._text)
        while self._fixed + 1 < limit and not self.ended:
            middle = (self._fixed + limit) // 2
            if self._is_more(self._text[:middle]):
                limit = middle
            else:
                self._fixed = middle

    def _raise_character(self) -> None:
        """Make the character behind the fixed ones as great as it gets, and fix it."""
        start, high = self._text[: self._fixed], _LAST
        while (low := ord(self._text[self._fixed])) < high and not self.ended:
            middle = _between(low, high)
            if not self._is_more(start + chr(middle)):
                high = middle
            elif not self._text.startswith(start):
                return
        self._fixed += 1

    def _is_more(self, start: str) -> bool:
        """Whether anything comes after all keys that begin like this; then that is the key."""
        bound = key_bytes(start + chr(_LAST))
        if len(bound) > _LONGEST_KEY:
            return False
        return self._look(bound, ends=False)

    def _look(self, after: bytes | None, *, ends: bool) -> bool:
        """Whether anything comes after a key; `ends` if the search does so when nothing does."""
        may_go_on = self._spend()
        page = self._ask.after(after)
        self.key = page.last or self.key
        is_last = not page.truncated and (ends or bool(page.rows))
        self.ended = is_last or not may_go_on
        return bool(page.rows)


def _between(low: int, high: int) -> int:
    """A character from `low` to below `high`; nearly all that matter are ASCII."""
    if low < _LAST_ASCII < high:
        return _LAST_ASCII
    middle = (low + high) // 2
    return low if middle in _SURROGATES else middle
