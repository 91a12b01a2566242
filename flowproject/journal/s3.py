"""A datastore on S3, reached as Metaflow reaches it: its endpoint, credentials and encryption."""

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
from flowproject.metaflow_internals.settings import setting

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential, S3Store

__all__ = ["S3Place"]

# A request fails within about 30 seconds, whatever the server does. It must say something within
# _SILENCE, in which a slow line sends the parts of a file too.
_CONNECT: Final = dt.timedelta(seconds=5)
_SILENCE: Final = dt.timedelta(seconds=20)
_WHOLE: Final = dt.timedelta(hours=1)
_RETRYING: Final = dt.timedelta(seconds=15)
_RETRIES: Final = 100  # time alone ends them
_BACKOFF: Final = (dt.timedelta(milliseconds=100), dt.timedelta(seconds=3))

_LIFETIME: Final = dt.timedelta(minutes=10)
"""How long what botocore gives may be used: it renews 10 minutes before they run out at the latest,
and obstore asks again 5 minutes before the time that it is told."""

_ELSEWHERE: Final = ("incorrectly configured region", "AuthorizationHeaderMalformed")


class S3Place:
    """A bucket and a prefix, from a root such as `s3://bucket/prefix`.

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
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": dt.datetime.now(dt.UTC) + _LIFETIME,
        }

    return provide
