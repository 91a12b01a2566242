"""A file to read and seek in, made of requests for ranges of an object."""

import io
from collections.abc import Callable
from typing import BinaryIO, Final

__all__ = ["open_reader"]

_FIRST: Final = 1 << 18
_MOST: Final = 1 << 23


def open_reader(read: Callable[[int, int], bytes], size: int) -> BinaryIO:
    """A seekable reader of `size` bytes, of which `read(start, end)` fetches some.

    Who jumps about fetches a quarter of a megabyte at a time, who reads on and on four times as
    much each time, up to 8 MB: a round trip costs as much as a megabyte or so.
    """
    return io.BufferedReader(_RangeReader(read, size))


class _RangeReader(io.RawIOBase):
    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._size = size
        self._position = 0
        self._window = b""
        self._start = 0
        self._length = _FIRST

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]  # typeshed: Buffer
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        found = self._fetched(wanted)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _fetched(self, wanted: int) -> memoryview:
        """Some bytes at the position, at least one and at most `wanted`."""
        offset = self._position - self._start
        if not 0 <= offset < len(self._window):
            self._fetch(wanted)
            offset = 0
        return memoryview(self._window)[offset : offset + wanted]

    def _fetch(self, wanted: int) -> None:
        reads_on = self._position == self._start + len(self._window) and self._window
        self._length = min(self._length * 4, _MOST) if reads_on else _FIRST
        end = min(self._position + max(wanted, self._length), self._size)
        self._window = self._read(self._position, end)
        self._start = self._position
        if not self._window:
            raise OSError(f"no bytes from {self._position} to {end}")
