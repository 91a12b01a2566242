"""Says where a table is, opens the store that it is in, and tells its library who is asking."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flowproject.aws import S3Bucket
from flowproject.config.data import VersionedData
from flowproject.errors import SourceError
from flowproject.secrecy import keep_secrets_of
from flowproject.sources.clouds import AzureAccess, GcsAccess

__all__ = ["TableLocation"]

_SCHEMES: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "azure": "azure",
}


@dataclass(frozen=True, kw_only=True)
class TableLocation:
    """The folder or the file that a table begins with: on this machine, or in an object store.

    `kind` is `local`, `s3`, `gcs` or `azure`; `container` the bucket or the container, and `path`
    what comes after it.
    """

    kind: str
    container: str
    path: str
    data: VersionedData

    @classmethod
    def parse(cls, text: str, data: VersionedData, root: Path) -> "TableLocation":
        """The location that `table` of a configuration names.

        Raises:
            SourceError: if it names none.
        """
        scheme, found, _ = text.partition("://")
        if not found:
            path = str(root / text) if text else ""
            kind, container = "local", ""
        elif scheme == "file":
            kind, container, path = "local", "", urlsplit(text).path
        else:
            kind = _SCHEMES.get(scheme, "")
            container, _, path = text.partition("://")[2].partition("/")
        if not kind or not path.strip("/") or (kind != "local" and not container):
            raise SourceError(
                f"table = {text!r} names no table",
                allowed="A folder, or a URL such as s3://bucket/path, gs://bucket/path or "
                "az://container/path",
                fix="Correct `table` under [data] in flowproject.toml",
            )
        # A slash more or less is the same table to everybody, and must be to us.
        return cls(kind=kind, container=container, path=path.rstrip("/"), data=data)

    def __str__(self) -> str:
        return self.path if self.kind == "local" else self.uri

    @property
    def uri(self) -> str:
        """The location as delta-rs and PyIceberg have it."""
        if self.kind == "local":
            return self.path
        scheme = {"s3": "s3", "gcs": "gs", "azure": "az"}[self.kind]
        return f"{scheme}://{self.container}/{self.path}"

    def open(self) -> Any:
        """A store of obstore in this folder.

        Raises:
            SourceError: if there are no credentials, or the settings are wrong.
        """
        if self.kind != "local":
            return self._access().open(self.path) if self.kind != "s3" else self._s3().open()
        from obstore.store import LocalStore

        return LocalStore(self.path)

    def relocated(self, error: Exception) -> Any:
        """The store in the bucket's own region, if that is what an error is about; else None."""
        return self._s3().relocate(error) if self.kind == "s3" else None

    def options(self) -> dict[str, str]:
        """What a library written in Rust is told of store and credentials."""
        if self.kind == "local":
            return {}
        options = (self._s3() if self.kind == "s3" else self._access()).options()
        keep_secrets_of(options)
        return options

    def _s3(self) -> S3Bucket:
        data = self.data
        return S3Bucket(
            self.container,
            self.path,
            role=data.role,
            region=data.region,
            endpoint_url=data.endpoint_url,
        )

    def _access(self) -> AzureAccess | GcsAccess:
        address = self.data.endpoint_url
        if self.kind == "gcs":
            return GcsAccess(self.container, endpoint_url=address)
        return AzureAccess(self.container, account=self.data.account, endpoint_url=address)
