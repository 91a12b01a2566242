"""The one home of obstore: small objects by key, on any datastore that Metaflow uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from flowproject.errors import JournalError

__all__ = ["ObjectStore", "Store", "open_store"]

_INSTALL = "python -m pip install obstore"


class Store(Protocol):
    """What the journal asks of a store: atomic creation, and reads that see every write."""

    def create(self, key: str, content: bytes) -> bool:
        """Whether the object was created; False, and nothing written, if the key is taken."""

    def put(self, key: str, content: bytes) -> None:
        """Write the object, whether or not the key is taken."""

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""

    def exists(self, key: str) -> bool:
        """Whether there is an object."""

    def keys(self, prefix: str) -> list[str]:
        """The keys below the folder `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove the object; it is no error if there is none."""


class ObjectStore:
    """A `Store` in a folder or bucket that obstore can reach."""

    def __init__(self, backend: Any, root: str) -> None:  # obstore's store union
        self._backend = backend
        self._root = root

    def create(self, key: str, content: bytes) -> bool:
        """Whether the object was created; False, and nothing written, if the key is taken."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._explained("write", key):
            try:
                obstore.put(self._backend, key, content, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def put(self, key: str, content: bytes) -> None:
        """Write the object, whether or not the key is taken."""
        import obstore

        with self._explained("write", key):
            obstore.put(self._backend, key, content)

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""
        import obstore

        with self._explained("read", key):
            try:
                return bytes(obstore.get(self._backend, key).bytes())
            except FileNotFoundError:
                return None

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        import obstore

        with self._explained("look for", key):
            try:
                obstore.head(self._backend, key)
            except FileNotFoundError:
                return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """The keys below the folder `prefix`, sorted."""
        import obstore

        with self._explained("list", prefix):
            batches = obstore.list(self._backend, prefix)
            return sorted(meta["path"] for batch in batches for meta in batch)

    def delete(self, key: str) -> None:
        """Remove the object; it is no error if there is none."""
        import obstore

        with self._explained("delete", key):
            try:
                obstore.delete(self._backend, key)
            except FileNotFoundError:
                return

    @contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise JournalError(
                f"The journal could not {verb} {key!r}: {reason}",
                where=f"Datastore {self._root}",
                fix="Nothing was lost or advanced; check the datastore and its permissions, and "
                "the next tick goes on from here",
            ) from error


def open_store(root: str) -> Store:
    """The store at `root`: a folder, or a URL such as `s3://bucket/prefix`.

    Raises:
        JournalError: if obstore is not installed or the root can't be opened.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError as error:
        raise JournalError(
            "The journal needs the package 'obstore', which is not installed", fix=f"`{_INSTALL}`"
        ) from error
    try:
        if "://" in root:
            return ObjectStore(from_url(root), root)
        return ObjectStore(LocalStore(root, mkdir=True), root)
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise JournalError(
            f"The journal can't be opened: {reason}", where=f"Datastore {root}"
        ) from error
