"""Opens containers of Azure and Google: finds where they answer, and the credentials for them."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flowproject.config.data import AzureData, GcsData
from flowproject.errors import SourceError
from flowproject.metaflow_internals.datastore import azure_credential, google_credentials
from flowproject.metaflow_internals.settings import setting
from flowproject.sources.containers.container import RETRIES, Container
from flowproject.sources.containers.failures import explain
from flowproject.sources.containers.location import AZURE, GCS, ContainerLocation
from flowproject.sources.containers.source import ContainerSource

if TYPE_CHECKING:
    from obstore.store import AzureBearerToken, GCSCredentialProvider

__all__ = ["AzureSource", "GcsSource"]

_AZURE_SCOPE: Final = "https://storage.azure.com/.default"
_ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT_NAME"
# With one of these set, obstore needs nobody to tell it who is asking; a provider that it is given
# would go before them.
_AZURE_CREDENTIALS: Final = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_SKIP_SIGNATURE",
)
# A sensor only looks, and a token that can do no more is worth less to a thief.
_GCS_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
_GCS_CREDENTIALS: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SKIP_SIGNATURE",
)


class AzureSource(ContainerSource):
    """Observes a container of Azure Blob Storage."""

    def __init__(self, data: AzureData, root: Path) -> None:
        del root  # nothing here is relative to the project's folder
        place = ContainerLocation.parse(AZURE, data.container, data.key)
        super().__init__(data, place, lambda: _open_azure(data, place))


def _open_azure(data: AzureData, place: ContainerLocation) -> Container:
    """The container, which is not asked anything yet.

    Raises:
        SourceError: if the configuration and the environment say too little, or nonsense.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore

    # Metaflow's address is that of one account: another one, named by hand, is not to be had there.
    endpoint = data.endpoint_url or ("" if data.account else _metaflow_endpoint())
    account = data.account or _account_of(endpoint) or os.environ.get(_ACCOUNT, "")
    if not account:
        raise _without_account()
    try:
        backend = AzureStore(
            place.container,
            config={"account_name": account, **({"endpoint": endpoint} if endpoint else {})},
            # obstore refuses plain HTTP, which is what emulators speak, unless it is allowed.
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config=RETRIES,
            credential_provider=_azure_credentials(),
        )
    except (BaseError, ValueError) as error:
        raise explain(error, place) from error
    return Container(backend, place)


def _metaflow_endpoint() -> str:
    return (setting("AZURE_STORAGE_BLOB_SERVICE_ENDPOINT") or "").rstrip("/")


def _account_of(endpoint: str) -> str:
    """The account whose Blob service an address is: its first label, or an emulator's path."""
    parts = urlsplit(endpoint)
    account, found, _ = (parts.hostname or "").partition(".blob.")
    return account if found else parts.path.strip("/")


def _azure_credentials() -> "Callable[[], AzureBearerToken] | None":
    """Tokens from Metaflow's client provider; None if obstore is to look by itself."""
    if any(os.environ.get(name) for name in _AZURE_CREDENTIALS):
        return None
    try:
        credential = azure_credential()
    except ImportError:  # Metaflow asks for azure-identity only where it needs it
        return None

    # obstore asks again when a token has expired, so a look may take longer than one lasts.
    def token() -> "AzureBearerToken":
        answer = credential.get_token(_AZURE_SCOPE)
        expires = dt.datetime.fromtimestamp(answer.expires_on, dt.UTC)
        return {"token": answer.token, "expires_at": expires}

    return token


def _without_account() -> SourceError:
    return SourceError(
        "Nothing says which storage account of Azure to ask",
        where="Looked in flowproject.toml, METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT "
        f"and {_ACCOUNT}",
        fix='Add account = "..." under [data] in flowproject.toml',
    )


class GcsSource(ContainerSource):
    """Observes a bucket of Google Cloud Storage."""

    def __init__(self, data: GcsData, root: Path) -> None:
        del root  # nothing here is relative to the project's folder
        place = ContainerLocation.parse(GCS, data.bucket, data.key)
        super().__init__(data, place, lambda: _open_gcs(data, place))


def _open_gcs(data: GcsData, place: ContainerLocation) -> Container:
    """The bucket, which is not asked anything yet.

    Raises:
        SourceError: if the configuration or the environment says nonsense.
    """
    from obstore.exceptions import BaseError
    from obstore.store import GCSStore

    endpoint = data.endpoint_url.rstrip("/")
    try:
        backend = GCSStore(
            place.container,
            config={"base_url": endpoint} if endpoint else None,
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config=RETRIES,
            credential_provider=_gcs_credentials(),
        )
    except (BaseError, ValueError) as error:
        raise explain(error, place) from error
    return Container(backend, place)


def _gcs_credentials() -> "GCSCredentialProvider | None":
    """Tokens from Metaflow's client provider; None if obstore is to look by itself."""
    if any(os.environ.get(name) for name in _GCS_CREDENTIALS):
        return None
    try:
        from obstore.auth.google import GoogleCredentialProvider

        credentials = google_credentials([_GCS_SCOPE])
    except ImportError:  # Metaflow asks for google-auth only where it needs it
        return None
    return GoogleCredentialProvider(credentials)
