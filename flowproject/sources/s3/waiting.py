"""Rows that wait until it is known whether they must be read; nearly all of them never are."""

import os
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir
from typing import IO

from flowproject.errors import SourceError
from flowproject.sources.s3.page import Raw

__all__ = ["Waiting", "WaitingRoom"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows in a file."""

    file: IO[bytes]
    offset: int
    size: int

    def read(self) -> Raw:
        """The rows; not after the room was cleared."""
        return os.pread(self.file.fileno(), self.size, self.offset)


class WaitingRoom:
    """A temporary file for rows, used again whenever it is cleared.

    A page or two for each of many workers would be most of a tick's memory, and pages of very long
    keys more than a small container has. The file is small and short-lived: it is hardly ever
    written to a disk.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0

    def clear(self) -> None:
        """Forget all rows."""
        self._end = 0

    def admit(self, raw: Raw) -> Waiting:
        """The rows, put aside.

        Raises:
            SourceError: if there is no room for them.
        """
        try:
            return self._write(raw)
        except OSError as error:
            raise SourceError(
                f"Rows can't be put aside in {gettempdir()!r}: {error.strerror or error}",
                fix="Make room there, or let the variable TMPDIR name another folder",
            ) from error

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, raw: Raw) -> Waiting:
        if self._file is None:
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115  # it is closed with the room
        waiting = Waiting(self._file, self._end, len(raw))
        while raw:
            written = os.pwrite(self._file.fileno(), raw, self._end)
            self._end += written
            raw = raw[written:]
        return waiting
