"""Tells where Metaflow keeps artifacts, and whom it lets in: roots, clients of clouds.

Uses `metaflow.plugins.DATASTORES`, `LocalStorage`, a task's `_datastore._storage_impl`, and the
client providers `aws_client.get_aws_client`, `azure_credential.create_cacheable_azure_credential`
and `gs_storage_client_factory.get_credentials`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from metaflow.plugins import DATASTORES
from metaflow.plugins.datastores.local_storage import LocalStorage

from flowproject.metaflow_internals.settings import setting

__all__ = [
    "azure_credential",
    "configured_root",
    "existing_local_root",
    "google_credentials",
    "local_root",
    "root_of_task",
    "s3_client",
]


def configured_root(datastore: str) -> str:
    """The root of Metaflow's datastore of that type, as it is configured; empty if it has none."""
    # Of all that are registered, for an extension may bring one of its own.
    for storage in DATASTORES:
        if datastore == storage.TYPE:
            return str(storage.get_datastore_root_from_config(_silent) or "")
    return ""


def local_root() -> str:
    """The folder of Metaflow's local datastore, looked for in the current folder and above."""
    return str(LocalStorage.get_datastore_root_from_config(_silent))


def existing_local_root() -> str:
    """The folder of Metaflow's local datastore as `local_root`; empty where it would be made."""
    return str(LocalStorage.get_datastore_root_from_config(_silent, create_on_absent=False) or "")


def root_of_task(flow: Any) -> str:
    """The root of the datastore of the task that runs this flow."""
    # Not the configured one: `run --datastore` may have named another.
    return str(flow._datastore._storage_impl.datastore_root)  # noqa: SLF001


def s3_client(role: str, params: Mapping[str, Any]) -> Any:
    """A botocore client for S3 from Metaflow's client provider; an empty role is none."""
    # By the provider, so that an extension's credentials (Outerbounds') are used for data, too.
    from metaflow.plugins.aws.aws_client import get_aws_client

    return get_aws_client(
        "s3",
        role_arn=role or None,
        session_vars=setting("DATATOOLS_SESSION_VARS"),
        client_params={**params},
    )


def azure_credential() -> Any:
    """Azure's credential from Metaflow's client provider.

    Raises:
        ImportError: if azure-identity is missing, which Metaflow asks for only here.
    """
    # Looked up anew each time: an extension of Metaflow may put its own provider there.
    from metaflow.plugins.azure import azure_credential as provider

    return provider.create_cacheable_azure_credential()


def google_credentials(scopes: Sequence[str]) -> Any:
    """Google's credentials from Metaflow's client provider.

    Raises:
        ImportError: if google-auth is missing, which Metaflow asks for only here.
    """
    from metaflow.plugins.gcp.gs_storage_client_factory import get_credentials

    credentials, _ = get_credentials(list(scopes))
    return credentials


def _silent(*_: object, **__: object) -> None:
    """What Metaflow is to print with: it would tell of the folder that it makes."""
