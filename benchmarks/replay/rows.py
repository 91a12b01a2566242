"""The bucket in one buffer: rendered XML rows, each of the same length, sorted by key.

A row's place is its number times that length, so next to nothing else is kept.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

__all__ = ["KEY", "KEY_BYTES", "PREFIX", "ROW_BYTES", "Maker", "Row", "Rows", "render"]

PREFIX: Final = "raw/events/"
"""What every key starts with; then come year, month and day."""

KEY_BYTES: Final = 92
ROW_BYTES: Final = 377

_STRIDE: Final = 1024
"""Every so many rows a key is kept, so that most of a search is one in a list."""
_PARTITIONS: Final = 167
_FIRST_DAY: Final = date(2026, 1, 1)
_WRITTEN: Final = datetime(2026, 11, 1, tzinfo=UTC)
_SIZES: Final = range(10_000, 100_000)  # five digits: rows stay as long as they are

# No character of a key needs percent-encoding: rows are the same with encoding-type=url.
_KEY: Final = PREFIX + "%s/part-%08d-%s-%s-%s-%s-%s-c000.snappy.parquet"
_DAY_AT: Final = slice(len(PREFIX), len(PREFIX) + len("2026/01/01"))
_NUMBER_AT: Final = slice(_DAY_AT.stop + len("/part-"), _DAY_AT.stop + len("/part-00000000"))
_ROW: Final = (
    "<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    "<Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
KEY: Final = slice(len("<Contents><Key>"), len("<Contents><Key>") + KEY_BYTES)
"""Where a row has its key."""


class Row(NamedTuple):
    """What S3 tells of an object."""

    key: bytes
    modified: datetime
    etag: str
    size: int


class Rows:
    """The keys, in byte order, with the XML that S3 would send for each."""

    def __init__(self, xml: bytes | bytearray) -> None:
        if len(xml) % ROW_BYTES:
            raise ValueError(f"{len(xml):,} bytes are no whole number of rows")
        self._xml = memoryview(xml)
        self._landmarks = self.keys(range(0, len(self), _STRIDE))
        self._ranges: dict[bytes, range] = {}

    def __len__(self) -> int:
        return len(self._xml) // ROW_BYTES

    def __getitem__(self, number: int) -> bytes:
        at = number * ROW_BYTES
        return bytes(self._xml[at + KEY.start : at + KEY.stop])

    def keys(self, numbers: Iterable[int]) -> list[bytes]:
        """The keys of these rows."""
        return [self[number] for number in numbers]

    def xml(self, start: int, stop: int) -> memoryview:
        """The rows from `start` up to `stop`, without a copy."""
        return self._xml[start * ROW_BYTES : stop * ROW_BYTES]

    def row(self, index: int) -> Row:
        """One row, taken apart."""
        text = str(self.xml(index, index + 1), "ascii")

        def inside(tag: str) -> str:
            return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]

        etag = inside("ETag").replace("&quot;", "")
        modified = datetime.fromisoformat(inside("LastModified"))
        return Row(self[index], modified, etag, int(inside("Size")))

    def after(self, key: bytes) -> int:
        """The number of the first row whose key is greater."""
        landmark = bisect_right(self._landmarks, key)
        stop = min(landmark * _STRIDE, len(self))
        return bisect_right(self, key, max(landmark - 1, 0) * _STRIDE, stop)

    def within(self, prefix: bytes) -> range:
        """The numbers of the rows whose keys start with `prefix`."""
        if prefix not in self._ranges:
            beyond = prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
            self._ranges[prefix] = range(bisect_left(self, prefix), bisect_left(self, beyond))
        return self._ranges[prefix]


class Maker:
    """Rendered rows of made-up objects: the same ones for the same seed."""

    def __init__(self, seed: int, written: datetime = _WRITTEN) -> None:
        self._random = Random(seed)  # noqa: S311  # nothing here is a secret
        self._written = f"{written:%Y-%m-%dT%H:%M:%S}.000Z"

    def partition(self, day: date, numbers: range) -> bytes:
        """A day's rows, in order."""
        return self._rows(f"{day:%Y/%m/%d}", numbers)

    def beside(self, key: bytes) -> bytes:
        """A row that sorts next to `key`: of the same day, with the same number."""
        number = int(key[_NUMBER_AT])
        return self._rows(str(key[_DAY_AT], "ascii"), range(number, number + 1))

    def overwritten(self, row: Row) -> bytes:
        """The row after as many other bytes were written to its object."""
        etag = self._random.randbytes(16).hex()
        return (_ROW % (str(row.key, "ascii"), self._written, etag, row.size)).encode("ascii")

    def _rows(self, day: str, numbers: range) -> bytes:
        digits = self._random.randbytes(32 * len(numbers)).hex()
        sizes = self._random.choices(_SIZES, k=len(numbers))
        made = []
        for at, number, size in zip(range(0, len(digits), 64), numbers, sizes, strict=True):
            name, etag = digits[at : at + 32], digits[at + 32 : at + 64]
            uuid = (name[:8], name[8:12], name[12:16], name[16:20], name[20:])
            made.append(_ROW % (_KEY % (day, number, *uuid), self._written, etag, size))
        return "".join(made).encode("ascii")


def render(count: int) -> Rows:
    """So many rows, the same number (or one more) on each of the days."""
    maker = Maker(seed=0)
    xml = bytearray(count * ROW_BYTES)  # filled in place: ten million rows are 3.8 GB
    for partition in range(_PARTITIONS):
        first, last = (count * place // _PARTITIONS for place in (partition, partition + 1))
        rows = maker.partition(_FIRST_DAY + timedelta(days=partition), range(last - first))
        xml[first * ROW_BYTES : last * ROW_BYTES] = rows
    return Rows(xml)
