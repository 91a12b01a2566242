"""Reads and writes objects by key, on any datastore that Metaflow uses: the one home of obstore.

Failures are told in words that name the one thing to do, never with a key or a signature.
"""

import io
import os
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Protocol, TypeVar
from uuid import uuid4

from flowproject.errors import JournalError
from flowproject.journal.errors import UnreadableError
from flowproject.secrecy import safe

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = [
    "ObjectStore",
    "ReadAhead",
    "ReadOnlyStore",
    "Store",
    "explained",
    "open_reader",
    "prove_atomic",
]

_T = TypeVar("_T")
_PART: Final = 5 << 20
"""Bytes of one part of an upload; smaller ones are not allowed by S3."""

_AT_ONCE: Final = 4
"""Parts that are sent at the same time, and so held in memory."""

_REQUESTS_AT_ONCE: Final = 32
"""As many as one look at a bucket makes: stores answer them as fast as one."""

# Who jumps about fetches a quarter of a megabyte at a time, who reads on and on four times as much
# each time, up to 8 MB: a round trip costs as much as a megabyte or so.
_FIRST_READ: Final = 1 << 18
_MOST_READ: Final = 1 << 23

_LONGEST: Final = 300
_ANSWER: Final = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")
_STATUS: Final = re.compile(r"non-2xx status code: (\d{3}[ \w]*)")
_REQUEST: Final = re.compile(r"performing [A-Z]+ (\w+://[^/\s]+)")
_RETRIES: Final = re.compile(r"after (\d+) retries")
_PREAMBLE: Final = re.compile(r"^(?:.* - |Generic \w+ error: )")
_SYSTEM_ERROR: Final = re.compile(r'message: "([^"\\]+)"|source: (TimedOut)')

_RIGHTS: Final = "s3:GetObject, s3:PutObject, s3:DeleteObject and, on the bucket, s3:ListBucket"
_LOGIN: Final = "AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role"
_FIXES: Final = {
    "NoSuchBucket": "Create it, or set METAFLOW_DATASTORE_SYSROOT_S3 to a bucket that is there",
    "InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken": f"Check {_LOGIN}",
    "External AWS credential provider": f"Log in to AWS anew, or check {_LOGIN}",
    "AccessDenied": f"Allow {_RIGHTS}",
    "403 Forbidden": f"Check {_LOGIN}, and allow {_RIGHTS}",
    "error sending request": "Check the network and the endpoint; nothing was lost or advanced, "
    "and the next tick goes on from here",
}
_OTHERWISE: Final = (
    "Nothing was lost or advanced; check the datastore and its permissions, and the next tick "
    "goes on from here"
)


