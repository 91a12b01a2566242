"""Google Cloud Storage: where it answers, and with which credentials it is asked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flowproject.config.data import GcsData
from flowproject.metaflow_internals.datastore import google_credentials
from flowproject.sources.containers.container import PATIENCE, Container
from flowproject.sources.containers.failures import explain
from flowproject.sources.containers.location import Location
from flowproject.sources.containers.service import GCS
from flowproject.sources.containers.source import ContainerSource

if TYPE_CHECKING:
    from obstore.store import GCSCredentialProvider

__all__ = ["GcsSource"]

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
# With one of these set, obstore needs nobody to tell it who is asking.
_OWN_CREDENTIALS: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SKIP_SIGNATURE",
)


class GcsSource(ContainerSource):
    """A bucket of Google Cloud Storage."""

    def __init__(self, data: GcsData, root: Path) -> None:
        del root  # nothing here is relative to the project's folder
        place = Location.parse(GCS, data.bucket, data.key)
        super().__init__(data, place, lambda: _open(data, place))


def _open(data: GcsData, place: Location) -> Container:
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
            retry_config=PATIENCE,
            credential_provider=_credentials(),
        )
    except (BaseError, ValueError) as error:
        raise explain(error, place) from error
    return Container(backend, place)


def _credentials() -> "GCSCredentialProvider | None":
    """Tokens from Metaflow's client provider; None if obstore is to look by itself."""
    if any(os.environ.get(name) for name in _OWN_CREDENTIALS):
        return None
    try:
        from obstore.auth.google import GoogleCredentialProvider

        credentials = google_credentials([_SCOPE])
    except ImportError:  # Metaflow asks for google-auth only where it needs it
        return None
    return GoogleCredentialProvider(credentials)
