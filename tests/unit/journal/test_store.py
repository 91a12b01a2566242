"""Objects are read in ranges that grow, and a store's failure is told in words."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.journal.store import explained, open_reader

CONTENT = bytes(range(251)) * 20_000  # 5 MB


def reader(content: bytes = CONTENT) -> tuple[io.BufferedIOBase, list[tuple[int, int]]]:
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return content[start:end]

    return open_reader(read, len(content)), asked


def test_what_is_read_is_what_is_there() -> None:
    file, _ = reader()
    assert file.read() == CONTENT
    assert file.read() == b""


def test_reading_on_asks_for_more_each_time() -> None:
    file, asked = reader()
    while file.read(65_536):
        pass
    assert [end - start for start, end in asked] == [1 << 18, 1 << 20, len(CONTENT) - (5 << 18)]


def test_jumping_about_asks_for_little() -> None:
    file, asked = reader()
    for place in (4_000_000, 1_000_000, 3_000_000):
        file.seek(place)
        assert file.read(10) == CONTENT[place : place + 10]
    assert [end - start for start, end in asked] == [1 << 18] * 3


def test_what_was_fetched_is_not_fetched_again() -> None:
    file, asked = reader()
    for place in (100_000, 120_000, 100_000):
        file.seek(place)
        file.read(10)
    assert len(asked) == 1


def test_nothing_is_asked_for_beyond_the_end() -> None:
    file, asked = reader(b"")
    assert file.read() == b""
    assert file.seek(0, io.SEEK_END) == 0
    assert asked == []


def test_an_object_that_is_shorter_than_it_was_is_an_error() -> None:
    with pytest.raises(OSError, match="no bytes"):
        open_reader(lambda _start, _end: b"", 10).read()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-60, 700), st.integers(0, 300))))
def test_it_behaves_like_any_file(steps: list[tuple[int, int, int]]) -> None:
    content = CONTENT[:500]
    file, _ = reader(content)
    like = io.BytesIO(content)
    for whence, offset, count in steps:
        if whence < 3:
            place = offset if whence else abs(offset)
            if whence and like.tell() + offset < 0:
                continue
            if whence == io.SEEK_END and len(content) + offset < 0:
                continue
            assert file.seek(place, whence) == like.seek(place, whence)
        assert file.read(count) == like.read(count)


def test_a_cause_is_told_once() -> None:
    error = OSError(
        "Generic LocalFileSystem error: Unable to open file /x: Permission denied (os error 13)\n\n"
        'Debug source: Os { code: 13, kind: PermissionDenied, message: "Permission denied" }'
    )
    told = str(explained(error, verb="read", key="k", root="/x"))
    assert told.count("Permission denied") == 1