class Store(Protocol):
    """What the journal asks of a store: atomic creation, and reads that see every write."""

    def create(self, key: str, content: bytes) -> bool:
        """Create the object if the key is free; False, and nothing written, if it is taken."""

    def put(self, key: str, content: bytes) -> None:
        """Write the object, whether or not the key is taken."""

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Write the whole file, part by part, whether or not the key is taken."""

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""

    def open(self, key: str) -> BinaryIO | None:
        """A seekable reader of the object, or None if there is none."""

    def exists(self, key: str) -> bool:
        """Whether there is an object."""

    def keys(self, prefix: str, after: str = "") -> list[str]:
        """The keys below the folder `prefix` that come after `after`, sorted."""

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders in the folder `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove the object; it is no error if there is none."""

    def concurrently(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        """The answers to questions that ask this store, which need not wait for each other."""


class ReadOnlyStore:
    """A `Store` that takes nothing, and knows whether it was asked to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.was_asked = False
        """Whether somebody wanted to write."""
        self.get = store.get
        self.open = store.open
        self.exists = store.exists
        self.keys = store.keys
        self.folders = store.folders
        self.concurrently = store.concurrently

    def create(self, key: str, content: bytes) -> bool:
        """Refuse it.

        Raises:
            JournalError: always.
        """
        del content
        raise self._refusal(key)

    def put(self, key: str, content: bytes) -> None:
        """Refuse it.

        Raises:
            JournalError: always.
        """
        del content
        raise self._refusal(key)

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Refuse it.

        Raises:
            JournalError: always.
        """
        del file
        raise self._refusal(key)

    def delete(self, key: str) -> None:
        """Refuse it.

        Raises:
            JournalError: always.
        """
        raise self._refusal(key)

    def _refusal(self, key: str) -> JournalError:
        self.was_asked = True
        return JournalError("Nothing is written by a look ahead of a run", where=key)


class ObjectStore:
    """A `Store` in a folder or bucket that obstore can reach.

    `relocate` is asked about each failure: what it gives takes the backend's place.
    """

    def __init__(
        self,
        backend: Any,  # obstore's store union
        root: str,
        *,
        relocate: Callable[[Exception], Any] | None = None,
    ) -> None:
        self._backend = backend
        self._root = root
        self._relocate = relocate

    def create(self, key: str, content: bytes) -> bool:
        """Create the object if the key is free; False, and nothing written, if it is taken."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        answer = self._ask(
            "write",
            key,
            # On S3 this is If-None-Match, on a disk a file that is made only if there is none: the
            # one atomic step on which the journal rests.
            lambda backend: obstore.put(backend, key, content, mode="create"),
            no=AlreadyExistsError,
        )
        if answer is None:
            self._refuse_folder("write", key)
        return answer is not None

    def put(self, key: str, content: bytes) -> None:
        """Write the object, whether or not the key is taken."""
        import obstore

        self._ask("write", key, lambda backend: obstore.put(backend, key, content))

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Write the whole file, part by part, whether or not the key is taken."""
        import obstore

        def write(backend: Any) -> object:
            # A store that was relocated is asked a second time, with the whole file.
            file.seek(0)
            return obstore.put(backend, key, file, chunk_size=_PART, max_concurrency=_AT_ONCE)

        self._ask("write", key, write)

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""
        import obstore

        def read(backend: Any) -> bytes:
            answer = obstore.get(backend, key)
            _check(answer.meta)
            return bytes(answer.bytes())

        answer = self._ask("read", key, read, no=FileNotFoundError)
        if answer is None:
            self._refuse_folder("read", key)
        return answer

    def open(self, key: str) -> BinaryIO | None:
        """A seekable reader of the object, or None if there is none."""
        import obstore

        def read(start: int, end: int) -> bytes:
            answer = self._ask(
                "read", key, lambda backend: obstore.get_range(backend, key, start=start, end=end)
            )
            return bytes(answer or b"")

        size = self._size(key)
        return None if size is None else open_reader(read, size, self._path(key))

    def _path(self, key: str) -> Path | None:
        """Where the object is on this machine, if it is on this machine."""
        from obstore.store import LocalStore

        return Path(self._root, key) if isinstance(self._backend, LocalStore) else None

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return self._size(key) is not None

    def keys(self, prefix: str, after: str = "") -> list[str]:
        """The keys below the folder `prefix` that come after `after`, sorted."""
        import obstore

        def listed(backend: Any) -> list[str]:
            batches = obstore.list(backend, prefix, offset=after or None)
            found = {meta["path"] for batch in batches for meta in batch}
            # Local folders list in no order.
            return sorted(found | {key for key in self._odd_folders(prefix) if key > after})

        return self._ask("list", prefix, listed) or []

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders in the folder `prefix`, sorted."""
        import obstore

        def listed(backend: Any) -> list[str]:
            found = obstore.list_with_delimiter(backend, prefix)["common_prefixes"]
            return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

        return self._ask("list", prefix, listed) or []

    def delete(self, key: str) -> None:
        """Remove the object; it is no error if there is none."""
        import obstore

        self._ask("delete", key, lambda backend: obstore.delete(backend, key), no=FileNotFoundError)

    def concurrently(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        """The answers to questions that ask this store, which need not wait for each other.

        All are asked, whichever fails; then the first failure in their order is raised.
        """
        if len(questions) < 2:  # noqa: PLR2004  # nothing to wait for
            return [question() for question in questions]
        # A pool for each call: ticks are short, and idle threads would keep a step from ending.
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(questions))) as pool:
            return [answer.result() for answer in [pool.submit(one) for one in questions]]

    def _size(self, key: str) -> int | None:
        import obstore

        def look(backend: Any) -> int:
            return _check(obstore.head(backend, key))["size"]

        answer = self._ask("look for", key, look, no=FileNotFoundError)
        if answer is None:
            self._refuse_folder("look for", key)
        return answer

    def _refuse_folder(self, verb: str, key: str) -> None:
        """Raise if a folder on the disk has the name of an object."""
        # Who reads would take it for nothing at all, and who writes for what another has written.
        if "://" not in self._root and Path(self._root, key).is_dir():
            raise UnreadableError(
                f"The journal could not {verb} {key!r}: a folder is in its place",
                where=f"Datastore {self._root}",
                allowed="Nothing was lost or advanced",
                fix=f"Put back the file that was there, or move the folder away: {key}",
            )

    def _odd_folders(self, prefix: str) -> Iterator[str]:
        """The folders on the disk that have the name of an object, which no listing tells."""
        if "://" in self._root:
            return
        # A folder in the place of an entry would otherwise be seen by who asks for its number, and
        # not by who lists: the journal would have two ends.
        for place, folders, _ in os.walk(Path(self._root, prefix)):
            for name in folders:
                if name.endswith(".json"):
                    yield Path(place, name).relative_to(self._root).as_posix()

    def _ask(
        self,
        verb: str,
        key: str,
        question: Callable[[Any], _T],
        *,
        no: type[Exception] | tuple[()] = (),
    ) -> _T | None:
        """The store's answer; None if it is the exception `no`, and not for want of a bucket."""
        from obstore.exceptions import BaseError

        try:
            return question(self._backend)
        except (BaseError, OSError) as error:
            # A bucket that is gone is answered with 404 as well, and must not look like a first
            # look.
            if isinstance(error, no) and "NoSuchBucket" not in str(error):
                return None
            if self._relocated(error):
                return self._ask(verb, key, question, no=no)
            raise explained(error, verb=verb, key=key, root=self._root) from error

    def _relocated(self, error: Exception) -> bool:
        backend = self._relocate(error) if self._relocate else None
        self._backend = backend or self._backend
        return backend is not None


def _check(meta: "ObjectMeta") -> "ObjectMeta":
    """Check that a store answered: all of them give an ETag, and a proxy's login page has none."""
    if not meta["e_tag"]:
        raise OSError("what answered is no object store, for it gave no ETag")
    return meta


def prove_atomic(store: Store, folder: str) -> None:
    """Prove that of two who create an object of one name only the first succeeds.

    Four requests; the object, in this folder, is removed.

    Raises:
        JournalError: if the second one succeeds too, or the store can't be asked.
    """
    key = f"{folder}/trial-{uuid4().hex}.json"
    try:
        # A client that had to ask twice may be told of its own first success as of another's.
        store.create(key, b"first")
        overwrites = store.create(key, b"second") or store.get(key) != b"first"
    finally:
        store.delete(key)
    if overwrites:
        raise JournalError(
            "The store overwrites an object that it is asked to create only if there is none",
            where=f"Object {key!r}",
            allowed="Two ticks or two runs at once would both go on, so nothing is recorded here",
            fix="Keep the journal in a store that honours the header If-None-Match, such as S3, "
            "MinIO, Azure or Google; `rclone serve s3` and older servers that speak S3 do not",
        )


def open_reader(read: Callable[[int, int], bytes], size: int, path: Path | None = None) -> BinaryIO:
    """A seekable reader of `size` bytes, of which `read(start, end)` fetches some.

    With a `path` it has a file number, too, for whoever reads files without Python.
    """
    return io.BufferedReader(_RangeReader(read, size, path))


class ReadAhead:
    """A store that was asked at once for what will be read next; each answer is given once.

    Of what is written here the answer is forgotten: it is asked for anew.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: dict[tuple[str, str], Callable[[], Any]] = {}

    def ask(self, *questions: tuple[Literal["get", "exists"], str]) -> None:
        """Ask for all of these keys side by side; a failure is told to whoever asks for it then."""
        asked = [
            partial(_kept, partial(getattr(self._store, verb), key)) for verb, key in questions
        ]
        self._answers = dict(zip(questions, self._store.concurrently(asked), strict=True))

    def create(self, key: str, content: bytes) -> bool:
        """Create the object if the key is free; False, and nothing written, if it is taken."""
        self._forget(key)
        return self._store.create(key, content)

    def put(self, key: str, content: bytes) -> None:
        """Write the object, whether or not the key is taken."""
        self._forget(key)
        self._store.put(key, content)

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Write the whole file, part by part, whether or not the key is taken."""
        self._forget(key)
        self._store.put_file(key, file)

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""
        known = self._answers.pop(("get", key), None)
        return known() if known else self._store.get(key)

    def open(self, key: str) -> BinaryIO | None:
        """A seekable reader of the object, or None if there is none."""
        return self._store.open(key)

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        known = self._answers.pop(("exists", key), None)
        return known() if known else self._store.exists(key)

    def keys(self, prefix: str, after: str = "") -> list[str]:
        """The keys below the folder `prefix` that come after `after`, sorted."""
        return self._store.keys(prefix, after)

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders in the folder `prefix`, sorted."""
        return self._store.folders(prefix)

    def delete(self, key: str) -> None:
        """Remove the object; it is no error if there is none."""
        self._forget(key)
        self._store.delete(key)

    def concurrently(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        """The answers to questions that ask this store, which need not wait for each other."""
        return self._store.concurrently(questions)

    def _forget(self, key: str) -> None:
        for verb in ("get", "exists"):
            self._answers.pop((verb, key), None)


def _kept(question: Callable[[], _T]) -> Callable[[], _T]:
    """Ask, and keep the answer or the failure for whoever asks next."""
    try:
        answer = question()
    except JournalError as error:
        # Told to whoever needs the answer: it may be nobody.
        failure = error

        def fail() -> _T:
            raise failure

        return fail
    return lambda: answer


class _RangeReader(io.RawIOBase):
    def __init__(
        self, read: Callable[[int, int], bytes], size: int, path: Path | None = None
    ) -> None:
        self._path = path
        self._number: int | None = None
        self._read = read
        self._size = size
        self._position = 0
        self._window = b""
        self._start = 0
        self._length = _FIRST_READ

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The number of the file on this machine; OSError if there is none."""
        if self._path is None:
            raise io.UnsupportedOperation("fileno")
        # Opened for who asks: large tables are read by their number, all else by ranges.
        if self._number is None:
            self._number = os.open(self._path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._number)
        return self._number

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]  # typeshed: Buffer
        # Never past the end, which some servers answer with an error.
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
        self._length = min(self._length * 4, _MOST_READ) if reads_on else _FIRST_READ
        end = min(self._position + max(wanted, self._length), self._size)
        self._window = self._read(self._position, end)
        self._start = self._position
        # The object shrank meanwhile. Nothing would be taken for the end of the file.
        if not self._window:
            raise OSError(f"no bytes from {self._position} to {end}")


