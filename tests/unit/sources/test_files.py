"""Files are seen through what their mode watches: metadata, size, time or content."""

import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.changes.observation import Observation
from flowproject.config.data import FilesData
from flowproject.errors import SourceError
from flowproject.sources.files import FilesSource
from flowproject.tables.file_rows import moment_text, name_text

ONE_FILE_MODES = ["file_size", "file_modified_ts", "file_etag"]
SECOND = 1_000_000_000


def write(path: Path, content: str, *, moment: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(moment * SECOND, moment * SECOND))


def look(root: Path, path: str = "in", **data: object) -> Observation:
    return FilesSource(FilesData(path=path, **data), root).observe()  # type: ignore[arg-type]


def keys(root: Path, **data: object) -> set[str]:
    return {item.key for item in (look(root, **data).items or {}).values()}


def test_files_at_every_depth_have_their_path_as_key(tmp_path: Path):
    for name in ("a.csv", ".hidden", "2024/01/b.csv", "2024/c.tmp"):
        write(tmp_path / "in" / name, "x")
    (tmp_path / "in" / "empty").mkdir()
    seen = look(tmp_path)
    assert keys(tmp_path) == {"a.csv", ".hidden", "2024/01/b.csv", "2024/c.tmp"}
    assert seen.value == 4


def test_an_item_says_what_the_file_is(tmp_path: Path):
    write(tmp_path / "in" / "a", "xyz", moment=1_700_000_000)
    [found] = (look(tmp_path).items or {}).values()
    assert found.data == {
        "key": "a",
        "size": 3,
        "modified": "2023-11-14T22:13:20.000000+00:00",
    }


def test_an_overwrite_of_the_same_size_is_seen_to_the_nanosecond(tmp_path: Path):
    path = tmp_path / "in" / "a"
    write(path, "one")
    before = look(tmp_path)
    os.utime(path, ns=(SECOND + 1, SECOND + 1))
    assert look(tmp_path).fingerprint != before.fingerprint


def test_only_files_that_a_pattern_names_are_seen(tmp_path: Path):
    for name in ("a.csv", "b.txt", "2024/c.csv", "2024/01/d.csv"):
        write(tmp_path / "in" / name, "x")
    assert keys(tmp_path, include=("*.csv",)) == {"a.csv"}
    assert keys(tmp_path, include=("2024/**/*.csv", "*.txt")) == {
        "b.txt",
        "2024/c.csv",
        "2024/01/d.csv",
    }


def test_the_marker_is_seen_even_if_no_pattern_names_it(tmp_path: Path):
    for name in ("a.csv", "_SUCCESS", "b.txt"):
        write(tmp_path / "in" / name, "x")
    assert keys(tmp_path, include=("*.csv",), marker="_SUCCESS") == {"a.csv", "_SUCCESS"}


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path):
    write(tmp_path / "elsewhere" / "far", "x")
    write(tmp_path / "in" / "deep" / "near", "x")
    for name, target in {
        "folder": tmp_path / "elsewhere",
        "file": tmp_path / "elsewhere" / "far",
        "deep/up": tmp_path / "in",
        "self": tmp_path / "in" / "self",
        "dangling": tmp_path / "nowhere",
    }.items():
        (tmp_path / "in" / name).symlink_to(target)
    assert keys(tmp_path) == {"deep/near", "folder/far", "file"}


