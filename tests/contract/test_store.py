"""What the journal asks of a store, on every store that it runs on."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import SEEK_END, BytesIO
from pathlib import Path

import pytest

from flowproject.errors import JournalError
from flowproject.journal import Store, open_store, prove_atomic
from tests.journals import CountingStore

LARGE = bytes(range(256)) * (3 << 14)  # 12 MB: more than one part, more than one request to read


def test_nothing_is_there_before_it_is_written(store: Store) -> None:
    assert store.get("a/b") is None
    assert store.open("a/b") is None
    assert not store.exists("a/b")
    assert store.keys("a") == []
    store.delete("a/b")


def test_what_is_written_is_there_at_once(store: Store) -> None:
    store.put("a/b", b"one")
    assert store.exists("a/b")
    assert store.get("a/b") == b"one"
    store.put("a/b", b"two")
    assert store.get("a/b") == b"two"
    store.delete("a/b")
    assert store.get("a/b") is None


def test_keys_are_those_below_a_folder(store: Store) -> None:
    for key in ("a/2", "a/1", "a/b/3", "ab/4", "c"):
        store.put(key, b"")
    assert store.keys("a") == ["a/1", "a/2", "a/b/3"]


def test_a_store_shows_that_it_creates_atomically_and_nothing_is_left(store: Store) -> None:
    prove_atomic(store, "a")
    assert store.keys("a") == []


class Overwrites(CountingStore):
    """A real store that overwrites what it is asked to create, as `rclone serve s3` does."""

    def create(self, key: str, content: bytes) -> bool:
        self._store.put(key, content)
        return True


def test_a_store_that_overwrites_is_refused_and_nothing_is_left(store: Store) -> None:
    with pytest.raises(JournalError, match="overwrites an object"):
        prove_atomic(Overwrites(store), "a")
    assert store.keys("a") == []


def test_folders_are_those_in_a_folder(store: Store) -> None:
    for key in ("a/x/1", "a/y/z/2", "a/y/3", "a/4", "b/5"):
        store.put(key, b"")
    assert store.folders("a") == ["x", "y"]
    assert store.folders("a/y") == ["z"]
    assert store.folders("c") == []


def test_keys_after_one_are_those_behind_it(store: Store) -> None:
    for key in ("a/1-x/1.json", "a/2-x/1.json", "a/3-x/1.json", "b/4"):
        store.put(key, b"")
    assert store.keys("a", "a/2") == ["a/2-x/1.json", "a/3-x/1.json"]
    assert store.keys("a", "a/4") == []


def test_questions_that_wait_for_each_other_not_are_answered_in_their_order(store: Store) -> None:
    for number in range(70):
        store.put(f"a/{number}", b"%d" % number)
    asked = [partial(store.get, f"a/{number}") for number in range(70)]
    assert store.concurrently(asked) == [b"%d" % number for number in range(70)]
    assert store.concurrently([]) == []


def test_of_questions_at_once_the_first_failure_is_told(store: Store) -> None:
    def fail(number: int) -> None:
        raise JournalError(f"number {number}")

    done: list[int] = []
    questions = [partial(fail, 1), partial(fail, 2), partial(done.append, 3)]
    with pytest.raises(JournalError, match="number 1"):
        store.concurrently(questions)
    assert done == [3]


def test_a_key_is_created_once(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.get("a") == b"first"


def test_of_eight_that_create_a_key_at_once_one_does(store: Store) -> None:
    for number in range(10):
        with ThreadPoolExecutor(8) as pool:
            key = f"entry-{number}"
            made = list(pool.map(lambda who, key=key: store.create(key, b"%d" % who), range(8)))
        assert sum(made) == 1
        assert store.get(key) == b"%d" % made.index(True)


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
def test_a_file_arrives_whole_wherever_it_was_read_to(store: Store, content: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        store.put_file("a", file)
    assert store.get("a") == content
    store.put_file("a", BytesIO(b"another"))
    assert store.get("a") == b"another"


def test_an_object_is_read_like_a_file(store: Store) -> None:
    store.put("a", LARGE)
    file = store.open("a")
    assert file is not None
    assert file.seek(-10, SEEK_END) == len(LARGE) - 10
    assert file.read() == LARGE[-10:]
    file.seek(5_000_000)
    assert file.read(1000) == LARGE[5_000_000:5_001_000]
    file.seek(0)
    assert file.read() == LARGE


def test_an_object_that_goes_while_it_is_read_is_an_error(store: Store) -> None:
    store.put("a", LARGE)
    file = store.open("a")
    assert file is not None
    file.read(10)
    store.delete("a")
    file.seek(8_000_000)
    with pytest.raises(JournalError, match="could not read 'a'"):
        file.read(10)


@pytest.mark.parametrize("root", ["nowhere://bucket", "az://"])
def test_a_root_that_is_none_is_an_error(root: str) -> None:
    with pytest.raises(JournalError, match=f"can't be opened.* datastore '{root}'"):
        open_store(root)


def test_a_folder_is_made_when_it_is_opened(tmp_path: Path) -> None:
    open_store(str(tmp_path / "new" / "folder")).put("a", b"")
    assert (tmp_path / "new" / "folder" / "a").exists()
