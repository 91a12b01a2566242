"""Finds the datastore that Metaflow uses, and opens it as the store of journals.

On S3 it is reached as Metaflow reaches it: with its endpoint, its credentials and its encryption.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowproject.aws import (
    aws_client,
    bucket_region,
    bucket_request,
    client_credentials,
    trusted_certificates,
)
from flowproject.errors import JournalError
from flowproject.journal.store import ObjectStore, Store
from flowproject.metaflow_internals.datastore import configured_root
from flowproject.metaflow_internals.settings import setting

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential, S3Store

__all__ = ["datastore_root", "open_store"]

_INSTALL: Final = "python -m pip install obstore"

# A request fails within about 30 seconds, whatever the server does. It must say something within
# _SILENCE, in which a slow line sends the parts of a file too.
_CONNECT: Final = dt.timedelta(seconds=5)
_SILENCE: Final = dt.timedelta(seconds=20)
_WHOLE: Final = dt.timedelta(hours=1)
_RETRYING: Final = dt.timedelta(seconds=15)
# So many that time alone ends them.
_RETRIES: Final = 100
_BACKOFF: Final = (dt.timedelta(milliseconds=100), dt.timedelta(seconds=3))

_LIFETIME: Final = dt.timedelta(minutes=10)
"""How long what botocore gives may be used: it renews 10 minutes before they run out at the latest,
and obstore asks again 5 minutes before the time that it is told."""

_ELSEWHERE: Final = ("incorrectly configured region", "AuthorizationHeaderMalformed")


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
            bucket = _S3Bucket(root)
            return ObjectStore(bucket.open(), root, relocate=bucket.relocate)
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


class _S3Bucket:
    """Makes stores of obstore for a root such as `s3://bucket/prefix`.

    Raises:
        JournalError: if boto3 is missing, there are no credentials or the settings are wrong.
    """

    def __init__(self, root: str) -> None:
        self._bucket, _, prefix = root.removeprefix("s3://").partition("/")
        self._prefix = prefix.strip("/")
        self._client = aws_client(failure=JournalError)
        self._relocated = False

    def open(self) -> "S3Store":
        """A store of obstore for it."""
        from obstore.store import S3Store

        # botocore knows which of two forms of address a bucket has, with dots in its name or an
        # endpoint of its own.
        url = bucket_request(self._client, self._bucket, failure=JournalError).url.rstrip("/")
        return S3Store(
            self._bucket,
            prefix=self._prefix or None,
            config=self._config(url),
            client_options=self._client_options(url),
            retry_config=_retry_config(),
            credential_provider=_renewing(client_credentials(self._client, failure=JournalError)),
        )

    def relocate(self, error: Exception) -> "S3Store | None":
        """The store in the bucket's own region, if that is what the error is about; else None."""
        # Once only: a server that answers so for another reason would be asked for ever.
        if self._relocated or not any(sign in str(error) for sign in _ELSEWHERE):
            return None
        self._relocated = True
        region = bucket_region(self._client, self._bucket)
        if not region:
            return None
        self._client = aws_client(region=region, failure=JournalError)
        return self.open()

    def _config(self, url: str) -> "S3Config":
        config: S3Config = {
            # botocore says where the bucket is, in the one setting that no variable of the
            # environment goes before; "virtual hosted" tells obstore that the bucket is in it.
            "aws_endpoint_url_s3": url,
            "virtual_hosted_style_request": True,
            "region": self._client.meta.region_name,
            "skip_signature": False,
            "disable_bulk_delete": True,  # one object needs none, and not every server has it
        }
        if encryption := setting("S3_SERVER_SIDE_ENCRYPTION"):
            config["server_side_encryption"] = encryption
        return config

    def _client_options(self, url: str) -> "ClientConfig":
        trusted = trusted_certificates(self._client)
        options: ClientConfig = {
            "allow_http": url.startswith("http:"),
            "connect_timeout": _CONNECT,
            "read_timeout": _SILENCE,
            "timeout": _WHOLE,
        }
        # Metaflow's setting: a file of certificates, True, or False for none.
        if isinstance(trusted, str):
            options["root_certificate"] = Path(trusted).read_bytes()
        elif not trusted:
            options["allow_invalid_certificates"] = True
        return options


def _retry_config() -> "RetryConfig":
    first, longest = _BACKOFF
    return {
        "max_retries": _RETRIES,
        "retry_timeout": _RETRYING,
        "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
    }


def _renewing(credentials: Any) -> "Callable[[], S3Credential]":
    """What obstore calls whenever it needs credentials: botocore's, renewed when they run out."""

    def provide() -> "S3Credential":
        # Frozen, because the three belong together: botocore may renew them between two reads.
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": dt.datetime.now(dt.UTC) + _LIFETIME,
        }

    return provide
