"""Holds temporary files that end with whoever uses them, and tables that were spilled into one.

Nothing stays behind: the files have no name, and are closed when their last user is forgotten.
"""

import io
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

from flowproject.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ScratchFile", "Slot", "SpilledTables", "arrow_file", "full_disk_explained"]

_CODEC: Final = "zstd"


class ScratchFile:
    """A temporary file that several threads read and write, each with a place of its own."""

    def __init__(self) -> None:
        with full_disk_explained():
            # Not a `with`: the file lives as long as this object. It has no name, so nothing stays
            # behind when the process is killed.
            self._file = cast("BinaryIO", TemporaryFile(prefix="flowproject-"))  # noqa: SIM115
        self._lock = Lock()
        # Handles hold this object, so the file is closed after the last of them is forgotten.
        weakref.finalize(self, self._file.close)

    def open(self) -> BinaryIO:
        """The file from its start, to read and to write."""
        return cast("BinaryIO", _Handle(self))

    def fileno(self) -> int:
        """The number that the system knows the file by."""
        return self._file.fileno()

    def append(self, content: bytes | memoryview) -> int:
        """Add content at the end, and return where it begins.

        Raises:
            SourceError: if there is no room for it.
        """
        with self._lock, full_disk_explained():
            # One cursor is shared by all, so it is moved and used under the lock.
            offset = self._file.seek(0, io.SEEK_END)
            self._file.write(content)
            self._file.flush()
        return offset

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def write_at(self, offset: int, content: bytes | memoryview) -> int:
        """Write content at `offset`, and return its size.

        Raises:
            SourceError: if there is no room for them.
        """
        with self._lock, full_disk_explained():
            self._file.seek(offset)
            written = self._file.write(content)
            self._file.flush()
        return written

    def size(self) -> int:
        """How many bytes the file has."""
        with self._lock:
            return self._file.seek(0, io.SEEK_END)


class _Handle(io.RawIOBase):
    """One place in a scratch file; closing it leaves the file to its other users."""

    def __init__(self, scratch: ScratchFile) -> None:
        super().__init__()
        self._scratch = scratch
        self._place = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def writable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def fileno(self) -> int:
        """The number that the system knows the whole file by."""
        return self._scratch.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place in the file, and return it."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}
        origin = self._scratch.size() if whence == io.SEEK_END else origins[whence]
        self._place = max(origin + offset, 0)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Read into the buffer, and return how many bytes; 0 at the end."""
        content = self._scratch.read_at(self._place, len(buffer))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def write(self, content: Any, /) -> int:
        """Write the content, and return its size."""
        written = self._scratch.write_at(self._place, content)
        self._place += written
        return written


def arrow_file(file: BinaryIO, mode: str) -> "pa.NativeFile":
    """Open a file anew for Arrow, which then reads (`rb`) or writes (`wb`) it without Python."""
    # A file of Python would make Arrow wait for its turn among busy threads for each page. The file
    # has no name to be opened by, but Linux and macOS give each open one a path.
    import pyarrow as pa

    try:
        return pa.OSFile(f"/dev/fd/{file.fileno()}", mode)
    except OSError:  # Windows has no such names
        return pa.PythonFile(file, mode[0])


class Slot(NamedTuple):
    """Where a table waits: `size` compressed bytes at `offset`, `raw_size` without compression."""

    offset: int
    size: int
    raw_size: int


class SpilledTables:
    """Spills tables of one schema into a temporary file, to be read again."""

    def __init__(self, schema: "pa.Schema") -> None:
        self._schema = schema
        self._scratch = ScratchFile()

    def add(self, table: "pa.Table") -> Slot:
        """Spill a table, which has rows, and return what `read` needs to give it again."""
        import pyarrow as pa

        # A slice would be written with all of the table that it is a slice of.
        (batch,) = table.combine_chunks().to_batches()
        raw = batch.serialize()
        packed = pa.compress(raw, codec=_CODEC)
        return Slot(self._scratch.append(memoryview(packed)), packed.size, raw.size)

    def read(self, slot: Slot) -> "pa.Table":
        """The table that was added."""
        import pyarrow as pa

        packed = self._scratch.read_at(slot.offset, slot.size)
        raw = pa.decompress(packed, decompressed_size=slot.raw_size, codec=_CODEC)
        return pa.Table.from_batches([pa.ipc.read_record_batch(raw, self._schema)])


@contextmanager
def full_disk_explained() -> Iterator[None]:
    """Turn the error of a full disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"What was seen does not fit into a temporary file: {error.strerror or error}",
            where=f"The folder is {gettempdir()!r}",
            fix="Make room there, or name another folder in the environment variable TMPDIR",
        ) from error
