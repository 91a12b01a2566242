"""Where the journal lies: under the root of the datastore that Metaflow uses."""

from flowproject.errors import JournalError

__all__ = ["datastore_root"]


def datastore_root() -> str:
    """The root of Metaflow's default datastore: a folder or a URL.

    Raises:
        JournalError: if Metaflow is set to a datastore that has no root.
    """
    from metaflow.metaflow_config import DEFAULT_DATASTORE
    from metaflow.plugins import DATASTORES

    for storage in DATASTORES:
        if storage.TYPE == DEFAULT_DATASTORE:
            root = storage.get_datastore_root_from_config(lambda *_, **__: None)
            if root:
                return str(root)
    raise JournalError(
        f"Metaflow's datastore {DEFAULT_DATASTORE!r} has no root",
        where="Metaflow's configuration",
        fix=f"Set METAFLOW_DATASTORE_SYSROOT_{DEFAULT_DATASTORE.upper()}",
    )
