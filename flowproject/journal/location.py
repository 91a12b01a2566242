"""Where the journal lies: under the root of the datastore that Metaflow uses."""

from flowproject.errors import JournalError
from flowproject.metaflow_internals.datastore import configured_root
from flowproject.metaflow_internals.settings import setting

__all__ = ["datastore_root"]


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
