"""Finds where a bucket answers and whose credentials sign, and puts both right when they are not.

botocore knows both, from every setting that it reads; a server may know better.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final
from urllib.parse import quote, urlsplit

from flowproject.aws import aws_client, bucket_request, client_credentials, forget_clients
from flowproject.errors import SourceError
from flowproject.sources.s3.failures import Refusal
from flowproject.sources.s3.http_client import Address
from flowproject.sources.s3.scope import BucketLocation
from flowproject.sources.s3.signing import Query, Signer, query_text

__all__ = ["Access", "SharedAccess", "open_access"]

_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")
# Directory buckets want sessions, access points of many regions another kind of signature.
_UNUSUAL: Final = re.compile(r".*--x-s3|arn:[^:]*:s3::.*")
_PORTS: Final = {"https": 443, "http": 80}
_SCOPE: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/([^/,]+)/s3/aws4_request,")
# A server that is silent for so long is asked again; botocore's minute would leave one try.
_SECONDS_TO_READ: Final = 30.0
_CLOCK: Final = "clock"
_CREDENTIALS: Final = "credentials"
_REGION: Final = "region"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Says where one bucket is and as whom it is asked, and makes requests to it."""

    address: Address
    path: str
    """Path of the bucket on the server: empty if it has a host of its own."""
    region: str
    is_amazon: bool
    """Whether this is AWS, where a bucket can turn out to be in another region."""
    signer: Signer = field(repr=False)
    credentials: Any = field(repr=False)
    """botocore's, which renew themselves if they can."""

    def frozen(self) -> Any:
        """The credentials of this moment: `access_key`, `secret_key` and `token`.

        Raises:
            SourceError: if they had to be renewed and could not be.
        """
        try:
            return self.credentials.get_frozen_credentials()
        except _botocores_errors() as error:
            raise _unusable(error) from error

    def request(
        self, method: str, key: bytes | None, query: Query, *, credentials: Any, ahead: float
    ) -> bytes:
        """A signed request for the bucket or, with a key, for an object in it."""
        path = (self.path if key is None else f"{self.path}/{quote(key, safe='/-_.~')}") or "/"
        # What is signed and what is sent must be the same bytes: both come from this one text.
        text = query_text(query)
        target = f"{path}?{text}" if text else path
        # "identity", because bodies are taken as they come: nobody unpacks them.
        extra = "user-agent:flowproject\naccept-encoding:identity\n"
        if self.address.forwarded:
            target = self.address.server + target
            extra += "".join(f"{name}:{it}\n" for name, it in self.address.proxy_headers.items())
        if key is not None and method == "GET":
            extra += "range:bytes=0-0\n"  # it is asked for the refusal, not for the object
        signed = self.signer.headers(method, path, text, credentials=credentials, ahead=ahead)
        request = f"{method} {target} HTTP/1.1\n{signed}{extra}\n"
        return request.replace("\n", "\r\n").encode()


class SharedAccess:
    """Shares the access to a bucket among threads: what one of them puts right is right for all."""

    def __init__(self, reach: Callable[[str], Access]) -> None:
        """`reach` opens an access in a region ("" for the one that the settings say)."""
        self._reach = reach
        self._lock = Lock()
        self._moved_to = ""
        self.access = reach("")
        self.ahead = 0.0
        """Seconds by which the server's clock is ahead of ours."""

    def recover(self, refusal: Refusal, access: Access, credentials: Any) -> str:
        """Put right what a request was refused for, and say in a word what; "" if it can't be.

        `access` and `credentials` are those that were refused.
        """
        # In the order of what costs least: a clock is corrected without asking anybody.
        if refusal.is_skewed and refusal.clock:
            self.ahead = (refusal.clock - datetime.now(UTC)).total_seconds()
            return _CLOCK
        if refusal.is_expired:
            self._renew(access, credentials)
            return _CREDENTIALS
        # Only Amazon has other regions to go to; another server's word could lead us anywhere.
        if refusal.is_misplaced and access.is_amazon and refusal.region != access.region:
            self._move(access, refusal.region)
            return _REGION
        return ""

    def _renew(self, access: Access, credentials: Any) -> None:
        with self._lock:
            # Another thread may have been here, or botocore may know better by now.
            if self.access is access and access.frozen() == credentials:
                # What `aws sso login` has renewed is seen only by a client that is made anew.
                forget_clients()
                self.access = self._reach(self._moved_to)

    def _move(self, access: Access, region: str) -> None:
        with self._lock:
            if self.access is access:
                self._moved_to = region
                self.access = self._reach(region)


def open_access(location: BucketLocation, *, role: str, region: str, endpoint_url: str) -> Access:
    """The access to a bucket that Metaflow's AWS client would have.

    Raises:
        SourceError: if boto3 is missing, there are no credentials, or the settings are wrong.
    """
    if _UNUSUAL.fullmatch(location.bucket):
        raise _unusual(location)
    # A request that is never sent says all of it, in whatever way botocore came to it.
    client = aws_client(role=role, region=region, endpoint_url=endpoint_url)
    credentials = client_credentials(client)
    sample = bucket_request(client, location.bucket)
    url = urlsplit(sample.url)
    port = url.port or _PORTS[url.scheme]
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    # The region is read off the signature: botocore may choose another one than it was told, for an
    # access point by its ARN.
    scope = _SCOPE.match(_text(sample.headers.get("Authorization", "")))
    if scope is None:
        raise _unusual(location)
    return Access(
        address=_address(client, sample.url, url.hostname or "", port),
        path=url.path.rstrip("/"),
        region=scope[1],
        is_amazon=(url.hostname or "").endswith(_AMAZON),
        signer=Signer(
            host=host if port == _PORTS[url.scheme] else f"{host}:{port}", region=scope[1]
        ),
        credentials=credentials,
    )


def _address(client: Any, url: str, host: str, port: int) -> Address:
    from botocore.httpsession import get_cert_path

    session = client._endpoint.http_session  # noqa: SLF001  # a client tells no other way
    config = client.meta.config
    return Address(
        secure=url.startswith("https:"),
        host=host,
        port=port,
        ca_bundle=get_cert_path(session._verify) or "",  # noqa: SLF001
        certificate=config.client_cert,
        proxy=session._proxy_config.proxy_url_for(url) or "",  # noqa: SLF001
        seconds_to_connect=config.connect_timeout,
        seconds_to_read=min(config.read_timeout, _SECONDS_TO_READ),
    )


def _botocores_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, ValueError


def _unusable(error: Exception) -> SourceError:
    reason = str(error).partition("\n")[0]
    return SourceError(
        f"The AWS credentials or settings can't be used: {reason}",
        fix="Check `bucket`, `role`, `region` and `endpoint_url`, and AWS_PROFILE",
    )


def _unusual(location: BucketLocation) -> SourceError:
    return SourceError(
        f"{location.bucket!r} wants requests signed in a way that is not supported",
        allowed="General purpose buckets and access points of one region, with credentials",
        fix="Correct `bucket` in flowproject.toml",
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
