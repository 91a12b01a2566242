"""Writes and reads Parquet files a group of rows at a time, from any thread.

A table names them segments. They lie on this machine, or elsewhere and come here when that pays.
"""

import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from flowproject.errors import SourceError
from flowproject.tables.object_rows import one_line
from flowproject.tables.scratch import ScratchFile, arrow_file, full_disk_explained

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Damaged", "Segment", "SegmentWriter", "parquet_options", "reading"]

Damaged = Callable[[str], Exception]
"""Makes the error for a table that can't be read, out of the reason."""

_COPY_BYTES: Final = 4 << 20

# A group costs a round trip, and the whole file its bytes. Once single groups have cost about as
# much as the whole file would, the whole file is fetched.
_SINGLE_GROUPS: Final = 4
_GROUPS_PER_SINGLE: Final = 25

_ENCODINGS: Final = {
    "key": "DELTA_BYTE_ARRAY",
    "size": "DELTA_BINARY_PACKED",
    "modified": "DELTA_BINARY_PACKED",
    # Files that were written one after the other share most digits of their times.
    "mtime_ns": "DELTA_BYTE_ARRAY",
}


class SegmentWriter:
    """Writes a new Parquet file, group after group, into a temporary one; one thread at a time.

    Of the column `bounded` the file says for each group what its least and greatest value are.
    """

    def __init__(self, schema: "pa.Schema", bounded: str = "") -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self.groups = 0
        self._scratch = ScratchFile()
        # Arrow writes by itself, so the listing threads go on meanwhile.
        self._sink = arrow_file(self._scratch.open(), "wb")
        with full_disk_explained():
            options = parquet_options(schema)
            if bounded:
                options["write_statistics"] = [bounded]
            self._parquet = pq.ParquetWriter(self._sink, schema, **options)

    def write(self, rows: "pa.Table") -> int:
        """Write the rows as one group, and return its number.

        Raises:
            SourceError: if there is no room for them.
        """
        with full_disk_explained():
            # A group is what is read at once, so rows of one span make one, however few they are.
            self._parquet.write_table(rows, row_group_size=max(len(rows), 1))
        self.rows += len(rows)
        self.groups += 1
        return self.groups - 1

    def finish(self) -> Callable[[], BinaryIO]:
        """Finish the file, and return what opens it.

        Raises:
            SourceError: if there is no room for its footer.
        """
        with full_disk_explained():
            self._parquet.close()
            self._sink.close()
        # What is returned keeps the temporary file alive; the writer may be forgotten.
        return self._scratch.open


class _LocalFile:
    """A Parquet file on this machine."""

    def __init__(self, file: BinaryIO) -> None:
        self.parquet = _parse(arrow_file(file, "rb"))

    def to_read(self) -> Any:
        """The file from which the next group is to be read."""
        return self.parquet


