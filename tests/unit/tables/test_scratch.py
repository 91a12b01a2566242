"""Temporary files are shared by threads and leave nothing behind."""

import gc
import io
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowproject.errors import SourceError
from flowproject.tables import scratch
from flowproject.tables.builder import TableBuilder
from flowproject.tables.object_rows import object_schema
from flowproject.tables.scratch import ScratchFile, SpilledTables
from flowproject.tables.segments import SegmentWriter
from tests.unit.tables.objects import numbered, rows_of

FULL = Path("/dev/full")


def test_each_user_has_a_place_of_its_own():
    shared = ScratchFile()
    one, other = shared.open(), shared.open()
    one.write(b"0123456789")
    assert other.read(4) == b"0123"
    assert other.tell() == 4
    assert one.tell() == 10
    assert other.seek(-2, io.SEEK_END) == 8
    assert other.read() == b"89"
    assert other.seek(-3, io.SEEK_CUR) == 7
    assert other.read(100) == b"789"
    assert other.read(1) == b""


def test_closing_one_leaves_the_file_to_the_others():
    shared = ScratchFile()
    with shared.open() as one:
        one.write(b"kept")
    assert shared.open().read() == b"kept"


@pytest.mark.parametrize("size", [10, 9 << 20])
def test_what_several_threads_add_is_all_there(size: int):
    shared = ScratchFile()
    with ThreadPoolExecutor(4) as pool:
        contents = [bytes([number]) * size for number in range(4)]
        offsets = list(pool.map(shared.append, contents))
    assert [shared.read_at(offset, size) for offset in offsets] == contents


def test_tables_wait_until_they_are_read():
    spool = SpilledTables(object_schema())
    tables = [rows_of(numbered(count)) for count in (1, 10, 3)]
    slots = [spool.add(table) for table in tables]
    assert [spool.read(slot) for slot in reversed(slots)] == list(reversed(tables))


def test_a_part_of_a_table_waits_without_the_rest():
    spool = SpilledTables(object_schema())
    part = rows_of(numbered(2000)).slice(500, 2)
    slot = spool.add(part)
    assert spool.read(slot).equals(part)
    assert slot.size < 1000


def test_the_file_is_closed_when_nobody_uses_it_any_more():
    shared = ScratchFile()
    inner, user = weakref.ref(shared), shared.open()
    del shared
    user.write(b"still there")
    del user
    gc.collect()
    assert inner() is None


def test_a_segment_that_was_never_finished_leaves_no_complaint():
    writer = SegmentWriter(object_schema())
    writer.write(rows_of(numbered(3)))
    del writer
    gc.collect()  # pytest is told to fail if anything is said here


@pytest.mark.skipif(not FULL.exists(), reason="this system has no file that is always full")
def test_a_full_disk_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scratch, "TemporaryFile", lambda **_: FULL.open("r+b", buffering=0))
    with pytest.raises(SourceError, match=r"No space left on device.*TMPDIR"):
        TableBuilder(None, view="v").put(None, "z", listed=3, digest="", rows=rows_of(numbered(3)))
    with pytest.raises(SourceError, match=r"No space left on device.*TMPDIR"):
        SpilledTables(object_schema()).add(rows_of(numbered(3)))
    gc.collect()  # pytest is told to fail if anything is said here


@pytest.mark.seconds(30)
def test_a_look_that_keeps_everything_does_not_import_arrow():
    script = """
import sys
from flowproject.tables.builder import TableBuilder
from flowproject.tables.manifest import Manifest, Span
from flowproject.tables.table import ObjectTable
spans = (Span("a", 1, 1, "one", 0, 0), Span("b", 1, 1, "two", 0, 1))
known = Manifest(view="v", total=1, spans=spans, segments=("s",), rows=(2,))
builder = TableBuilder(ObjectTable(Manifest.from_json(known.to_json()), open), view="v")
for span in spans:
    builder.keep(span)
built = builder.finish()
assert not built.moved and not any(built.difference.counts.values()) and len(built.items) == 2
sys.exit("pyarrow was imported" if "pyarrow" in sys.modules else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
