"""Finds the datastore that Metaflow uses, and opens it as the store of journals.

On S3 it is reached as Metaflow reaches it: with its endpoint, its credentials and its encryption.
"""

from typing import Final

from flowproject.aws import S3Bucket
from flowproject.errors import JournalError
from flowproject.journal.store import ObjectStore, Store
from flowproject.metaflow_internals.datastore import configured_root
from flowproject.metaflow_internals.settings import setting

__all__ = ["datastore_root", "open_store"]

_INSTALL: Final = "python -m pip install obstore"


def datastore_root() -> str:
    """The root of Metaflow's default datastore: a folder or a URL.

    Raises:
        JournalError: if Metaflow is set to a datastore that has no root.
    """
    datastore: str = setting("DEFAULT_DATASTORE")
    if root := configured_root(datastore):
        return root
    raise JournalError(
        f"Metaflow's datastore {datastore!r} has no root",
        where="Metaflow's configuration",
        fix=f"Set METAFLOW_DATASTORE_SYSROOT_{datastore.upper()}",
    )


def open_store(root: str) -> Store:
    """The store at `root`: a folder, or a URL such as `s3://bucket/prefix`.

    Raises:
        JournalError: if obstore is not installed or the root can't be opened.
    """
    try:
        # Loaded where it is used: every step of every flow imports the package, and most open no
        # journal.
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url
    except ImportError as error:
        raise JournalError(
            "The journal needs the package 'obstore', which is not installed", fix=f"`{_INSTALL}`"
        ) from error
    try:
        # obstore finds S3 by itself, too, but with settings of its own: not Metaflow's endpoint,
        # role and encryption.
        if root.startswith("s3://"):
            bucket, _, prefix = root.removeprefix("s3://").partition("/")
            opener = S3Bucket(bucket, prefix.strip("/"), failure=JournalError)
            return ObjectStore(opener.open(), root, relocate=opener.relocate)
        if "://" in root:
            return ObjectStore(from_url(root), root)
        return ObjectStore(LocalStore(root, mkdir=True), root)
    except (BaseError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise JournalError(
            f"The journal can't be opened: {reason}",
            where=f"It lies in Metaflow's datastore {root!r}",
            fix="`metaflow status` says what Metaflow is configured with",
        ) from error
