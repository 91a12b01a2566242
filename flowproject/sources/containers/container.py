"""Asks a container or bucket through obstore, and sees to it that keys are what they are in there.

What holds nothing and has a slash at the end only stands for a folder, and is none of the objects.
"""

# obstore takes a slash away at either end of a key. A listing of one folder can't hide that: an
# object there with a slash at the end would be a folder. So what is new or different is looked up
# once more, key by key or folder by folder.

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress, groupby, islice
from typing import TYPE_CHECKING, Any, Final

from flowproject.sources.containers.failures import (
    explain,
    is_unsure,
    odd_key,
    outside,
    repeated,
    without_etag,
)
from flowproject.sources.containers.location import ContainerLocation
from flowproject.sources.objects import StoredObject, Watch, is_folder
from flowproject.tables.manifest import key_bytes, key_text
from flowproject.tables.object_rows import object_rows

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = [
    "Container",
    "Folder",
    "ListedObjects",
    "check_before_start",
    "check_keys",
    "find_placeholders",
    "last_key",
]

# Handed over at once by obstore: to wait for each object would cost more than to take it.
_CHUNK: Final = 1000
# Keys that are held as text and in sets while they are looked up: about ten megabytes.
_BATCH: Final = 50_000
# Up to here a request for each object takes less than to list its folder, which may be large.
_FEW: Final = 8
_AT_ONCE: Final = 16

