"""Says where to look: in which service, container and folder, or for which key. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from flowproject.errors import SourceError

__all__ = ["AZURE", "GCS", "ContainerLocation", "Service"]

# Azure's `$web` and `$root`, and Google's names with dots in them, which are up to 222 long.
_NAME: Final = re.compile(r"[a-z0-9$][a-z0-9._-]{2,221}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Describes a service for objects in its own words."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerLocation:
    """Names a container, and a key or the start of keys in it."""

    service: Service
    container: str
    key: str

    @classmethod
    def parse(cls, service: Service, container: str, key: str) -> "ContainerLocation":
        """The location that `container` and `key` of a configuration mean together.

        `container` may begin with a scheme such as `az://` and go on with a path, which then comes
        before `key`.

        Raises:
            SourceError: if no container has such a name, or obstore can't ask for such a key.
        """
        # From the right, so that a second "://" is part of the scheme, which then is none.
        scheme, found, rest = container.rpartition("://")
        name, _, path = rest.partition("/")
        if (found and scheme not in service.schemes) or not _NAME.fullmatch(name):
            raise _unusable(service, container)
        # obstore would leave out empty names and resolve the dots: it would ask for another key.
        whole = "/".join(part for part in (path.removesuffix("/"), key) if part)
        if any(part in ("", ".", "..") for part in whole.removesuffix("/").split("/") if whole):
            raise _not_askable(service, whole, "an empty name, '.' or '..' between slashes")
        if _CONTROL.search(whole):
            raise _not_askable(service, whole, "a control character")
        return cls(service=service, container=name, key=whole)

    @property
    def folder(self) -> str:
        """The folder as obstore wants it named: without a slash at the end."""
        return self.key.removesuffix("/")

    @property
    def prefix(self) -> str:
        """What all keys below begin with: it ends in a slash, or is empty for a whole container."""
        return f"{self.folder}/" if self.key else ""

    def at(self, key: str) -> str:
        """An object of this container as a URL."""
        return f"{self.service.schemes[0]}://{self.container}/{key}"

    def __str__(self) -> str:
        return self.at(self.key)


def _unusable(service: Service, text: str) -> SourceError:
    noun, scheme = service.container, service.schemes[0]
    return SourceError(
        f"{noun} = {text!r} names no {noun} of {service.name}",
        allowed=f"It may be written 'my-{noun}', '{scheme}://my-{noun}' or "
        f"'{scheme}://my-{noun}/some/path'",
        fix=f"Correct `{noun}` under [data] in flowproject.toml",
    )


def _not_askable(service: Service, key: str, what: str) -> SourceError:
    return SourceError(
        f"key = {key!r} has {what}, and obstore, which asks {service.name}, can't ask for that",
        fix="Correct `key` under [data] in flowproject.toml, or rename the objects",
    )
