"""Opens Azure's and Google's object stores with Metaflow's credentials, or the environment's.

The same for whoever lists objects there and for libraries that read tables: those get in words what
obstore is told. What is asked of a store stands with the source that asks.
"""

import datetime as dt
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from flowproject.errors import SourceError
from flowproject.metaflow_internals.datastore import azure_credential, google_credentials
from flowproject.metaflow_internals.settings import setting

if TYPE_CHECKING:
    from obstore.store import (
        AzureBearerToken,
        AzureConfig,
        AzureStore,
        GCSCredential,
        GCSCredentialProvider,
        GCSStore,
        RetryConfig,
    )

__all__ = ["RETRIES", "AzureAccess", "GcsAccess"]

# obstore's own default is three minutes, in which a tick would only seem to hang.
RETRIES: "Final[RetryConfig]" = {"max_retries": 8, "retry_timeout": dt.timedelta(seconds=60)}
"""How often and how long obstore asks again what the server or the network failed to answer."""

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


class AzureAccess:
    """A container of Azure Blob Storage: which account it is in, and who is asking.

    Raises:
        SourceError: if the configuration and the environment say too little.
    """

    def __init__(self, container: str, *, account: str = "", endpoint_url: str = "") -> None:
        self._container = container
        # Metaflow's address is that of one account: another one, named by hand, is not there.
        self._endpoint = endpoint_url or ("" if account else _metaflow_endpoint())
        self._account = account or _account_of(self._endpoint) or os.environ.get(_ACCOUNT, "")
        if not self._account:
            raise _without_account()

    def open(self, prefix: str = "") -> "AzureStore":
        """A store of obstore for what lies below the prefix."""
        from obstore.store import AzureStore

        config: AzureConfig = {"account_name": self._account}
        if self._endpoint:
            config["endpoint"] = self._endpoint
        return AzureStore(
            self._container,
            prefix=prefix or None,
            config=config,
            # obstore refuses plain HTTP, which is what emulators speak, unless it is allowed.
            client_options={"allow_http": self._endpoint.startswith("http://")},
            retry_config=RETRIES,
            credential_provider=_azure_credentials(),
        )

    def options(self) -> dict[str, str]:
        """What the Azure client of Rust's object_store is told in words; a token is of now."""
        options = {"azure_storage_account_name": self._account}
        if self._endpoint:
            options["azure_storage_endpoint"] = self._endpoint
            options["allow_http"] = str(self._endpoint.startswith("http://")).lower()
        provider = _azure_credentials()
        return options | ({"azure_storage_token": provider()["token"]} if provider else {})


class GcsAccess:
    """A bucket of Google Cloud Storage, and who is asking."""

    def __init__(self, bucket: str, *, endpoint_url: str = "") -> None:
        self._bucket = bucket
        self._endpoint = endpoint_url.rstrip("/")

    def open(self, prefix: str = "") -> "GCSStore":
        """A store of obstore for what lies below the prefix."""
        from obstore.store import GCSStore

        return GCSStore(
            self._bucket,
            prefix=prefix or None,
            config={"base_url": self._endpoint} if self._endpoint else None,
            client_options={"allow_http": self._endpoint.startswith("http://")},
            retry_config=RETRIES,
            credential_provider=_gcs_credentials(),
        )

    def options(self) -> dict[str, str]:
        """What the Google client of Rust's object_store is told in words; a token is of now."""
        options: dict[str, str] = {}
        if self._endpoint:
            options["google_base_url"] = self._endpoint
            options["allow_http"] = str(self._endpoint.startswith("http://")).lower()
        if provider := _gcs_credentials():
            # The provider of obstore's that is used here does not wait for anybody.
            options["google_bearer_token"] = cast("GCSCredential", provider())["token"] or ""
        return options


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
