"""Whether keys are in the store as obstore lists them, who takes a slash away at either end.

A listing of one folder can't hide that: an object there with a slash at the end would be a folder.
So what is new or different is looked up once more, key by key or folder by folder. What holds
nothing and has a slash at the end only stands for a folder, and is none of the objects.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Final

from flowproject.sources.containers.container import Container
from flowproject.sources.containers.failures import odd_key

__all__ = ["check_early", "check_spelling", "find_folders"]

_BATCH: Final = 50_000
_FEW: Final = 8
_AT_ONCE: Final = 16

_Folders = dict[str, set[str]]


async def find_folders(container: Container, keys: Iterable[str]) -> set[str]:
    """Those of the keys of empty objects that are there with a slash at the end, and only so."""
    found: set[str] = set()
    for folders in _by_folder(keys):
        pending = iter(folders.items())

        async def look(pending: Iterator[tuple[str, set[str]]] = pending) -> None:
            for folder, names in pending:
                if len(names) > _FEW or any([await container.head(key) is None for key in names]):
                    inside = await container.folder(folder)
                    found.update((names - inside.objects) & inside.folders)

        await asyncio.gather(*(look() for _ in range(min(_AT_ONCE, len(folders)))))
    return found


async def check_spelling(container: Container, keys: Iterable[str]) -> None:
    """Look up every key that a listing gave.

    Raises:
        SourceError: if the store has one of them only with a slash before or behind it.
    """
    for folders in _by_folder(keys):
        pending = iter(folders.items())
        workers = min(_AT_ONCE, len(folders))
        await asyncio.gather(*(_check_folders(container, pending) for _ in range(workers)))


async def check_early(container: Container, keys: Iterable[str]) -> None:
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


def _by_folder(keys: Iterable[str]) -> Iterator[_Folders]:
    """The keys, so many at a time that they fit into memory, each under its folder."""
    rest = iter(keys)
    while batch := list(islice(rest, _BATCH)):
        folders: _Folders = {}
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
