"""What differs between the services in words: their nouns, schemes and permissions. Pure."""

from dataclasses import dataclass
from typing import Final

__all__ = ["AZURE", "GCS", "Service"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A service for objects."""

    name: str
    container: str
    """Its word for what holds objects, which is also the key of the configuration."""
    schemes: tuple[str, ...]
    """What may stand before `://` in the name of a container; the first is the usual one."""
    permission: str
    """What is needed to list and to look at objects."""
    credentials: str
    """Where credentials are looked for."""
    page_size: int
    """How many objects a server names in one answer."""


AZURE: Final = Service(
    name="Azure Blob Storage",
    container="container",
    schemes=("az", "azure"),
    permission="the role 'Storage Blob Data Reader' on the container, or a SAS token with 'r' and "
    "'l'",
    credentials="AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, and then what Metaflow uses "
    "(DefaultAzureCredential)",
    page_size=5000,
)

GCS: Final = Service(
    name="Google Cloud Storage",
    container="bucket",
    schemes=("gs", "gcs"),
    permission="the role 'Storage Object Viewer' on the bucket",
    credentials="GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_KEY, and then what Metaflow uses "
    "(application default credentials)",
    page_size=1000,
)
