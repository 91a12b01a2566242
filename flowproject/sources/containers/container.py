"""One container or bucket that answers: listings, folders and single objects, through obstore."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from flowproject.sources.containers.failures import explain, odd_key
from flowproject.sources.containers.location import ContainerLocation
from flowproject.sources.objects import StoredObject

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import RetryConfig

__all__ = ["RETRIES", "Container", "Folder"]

# obstore's own default is three minutes, in which a tick would only seem to hang.
RETRIES: "Final[RetryConfig]" = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
"""How often and how long obstore asks again what the server or the network failed to answer."""

_CHUNK: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """What stands directly in a folder: whole keys of objects, and of folders without the slash."""

    objects: frozenset[str]
    folders: frozenset[str]


class Container:
    """The container of a location; `requests` counts what was asked of it."""

    def __init__(self, backend: Any, place: ContainerLocation) -> None:  # obstore's store union
        self.place = place
        self.requests = 0
        self._backend = backend

    async def listing(
        self, folder: str, *, after: str = ""
    ) -> "AsyncIterator[Sequence[ObjectMeta]]":
        """Every object below a folder, a thousand at a time; `after` is a hint where to begin.

        Keys that obstore can't spell are not as they are in the store: see `listing`.

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
        """What stands directly in a folder, the objects spelt as they are.

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
            except FileNotFoundError:
                return None
        return StoredObject(
            key=meta["path"],
            size=meta["size"],
            etag=(meta["e_tag"] or "").strip('"'),  # without quotes in a listing
            modified=meta["last_modified"],
        )

    async def check(self) -> None:
        """Raise the SourceError that says why nothing is found, if there is no such container."""
        async for _ in self.listing(self.place.folder):
            return

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise explain(error, self.place) from error

    def _count(self, listed: int) -> None:
        # obstore does not tell how often it asked; what it asked for fills at least so many pages.
        self.requests += max(1, -(-listed // self.place.service.page_size))