def test_what_is_no_file_is_not_seen(tmp_path: Path):
    write(tmp_path / "in" / "a", "x")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert keys(tmp_path) == {"a"}


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="macOS refuses names that are no UTF-8")
def test_names_that_are_not_utf8_have_keys_that_are(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in (b"caf\xe9", b"caf\\xe9", b"caf\\\\xe9", "café".encode()):
        Path(os.fsdecode(bytes(tmp_path / "in") + b"/" + name)).touch()
    found = keys(tmp_path)
    assert found == {"caf\\xe9", "caf\\\\xe9", "caf\\\\\\\\xe9", "café"}
    assert all(key.encode() for key in found)


@settings(deadline=None)
@given(st.sets(st.lists(st.sampled_from([b"\\", b"x", b"f", b"\xff", b"\xc3\xa9"])).map(b"".join)))
def test_two_names_never_get_one_key(names: set[bytes]):
    texts = {name_text(os.fsdecode(name)) for name in names}
    assert len(texts) == len(names)
    assert {text.encode().decode() for text in texts} == texts


def test_times_beyond_the_calendar_do_not_break_a_look():
    assert moment_text(10**30).startswith("9999-12-31T23:59:59")
    assert moment_text(-(10**30)).startswith("0001-01-01T00:00:00")
    assert moment_text(-1) == "1969-12-31T23:59:59.999999+00:00"


def test_a_tree_that_changes_while_it_is_walked_breaks_nothing(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "stays", "x")
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            (folder / "deep").mkdir()
            (folder / "deep" / "file").touch()
            (folder / "deep" / "file").unlink()
            (folder / "deep").rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        seen = [keys(tmp_path) for _ in range(200)]
    finally:
        done.set()
        thread.join()
    assert all("stays" in found for found in seen)
    assert keys(tmp_path) == {"stays"}


def meanwhile(monkeypatch: pytest.MonkeyPatch, folder: Path, act: Callable[[], None]) -> None:
    """Act each time that the folder has been listed, and nothing below it yet."""
    real = os.scandir

    @contextmanager
    def listing(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(path) as entries:
            found = list(entries)
            for entry in found:
                entry.stat()  # which it keeps
        if Path(path) == folder:
            act()
        yield iter(found)

    monkeypatch.setattr("flowproject.sources.files.os.scandir", listing)


@pytest.mark.parametrize("target", ["b", "a/deep/z", "zz"])
def test_a_folder_that_is_renamed_under_the_walk_is_seen_where_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
):
    """Also where the walk had been before: nothing of it counts as removed."""
    folder = tmp_path / "in"
    for name in ("a/deep/near", "z/far"):
        write(folder / name, "x")

    def rename() -> None:
        if (folder / "z").exists():
            (folder / "z").rename(folder / target)

    meanwhile(monkeypatch, folder, rename)
    assert keys(tmp_path) == {"a/deep/near", f"{target}/far"}


def test_folders_that_are_renamed_all_the_time_are_an_error_and_no_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "in"
    write(folder / "z0" / "far", "x")
    names = (folder / f"z{number}" for number in range(1, 99))

    def rename() -> None:
        [one] = folder.iterdir()
        one.rename(next(names))

    meanwhile(monkeypatch, folder, rename)
    with pytest.raises(SourceError, match="renamed or removed while") as refused:
        look(tmp_path)
    assert "include" in str(refused.value)


def test_a_folder_that_is_removed_under_the_walk_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "in"
    write(folder / "a", "x")

    def come_and_go() -> None:
        (folder / "gone").mkdir(exist_ok=True)
        (folder / "gone").rmdir()

    (folder / "gone").mkdir()
    meanwhile(monkeypatch, folder, come_and_go)
    assert keys(tmp_path) == {"a"}


def test_a_file_that_is_renamed_while_its_folder_is_read_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "in" / "a.tmp", "x")
    real = os.scandir

    @contextmanager
    def listing(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(path) as entries:
            found = list(entries)
        if (tmp_path / "in" / "a.tmp").exists():
            (tmp_path / "in" / "a.tmp").rename(tmp_path / "in" / "a.csv")
        yield iter(found)

    monkeypatch.setattr("flowproject.sources.files.os.scandir", listing)
    assert keys(tmp_path) == {"a.csv"}


def test_a_folder_that_becomes_unreadable_is_an_error_and_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without its rights, or because a disk went: root, as whom tests may run, may read all."""
    write(tmp_path / "in" / "deep" / "a", "x")
    real = os.scandir

    def refused(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path)

    monkeypatch.setattr("flowproject.sources.files.os.scandir", refused)
    with pytest.raises(SourceError, match="deep' can't be read: Permission denied"):
        look(tmp_path)


@settings(deadline=None, max_examples=30)
@given(
    st.sets(
        st.lists(
            st.sampled_from(["a", "a-", "a.", "a\x01", "b", "é", "😀", "\udcff", "a\\xff"]),
            min_size=1,
            max_size=3,
        ).map("/".join),
        min_size=1,
    )
)
def test_keys_come_in_the_order_of_their_bytes_whatever_the_names(names: set[str]):
    """As the table has them; a name that is a folder in another one is left out."""
    wanted = {name for name in names if not any(one.startswith(f"{name}/") for one in names)}
    with TemporaryDirectory() as root:
        for name in wanted:
            write(Path(root) / "in" / name, "x")
        found = look(Path(root)).items or {}
        assert [item.key for item in found.values()] == [
            name_text(name) for name in sorted(wanted, key=os.fsencode)
        ]
        assert all(name_text(name) in found for name in wanted)
        assert "c" not in found


def test_a_missing_folder_gets_what_is_there_instead(tmp_path: Path):
    write(tmp_path / "data" / "incoming" / "a", "x")
    with pytest.raises(SourceError) as caught:
        look(tmp_path, "data/incomin")
    message = str(caught.value)
    assert "There is no folder 'incomin'" in message
    assert str(tmp_path / "data" / "incomin") in message
    assert "holds: incoming. Did you mean 'incoming'?" in message


def test_a_missing_folder_far_below_is_missed_where_the_path_ends(tmp_path: Path):
    (tmp_path / "data").mkdir()
    with pytest.raises(SourceError, match=re.escape("Did you mean 'data'?")):
        look(tmp_path, "dat/a/b")


def test_a_file_where_a_folder_is_watched_gets_the_edit(tmp_path: Path):
    write(tmp_path / "in", "x")
    with pytest.raises(SourceError, match=r'is a file.*check_mode = "file_etag"'):
        look(tmp_path)


def test_a_path_below_a_file_is_an_error(tmp_path: Path):
    write(tmp_path / "in", "x")
    with pytest.raises(SourceError, match="Not a directory"):
        look(tmp_path, "in/deeper")


@pytest.mark.parametrize(
    "mode, value",
    [
        ("file_size", 3),
        ("file_modified_ts", "1970-01-01T00:00:01.000000+00:00"),
        ("file_etag", hashlib.md5(b"xyz", usedforsecurity=False).hexdigest()),
    ],
)
def test_the_value_of_one_file_is_what_its_mode_watches(tmp_path: Path, mode: str, value: object):
    write(tmp_path / "a.csv", "xyz")
    seen = look(tmp_path, "a.csv", check_mode=mode)
    assert seen.value == value
    [item] = (seen.items or {}).values()
    assert item.key == "a.csv"
    assert item.data["modified"] == "1970-01-01T00:00:01.000000+00:00"


@pytest.mark.parametrize(
    "content, moment, seen_by",
    [
        ("xyz", 1, set()),
        ("xyz", 2, {"file_modified_ts"}),
        ("abc", 1, {"file_etag"}),
        ("abcd", 1, {"file_etag", "file_size"}),
        ("abcd", 2, {"file_etag", "file_size", "file_modified_ts"}),
    ],
)
@pytest.mark.parametrize("mode", ONE_FILE_MODES)
def test_a_mode_sees_what_it_watches_and_nothing_else(
    tmp_path: Path, mode: str, content: str, moment: int, seen_by: set[str]
):
    write(tmp_path / "a", "xyz", moment=1)
    before = look(tmp_path, "a", check_mode=mode)
    write(tmp_path / "a", content, moment=moment)
    after = look(tmp_path, "a", check_mode=mode)
    assert (before.fingerprint != after.fingerprint) == (mode in seen_by)


@pytest.mark.parametrize("mode", ONE_FILE_MODES)
def test_a_missing_file_is_a_state_and_not_an_error(tmp_path: Path, mode: str):
    write(tmp_path / "a", "x")
    there = look(tmp_path, "a", check_mode=mode)
    (tmp_path / "a").unlink()
    gone = look(tmp_path, "a", check_mode=mode)
    assert (gone.value, gone.items) == (None, {})
    assert gone.fingerprint != there.fingerprint


@pytest.mark.parametrize("mode", ONE_FILE_MODES)
def test_a_missing_file_in_a_missing_folder_is_an_error(tmp_path: Path, mode: str):
    with pytest.raises(SourceError, match="There is no folder 'volume'"):
        look(tmp_path, "volume/a", check_mode=mode)


@pytest.mark.parametrize("mode", ONE_FILE_MODES)
def test_a_folder_where_a_file_is_watched_gets_the_edit(tmp_path: Path, mode: str):
    (tmp_path / "in").mkdir()
    with pytest.raises(SourceError, match=r'is a folder.*check_mode = "files_metadata"'):
        look(tmp_path, check_mode=mode)


def test_a_pipe_where_a_file_is_watched_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is not a file"):
        look(tmp_path, "pipe", check_mode="file_etag")


def test_reading_content_is_counted_as_cost(tmp_path: Path):
    write(tmp_path / "a", "x" * 3_000_000)
    assert look(tmp_path, "a", check_mode="file_etag").cost.bytes == 3_000_000
    assert look(tmp_path, "a", check_mode="file_size").cost.bytes == 0
