"""Parquet files on this machine, and those elsewhere, which come here once that is worth while."""

import shutil
from typing import Any, BinaryIO, Final

from flowproject.tables.scratch import Scratch, native

__all__ = ["Far", "Near", "is_near"]

_COPY_BYTES: Final = 4 << 20

# A group costs a round trip, and the whole file its bytes. Once single groups have cost about as
# much as the whole file would, the whole file is fetched.
_SINGLE_GROUPS: Final = 4
_GROUPS_PER_SINGLE: Final = 25


class Near:
    """A Parquet file on this machine."""

    def __init__(self, file: BinaryIO) -> None:
        self.parquet = _parse(native(file, "rb"))

    def to_read(self) -> Any:
        """The file to read one more group of."""
        return self.parquet


class Far:
    """A Parquet file elsewhere: some groups are read there, and more than some from a copy."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.parquet = _parse(file)
        self._left = _SINGLE_GROUPS + self.parquet.num_row_groups // _GROUPS_PER_SINGLE

    def to_read(self) -> Any:
        """The file to read one more group of."""
        if self._left == 0:
            copy = Scratch().open()
            self._file.seek(0)
            shutil.copyfileobj(self._file, copy, _COPY_BYTES)
            self.parquet = _parse(native(copy, "rb"))
        self._left -= 1
        return self.parquet


def is_near(file: BinaryIO) -> bool:
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