_Folders = dict[str, set[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """Names what is directly in a folder: keys of objects, and of folders without the slash."""

    objects: frozenset[str]
    folders: frozenset[str]


class Container:
    """Asks the container of a location; `requests` counts what was asked of it."""

    def __init__(self, backend: Any, place: ContainerLocation) -> None:  # obstore's store union
        self.place = place
        self.requests = 0
        self._backend = backend

    async def listing(
        self, folder: str, *, after: str = ""
    ) -> "AsyncIterator[Sequence[ObjectMeta]]":
        """Every object below a folder, a thousand at a time; `after` is a hint where to begin.

        Keys that obstore can't spell are not as they are in the store: see above.

        Raises:
            SourceError: if the container can't be listed.
        """
        import obstore

        listed = 0
        try:
            with self._explained():
                chunks = obstore.list(
                    self._backend, folder or None, offset=after or None, chunk_size=_CHUNK
                )
                async for chunk in chunks:
                    listed += len(chunk)
                    yield chunk
        finally:
            # Also of a listing that was given up or failed: its requests were sent.
            self._count(listed)

    async def folder(self, folder: str) -> Folder:
        """What is directly in a folder, with the exact keys of objects.

        Raises:
            SourceError: if it can't be listed.
        """
        import obstore

        with self._explained():
            found = await obstore.list_with_delimiter_async(self._backend, folder or None)
        objects = frozenset(meta["path"] for meta in found["objects"])
        folders = frozenset(found["common_prefixes"])
        if "" in folders:  # of a key that begins with a slash
            raise odd_key("/", self.place)
        self._count(len(objects) + len(folders))
        return Folder(objects=objects - {folder}, folders=folders)

    async def head(self, key: str) -> StoredObject | None:
        """The object with this key, or None if there is none.

        Raises:
            SourceError: if it can't be looked at.
        """
        import obstore

        self.requests += 1
        with self._explained():
            try:
                meta = await obstore.head_async(self._backend, key)
            except FileNotFoundError:  # a missing container says the same
                return None
        return _stored(meta)

    async def read(self, key: str) -> tuple[StoredObject, bytes] | None:
        """The object with this key and what it holds, told by one answer; None if there is none.

        Raises:
            SourceError: if it can't be read.
        """
        import obstore

        self.requests += 1
        with self._explained():
            try:
                answer = await obstore.get_async(self._backend, key)
            except FileNotFoundError:
                return None
            return _stored(answer.meta), bytes(await answer.bytes_async())

    async def check(self) -> None:
        """Raise the SourceError that says why nothing is found, if there is no such container."""
        # The first chunk is enough: what is missing or refused is so for all of them.
        async for _ in self.listing(self.place.folder):
            return

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        # obstore raises Python's own errors, too: for a missing object, and for odd settings.
        except (BaseError, OSError, ValueError) as error:
            raise explain(error, self.place) from error

    def _count(self, listed: int) -> None:
        # obstore does not tell how often it asked; what it asked for fills at least so many pages.
        self.requests += max(1, -(-listed // self.place.service.page_size))


def _stored(meta: "ObjectMeta") -> StoredObject:
    return StoredObject(
        key=meta["path"],
        size=meta["size"],
        etag=(meta["e_tag"] or "").strip('"'),  # without quotes in a listing
        modified=meta["last_modified"],
    )


class ListedObjects:
    """Collects the watched ones of the objects that were listed and come after the key `after`.

    `count` is how many were listed, watched or not; `early` are the keys up to `after` that would
    come after it if they had a slash at the end, which obstore takes away.
    """

    def __init__(
        self, place: ContainerLocation, watch: Watch, *, after: str = "", needs_etag: bool = False
    ) -> None:
        self.count = 0
        self.early: list[str] = []
        # Columns and not an object for each row: a million of those would be most of the memory.
        self.keys: list[bytes] = []
        self._sizes: list[int] = []
        self._etags: list[str] = []
        self._modified: list[Any] = []
        # The first two keys of each chunk: a listing that comes back to them may have no end.
        self._firsts: set[tuple[str, str]] = set()
        self._place = place
        self._watch = watch
        self._needs_etag = needs_etag
        self._after = key_bytes(after)

    def add(self, chunk: "Iterable[ObjectMeta]") -> None:
        """Take the next objects of the listing.

        Raises:
            SourceError: if a key is surely not what it is in the store.
        """
        before = ""
        for number, meta in enumerate(chunk):
            key = meta["path"]
            if is_unsure(key):
                raise odd_key(key, self._place)
            if (before, key) in self._firsts:
                raise repeated(before, self._place)
            # Two keys, because one alone may rightly come twice: `a` and `a/` look alike here.
            if number == 1:
                self._firsts.add((before, key))
            before = key
            if key == self._place.folder:
                continue  # what is named like the folder itself is not in it
            if not key.startswith(self._place.prefix):
                raise outside(key, self._place)
            # Stores order keys by bytes; Python orders text otherwise beyond U+FFFF.
            raw = key_bytes(key)
            if self._after < raw:
                self.count += 1
                if self._watch.match(key) and not is_folder(raw, meta["size"]):
                    self._take(raw, meta)
            elif self._after < raw + b"/" and meta["size"]:
                self.early.append(key)

    def empty(self) -> set[str]:
        """The keys of objects that hold nothing, as a folder's does, whose slash is not told."""
        pairs = zip(self.keys, self._sizes, strict=True)
        return {key_text(key) for key, size in pairs if size == 0}

    def leave_out(self, keys: Collection[str]) -> None:
        """Forget the objects with these keys."""
        if not keys:
            return
        gone = set(map(key_bytes, keys))
        kept = [key not in gone for key in self.keys]
        self.keys[:] = compress(self.keys, kept)
        self._sizes[:] = compress(self._sizes, kept)
        self._etags[:] = compress(self._etags, kept)
        self._modified[:] = compress(self._modified, kept)

    def texts(self) -> Iterator[str]:
        """The keys as text."""
        return map(key_text, self.keys)

    def rows(self) -> Any:
        """The objects as a table of Arrow."""
        return object_rows(self.keys, self._sizes, self._etags, self._modified)

    def doubled(self) -> str:
        """A key that was listed more than once."""
        return key_text(Counter(self.keys).most_common(1)[0][0])

    def _take(self, raw: bytes, meta: "ObjectMeta") -> None:
        self.keys.append(raw)
        self._sizes.append(meta["size"])
        # Its quotes stand in some answers and are missing in others, for the same object.
        etag = (meta["e_tag"] or "").strip('"')
        if not etag and self._needs_etag:
            raise without_etag(key_text(raw), self._place)
        self._etags.append(etag)
        self._modified.append(meta["last_modified"])


async def find_placeholders(container: Container, keys: Iterable[str]) -> set[str]:
    """Those of the keys of empty objects that are there with a slash at the end, and only so."""
    found: set[str] = set()
    for folders in _by_folder(keys):
        # One iterator for all: whoever is done takes the next folder, large ones delay nobody.
        pending = iter(folders.items())

        async def look(pending: Iterator[tuple[str, set[str]]] = pending) -> None:
            for folder, names in pending:
                if len(names) > _FEW or any([await container.head(key) is None for key in names]):
                    inside = await container.folder(folder)
                    found.update((names - inside.objects) & inside.folders)

        await asyncio.gather(*(look() for _ in range(min(_AT_ONCE, len(folders)))))
    return found


async def check_keys(container: Container, keys: Iterable[str]) -> None:
    """Look up every key that a listing gave.

    Raises:
        SourceError: if the store has one of them only with a slash before or behind it.
    """
    for folders in _by_folder(keys):
        pending = iter(folders.items())
        workers = min(_AT_ONCE, len(folders))
        await asyncio.gather(*(_check_folders(container, pending) for _ in range(workers)))


async def check_before_start(container: Container, keys: Iterable[str]) -> None:
    """Look up keys that were listed although they come before where the listing was to begin.

    Most likely the server lists everything whatever it is asked. If it does not, it has such a key
    with a slash at the end, and perhaps without it too.

    Raises:
        SourceError: if the store has one of them with a slash at the end.
    """
    for key in keys:
        times = (await _listed_again(container, _folder(key), {key}))[key]
        if times > 1 or (times and await container.head(key) is None):
            raise odd_key(key, container.place)


async def last_key(container: Container, folder: str, watch: Watch) -> str:
    """The last key below a folder that is watched; an empty text if there is none.

    What comes before the folder that it is in is not listed.
    """
    found = await container.folder(folder)
    # With its slash, because that decides the order: `a-b` comes before what is in `a/`.
    names = found.objects | {f"{name}/" for name in found.folders}
    for name in sorted(names, key=key_bytes, reverse=True):
        if not name.endswith("/"):
            if watch.match(name):
                return name
        elif last := await last_key(container, name.removesuffix("/"), watch):
            return last
    return ""


def _by_folder(keys: Iterable[str]) -> Iterator[_Folders]:
    """The keys, so many at a time that they fit into memory, each under its folder."""
    rest = iter(keys)
    while batch := list(islice(rest, _BATCH)):
        folders: _Folders = {}
        # Keys come in order, so that nearly all of a folder is one group; the rest joins it.
        for folder, names in groupby(batch, key=_folder):
            folders.setdefault(folder, set()).update(names)
        yield folders


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


async def _check_folders(container: Container, pending: Iterator[tuple[str, set[str]]]) -> None:
    """Check one folder after the other, until no worker has any left."""
    for folder, keys in pending:
        if len(keys) <= _FEW:
            missing = {key for key in keys if await container.head(key) is None}
        else:
            missing = keys - (await container.folder(folder)).objects
        if missing:
            await _check_missing(container, folder, missing)


async def _check_missing(container: Container, folder: str, missing: set[str]) -> None:
    """Tell a key that is spelt otherwise from one that was deleted since it was listed."""
    for key in sorted(await _listed_again(container, folder, missing)):
        if await container.head(key) is None:
            raise odd_key(key, container.place)


async def _listed_again(container: Container, folder: str, keys: set[str]) -> Counter[str]:
    """How often each of the keys is listed now, for an object that holds something."""
    found: Counter[str] = Counter()
    async for chunk in container.listing(folder):
        found.update(meta["path"] for meta in chunk if meta["path"] in keys and meta["size"])
    return found