def explained(error: Exception, *, verb: str, key: str, root: str) -> JournalError:
    """Make the error for a failure of the store at `root`, which was to `verb` the object `key`."""
    text = str(error)
    # In this order: the more special sign stands before the status that it comes with.
    fixes = (fix for sign, fix in _FIXES.items() if re.search(sign, text))
    return JournalError(
        f"The journal could not {verb} {key!r}: {_reason(text)}",
        where=f"Datastore {root}",
        fix=next(fixes, _OTHERWISE) if root.startswith("s3://") else _OTHERWISE,
    )


def _reason(text: str) -> str:
    """What went wrong, at which address, and how often it was tried anew."""
    address, retries = _REQUEST.search(text), _RETRIES.search(text)
    facts = [
        address[1] if address else "",
        f"after {retries[1]} retries" if retries else "",
    ]
    told = ", ".join(filter(None, facts))
    return _said(text) + (f" ({told})" if told else "")


def _said(text: str) -> str:
    """What the server said, or what obstore says of it, in one line."""
    # A server's whole answer would show the id of an access key, and what was signed.
    if answer := _ANSWER.search(text):
        return ": ".join(filter(None, answer.groups()))
    if status := _STATUS.search(text):
        return f"the server answered {status[1]}"
    first = _PREAMBLE.sub("", text.partition("\n")[0]).partition("<")[0].strip()
    cause = _SYSTEM_ERROR.search(text)
    causes = filter(None, cause.groups() if cause else ())
    return ": ".join([safe(first)[:_LONGEST], *(one for one in causes if one not in first)])