class _RemoteFile:
    """A Parquet file elsewhere: some groups are read there, and more than some from a copy."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.parquet = _parse(file)
        self._left = _SINGLE_GROUPS + self.parquet.num_row_groups // _GROUPS_PER_SINGLE

    def to_read(self) -> Any:
        """The file from which the next group is to be read."""
        if self._left == 0:
            copy = ScratchFile().open()
            self._file.seek(0)
            shutil.copyfileobj(self._file, copy, _COPY_BYTES)
            self.parquet = _parse(arrow_file(copy, "rb"))
        self._left -= 1
        return self.parquet


def _is_local(file: BinaryIO) -> bool:
    """Whether a file is on this machine."""
    try:
        file.fileno()
    except (AttributeError, OSError):
        return False
    return True


def _parse(source: Any) -> Any:
    import pyarrow.parquet as pq

    # Without `pre_buffer`, which has groups read by other threads: those wait for busy Python.
    return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)


class Segment:
    """Reads a Parquet file, which is opened for the first group; `name` is for messages."""

    def __init__(self, open_file: Callable[[], BinaryIO], name: str, damaged: Damaged) -> None:
        self._open_file = open_file
        self._name = name
        self._damaged = damaged
        self._lock = Lock()
        self._source: _LocalFile | _RemoteFile | None = None

    def read(self, group: int, schema: "pa.Schema") -> "pa.Table":
        """The rows of one group, in these columns of the file.

        Raises:
            Exception: what `damaged` makes, if the file has no such rows or can't be read.
        """
        # Arrow's reader has one cursor, and threads of its own would wait for busy Python.
        with self._lock, reading(self._explained):
            parquet = self._parquet_with(group)
            rows = parquet.read_row_group(group, columns=schema.names, use_threads=False)
        return self._checked(rows, schema)

    def pieces(self, group: int, schema: "pa.Schema", rows: int) -> "Iterator[pa.Table]":
        """Read one group in pieces of `rows` rows: what nobody asks for is not unpacked.

        Raises:
            Exception: as `read` does, when it comes to the rows.
        """
        import pyarrow as pa

        with self._lock, reading(self._explained):
            parquet = self._parquet_with(group)
            batches = parquet.iter_batches(rows, [group], schema.names, use_threads=False)
        # The lock is not held between two pieces, because whoever asked may never ask for the next.
        while True:
            with self._lock, reading(self._explained):
                batch = next(batches, None)
            if batch is None:
                break
            yield self._checked(pa.Table.from_batches([batch]), schema)

    def bounds(self, group: int, column: str) -> tuple[bytes, bytes] | None:
        """The least and greatest value that a column has in a group; None if that is not said."""
        with self._lock, reading(self._explained):
            parquet = self._ready().parquet
            at = parquet.schema_arrow.get_field_index(column)
            said = parquet.metadata.row_group(group).column(at).statistics if at >= 0 else None
            return (said.min, said.max) if said is not None and said.has_min_max else None

    @property
    def groups(self) -> list[int]:
        """How many rows each group has."""
        with self._lock, reading(self._explained):
            metadata = self._ready().parquet.metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What the writer wrote beside the rows."""
        with self._lock, reading(self._explained):
            return dict(self._ready().parquet.schema_arrow.metadata or {})

    def _explained(self, reason: str) -> Exception:
        return self._damaged(f"{self._name!r} can't be read: {reason}" if self._name else reason)

    def _checked(self, rows: "pa.Table", schema: "pa.Schema") -> "pa.Table":
        # Columns of another type would be compared as if every row had changed.
        if not rows.schema.equals(schema):
            raise self._explained("its columns have other types")
        return rows

    def _parquet_with(self, group: int) -> Any:
        parquet = self._ready().to_read()
        if not 0 <= group < parquet.num_row_groups:
            raise ValueError(f"it has no row group {group}")
        return parquet

    def _ready(self) -> _LocalFile | _RemoteFile:
        if self._source is None:
            # Not opened before the first read: most ticks read no row of the past.
            file = self._open_file()
            weakref.finalize(self, file.close)
            self._source = _LocalFile(file) if _is_local(file) else _RemoteFile(file)
        return self._source


def parquet_options(schema: "pa.Schema") -> dict[str, Any]:
    """How tables of this schema are written: small, quickly, and so that damage shows."""
    encodings = {
        name: encoding
        for name in schema.names
        for suffix, encoding in _ENCODINGS.items()
        if name in (suffix, f"old_{suffix}", f"new_{suffix}")
    }
    return {
        "compression": "zstd",
        "compression_level": 1,
        # Keys and ETags hardly ever repeat: a dictionary would be as large as the column.
        "use_dictionary": False,
        # Keys in order share most of their bytes with the key before.
        "column_encoding": encodings,
        # Hardly anybody looks for a row by its values.
        "write_statistics": False,
        # Parquet has no checksum otherwise, and a flipped bit in a key would be a change.
        "write_page_checksum": True,
    }


@contextmanager
def reading(damaged: Damaged) -> Iterator[None]:
    """Turn what Arrow raises for a damaged file into the error that `damaged` makes.

    What this machine lacks (memory, files that may be open) is no damage.
    """
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        # Not damage, although Arrow says it in an error of its own: a tick that took it for damage
        # would find everything new.
        raise
    except OSError as error:
        # Arrow raises OSError for a page whose checksum is wrong, too, but without a number.
        if error.errno is not None:
            raise SourceError(
                f"What is recorded could not be read: {error.strerror or error}",
                fix="The next tick tries again; should it go on, look at the limits of this "
                "machine: `ulimit -n`, and the room for temporary files",
            ) from error
        raise damaged(one_line(error)) from error
    except (pa.ArrowException, ValueError) as error:
        raise damaged(one_line(error)) from error
